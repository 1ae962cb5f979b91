"""One URL → one file in the cache: resumed after a break, checked against its SHA-256, whole or not at all.

Beside `<file>` lie `<file>.json` (URL, size and SHA-256 as first seen), while it comes `<file>.partial` and
`<file>.partial.json` (which version of the remote file the bytes belong to), and `<file>.lock`.

Where no SHA-256 is known in advance, the one of the first download is recorded and every later download of
the same URL must match it (trust on first use).
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from stemsplit import __version__
from stemsplit.errors import DownloadError, HashError, UnknownModelError
from stemsplit.machine.disk import locked, sha256_of
from stemsplit.weights.cache import make_folder, read_record, require_space, unwritable, write_record

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes on disk so far and the total, None while unknown."""

BLOCK_BYTES = 1 << 16
TIMEOUT_SECONDS = 15.0  # to connect, and between two blocks
WAITS_SECONDS = (0.2, 0.5, 1.0, 2.0)  # between attempts that bring nothing new


@dataclass(frozen=True)
class Download:
    """A file that is on disk now."""

    path: Path
    url: str
    size: int  # bytes
    sha256: str  # hexadecimal
    fetched: bool  # False: it was in the cache


@dataclass(frozen=True)
class _Remote:
    """What the server says about the body that follows."""

    start: int  # its first byte's position in the file
    total: int | None  # bytes of the whole file
    validator: str | None  # strong ETag or Last-Modified, for If-Range


class _BrokenTransferError(Exception):
    """The transfer stopped early; another attempt may help."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    offline: bool = False,
    refresh: bool = False,
    progress: Progress | None = None,
) -> Download:
    """Fetch `url` to `target`, or take the copy that is there.

    `sha256` is the expected hash; without it the hash recorded at the first download counts. `refresh`
    fetches again though there is a copy, and still compares with the record.
    Raises: UnknownModelError (no URL that we fetch), DownloadError, HashError, OutputError (the cache).
    """
    require_safe(url)
    if not refresh and (cached := _cached(url, target, sha256)):
        return cached
    if offline:
        raise DownloadError(
            f"{url} is not in the cache and downloads are off. Fetch it once while online, or put the file at {target}."
        )
    make_folder(target.parent)
    before = _stamp(target)
    with locked(_beside(target, ".lock")) as exclusive:
        changed = _stamp(target) != before
        if (changed or not refresh) and (cached := _cached(url, target, sha256)):
            return cached
        partial = _beside(target, ".partial" if exclusive else f".{os.getpid()}.partial")
        return _fetch(url, target, partial, sha256, progress)


def is_cached(target: Path) -> bool:
    """Whether `download` would find `target` whole. Compares sizes only."""
    record = read_record(_beside(target, ".json"))
    return target.is_file() and record.get("size", target.stat().st_size) == target.stat().st_size


def require_safe(url: str) -> None:
    """Accept https://, and http:// only on this machine.

    Raises: UnknownModelError.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UnknownModelError(f"{url} is not a URL: {error}.") from error
    if parts.username or parts.password:
        raise UnknownModelError(f"The address of {host} must hold no user name or password.")
    if not host or re.search(r"[\s\x00-\x1f]", url):
        raise UnknownModelError(f"{url} is not a URL: it needs a host, and no spaces.")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return
    raise UnknownModelError(f"{url}: only https:// is fetched. Download the file yourself and give its path.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _stamp(target: Path) -> tuple[int, int] | None:
    try:
        status = target.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _cached(url: str, target: Path, sha256: str | None) -> Download | None:
    """The copy on disk, if whole and the expected one. One put there by hand gets its record here."""
    if not target.is_file():
        return None
    record = read_record(_beside(target, ".json"))
    size = target.stat().st_size
    if not record:
        record = {"url": url, "size": size, "sha256": sha256_of(target)}
        if sha256 is None or record["sha256"] == sha256:
            write_record(_beside(target, ".json"), record)
    if record.get("size") != size or record.get("sha256") != (sha256 or record.get("sha256")):
        return None
    return Download(target, url, size, str(record.get("sha256")), fetched=False)


def _fetch(url: str, target: Path, partial: Path, sha256: str | None, progress: Progress | None) -> Download:
    record_path = _beside(target, ".json")
    expected = sha256 or read_record(record_path).get("sha256")
    resumed = _transfer(url, partial, progress)
    found = sha256_of(partial)
    if expected and found != expected and resumed:
        # Bytes from two attempts may be from two versions of the file: one attempt in one piece decides.
        _forget(partial)
        _transfer(url, partial, progress)
        found = sha256_of(partial)
    if expected and found != expected:
        _forget(partial)
        raise _mismatch(url, expected, found, pinned=sha256 is not None, record=record_path)
    size = partial.stat().st_size
    try:
        partial.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
    _forget(partial)
    write_record(record_path, {"url": url, "size": size, "sha256": found})
    return Download(target, url, size, found, fetched=True)


def _mismatch(url: str, expected: str, found: str, *, pinned: bool, record: Path) -> HashError:
    what = f"{url} has SHA-256 {found}, but {expected} was "
    if pinned:
        return HashError(what + "expected. It was changed or damaged on its way; try again later.")
    return HashError(
        what + "recorded at its first download. The publisher replaced the file, or someone tampers with it; "
        f"it was not kept. If the new file is the right one, delete {record} and download again."
    )


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _beside(partial, ".json").unlink(missing_ok=True)


def _transfer(url: str, partial: Path, progress: Progress | None) -> bool:
    """Fill `partial`, attempt by attempt. True if it was put together from more than one attempt."""
    furthest = start = _size(partial)
    attempts = failures = 0
    while True:
        attempts += 1
        try:
            _attempt(url, partial, progress)
            return attempts > 1 or start > 0
        except _BrokenTransferError as broken:
            reached = _size(partial)
            failures = 0 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures > len(WAITS_SECONDS):
                raise DownloadError(_gave_up(url, broken, reached)) from broken
        time.sleep(WAITS_SECONDS[max(failures, 1) - 1])


def _gave_up(url: str, broken: Exception, reached: int) -> str:
    kept = f" The {reached} bytes that came are kept: the same command goes on from there." if reached else ""
    return f"Cannot download {url}: {broken}. Check the network and try again.{kept}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _attempt(url: str, partial: Path, progress: Progress | None) -> None:
    """One request. Raises _BrokenTransferError if another one may bring the rest."""
    have, validator = _resumable(url, partial)
    request = urllib.request.Request(url, headers=_headers(have, validator))
    try:
        with _opener().open(request, timeout=TIMEOUT_SECONDS) as response:
            remote = _remote(response, have)
            _refuse_page(url, response.headers)
            require_space(partial.parent, (remote.total or 0) - remote.start)
            write_record(_beside(partial, ".json"), {"url": url, "validator": remote.validator, "total": remote.total})
            _copy(response, partial, remote, progress)
    except urllib.error.HTTPError as error:
        _refused(url, partial, error, have)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"Cannot download {url}: {error.reason.verify_message or error.reason}. "
                "Behind a company proxy, set SSL_CERT_FILE to its certificates."
            ) from error
        raise _BrokenTransferError(_reason(error.reason)) from error
    except (http.client.HTTPException, OSError) as error:  # of the network: the disk's have names already
        raise _BrokenTransferError(_reason(error)) from error


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    return str(error) or type(error).__name__


