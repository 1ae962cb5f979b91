"""`hf:OWNER/REPO[@REV][:SUBFOLDER]` → a folder on disk.

Only a model's own files are fetched: config.json, its weights and README.md; or a trainer's checkpoints and settings;
or one lone checkpoint with the YAML beside it. Every file is checked against what the repository's listing and
config.json say. What was checked is recorded, and serves offline runs.

    <cache>/hub/models--OWNER--REPO/snapshots/COMMIT/…   links to the files, named as in the repository
    <cache>/hub/models--OWNER--REPO/blobs/HASH           the files; commits share those that they have in common
    <cache>/hub/checked/                                 which commit a reference led to

This is huggingface_hub's own layout, so that other programs can use the files too.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from stemsplit import __version__
from stemsplit.errors import DownloadError, HashError, ModelError
from stemsplit.machine.disk import partial_path, sha256_of
from stemsplit.weights.cache import cache_dir, make_folder, read_record, require_space, write_record, writing
from stemsplit.weights.card import CONFIG_NAME, ModelCard, read_config, weights_name
from stemsplit.weights.download import Download, discard, fetch_file
from stemsplit.weights.hub_client import endpoint_of, translated
from stemsplit.weights.hub_place import HubReference, parse, place, place_of
from stemsplit.weights.transfer import Progress, within

ASK_SECONDS = 5.0
"""How long the Hub may take to say what a repository holds; HF_HUB_ETAG_TIMEOUT replaces it."""

LONGEST_NAME = 200
"""Bytes of a file's name: room is needed for what is appended to it."""
LONGEST_PATH = 500
"""Letters of a path inside a repository."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """Checked files of one commit of a repository."""

    path: Path  # the folder with config.json or a trainer's settings, or the lone weights file
    repository: str
    revision: str  # commit, 40 hexadecimal digits
    sha256: str  # of the weights; of the first file of several
    fetched: bool = field(default=True, compare=False)  # now, and so hashed just now


class _Entry(NamedTuple):
    """What a listing says of a file. Large files have a SHA-256, small ones git's name for their content."""

    size: int
    sha256: str | None
    blob_id: str | None


class _Listing(NamedTuple):
    """What the commit behind a reference holds."""

    wanted: HubReference
    endpoint: str
    revision: str
    entries: dict[str, _Entry]  # by path inside the repository


def fetch(
    reference: str | HubReference,
    *,
    offline: bool = False,
    check: bool = False,
    progress: Progress | None = None,
    endpoint: str | None = None,
) -> Snapshot:
    """Bring the model that `reference` names onto the disk and check it.

    A commit that is on disk already costs no request; a branch is asked for its newest commit, and if the Hub
    cannot be reached the one fetched last serves. HF_HUB_OFFLINE counts as `offline`; `endpoint` replaces
    HF_ENDPOINT, which replaces huggingface.co. With `check` every file on disk is compared with the Hub's hash, and
    fetched again if it is damaged.
    Raises: UnknownModelError (no such repository, revision or folder), DownloadError, HashError, ModelError.
    """
    wanted = parse(reference) if isinstance(reference, str) else reference
    kept, offline = _kept(wanted), offline or _hub_is_off()
    if kept and (offline or (kept.revision == wanted.revision and not check)):
        return kept
    if offline:
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
    if kept and kept.revision == listing.revision and not check:
        return kept
    return _fetch(listing, progress)


def download_size(asked: ModelCard) -> int | None:
    """Return the bytes that a model of the catalog has to fetch, as its repository says now; None if nobody says.

    Raises: UnknownModelError if the repository has no such model, DownloadError.
    """
    told = read_config(asked.path / CONFIG_NAME).get("weights", {})
    if not told.get("hub"):
        return asked.size
    return size_of(place_of(told))


def size_of(wanted: HubReference, endpoint: str | None = None) -> int:
    """Return the bytes that `fetch` would bring. Raises: UnknownModelError, DownloadError."""
    if _hub_is_off():
        raise DownloadError(f"{wanted} is not in the cache and downloads are off.")
    entries = _ask(wanted, endpoint).entries
    where = place(wanted, entries)
    inside = [name for name in entries if name.startswith(where.folder) and "/" not in name[len(where.folder) :]]
    return sum(entries[name].size for name in ((*where.checkpoints, *where.beside) or inside))


