"""A model reference → files on disk. No torch here: `checkpoint` reads what this module finds.

A reference is one of
    ts-bsmamba2-mini                  a name of the catalog: a folder of models/ that ships with stemsplit
    runs/mine, weights.ckpt           a folder or a file
    hf:OWNER/REPO[@REV][:SUBFOLDER]   a repository of the Hugging Face Hub (or :FILE of one)
    https://host/weights.ckpt         an address, optionally with #sha256=HEX
                                      (a .safetensors needs its config.json beside it)

A catalog name wins over a folder of the same name; `./name` is always the folder.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urldefrag, urlsplit, urlunsplit

from stemsplit.errors import HashError, ModelError, UnknownModelError
from stemsplit.machine.disk import sha256_of
from stemsplit.weights import hub
from stemsplit.weights.cache import cache_dir
from stemsplit.weights.card import CONFIG_NAME, WEIGHTS_NAME, ModelCard, read_card, read_config, weights_file
from stemsplit.weights.download import Progress, download, is_cached, require_safe

DEFAULT_MODEL = "ts-bsmamba2-mini"
DEFAULT_MELODY_MODEL = "melody-cnn"
CHECKPOINT_SUFFIXES = (".ckpt", ".pth", ".pt")
"""Files written by torch.save: pickles, to be converted once."""


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk.

    `path` is what to load: a folder with config.json and safetensors, or one weights file. `config` is the
    config.json that describes a lone weights file, None where its own tensors have to tell. `sha256` is the
    expected hash of the weights, where one is known; for files from a network it was checked on arrival.
    """

    path: Path
    reference: str
    config: Path | None = None
    sha256: str | None = None
    revision: str | None = None  # of a Hub repository: the commit
    source: str | None = None  # the URL or repository that the weights came from

    @property
    def needs_conversion(self) -> bool:
        """Whether this is a pickle, which `converted_folder` should hold as safetensors."""
        return self.path.suffix.lower() in CHECKPOINT_SUFFIXES


def locate(
    reference: str | Path,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    endpoint: str | None = None,
) -> ModelFolder:
    """Find or fetch the model that `reference` names.

    `endpoint` replaces the Hub's address for `hf:` references. `offline` takes what is on disk.
    Raises: UnknownModelError, DownloadError, HashError, OutputError (cache not writable), ModelError.
    """
    reference = str(reference)
    if reference.startswith("hf:"):
        return _from_hub(reference, offline, progress, endpoint)
    if "://" in reference:
        return _from_url(reference, offline, progress)
    if (folder := models_dir() / reference).is_dir() and reference in model_names():
        return _from_described(reference, folder, offline, progress)
    if not reference.strip():
        raise UnknownModelError("The model reference is empty. `stemsplit models list` shows the names.")
    path = Path(reference).expanduser()
    if path.is_dir():
        return _from_folder(reference, path, offline, progress)
    if path.is_file():
        return _from_file(reference, path)
    raise _unknown(reference)


def models_dir() -> Path:
    """The folder of the models that ship: stemsplit/models in a wheel, models/ in the repository."""
    package = Path(__file__).parents[1]
    inside = package / "models"
    return inside if inside.is_dir() else package.parents[1] / "models"


def model_names() -> list[str]:
    """The catalog's names, sorted."""
    return sorted(config.parent.name for config in models_dir().glob(f"*/{CONFIG_NAME}"))


def list_models() -> list[ModelCard]:
    """Every model of the catalog, by name."""
    return [card(name) for name in model_names()]


def card(name: str) -> ModelCard:
    """What is known of a catalog model. For any other model use `read_card` on its folder.

    Raises: UnknownModelError.
    """
    if name not in model_names():
        raise _unknown(name)
    found = read_card(models_dir() / name)
    if not found.url:
        return found
    return replace(found, local="cached" if is_cached(_url_target(found.url)) else "to download")


def converted_folder(files: ModelFolder) -> Path:
    """Where the cache keeps (or will keep) `files` as safetensors and config: one place per content.

    `files` is a lone weights file; the place depends on its SHA-256 and on the config that goes with it.
    """
    digest = files.sha256 or sha256_of(files.path)
    if files.config:
        digest = hashlib.sha256(digest.encode() + files.config.read_bytes()).hexdigest()
    return cache_dir() / "converted" / f"{files.path.stem}-{digest[:16]}"


def verify(files: ModelFolder) -> str:
    """Hash the weights on disk now, compare, and return their SHA-256.

    Raises: HashError, ModelError (the weights are missing).
    """
    path = files.path
    if path.is_dir():
        path = weights_file(path)
    if not path.is_file():
        raise ModelError(f"{path} is missing: {files.reference} has no weights.")
    found = sha256_of(path)
    if files.sha256 and found != files.sha256:
        raise HashError(
            f"{path} has SHA-256 {found}, but {files.sha256} is expected: damaged or changed. "
            f"Delete it and run: stemsplit models download {files.reference}"
        )
    return found


def _from_hub(reference: str, offline: bool, progress: Progress | None, endpoint: str | None) -> ModelFolder:
    snapshot = hub.fetch(reference, offline=offline, progress=progress, endpoint=endpoint)
    found = ModelFolder(snapshot.path, reference)
    if snapshot.path.is_dir():
        found = _on_disk(reference, snapshot.path)
    return replace(found, sha256=snapshot.sha256, revision=snapshot.revision, source=f"hf:{snapshot.repository}")


