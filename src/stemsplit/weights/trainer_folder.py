"""The folder that a trainer leaves: `merged_config.yaml`, and `checkpoints/`, of which the mean is the model.

FOLDER/merged_config.yaml               what was trained; a layout of `weights.layouts` reads it
FOLDER/checkpoints/*.ckpt|.pth|.pt      averaged, without last.ckpt, which is there to go on from
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from stemsplit.errors import CheckpointError
from stemsplit.weights.card import CHECKPOINT_SUFFIXES

SETTINGS_NAME, CHECKPOINTS = "merged_config.yaml", "checkpoints"
LARGEST_SETTINGS = 1 << 20  # bytes
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
    return next((folder / SETTINGS_NAME for folder in folders if (folder / SETTINGS_NAME).is_file()), None)


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
