"""One URL → one file in the cache: resumed after a break, checked against its SHA-256, whole or not at all.

In `.download` beside `<file>` lie `<file>.json` (URL, size and SHA-256 as first seen), while it comes `<file>.partial`
and `<file>.partial.json` (which version of the remote file the bytes belong to), and `<file>.lock`.

Where no SHA-256 is known in advance, the one of the first download is recorded and every later download of
the same URL must match it (trust on first use).

The client is the one of huggingface_hub: the same proxies, certificates and connections as its own requests.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from stemsplit import __version__
from stemsplit.errors import DownloadError, HashError, UnknownModelError
from stemsplit.machine.disk import locked, sha256_of
from stemsplit.weights.cache import make_folder, read_record, require_space, unwritable, write_record

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes on disk so far and the total, None while unknown."""

TIMEOUT_SECONDS = 15.0  # to connect, and between two blocks
WAITS_SECONDS = (0.2, 0.5, 1.0, 2.0)  # between attempts that bring nothing new
MOST_REDIRECTS = 10


@dataclass(frozen=True)
class Download:
    """A file that is on disk now."""

    path: Path
    url: str
    size: int  # bytes
    sha256: str  # hexadecimal
    fetched: bool  # False: it was in the cache


@dataclass(frozen=True)
class _Task:
    """What is fetched, and where to."""

    url: str
    target: Path
    partial: Path
    sha256: str | None
    token: str | None
    progress: Progress | None


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
    token: str | None = None,
    progress: Progress | None = None,
) -> Download:
    """Fetch `url` to `target`, or take the copy that is there.

    `sha256` is the expected hash; without it the hash recorded at the first download counts. `token` is shown to the
    host of `url` and to no other.
    Raises: UnknownModelError (no URL that we fetch), DownloadError, HashError, OutputError (the cache).
    """
    require_safe(url)
    if cached := _cached(url, target, sha256):
        return cached
    if offline:
        raise DownloadError(
            f"{url} is not in the cache and downloads are off. Fetch it once while online, or put the file at {target}."
        )
    make_folder(_beside(target, "").parent)
    with locked(_beside(target, ".lock")) as exclusive:
        if cached := _cached(url, target, sha256):  # another process has fetched it meanwhile
            return cached
        partial = _beside(target, ".partial" if exclusive else f".{os.getpid()}.partial")
        return _fetch(_Task(url, target, partial, sha256, token, progress))


def is_cached(target: Path) -> bool:
    """Whether `download` would find `target` whole. Compares sizes only."""
    record = read_record(_beside(target, ".json"))
    return target.is_file() and record.get("size", target.stat().st_size) == target.stat().st_size


def discard(target: Path) -> None:
    """Remove a download and what is recorded of it, for example since it turned out to be damaged."""
    target.unlink(missing_ok=True)
    _beside(target, ".json").unlink(missing_ok=True)


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
    return target.parent / ".download" / (target.name + suffix)


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


def _fetch(task: _Task) -> Download:
    record_path = _beside(task.target, ".json")
    expected = task.sha256 or read_record(record_path).get("sha256")
    resumed = _transfer(task)
    found = sha256_of(task.partial)
    if expected and found != expected and resumed:
        # Bytes from two attempts may be from two versions of the file: one attempt in one piece decides.
        _forget(task.partial)
        _transfer(task)
        found = sha256_of(task.partial)
    if expected and found != expected:
        _forget(task.partial)
        raise _mismatch(task, expected, found, record_path)
    size = task.partial.stat().st_size
    try:
        task.partial.replace(task.target)
    except OSError as error:
        raise unwritable(task.target, error) from error
    _forget(task.partial)
    write_record(record_path, {"url": task.url, "size": size, "sha256": found})
    return Download(task.target, task.url, size, found, fetched=True)


def _mismatch(task: _Task, expected: str, found: str, record: Path) -> HashError:
    what = f"{task.url} has SHA-256 {found}, but {expected} was "
    if task.sha256 is not None:
        return HashError(what + "expected. It was changed or damaged on its way, and not kept; try again later.")
    return HashError(
        what + "recorded at its first download. The publisher replaced the file, or someone tampers with it; "
        f"it was not kept. If the new file is the right one, delete {record} and download again."
    )


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _record_of(partial).unlink(missing_ok=True)


