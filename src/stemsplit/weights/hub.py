"""`hf:OWNER/REPO[@REV][:SUBFOLDER]` → a folder on disk, through huggingface_hub.

Only a model's own files are fetched: config.json, its weights and README.md, or one lone checkpoint with the
YAML beside it. huggingface_hub checks lengths, not contents, so every file is hashed here against what the
repository's listing and config.json say. What was checked is recorded, and serves offline runs.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from stemsplit.errors import DownloadError, HashError, ModelError, UnknownModelError
from stemsplit.machine.disk import sha256_of
from stemsplit.weights.cache import cache_dir, make_folder, read_record, require_space, write_record
from stemsplit.weights.card import CONFIG_NAME, read_config, weights_name
from stemsplit.weights.download import Progress
from stemsplit.weights.hub_client import endpoint_of, persistent, quiet_bars, reporting, translated, within

ASK_SECONDS = 5.0
"""How long the Hub may take to say what a repository holds; HF_HUB_ETAG_TIMEOUT replaces it."""

logger = logging.getLogger(__name__)
LONE_SUFFIXES = (".ckpt", ".pth", ".pt")


@dataclass(frozen=True)
class HubReference:
    """The parts of an `hf:` reference."""

    repository: str  # OWNER/REPO
    revision: str  # branch, tag or commit
    subfolder: str  # "" is the root; may also name one file

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"hf:{self.repository}{revision}{':' if self.subfolder else ''}{self.subfolder}"


@dataclass(frozen=True)
class Snapshot:
    """Checked files of one commit of a repository."""

    path: Path  # the folder with config.json, or the lone weights file
    repository: str
    revision: str  # commit, 40 hexadecimal digits
    sha256: str  # of the weights


@dataclass(frozen=True)
class _Entry:
    """A file of the repository, as its listing describes it."""

    name: str  # path inside the repository
    size: int | None
    sha256: str | None  # of files kept in LFS
    blob: str | None  # git's object id: SHA-1 of small files


@dataclass(frozen=True)
class _Listing:
    """What one commit holds."""

    revision: str
    entries: dict[str, _Entry]


_REFERENCE = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:@\s]+))?(?::(?P<subfolder>.+))?")


def parse(reference: str) -> HubReference:
    """Split an `hf:` reference.

    Raises: UnknownModelError.
    """
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise UnknownModelError(f"{reference} is not of the form hf:OWNER/REPO[@REVISION][:SUBFOLDER].")
    subfolder = (match["subfolder"] or "").strip("/")
    if "\\" in subfolder or ".." in PurePosixPath(subfolder).parts:
        raise UnknownModelError(f"{reference}: the subfolder must be a path inside the repository.")
    return HubReference(match["repo"], match["revision"] or "main", subfolder)


def fetch(
    reference: str, *, offline: bool = False, progress: Progress | None = None, endpoint: str | None = None
) -> Snapshot:
    """Bring the model that `reference` names onto the disk and check it.

    A commit that is on disk already costs no request; a branch is asked for its newest commit, and if the Hub
    cannot be reached the one fetched last serves. HF_HUB_OFFLINE counts as `offline`; `endpoint` replaces
    HF_ENDPOINT, which replaces huggingface.co.
    Raises: UnknownModelError (no such repository, revision or folder), DownloadError, HashError, ModelError.
    """
    wanted = parse(reference)
    kept = _kept(wanted)
    if kept and (offline or kept.revision == wanted.revision):
        return kept
    if offline or _hub_is_off():
        if kept:
            return kept
        raise DownloadError(
            f"{wanted} is not in the cache and downloads are off. Run once while online: "
            f"stemsplit models download {wanted}"
        )
    try:
        listing = _ask(wanted, endpoint)
    except DownloadError as error:
        if kept is None:
            raise
        logger.info("%s Using commit %s, which is on disk.", error, kept.revision)
        return kept
    if kept and kept.revision == listing.revision:
        return kept
    return _fetch(wanted, listing, progress, endpoint)


def hub_folder() -> Path:
    """Where the snapshots lie, in huggingface_hub's own layout."""
    return cache_dir() / "hub"


def _hub_is_off() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


# ---- what is on disk ----


