"""A model reference → files on disk. No torch here: `checkpoint` reads what this module finds.

A reference is one of
    ts-bsmamba2-mini                  a name of the catalog: a folder of models/ that ships with stemsplit
    runs/mine, weights.ckpt           a folder or a file
    hf:OWNER/REPO[@REV][:SUBFOLDER]   a repository of the Hugging Face Hub (or :FILE of one)
    https://host/weights.ckpt         an address, optionally with #sha256=HEX
    runs/a.ckpt#config=b.yaml         a checkpoint with its trainer's settings; also of the Hub, or two addresses
    bags/htdemucs_ft.yaml             a bag of Demucs, with its networks beside it

A catalog name wins over a folder of the same name; `./name` is always the folder. A .safetensors needs its config.json.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin, urlsplit, urlunsplit

from stemsplit.errors import CheckpointError, HashError, ModelError, UnknownModelError, reason
from stemsplit.machine.disk import sha256_of
from stemsplit.weights.cache import cache_dir
from stemsplit.weights.card import (
    CHECKPOINT_SUFFIXES,
    CONFIG_NAME,
    WEIGHTS_NAME,
    ModelCard,
    read_card,
    read_config,
    weights_name,
)
from stemsplit.weights.download import discard, download, is_cached, pin_in, target_of
from stemsplit.weights.trainer_folder import (
    CHECKPOINTS,
    SETTINGS_NAME,
    bags_in,
    checkpoints_in,
    hash_in_name,
    hash_of_all,
    models_of_bag,
    says_how_made,
    settings_beside,
    with_settings,
)
from stemsplit.weights.transfer import Progress, require_safe

if TYPE_CHECKING:
    from stemsplit.weights.hub_place import HubReference

DEFAULT_MODEL = "ts-bsmamba2-mini"
DEFAULT_MELODY_MODEL = "melody-cnn"


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk, whose weights were hashed and whose config was read when it was located.

    `path` is what a user calls the model: a folder, or a lone weights file. `sha256` is that of the weights as they
    are on disk; where a hash was expected, it is this one.
    """

    reference: str
    path: Path
    weights: Path
    sha256: str
    config: Mapping[str, Any] | None = None  # config.json; None where the tensors themselves have to tell
    more: tuple[Path, ...] = ()  # other files of weights: the model is the mean of all; `sha256` is of all then
    settings: Path | None = None  # a trainer's settings, which tell what is in its checkpoints
    revision: str | None = None  # of a Hub repository: the commit
    source: str | None = None  # the URL or repository that the weights came from

    @property
    def needs_conversion(self) -> bool:
        """Whether this is a pickle or of another format, which `converted_folder` should hold in ours."""
        return self.config is None or self.weights.suffix.lower() in CHECKPOINT_SUFFIXES


@dataclass(frozen=True)
class _Way:
    """How a model is fetched: see `locate`."""

    offline: bool
    check: bool
    progress: Progress | None
    endpoint: str | None


def locate(
    reference: str | Path,
    *,
    offline: bool = False,
    check: bool = False,
    progress: Progress | None = None,
    endpoint: str | None = None,
) -> ModelFiles:
    """Find or fetch the model that `reference` names, check its weights' hash, and read its config.

    `endpoint` replaces the Hub's address for `hf:` references. `offline` takes what is on disk. With `check` everything
    that was fetched earlier is compared with its hash, and fetched again if it is damaged.
    Raises: UnknownModelError, DownloadError, HashError, CheckpointError, OutputError (cache not writable), ModelError.
    """
    reference, way = str(reference), _Way(offline, check, progress, endpoint)
    if (named := with_settings(reference)) is not None:
        return _with_settings(reference, *named, way)
    if reference.startswith("hf:"):
        return _from_hub(reference, way)
    if "://" in reference:
        return _from_url(reference, way)
    if reference in model_names():
        return _from_described(reference, models_dir() / reference, way)
    if not reference.strip():
        raise UnknownModelError("The model reference is empty. `stemsplit models list` shows the names.")
    try:
        path = Path(reference).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except RuntimeError as error:
        raise UnknownModelError(f"There is no model {reference}: there is no such user.") from error
    except OSError as error:
        raise UnknownModelError(f"There is no model {reference}: {reason(error)}.") from error
    if is_folder:
        return _from_folder(reference, path, way)
    if is_file:
        return _from_file(reference, path)
    raise _unknown(reference)


