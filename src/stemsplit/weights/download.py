"""One URL → one file in the cache: fetched once, whole or not at all, with the SHA-256 that it always had.

Beside `<file>` lie `<file>.json` (URL, size and SHA-256 as first seen) and `<file>.lock`; while it comes,
`<file>.partial` and `<file>.partial.json`.

Where no SHA-256 is known in advance, the one of the first download is recorded, and every later download of
the same URL must match it (trust on first use).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

from stemsplit.errors import DownloadError, HashError, UnknownModelError
from stemsplit.machine.disk import put_in_place, sha256_of
from stemsplit.weights.cache import cache_dir, cache_lock, read_record, write_record, writing
from stemsplit.weights.transfer import Progress, forget, require_safe, transfer


@dataclass(frozen=True)
class Download:
    """A file that is on disk now."""

    path: Path
    url: str
    size: int  # bytes
    sha256: str  # hexadecimal
    fetched: bool  # False: it was in the cache


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    offline: bool = False,
    check: bool = False,
    progress: Progress | None = None,
) -> Download:
    """Fetch `url` to `target`, or take the copy that is there.

    `sha256` is the expected hash; without it the hash recorded at the first download counts. With `check` a copy is
    hashed, and fetched again if it is damaged; else its size is compared.
    Raises: UnknownModelError (no URL that we fetch), DownloadError, HashError, OutputError (the cache).
    """
    require_safe(url)
    if not offline:
        return fetch_file(url, target, sha256=sha256, check=check, progress=progress)
    if cached := _cached(url, target, sha256):
        return cached
    raise DownloadError(
        f"{url} is not in the cache and downloads are off. Fetch it once while online, or put the file at {target}."
    )


def target_of(url: str) -> Path:
    """Return where the cache keeps the file of a URL. Siblings of one remote folder share one folder here."""
    parts = urlsplit(url)
    remote_name = unquote(PurePosixPath(parts.path).name)
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", remote_name)[-100:].lstrip(".")
    if name != remote_name:  # two names must not become one
        name = f"{hashlib.sha256(remote_name.encode()).hexdigest()[:8]}-{name}"
    remote_folder = urlunsplit(parts._replace(path=str(PurePosixPath(parts.path).parent), fragment=""))
    return cache_dir() / "downloads" / hashlib.sha256(remote_folder.encode()).hexdigest()[:16] / name


def pin_in(reference: str, fragment: str) -> str | None:
    """Return the SHA-256 that is given behind an address, if one is. Raises: UnknownModelError."""
    if not fragment:
        return None
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if not match:
        raise UnknownModelError(f"{reference}: after # only sha256= and 64 hexadecimal digits are understood.")
    return match[1].lower()


def fetch_file(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    check: bool = False,
    headers: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Download:
    """Do what `download` does online, for any address and with `headers`, as `transfer` takes them."""
    if cached := _cached(url, target, sha256, check):
        return cached
    with cache_lock(target.with_name(f"{target.name}.lock")) as exclusive:
        if cached := _cached(url, target, sha256, check):  # another process has fetched it meanwhile
            return cached
        if exclusive:
            return _fetch(url, target, target.with_name(f"{target.name}.partial"), sha256, headers or {}, progress)
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
        try:
            return _fetch(url, target, partial, sha256, headers or {}, progress, kept=False)
        finally:
            forget(partial)  # nobody will look for it


def is_cached(target: Path) -> bool:
    """Return whether `download` would find `target` whole. Compares sizes only."""
    record = read_record(_record(target))
    return target.is_file() and record.get("size", target.stat().st_size) == target.stat().st_size


def discard(target: Path) -> None:
    """Remove a download and its record, for example since it turned out to be the wrong file."""
    target.unlink(missing_ok=True)
    _record(target).unlink(missing_ok=True)


def _record(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _cached(url: str, target: Path, sha256: str | None, check: bool = False) -> Download | None:
    """Return the copy on disk, if it is whole and the expected one. One put there by hand gets its record here."""
    if not target.is_file():
        return None
    record = read_record(_record(target))
    size = target.stat().st_size
    if not record:
        record = {"url": url, "size": size, "sha256": sha256_of(target)}
        if sha256 is None or record["sha256"] == sha256:
            write_record(_record(target), record)
    if record.get("size") != size or record.get("sha256") != (sha256 or record.get("sha256")):
        return None
    if check and record.get("sha256") != sha256_of(target):
        return None
    return Download(target, url, size, str(record.get("sha256")), fetched=False)


def _fetch(
    url: str,
    target: Path,
    partial: Path,
    sha256: str | None,
    headers: Mapping[str, str],
    progress: Progress | None,
    *,
    kept: bool = True,
) -> Download:
    record = _record(target)
    expected = sha256 or read_record(record).get("sha256")
    joined = transfer(url, partial, headers, progress, kept=kept)
    found = sha256_of(partial)
    if expected and found != expected and joined:
        # Bytes from two attempts may be from two versions of the file: one attempt in one piece decides.
        forget(partial)
        transfer(url, partial, headers, progress, kept=kept)
        found = sha256_of(partial)
    if expected and found != expected:
        forget(partial)
        raise _mismatch(url, expected, found, pinned=sha256 is not None, record=record)
    with writing(target):
        put_in_place(partial, target)
        forget(partial)
    size = target.stat().st_size
    write_record(record, {"url": url, "size": size, "sha256": found})
    return Download(target, url, size, found, fetched=True)


def _mismatch(url: str, expected: str, found: str, *, pinned: bool, record: Path) -> HashError:
    what = f"{url} has SHA-256 {found}, but {expected} was "
    if pinned:
        return HashError(what + "expected. It was changed or damaged on its way, and not kept; try again later.")
    return HashError(
        what + "recorded at its first download. The publisher replaced the file, or someone tampers with it; "
        f"it was not kept. If the new file is the right one, delete {record} and download again."
    )