def _record_path(wanted: HubReference) -> Path:
    key = hashlib.sha256(str(wanted).encode()).hexdigest()[:16]
    return hub_folder() / "checked" / f"{wanted.repository.replace('/', '--')}-{key}.json"


def _kept(wanted: HubReference) -> Snapshot | None:
    """The snapshot that this reference led to last, if its files are still whole."""
    record = read_record(_record_path(wanted))
    try:
        path, sizes = hub_folder() / record["path"], record["sizes"]
        root = path if record["is_folder"] else path.parent
        if any((root / name).stat().st_size != size for name, size in sizes.items()):
            return None
        return Snapshot(path, wanted.repository, record["revision"], record["sha256"])
    except (KeyError, TypeError, AttributeError, OSError):
        return None


def _keep(wanted: HubReference, snapshot: Snapshot, files: list[Path]) -> None:
    path = _record_path(wanted)
    make_folder(path.parent)
    write_record(
        path,
        {
            "reference": str(wanted),
            "revision": snapshot.revision,
            "path": snapshot.path.relative_to(hub_folder()).as_posix(),
            "is_folder": snapshot.path.is_dir(),
            "sha256": snapshot.sha256,
            "sizes": {file.name: file.stat().st_size for file in files},
        },
    )


# ---- what the Hub has ----


def _ask(wanted: HubReference, endpoint: str | None) -> _Listing:
    """The commit and files behind a reference, in one request with a time limit."""
    from huggingface_hub import HfApi, ModelInfo
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(endpoint=endpoint_of(endpoint), library_name="stemsplit")
    patience = _patience()

    def ask() -> ModelInfo:
        name, revision = wanted.repository, wanted.revision
        return api.model_info(name, revision=revision, files_metadata=True, timeout=patience)

    with translated(str(wanted), wanted.repository, endpoint):
        try:
            info = within(patience, ask)
            entries = {entry.name: entry for entry in map(_entry, info.siblings or [])}
        except (HfHubHTTPError, HFValidationError):
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _no_hub(wanted, endpoint) from error
    if not info.sha or not re.fullmatch(r"[0-9a-f]{40}", info.sha):
        raise _no_hub(wanted, endpoint)
    return _Listing(info.sha, entries)


def _patience() -> float:
    """Seconds."""
    try:
        return float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or ASK_SECONDS)
    except ValueError:
        return ASK_SECONDS


def _no_hub(wanted: HubReference, endpoint: str | None) -> DownloadError:
    return DownloadError(
        f"{wanted}: {endpoint_of(endpoint)} does not answer like a Hub. "
        "Check HF_ENDPOINT; on an open wireless network, log in first."
    )


def _entry(sibling: Any) -> _Entry:
    lfs = sibling.lfs or {}
    return _Entry(sibling.rfilename, sibling.size, lfs.get("sha256"), None if lfs else sibling.blob_id)


def _fetch(wanted: HubReference, listing: _Listing, progress: Progress | None, endpoint: str | None) -> Snapshot:
    def bring(name: str, pin: str | None = None, report: Progress | None = None) -> _Fetched:
        return _bring(_Request(wanted, listing, endpoint), name, pin, report)

    folder, lone = _place(wanted, listing)
    if lone:
        others = [bring(name) for name in listing.entries if _is_yaml_beside(name, lone)]
        weights = bring(lone, None, progress)
    else:
        names = [f"{folder}{name}" for name in (CONFIG_NAME, "README.md")]
        others = [bring(name) for name in names if name in listing.entries]
        config = read_config(others[0].path)
        name = folder + weights_name(config, str(wanted))
        if name not in listing.entries:
            raise ModelError(f"{wanted}: {CONFIG_NAME} names {name}, which the repository does not hold.")
        weights = bring(name, config.get("weights", {}).get("sha256"), progress)
    path = weights.path if lone else weights.path.parent
    snapshot = Snapshot(path, wanted.repository, listing.revision, weights.sha256)
    for reference in {wanted, replace(wanted, revision=listing.revision)}:
        _keep(reference, snapshot, [file.path for file in (*others, weights)])
    return snapshot


def _is_yaml_beside(name: str, other: str) -> bool:
    return name.endswith((".yaml", ".yml")) and PurePosixPath(name).parent == PurePosixPath(other).parent


