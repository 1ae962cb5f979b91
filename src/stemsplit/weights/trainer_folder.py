"""The folder that a trainer leaves: YAML that says what was trained, and checkpoints.

FOLDER/merged_config.yaml               what was trained; a layout of `weights.layouts` reads it
FOLDER/checkpoints/*.ckpt|.pth|.pt      averaged, without last.ckpt, which is there to go on from

FOLDER/model.ckpt, config_model.yaml    ZFTurbo's trainer; of several YAML files the one with the checkpoint's name

FOLDER/htdemucs_ft.yaml                 Demucs' bags, models: [SIG, …], of which each is a network of the model
FOLDER/SIG.th|.safetensors, SIG-HASH.th
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from stemsplit.errors import CheckpointError
from stemsplit.machine.disk import sha256_of
from stemsplit.weights.card import CHECKPOINT_SUFFIXES

SETTINGS_NAME, CHECKPOINTS = "merged_config.yaml", "checkpoints"
LARGEST_SETTINGS = 1 << 20  # bytes
LARGEST_HEADER = 1 << 24  # bytes, of a safetensors file
_TO_GO_ON_FROM = re.compile(r"last(-v\d+)?\.ckpt")


def checkpoints_of(names: Iterable[str], prefix: str = "") -> list[str]:
    """Return the checkpoints to average, sorted, of a listing of paths: those in `checkpoints/` below a prefix."""
    start = f"{prefix}{CHECKPOINTS}/"
    return sorted(
        name
        for name in names
        if name.startswith(start)
        and "/" not in name[len(start) :]
        and name.lower().endswith(CHECKPOINT_SUFFIXES)
        and not _TO_GO_ON_FROM.fullmatch(name[len(start) :])
    )


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints to average in a trainer's folder on disk."""
    inside = folder / CHECKPOINTS
    names = [f"{CHECKPOINTS}/{path.name}" for path in inside.iterdir()] if inside.is_dir() else []
    return [folder / name for name in checkpoints_of(names)]


def settings_beside(checkpoint: Path) -> Path | None:
    """Return the settings that go with a checkpoint: beside it, or beside the folder `checkpoints` that it is in."""
    inside = checkpoint.parent.name == CHECKPOINTS
    folders = (checkpoint.parent, *([checkpoint.parent.parent] if inside else []))
    found = next((folder / SETTINGS_NAME for folder in folders if (folder / SETTINGS_NAME).is_file()), None)
    return found or _named_alike(checkpoint)


def _named_alike(checkpoint: Path) -> Path | None:
    """Return the YAML of ZFTurbo's trainer beside a checkpoint: one with its name in its own, or else the only one."""
    written = sorted(_yaml_with(checkpoint.parent, r"^(model|training|inference):", 3))
    name = checkpoint.stem.lower()
    alike = [path for path in written if path.stem.lower().removeprefix("config_") in (name, f"config_{name}")]
    alike = alike or [path for path in written if name in path.stem.lower()] or written
    return alike[0] if len(alike) == 1 else None


def bags_in(folder: Path) -> list[Path]:
    """Return the YAML files of Demucs' bags in a folder, sorted."""
    return sorted(_yaml_with(folder, r"^models:", 1))


def models_of_bag(path: Path) -> list[Path]:
    """Return the files of the networks of a bag, which lie beside its YAML.

    Raises: CheckpointError naming those that are not there.
    """
    names = read_settings(path).get("models")
    if not isinstance(names, list) or not names or not all(re.fullmatch(r"\w{1,64}", str(name)) for name in names):
        raise CheckpointError(f"{path}: models is {names}, and no list of names")
    files = sorted(path.parent.iterdir())
    found = {str(name): _file_of(str(name), files) for name in names}
    if missing := [name for name, file in found.items() if file is None]:
        raise CheckpointError(
            f"{path} is a bag of {len(names)} networks, and {', '.join(missing)} is not beside it, "
            f"as {missing[0]}-….th or {missing[0]}.safetensors: put it there"
        )
    return [file for name in names if (file := found[str(name)]) is not None]


def packages_of(names: Iterable[str], prefix: str = "") -> tuple[list[str], list[str]]:
    """Return Demucs' safetensors in a listing of paths, and the YAML beside them, both sorted."""
    here = sorted(name for name in names if name.startswith(prefix) and "/" not in name[len(prefix) :])
    packages = [name for name in here if re.fullmatch(r"[0-9a-f]{8}\.safetensors", name[len(prefix) :])]
    return packages, [name for name in here if name.endswith((".yaml", ".yml"))]


def hash_of_all(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the hashes of several files."""
    return hashlib.sha256("".join(sha256_of(path) for path in paths).encode()).hexdigest()


def hash_in_name(name: str) -> str:
    """Return how a file's SHA-256 begins by its name, such as 955717e8-8726e21a.th; "" if the name does not say."""
    match = re.fullmatch(r"\w+-([0-9a-f]{8,64})\.th", name)
    return match[1] if match else ""


def with_settings(reference: str) -> tuple[str, str] | None:
    """Split a reference that names settings too, CHECKPOINT#config=SETTINGS; None for any other."""
    ending = "|".join(map(re.escape, CHECKPOINT_SUFFIXES))
    match = re.fullmatch(rf"(.*(?:{ending}))#(?:(sha256=[^&]*)&)?config=(.+)", reference, re.IGNORECASE)
    return (match[1] + (f"#{match[2]}" if match[2] else ""), match[3]) if match else None


def says_how_made(path: Path) -> bool:
    """Return whether a safetensors file is one of Demucs, whose header says of which class the network is."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size <= LARGEST_HEADER else {}
    except (OSError, ValueError, RecursionError):
        return False
    told = header.get("__metadata__") if isinstance(header, dict) else None
    return isinstance(told, dict) and "klass" in told


def _file_of(name: str, files: Iterable[Path]) -> Path | None:
    pattern = re.compile(rf"{re.escape(name)}(\.safetensors|(-[0-9a-f]{{8,64}})?\.th)")
    return next((file for file in files if pattern.fullmatch(file.name)), None)


def _yaml_with(folder: Path, pattern: str, count: int) -> Iterator[Path]:
    """Yield the YAML files of a folder in which so many different lines begin by a pattern. They are not parsed."""
    for path in folder.iterdir():
        if path.suffix.lower() not in (".yaml", ".yml"):
            continue
        try:
            if path.stat().st_size <= LARGEST_SETTINGS:
                text = path.read_text(encoding="utf-8", errors="replace")
                if len({match[0] for match in re.finditer(pattern, text, re.MULTILINE)}) >= count:
                    yield path
        except OSError:
            continue  # whoever needs it will say that it cannot be read


def folders_with_settings(names: Iterable[str]) -> list[str]:
    """Return the trainers' folders in a listing of paths, sorted."""
    found = (PurePosixPath(name) for name in names)
    return sorted(str(path.parent) for path in found if path.name == SETTINGS_NAME)


def read_settings(path: Path) -> dict[str, Any]:
    """Read a trainer's settings, by YAML's safe loader, which makes plain values only; tuples of Python become lists.

    Raises: CheckpointError.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """The safe loader with one tag more, which ZFTurbo's trainer writes."""

    Loader.add_constructor("tag:yaml.org,2002:python/tuple", Loader.construct_sequence)
    try:
        if path.stat().st_size > LARGEST_SETTINGS:
            raise CheckpointError(f"{path} has more than {LARGEST_SETTINGS >> 20} MB: these are no settings")
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path} holds no settings")
    return settings