def _resumable(url: str, partial: Path) -> tuple[int, str | None]:
    """(bytes to keep, validator): what an earlier attempt left, if the server can tell that it still fits."""
    state = read_record(_beside(partial, ".json"))
    validator = state.get("validator")
    if not validator or state.get("url") != url:
        return 0, None
    return _size(partial), str(validator)


def _headers(have: int, validator: str | None) -> dict[str, str]:
    headers = {"User-Agent": f"stemsplit/{__version__}", "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    return headers


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to any host, but never from https to plain http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise DownloadError(f"{req.full_url} redirects to {newurl}, which is not encrypted: refused.")
        require_safe(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_SafeRedirects)


def _remote(response: http.client.HTTPResponse, have: int) -> _Remote:
    headers = response.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"{response.url} comes as {headers['Content-Encoding']}, unasked.")
    length = headers.get("Content-Length", "")
    start, total = 0, int(length) if length.isdigit() else None
    if response.status == 206:
        start, total = _content_range(headers.get("Content-Range", ""))
        if start != have:
            raise _BrokenTransferError(f"the server resumed at byte {start} instead of {have}")
    return _Remote(start, total, _validator(headers))


def _content_range(value: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", value.strip())
    if not match:
        return -1, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _validator(headers: Message) -> str | None:
    """What If-Range accepts (RFC 9110, 13.1.5): a strong ETag, else the date of the last change."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _refuse_page(url: str, headers: Message) -> None:
    if headers.get_content_type() == "text/html":
        raise DownloadError(
            f"{url} is a web page, not a file. Give the address behind the page's download button; "
            "on an open wireless network, log in first."
        )


def _copy(response: http.client.HTTPResponse, partial: Path, remote: _Remote, progress: Progress | None) -> None:
    done = remote.start
    with _open_at(partial, done) as file:
        while block := response.read1(BLOCK_BYTES):  # what has come, so that a break loses nothing
            _write(file, block, partial)
            done += len(block)
            if progress:
                progress(done, remote.total)
    if remote.total is not None and done != remote.total:
        raise _BrokenTransferError(f"the connection broke after {done} of {remote.total} bytes")


def _open_at(partial: Path, position: int) -> IO[bytes]:
    """Open for writing after the first `position` bytes; what lies beyond is dropped."""
    try:
        file = partial.open("r+b" if partial.exists() else "wb")
        file.seek(position)
        file.truncate()
    except OSError as error:
        raise unwritable(partial, error) from error
    return file


def _write(file: IO[bytes], block: bytes, partial: Path) -> None:
    try:
        file.write(block)
        file.flush()  # a full disk shows here, not when the file is closed
    except OSError as error:
        raise unwritable(partial, error) from error


_PASSING = (408, 425, 429, 500, 502, 503, 504)


def _refused(url: str, partial: Path, error: urllib.error.HTTPError, have: int) -> None:
    """Turn an HTTP status into what to do. Returns only if the file turns out to be complete already."""
    code, headers = error.code, error.headers
    error.close()
    if code == 416 and have:
        if headers.get("Content-Range", "").strip() == f"bytes */{have}":
            return
        _forget(partial)
        raise _BrokenTransferError("the server cannot resume") from error
    answer = f"{code} {' '.join(str(error.reason).split())}"
    if code in _PASSING:
        raise _BrokenTransferError(f"the server answered {answer}") from error
    reason = {401: "access refused", 403: "access refused", 404: "no such file", 410: "no such file"}
    raise DownloadError(f"Cannot download {url}: {reason.get(code, 'refused')} ({answer}).") from error