def _with_settings(reference: str, weights: str, settings: str, way: _Way) -> ModelFiles:
    """Locate a checkpoint and settings that the reference names. Raises: UnknownModelError if these are not there."""
    found = locate(weights, offline=way.offline, check=way.check, progress=way.progress, endpoint=way.endpoint)
    if "://" in reference:
        url = urljoin(weights, settings)
        require_safe(url)
        path = download(url, target_of(url), offline=way.offline, check=way.check).path
    else:
        places = (Path(settings).expanduser(), found.weights.parent / settings)
        path = next((place for place in places if place.is_file()), places[0])
    if not path.is_file():
        raise UnknownModelError(f"{reference}: there is no file {settings}, here or beside the checkpoint.")
    return replace(found, reference=reference, settings=path)


def models_dir() -> Path:
    """Return the folder of the models that ship: stemsplit/models in a wheel, models/ in the repository."""
    package = Path(__file__).parents[1]
    inside = package / "models"
    return inside if inside.is_dir() else package.parents[1] / "models"


def model_names() -> list[str]:
    """Return the catalog's names, sorted."""
    return sorted(config.parent.name for config in models_dir().glob(f"*/{CONFIG_NAME}"))


def list_models() -> list[ModelCard]:
    """Every model of the catalog, by name."""
    return [card(name) for name in model_names()]


def card(name: str) -> ModelCard:
    """Return what is known of a catalog model. For any other model use `read_card` on its folder.

    Raises: UnknownModelError.
    """
    if name not in model_names():
        raise _unknown(name)
    found = read_card(models_dir() / name)
    if not found.url:
        return found
    if found.url.startswith("hf:"):
        from stemsplit.weights import hub
        from stemsplit.weights.hub_place import place_of

        told = read_config(found.path / CONFIG_NAME)["weights"]
        return replace(found, local="cached" if hub.is_kept(place_of(told)) else "to download")
    addresses = [found.url, *(read_config(found.path / CONFIG_NAME)["weights"].get("more") or ())]
    return replace(found, local="cached" if all(is_cached(target_of(url)) for url in addresses) else "to download")


def qualities() -> dict[str, str]:
    """Return the levels of quality, and what each separates with, as `--model` takes it. They are in quality.json."""
    found: dict[str, str] = json.loads((models_dir() / "quality.json").read_text(encoding="utf-8"))
    return found


def converted_folder(files: ModelFiles) -> Path:
    """Return where the cache keeps (or will keep) a public checkpoint as safetensors and config.

    There is one place per content: it depends on the SHA-256 of the weights and on the config that goes with them.
    """
    digest = files.sha256
    if files.config or files.settings:
        told = json.dumps(dict(files.config or {}), sort_keys=True)
        told += files.settings.read_text(encoding="utf-8", errors="replace") if files.settings else ""
        digest = hashlib.sha256((digest + told).encode()).hexdigest()
    return cache_dir() / "converted" / f"{files.weights.stem}-{digest[:16]}"


def _from_hub(asked: str | HubReference, way: _Way) -> ModelFiles:
    from stemsplit.weights import hub  # here: huggingface_hub is for those who ask for it

    reference = str(asked)
    snapshot = hub.fetch(asked, offline=way.offline, check=way.check, progress=way.progress, endpoint=way.endpoint)
    path, weights, config = snapshot.path, snapshot.path, None
    if path.is_dir() and not (path / CONFIG_NAME).is_file():
        found = _from_folder(reference, path, way)
        return replace(found, revision=snapshot.revision, source=f"hf:{snapshot.repository}")
    if path.is_dir():
        config = _read_cached(reference, path / CONFIG_NAME, snapshot.fetched)
        weights = path / weights_name(config, reference)
        path = _named_path(path, weights)
    if snapshot.fetched:  # and hashed on arrival
        found = ModelFiles(reference, path, weights, snapshot.sha256, config)
    else:
        found = _verified(reference, path, weights, config, snapshot.sha256, _renew(reference))
    settings = None if path.is_dir() else settings_beside(weights)
    return replace(found, settings=settings, revision=snapshot.revision, source=f"hf:{snapshot.repository}")