def _place(wanted: HubReference, listing: _Listing) -> tuple[str, str | None]:
    """Where the model lies: (folder as a prefix, None), or ("", the one checkpoint)."""
    names, sub = listing.entries, wanted.subfolder
    if sub in names:
        if sub.lower().endswith(LONE_SUFFIXES):
            return "", sub
        raise UnknownModelError(f"{wanted}: {sub} is not a checkpoint. Name its folder, or leave it out.")
    prefix = f"{sub}/" if sub else ""
    if f"{prefix}{CONFIG_NAME}" in names:
        return prefix, None
    here = [name for name in names if name.startswith(prefix)]
    lone = [name for name in here if name.lower().endswith(LONE_SUFFIXES) and "/" not in name[len(prefix) :]]
    if len(lone) == 1:
        return "", lone[0]
    raise UnknownModelError(_no_model(wanted, here, lone))


def _no_model(wanted: HubReference, here: list[str], lone: list[str]) -> str:
    base = HubReference(wanted.repository, wanted.revision, "")
    if not here and wanted.subfolder:
        return f"{base} has no folder or file {wanted.subfolder}."
    if lone:
        return f"{wanted} holds {len(lone)} checkpoints: name one, as in {base}:{sorted(lone)[0]}"
    inside = sorted(name for name in here if name.endswith((CONFIG_NAME, *LONE_SUFFIXES)))
    hint = f" It may be {base}:{str(PurePosixPath(inside[0])).removesuffix('/' + CONFIG_NAME)}." if inside else ""
    return f"{wanted} holds no model: it has no {CONFIG_NAME} and no checkpoint.{hint}"


@dataclass(frozen=True)
class _Request:
    wanted: HubReference
    listing: _Listing
    endpoint: str | None


@dataclass(frozen=True)
class _Fetched:
    path: Path
    sha256: str


def _bring(request: _Request, name: str, pin: str | None, progress: Progress | None) -> _Fetched:
    """One file of the commit, on disk and checked. A damaged copy of an earlier run is fetched once more."""
    path = _on_disk(request, name)
    fetched = path is None
    path = path or _download(request, name, progress)
    problem, sha256 = _damage(path, request.listing.entries[name], pin)
    if problem and not fetched:
        _drop(path)
        path = _download(request, name, progress)
        problem, sha256 = _damage(path, request.listing.entries[name], pin)
    if problem:
        _drop(path)
        raise HashError(
            f"{request.wanted}: {name} {problem}. It was changed or damaged on its way, and not kept. "
            f"Try again, or ask the owner of {request.wanted.repository}."
        )
    return _Fetched(path, sha256)


def _on_disk(request: _Request, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(
        request.wanted.repository, name, cache_dir=hub_folder(), revision=request.listing.revision
    )
    return Path(path) if isinstance(path, str) else None


def _download(request: _Request, name: str, progress: Progress | None) -> Path:
    from huggingface_hub import hf_hub_download

    wanted, size = request.wanted, request.listing.entries[name].size
    require_space(make_folder(hub_folder()), size or 0)
    reports = reporting(hf_hub_download, progress, size)

    def attempt() -> str:
        with translated(f"{wanted}: {name}", wanted.repository, request.endpoint), quiet_bars():
            return hf_hub_download(
                wanted.repository,
                name,
                revision=request.listing.revision,
                cache_dir=hub_folder(),
                endpoint=endpoint_of(request.endpoint),
                etag_timeout=_patience(),
                **reports,
            )

    path = Path(persistent(attempt))
    if progress and not reports:
        progress(path.stat().st_size, size)
    return path


def _damage(path: Path, entry: _Entry, pin: str | None) -> tuple[str | None, str]:
    """(what is wrong with a file, in words, None if nothing; its SHA-256)."""
    found = sha256_of(path)
    if entry.blob and _git_blob(path) != entry.blob:
        return f"is not what the repository lists (git object {entry.blob})", found
    for expected, by in ((entry.sha256, "the repository"), (pin, CONFIG_NAME)):
        if expected and found != expected:
            return f"has SHA-256 {found}, but {by} says {expected}", found
    return None, found


def _git_blob(path: Path) -> str:
    """git's name for a file's content: SHA-1 over a header and the bytes."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _drop(path: Path) -> None:
    """Remove a file of a snapshot together with the blob that its link leads to."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)