def _record_of(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _transfer(task: _Task) -> bool:
    """Fill the partial file, attempt by attempt. Return whether it was put together from more than one attempt."""
    furthest = start = _size(task.partial)
    attempts = failures = 0
    while True:
        attempts += 1
        try:
            _attempt(task)
            return attempts > 1 or start > 0
        except _BrokenTransferError as broken:
            reached = _size(task.partial)
            failures = 0 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures > len(WAITS_SECONDS):
                raise DownloadError(_gave_up(task.url, broken, reached)) from broken
        time.sleep(WAITS_SECONDS[max(failures, 1) - 1])


def _gave_up(url: str, broken: Exception, reached: int) -> str:
    kept = f" The {reached} bytes that came are kept: the same command goes on from there." if reached else ""
    return f"Cannot download {url}: {broken}. Check the network and try again.{kept}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _attempt(task: _Task) -> None:
    """Make one request. Raises _BrokenTransferError if another one may bring the rest."""
    have, validator = _resumable(task)
    headers = {"User-Agent": f"stemsplit/{__version__}", "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with _answer(task, headers) as response:
        if response.status_code >= 300:
            _refused(task, response, have)
            return
        remote = _remote(response, have)
        _refuse_page(task.url, response.headers)
        require_space(task.partial.parent, (remote.total or 0) - remote.start)
        state = {"url": task.url, "validator": remote.validator, "total": remote.total}
        write_record(_record_of(task.partial), state)
        _copy(task, response, remote)


@contextmanager
def _answer(task: _Task, headers: dict[str, str]) -> Iterator[Any]:
    """Yield the answer at the end of all redirects, its body unread; what breaks is a _BrokenTransferError."""
    from huggingface_hub import get_session

    client = get_session()
    http = http_of(client)
    timeout = http.Timeout(TIMEOUT_SECONDS)
    url, own = task.url, urlsplit(task.url).netloc
    try:
        for _ in range(MOST_REDIRECTS):
            shown = {"Authorization": f"Bearer {task.token}"} if task.token and urlsplit(url).netloc == own else {}
            request = client.stream("GET", url, headers=headers | shown, timeout=timeout, follow_redirects=False)
            with request as response:
                if not response.has_redirect_location:
                    yield response
                    return
                url = _redirected(url, response.headers["Location"])
    except http.TimeoutException as error:
        raise _BrokenTransferError("the server does not answer") from error
    except (http.HTTPError, http.InvalidURL) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DownloadError(
                f"Cannot download {url}: {error}. Behind a company proxy, set SSL_CERT_FILE to its certificates."
            ) from error
        raise _BrokenTransferError(" ".join(str(error).split()) or type(error).__name__) from error
    raise DownloadError(f"Cannot download {task.url}: it redirects more than {MOST_REDIRECTS} times.")


def http_of(client: Any) -> ModuleType:
    """Return the module that huggingface_hub's client is of: httpx, or httpx2 from huggingface_hub 2.4 on."""
    return importlib.import_module(type(client).__module__.partition(".")[0])


def _redirected(url: str, location: str) -> str:
    """Return where a redirect leads: to any host, but never from https to plain http."""
    new = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(new).scheme != "https":
        raise DownloadError(f"{url} redirects to {new}, which is not encrypted: refused.")
    require_safe(new)
    return new


def _resumable(task: _Task) -> tuple[int, str | None]:
    """Return (bytes to keep, validator): what an earlier attempt left, if the server can tell that it still fits."""
    state = read_record(_record_of(task.partial))
    validator = state.get("validator")
    if not validator or state.get("url") != task.url:
        return 0, None
    return _size(task.partial), str(validator)


def _remote(response: Any, have: int) -> _Remote:
    headers = response.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(f"{response.url} comes as {headers['Content-Encoding']}, unasked.")
    length = headers.get("Content-Length", "")
    start, total = 0, int(length) if length.isascii() and length.isdigit() else None
    if response.status_code == 206:
        start, total = _content_range(headers.get("Content-Range", ""))
        if start != have:
            raise _BrokenTransferError(f"the server resumed at byte {start} instead of {have}")
    return _Remote(start, total, _validator(headers))


def _content_range(value: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)", value.strip())
    if not match:
        return -1, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return what If-Range accepts (RFC 9110, 13.1.5): a strong ETag, else the date of the last change."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _refuse_page(url: str, headers: Mapping[str, str]) -> None:
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise DownloadError(
            f"{url} is a web page, not a file. Give the address behind the page's download button; "
            "on an open wireless network, log in first."
        )


def _copy(task: _Task, response: Any, remote: _Remote) -> None:
    done, http = remote.start, http_of(response)
    with _open_at(task.partial, done) as file:
        try:
            for block in response.iter_raw():  # what has come, so that a break loses nothing
                _write(file, block, task.partial)
                done += len(block)
                if task.progress:
                    task.progress(done, remote.total)
        except (http.NetworkError, http.RemoteProtocolError) as error:
            raise _BrokenTransferError(_broken(done, remote.total, error)) from error
    if remote.total is not None and done != remote.total:
        raise _BrokenTransferError(_broken(done, remote.total, None))


def _broken(done: int, total: int | None, error: Exception | None) -> str:
    if total is None:
        return f"the connection broke after {done} bytes ({error})"
    return f"the connection broke after {done} of {total} bytes"


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


def _refused(task: _Task, response: Any, have: int) -> None:
    """Turn an HTTP status into what to do. Return only if the file turns out to be complete already."""
    code = response.status_code
    if code == 416 and have:
        if response.headers.get("Content-Range", "").strip() == f"bytes */{have}":
            return
        _forget(task.partial)
        raise _BrokenTransferError("the server cannot resume")
    answer = f"{code} {' '.join(response.reason_phrase.split())}"
    if code in _PASSING:
        raise _BrokenTransferError(f"the server answered {answer}")
    reason = {401: "access refused", 403: "access refused", 404: "no such file", 410: "no such file"}
    raise DownloadError(f"Cannot download {task.url}: {reason.get(code, 'refused')} ({answer}).")