def _renew(reference: str) -> str:
    """Return the advice for damaged files of the cache."""
    return f"Fetch it again with: stemsplit models download {shlex.quote(reference)}"


def _read_cached(reference: str, path: Path, fetched: bool) -> dict[str, Any]:
    """Read a config.json in the cache, which was fetched and compared just now or earlier. Raises: CheckpointError."""
    try:
        return read_config(path)
    except CheckpointError as error:
        raise CheckpointError(str(error) if fetched else f"{error} {_renew(reference)}") from error


def _from_described(reference: str, folder: Path, way: _Way) -> ModelFiles:
    """Locate a folder with a config.json: its weights lie there, or the config says where they come from."""
    config = read_config(folder / CONFIG_NAME)
    weights = folder / weights_name(config, str(folder))
    told = config.get("weights", {})
    url = told.get("url")
    if weights.is_file():
        advice = "Copy it again from where it came."
        if folder.parent == models_dir():
            advice = "Install stemsplit again."
        elif url:
            advice = f"Delete it and run: stemsplit models download {shlex.quote(reference)}"
        pin = _pin_of(config, weights.name)
        return _verified(reference, _named_path(folder, weights), weights, config, pin, advice)
    if told.get("hub"):
        from stemsplit.weights.hub_place import place_of

        return replace(_from_hub(place_of(told), way), reference=reference, config=config)
    if not url:
        raise ModelError(f"{reference}: {weights} is missing, and {folder / CONFIG_NAME} states no URL for it.")
    found = _fetched(reference, url, told.get("sha256"), config, way)
    others = [_fetched(reference, other, None, config, way) for other in told.get("more") or ()]
    return _together(found, [other.weights for other in others])


def _together(found: ModelFiles, others: list[Path]) -> ModelFiles:
    """Return the model that a file of weights is with others."""
    if not others:
        return found
    return replace(found, more=tuple(others), sha256=hash_of_all([found.weights, *others]))


def _named_path(folder: Path, weights: Path) -> Path:
    """Return what a user calls the model in a folder: the folder, unless a pickle in it is still to be converted."""
    return weights if weights.suffix.lower() in CHECKPOINT_SUFFIXES else folder


def _fetched(reference: str, url: str, pin: str | None, config: Mapping[str, Any] | None, way: _Way) -> ModelFiles:
    target = target_of(url)
    found = download(url, target, sha256=pin, offline=way.offline, check=way.check, progress=way.progress)
    if not found.sha256.startswith(hash_in_name(found.path.name)):
        discard(found.path)
        raise HashError(f"{url} has SHA-256 {found.sha256}, as its name does not say: not kept. Try again later.")
    if found.fetched:  # and hashed on arrival
        return ModelFiles(reference, found.path, found.path, found.sha256, config, source=url)
    return replace(_verified(reference, found.path, found.path, config, found.sha256, _renew(reference)), source=url)


def _verified(
    reference: str, path: Path, weights: Path, config: Mapping[str, Any] | None, expected: str | None, advice: str
) -> ModelFiles:
    """Hash the weights on disk and compare. Raises: HashError with advice, ModelError (they cannot be read)."""
    try:
        found = sha256_of(weights)
    except OSError as error:
        raise ModelError(f"{weights} cannot be read: {reason(error)}.") from error
    if expected and found != expected:
        raise HashError(f"{weights} has SHA-256 {found}, but {expected} is expected: damaged or changed. {advice}")
    if not found.startswith(hash_in_name(weights.name)):
        raise HashError(f"{weights} has SHA-256 {found}, as its name does not say: damaged or changed. {advice}")
    return ModelFiles(reference, path, weights, found, config)


def _from_url(reference: str, way: _Way) -> ModelFiles:
    url, fragment = urldefrag(reference)
    require_safe(url)
    pin = pin_in(reference, fragment)
    name = PurePosixPath(urlsplit(url).path).name
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in (*CHECKPOINT_SUFFIXES, ".safetensors"):
        raise UnknownModelError(
            f"{url} does not end in .safetensors, {', '.join(CHECKPOINT_SUFFIXES)}: "
            "give the address of the weights file itself."
        )
    config = None
    if suffix == ".safetensors":
        config = _download_config(reference, url, way)
        pin = pin or _pin_of(config, name)
    return _fetched(reference, url, pin, config, way)


