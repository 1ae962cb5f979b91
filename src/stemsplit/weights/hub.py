"""`hf:OWNER/REPO[@REV][:SUBFOLDER]` → a folder on disk.

Only a model's own files are fetched: config.json, its weights and README.md, or one lone checkpoint with the YAML
beside it. Every file is checked against what the repository's listing and config.json say. What was checked is
recorded, and serves offline runs.

    <cache>/hub/OWNER--REPO/COMMIT/…      the files, as they lie in the repository
    <cache>/hub/checked/                  which commit a reference led to
"""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

from stemsplit.errors import DownloadError, HashError, ModelError, UnknownModelError
from stemsplit.machine.disk import sha256_of
from stemsplit.weights.cache import cache_dir, make_folder, read_record, require_space, write_record
from stemsplit.weights.card import CONFIG_NAME, read_config, weights_name
from stemsplit.weights.download import Download, Progress, discard, download
from stemsplit.weights.hub_client import endpoint_of, translated, within

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
    fetched: bool = field(default=True, compare=False)  # now, and so hashed just now


class _Listing(NamedTuple):
    """What one commit holds: path inside the repository → huggingface_hub's RepoSibling (size, blob_id, lfs)."""

    revision: str
    entries: dict[str, Any]


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
    """Return where the files of repositories lie."""
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
        return Snapshot(path, wanted.repository, record["revision"], record["sha256"], fetched=False)
    except (KeyError, TypeError, AttributeError, OSError):
        return None


def _keep(wanted: HubReference, snapshot: Snapshot, files: list[Path]) -> None:
    record = {
        "reference": str(wanted),
        "revision": snapshot.revision,
        "path": snapshot.path.relative_to(hub_folder()).as_posix(),
        "is_folder": snapshot.path.is_dir(),
        "sha256": snapshot.sha256,
        "sizes": {file.name: file.stat().st_size for file in files},
    }
    write_record(_record_path(wanted), record)


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
            entries = {entry.rfilename: entry for entry in info.siblings or []}
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


def _fetch(wanted: HubReference, listing: _Listing, progress: Progress | None, endpoint: str | None) -> Snapshot:
    bring = partial(_bring, wanted, listing, endpoint)
    folder, lone = _place(wanted, listing)
    if lone:
        others = [bring(name) for name in listing.entries if _is_yaml_beside(name, lone)]
        weights = bring(lone, progress=progress)
    else:
        names = [f"{folder}{name}" for name in (CONFIG_NAME, "README.md")]
        others = [bring(name) for name in names if name in listing.entries]
        config = read_config(others[0].path)
        name = folder + weights_name(config, str(wanted))
        if name not in listing.entries:
            raise ModelError(f"{wanted}: {CONFIG_NAME} names {name}, which the repository does not hold.")
        weights = bring(name, pin=config.get("weights", {}).get("sha256"), progress=progress)
    path = weights.path if lone else weights.path.parent
    snapshot = Snapshot(path, wanted.repository, listing.revision, weights.sha256)
    for reference in {wanted, replace(wanted, revision=listing.revision)}:
        _keep(reference, snapshot, [file.path for file in (*others, weights)])
    return snapshot


def _bring(
    wanted: HubReference,
    listing: _Listing,
    endpoint: str | None,
    name: str,
    *,
    pin: str | None = None,
    progress: Progress | None = None,
) -> Download:
    """Return one file of the commit, on disk and checked against the listing and `pin`. Raises: HashError."""
    from huggingface_hub import get_token

    entry = listing.entries[name]
    listed = entry.lfs.get("sha256") if entry.lfs else None  # of a large file; small ones are listed as git objects
    if pin and listed and pin != listed:
        raise HashError(
            f"{wanted}: the repository lists {name} with SHA-256 {listed}, but {CONFIG_NAME} says {pin}. "
            f"Ask the owner of {wanted.repository}."
        )
    commits = hub_folder() / wanted.repository.replace("/", "--")
    target = commits / listing.revision / name
    require_space(make_folder(target.parent), entry.size or 0)
    if listed and not target.exists():
        _link_twin(commits, name, listed, target)
    url = f"{endpoint_of(endpoint)}/{wanted.repository}/resolve/{listing.revision}/{quote(name)}"
    found = download(url, target, sha256=pin or listed, token=get_token(), progress=progress)
    if not entry.lfs and _git_blob(found.path) != entry.blob_id:
        discard(found.path)
        raise HashError(
            f"{url} is not what the repository lists (git object {entry.blob_id}). "
            "It was changed or damaged on its way, and not kept; try again later."
        )
    return found


def _link_twin(commits: Path, name: str, sha256: str, target: Path) -> None:
    """Take a large file from another commit where it is the same, if this file system can link."""
    for twin in commits.glob(f"*/{glob.escape(name)}"):
        if sha256_of(twin) == sha256:
            with suppress(OSError):
                target.hardlink_to(twin)
            return


def _git_blob(path: Path) -> str:
    """Return git's name for a file's content: SHA-1 over a header and the bytes."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


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