def _from_described(reference: str, folder: Path, offline: bool, progress: Progress | None) -> ModelFolder:
    """A folder with a config.json: its weights lie there, or the config says where they come from."""
    about = read_card(folder)
    if about.local == "shipped":
        return _on_disk(reference, folder)
    config = folder / CONFIG_NAME
    if not about.url:
        raise ModelError(f"{reference}: {weights_file(folder)} is missing, and {config} states no URL for it.")
    target = _url_target(about.url)
    found = download(about.url, target, sha256=about.sha256, offline=offline, progress=progress)
    return ModelFolder(found.path, reference, config, found.sha256, source=about.url)


def _on_disk(reference: str, folder: Path) -> ModelFolder:
    """A folder whose weights are there; a pickle among them is named itself, so that it gets converted."""
    weights, config = weights_file(folder), folder / CONFIG_NAME
    path = weights if weights.suffix.lower() in CHECKPOINT_SUFFIXES else folder
    return ModelFolder(path, reference, config, _pin_in(config, weights.name))


def _url_target(url: str) -> Path:
    """Where the cache keeps the file of a URL. Siblings of one remote folder share one folder here."""
    parts = urlsplit(url)
    remote_name = unquote(PurePosixPath(parts.path).name)
    name = re.sub(r"[^\w.+-]", "_", remote_name)[-100:].lstrip(".")
    if name != remote_name:  # two names must not become one
        name = f"{hashlib.sha256(remote_name.encode()).hexdigest()[:8]}-{name}"
    remote_folder = urlunsplit(parts._replace(path=str(PurePosixPath(parts.path).parent), fragment=""))
    return cache_dir() / "downloads" / hashlib.sha256(remote_folder.encode()).hexdigest()[:16] / name


def _from_url(reference: str, offline: bool, progress: Progress | None) -> ModelFolder:
    url, fragment = urldefrag(reference)
    require_safe(url)
    pin = _pin(reference, fragment)
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    if suffix not in (*CHECKPOINT_SUFFIXES, ".safetensors"):
        raise UnknownModelError(
            f"{url} does not end in .safetensors, {', '.join(CHECKPOINT_SUFFIXES)}: "
            "give the address of the weights file itself."
        )
    config = None
    if suffix == ".safetensors":
        config = _download_config(url, offline)
        pin = pin or _pin_in(config, PurePosixPath(urlsplit(url).path).name)
    found = download(url, _url_target(url), sha256=pin, offline=offline, progress=progress)
    return ModelFolder(found.path, reference, config, found.sha256, source=url)


def _pin(reference: str, fragment: str) -> str | None:
    if not fragment:
        return None
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if not match:
        raise UnknownModelError(f"{reference}: after # only sha256= and 64 hexadecimal digits are understood.")
    return match[1].lower()


def _download_config(url: str, offline: bool) -> Path:
    parts = urlsplit(url)
    sibling = urlunsplit(parts._replace(path=str(PurePosixPath(parts.path).with_name(CONFIG_NAME))))
    path = download(sibling, _url_target(sibling), offline=offline).path
    read_config(path)
    return path


def _pin_in(config: Path, file_name: str) -> str | None:
    """The hash that `config` states for a weights file, if it speaks of that file."""
    weights = read_config(config).get("weights", {})
    return weights.get("sha256") if weights.get("file", WEIGHTS_NAME) == file_name else None


def _from_folder(reference: str, folder: Path, offline: bool, progress: Progress | None) -> ModelFolder:
    if (folder / CONFIG_NAME).is_file():
        return _from_described(reference, folder, offline, progress)
    lone = sorted(path for path in folder.iterdir() if path.suffix.lower() in CHECKPOINT_SUFFIXES)
    if len(lone) == 1:
        return _from_file(reference, lone[0])
    if lone:
        names = ", ".join(path.name for path in lone[:5])
        raise UnknownModelError(f"{folder} holds {len(lone)} checkpoints ({names}): name one of them.")
    raise UnknownModelError(f"{folder} holds no model: it has no {CONFIG_NAME} and no checkpoint.")


def _from_file(reference: str, path: Path) -> ModelFolder:
    suffix = path.suffix.lower()
    config = path.with_name(CONFIG_NAME) if path.with_name(CONFIG_NAME).is_file() else None
    if suffix == ".safetensors":
        if config is None:
            raise UnknownModelError(f"{path} needs its {CONFIG_NAME} beside it, which is missing.")
        return ModelFolder(path, reference, config, _pin_in(config, path.name))
    if suffix in CHECKPOINT_SUFFIXES:
        return ModelFolder(path, reference, config)
    raise UnknownModelError(f"{path} is not a model: expected .safetensors, {', '.join(CHECKPOINT_SUFFIXES)}.")


def _unknown(reference: str) -> UnknownModelError:
    if re.search(r"[/\\]|^~", reference) or reference.lower().endswith((*CHECKPOINT_SUFFIXES, ".safetensors")):
        hint = f" Did you mean hf:{reference}?" if re.fullmatch(r"[\w.-]+/[\w.-]+", reference) else ""
        return UnknownModelError(f"There is no file or folder {reference}.{hint}")
    near = difflib.get_close_matches(reference, model_names(), n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return UnknownModelError(f"There is no model {reference}.{hint} `stemsplit models list` shows all names.")