def _download_config(reference: str, url: str, way: _Way) -> dict[str, Any]:
    parts = urlsplit(url)
    sibling = urlunsplit(parts._replace(path=str(PurePosixPath(parts.path).with_name(CONFIG_NAME))))
    found = download(sibling, target_of(sibling), offline=way.offline, check=way.check)
    return _read_cached(reference, found.path, found.fetched)


def _pin_of(config: Mapping[str, Any], file_name: str) -> str | None:
    """Return the hash that a config states for a weights file, if it speaks of that file."""
    weights = config.get("weights", {})
    return weights.get("sha256") if weights.get("file", WEIGHTS_NAME) == file_name else None


def _from_folder(reference: str, folder: Path, way: _Way) -> ModelFiles:
    if (folder / CONFIG_NAME).is_file():
        return _from_described(reference, folder, way)
    if (folder / SETTINGS_NAME).is_file() or checkpoints_in(folder):
        return _from_trainer(reference, folder)
    if bags := bags_in(folder):
        if len(bags) == 1:
            return _from_bag(reference, bags[0])
        names = ", ".join(path.name for path in bags[:5])
        raise UnknownModelError(f"{folder} holds {len(bags)} bags ({names}): name one of them, as in {bags[0]}.")
    lone = sorted(path for path in folder.iterdir() if path.suffix.lower() in CHECKPOINT_SUFFIXES)
    if len(lone) == 1:
        return _from_file(reference, lone[0])
    if lone:
        names = ", ".join(path.name for path in lone[:5])
        raise UnknownModelError(f"{folder} holds {len(lone)} checkpoints ({names}): name one of them.")
    raise UnknownModelError(f"{folder} holds no model: it has no {CONFIG_NAME} and no checkpoint.")


def _from_bag(reference: str, path: Path) -> ModelFiles:
    """Locate the networks of a bag of Demucs, of which its YAML tells. Raises: CheckpointError if one is missing."""
    advice = "Copy it again from where it came."
    first, *others = [_verified(reference, path, file, None, None, advice) for file in models_of_bag(path)]
    return _together(replace(first, settings=path), [other.weights for other in others])


def _from_trainer(reference: str, folder: Path) -> ModelFiles:
    """Locate the checkpoints of a trainer's folder, whose mean is the model."""
    paths = checkpoints_in(folder)
    if not paths:
        raise UnknownModelError(f"{folder} holds {SETTINGS_NAME}, but no checkpoint in {folder / CHECKPOINTS}.")
    found = _verified(reference, folder, paths[0], None, None, "Copy it again from where it came.")
    settings = folder / SETTINGS_NAME
    return replace(
        found,
        sha256=found.sha256 if len(paths) == 1 else hash_of_all(paths),
        more=tuple(paths[1:]),
        settings=settings if settings.is_file() else None,
    )


def _from_file(reference: str, path: Path) -> ModelFiles:
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml") and path in bags_in(path.parent):
        return _from_bag(reference, path)
    if suffix not in (".safetensors", *CHECKPOINT_SUFFIXES):
        raise UnknownModelError(f"{path} is not a model: expected .safetensors, {', '.join(CHECKPOINT_SUFFIXES)}.")
    beside = path.with_name(CONFIG_NAME)
    config = read_config(beside) if beside.is_file() else None
    if config is None and suffix == ".safetensors" and not says_how_made(path):
        raise UnknownModelError(f"{path} needs its {CONFIG_NAME} beside it, which is missing.")
    pin = _pin_of(config, path.name) if config is not None and suffix == ".safetensors" else None
    found = _verified(reference, path, path, config, pin, "Copy it again from where it came.")
    return replace(found, settings=settings_beside(path) if suffix in CHECKPOINT_SUFFIXES else None)


def _unknown(reference: str) -> UnknownModelError:
    if re.search(r"[/\\]|^~", reference) or reference.lower().endswith((*CHECKPOINT_SUFFIXES, ".safetensors")):
        hint = f" Did you mean hf:{reference}?" if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", reference) else ""
        return UnknownModelError(f"There is no file or folder {reference}.{hint}")
    near = difflib.get_close_matches(reference, model_names(), n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return UnknownModelError(f"There is no model {reference}.{hint} `stemsplit models list` shows all names.")