def is_kept(wanted: HubReference) -> bool:
    """Return whether the files of a reference are on disk."""
    return _kept(wanted) is not None


def hub_folder() -> Path:
    """Return where the files of repositories lie, in huggingface_hub's layout."""
    return cache_dir() / "hub"


def _hub_is_off() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


# ---- what is on disk ----


def _record_path(wanted: HubReference) -> Path:
    key = hashlib.sha256(f"{wanted}{wanted.like}".encode()).hexdigest()[:16]
    return hub_folder() / "checked" / f"{wanted.repository.replace('/', '--')}-{key}.json"


def _kept(wanted: HubReference) -> Snapshot | None:
    """Return the snapshot that this reference led to last, if its files are still whole."""
    record = read_record(_record_path(wanted))
    try:
        path, sizes = hub_folder() / record["path"], record["sizes"]
        root = path if record["is_folder"] else path.parent
        if any((root / name).stat().st_size != size for name, size in sizes.items()):
            return None
        return Snapshot(path, wanted.repository, record["revision"], record["sha256"], fetched=False)
    except (KeyError, TypeError, AttributeError, OSError, ValueError):
        return None


def _keep(wanted: HubReference, snapshot: Snapshot, files: list[Path]) -> None:
    root = snapshot.path if snapshot.path.is_dir() else snapshot.path.parent
    record = {
        "reference": str(wanted),
        "revision": snapshot.revision,
        "path": snapshot.path.relative_to(hub_folder()).as_posix(),
        "is_folder": snapshot.path.is_dir(),
        "sha256": snapshot.sha256,
        "sizes": {os.path.relpath(file, root): file.stat().st_size for file in files},
    }
    write_record(_record_path(wanted), record)


# ---- what the Hub has ----


def _ask(wanted: HubReference, endpoint: str | None) -> _Listing:
    """Return what the Hub lists, after one request with a time limit."""
    from huggingface_hub import HfApi, ModelInfo
    from huggingface_hub.errors import HFValidationError

    api, patience = HfApi(endpoint=endpoint_of(endpoint), library_name="stemsplit"), _patience()

    def ask() -> ModelInfo:
        name, revision = wanted.repository, wanted.revision
        return api.model_info(name, revision=revision, files_metadata=True, timeout=patience)

    with translated(str(wanted), wanted.repository, endpoint):
        try:
            info = within(patience, ask)
            if not re.fullmatch("[0-9a-f]{40}", info.sha or ""):
                raise ValueError("no commit")
            entries = {file.rfilename: _entry(file) for file in info.siblings or [] if _is_name(file.rfilename)}
        except HFValidationError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise DownloadError(
                f"{wanted}: {api.endpoint} does not answer like a Hub. "
                "Check HF_ENDPOINT; on an open wireless network, log in first."
            ) from error
    return _Listing(wanted, api.endpoint, str(info.sha), entries)


def _is_name(path: Any) -> bool:
    """Return whether a path can be one inside a folder, on Windows too: it leads nowhere else, and is plain text."""
    if not isinstance(path, str) or not path.isprintable() or re.search(r"[\\:]", path) or len(path) > LONGEST_PATH:
        return False
    return all(part not in ("", ".", "..") and len(part.encode()) <= LONGEST_NAME for part in path.split("/"))


def _entry(file: Any) -> _Entry:
    """Read huggingface_hub's RepoSibling. Raises: ValueError, TypeError."""
    size, sha256, blob_id = file.size or 0, file.lfs["sha256"] if file.lfs else None, file.blob_id
    if not isinstance(size, int) or size < 0 or not re.fullmatch("[0-9a-f]{64}", sha256 or "0" * 64):
        raise ValueError("a size or hash that is none")
    return _Entry(size, sha256, blob_id if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", blob_id or "") else None)


def _patience() -> float:
    """Return how many seconds the Hub may take."""
    try:
        return float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or ASK_SECONDS)
    except ValueError:
        return ASK_SECONDS


# ---- from the Hub to the disk ----


def _fetch(listing: _Listing, progress: Progress | None) -> Snapshot:
    wanted, entries = listing.wanted, listing.entries
    where = place(wanted, entries)
    if where.checkpoints:
        others = [_bring(listing, name)[0] for name in where.beside]
        pickles = [_bring(listing, name, progress=progress) for name in where.checkpoints]
        path, sha256 = pickles[0]
        root = others[0].parent if where.together else path
        others += [other for other, _ in pickles[1:]]
    else:
        names = [f"{where.folder}{name}" for name in (CONFIG_NAME, "README.md")]
        others = [_bring(listing, name)[0] for name in names if name in entries]
        config = read_config(others[0])
        name = where.folder + weights_name(config, str(wanted))
        if name not in entries:
            raise ModelError(f"{wanted}: {CONFIG_NAME} names {name}, which the repository does not hold.")
        path, sha256 = _bring(listing, name, pin=config.get("weights", {}).get("sha256"), progress=progress)
        root = path.parent
    snapshot = Snapshot(root, wanted.repository, listing.revision, sha256)
    for reference in {wanted, replace(wanted, revision=listing.revision)}:
        _keep(reference, snapshot, [*others, path])
    return snapshot


def _bring(
    listing: _Listing, name: str, *, pin: str | None = None, progress: Progress | None = None
) -> tuple[Path, str]:
    """Return (path, SHA-256) of one file of the commit, on disk and checked. Raises: HashError, DownloadError."""
    entry, wanted = listing.entries[name], listing.wanted
    listed = entry.sha256
    if pin and listed and pin != listed:
        raise HashError(
            f"{wanted}: the repository lists {name} with SHA-256 {listed}, but {CONFIG_NAME} says {pin}. "
            f"Ask the owner of {wanted.repository}."
        )
    folder = hub_folder() / f"models--{wanted.repository.replace('/', '--')}"
    place = folder / "snapshots" / listing.revision / name
    key = listed or entry.blob_id
    blob = folder / "blobs" / key if key else place  # some mirrors list no hashes
    if blob.is_file() and _differs(blob, entry):
        discard(blob)  # damaged since, and so fetched again
    found = _download(listing, name, blob, pin or listed, progress)
    if not listed and _differs(blob, entry):
        discard(blob)
        raise HashError(
            f"{found.url} is not what the repository lists (git object {entry.blob_id}). "
            "It was changed or damaged on its way, and not kept; try again later."
        )
    _link(place, blob)
    return place, found.sha256


def _download(listing: _Listing, name: str, blob: Path, sha256: str | None, progress: Progress | None) -> Download:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined, unused-ignore]

    repository = listing.wanted.repository
    url = hf_hub_url(repository, name, revision=listing.revision, endpoint=listing.endpoint)
    headers = build_hf_headers(library_name="stemsplit", library_version=__version__)  # with the user's token
    if not blob.is_file():
        require_space(make_folder(blob.parent), listing.entries[name].size)
    with translated(f"{listing.wanted}: {name}", repository, listing.endpoint):
        return fetch_file(url, blob, sha256=sha256, check=True, headers=headers, progress=progress)


def _differs(path: Path, entry: _Entry) -> bool:
    """Return whether a file has another hash than the repository lists: a SHA-256, or git's name for its content."""
    if entry.sha256:
        return sha256_of(path) != entry.sha256
    data = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return entry.blob_id not in (None, git)


def _link(place: Path, blob: Path) -> None:
    """Make `place` lead to `blob`; where links are not allowed, as often on Windows, it becomes a copy."""
    if place.exists() and place.samefile(blob):
        return
    make_folder(place.parent)
    partial = partial_path(place)
    with writing(place):
        try:
            partial.symlink_to(os.path.relpath(blob, place.parent))
        except OSError:
            shutil.copyfile(blob, partial)
        partial.replace(place)
