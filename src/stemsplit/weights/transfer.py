"""One address → its bytes on disk: attempt by attempt, each from the byte that the last one reached.

Beside the file that grows, `<file>.json` says which version of the remote file its bytes belong to, and whether the
server was seen to go on in the middle. A server may be slow, but neither silent nor as slow as a drip.
"""

from __future__ import annotations

import importlib
import ipaddress
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from stemsplit import __version__
from stemsplit.errors import DownloadError, UnknownModelError
from stemsplit.weights.cache import read_record, require_space, write_record, writing

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes on disk so far and the total, None while unknown."""

T = TypeVar("T")

TIMEOUT_SECONDS = 15.0  # to connect, and between two blocks
ANSWER_SECONDS = 30.0  # until the headers are there, however they come
SLOW_SECONDS, SLOW_BYTES = 20.0, 20_000  # in so much time so many bytes come, or the server is given up
MOST_SECONDS = 6 * 3600.0  # for everything
ENOUGH_BYTES = 16_384  # an attempt that brings fewer has failed
SPACE_BYTES = 64 << 20  # after so many bytes of a file of unknown size the disk is asked again
WAITS_SECONDS = (0.2, 0.5, 1.0, 2.0)  # between attempts that fail
MAX_REDIRECTS = 10
PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)
REFUSALS = {401: "access refused", 403: "access refused", 404: "no such file", 410: "no such file"}


class RefusedError(DownloadError):
    """The server refused the file; `response` is its answer."""

    def __init__(self, message: str, response: Any) -> None:
        super().__init__(message)
        self.response = response


class _BrokenTransferError(Exception):
    """The transfer stopped early; another attempt may help, unless this is `final`."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def transfer(
    url: str, partial: Path, headers: Mapping[str, str], progress: Progress | None, *, kept: bool = True
) -> bool:
    """Fill `partial` with the bytes of `url`; return whether they come from more than one attempt.

    What `partial` holds already is kept if the server can tell that it still fits. `headers` have names in lower
    case; a redirect to another host does not get "authorization". `kept` is whether a later call will find `partial`.
    Raises: DownloadError (RefusedError if the server says no), UnknownModelError, OutputError.
    """
    furthest, failures = _size(partial), 0
    joined, end = furthest > 0, time.monotonic() + MOST_SECONDS
    with _client(headers) as client:
        while True:
            try:
                _attempt(client, url, partial, progress, end)
                return joined
            except _BrokenTransferError as broken:
                reached, joined = _size(partial), True
                failures = 0 if reached - furthest >= ENOUGH_BYTES else failures + 1
                furthest = max(furthest, reached)
                if broken.final or failures > len(WAITS_SECONDS):
                    raise DownloadError(_gave_up(url, broken, partial if kept else None)) from broken
            time.sleep(WAITS_SECONDS[max(failures, 1) - 1])


def _gave_up(url: str, broken: Exception, partial: Path | None) -> str:
    reached = _resumable(url, partial)[0] if partial and read_record(_state(partial)).get("resumes") else 0
    kept = f" The {reached} bytes that came are kept: the same command goes on from there." if reached else ""
    return f"Cannot download {url}: {broken}. Check the network and try again.{kept}"


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of `call`. Raises: TimeoutError; a name server that never answers knows no other limit."""
    future: futures.Future[T] = futures.Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except futures.TimeoutError:  # not yet the built-in one in Python 3.10
        if future.done():
            raise
        raise TimeoutError(f"no answer within {seconds:.0f} seconds") from None


def forget(partial: Path) -> None:
    """Remove a file that was not completed, and what is known of it."""
    partial.unlink(missing_ok=True)
    _state(partial).unlink(missing_ok=True)


# ---- who is asked ----


def require_safe(url: str) -> None:
    """Accept https://, and http:// only on this machine. Raises: UnknownModelError."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UnknownModelError(f"{url} is not a URL: {error}.") from error
    if parts.username or parts.password:
        raise UnknownModelError(f"The address of {host} must hold no user name or password.")
    if not host or re.search(r"[\s\x00-\x1f]", url):
        raise UnknownModelError(f"{url} is not a URL: it needs a host, and no spaces.")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise UnknownModelError(f"{url}: only https:// is fetched. Download the file yourself and give its path.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def http_library() -> ModuleType:
    """Return the HTTP library that huggingface_hub uses: httpx, or httpx2 from huggingface_hub 2.4 on."""
    from huggingface_hub.errors import HfHubHTTPError

    base = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    return importlib.import_module(base.__module__.partition(".")[0])


def _client(headers: Mapping[str, str]) -> Any:
    """Return a client that finds proxies and certificates where huggingface_hub's client finds them.

    That client itself would not do: it waits without limit, follows a redirect from https to http, and HF_HUB_OFFLINE
    shuts it for every address.
    """
    library = http_library()
    try:
        return library.Client(
            headers={"user-agent": f"stemsplit/{__version__}", "accept-encoding": "identity", **headers},
            timeout=TIMEOUT_SECONDS,
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            event_hooks={"response": [_check_redirect]},
        )
    except (ImportError, ValueError, library.InvalidURL) as error:
        raise DownloadError(f"The proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used: {error}") from error


def _check_redirect(response: Any) -> None:
    """Stop before a redirect that leads from https to http, or to an address that is not fetched."""
    if not response.has_redirect_location:
        return
    here, there = response.url, response.url.join(response.headers["Location"])
    if here.scheme == "https" and there.scheme != "https":
        raise DownloadError(f"{here} redirects to {there}, which is not encrypted: refused.")
    if (here.scheme, here.host) != (there.scheme, there.host):  # a mirror in HF_ENDPOINT may be plain http
        require_safe(str(there))


# ---- attempts ----


def _attempt(client: Any, url: str, partial: Path, progress: Progress | None, end: float) -> None:
    """Make one request, until the time `end`. Raises: _BrokenTransferError if another one may bring the rest."""
    have, validator = _resumable(url, partial)
    with _answer(client, url, {"Range": f"bytes={have}-", "If-Range": validator} if have else {}) as response:
        if response.status_code == 416 and have:
            if response.headers.get("Content-Range", "").strip() == f"bytes */{have}":
                return  # the file was complete already
            forget(partial)
            raise _BrokenTransferError("the server cannot resume")
        _refuse(url, response)
        start, total = _extent(response, have)
        require_space(partial.parent, (total or 0) - start)
        write_record(_state(partial), _version(url, response, validator))
        _copy(response, partial, start, total, progress, end)


def _version(url: str, response: Any, asked: str) -> dict[str, Any]:
    """Return what is known of the bytes that come; `asked` is the validator of those that were there already."""
    validator, partly = _validator(response.headers), response.status_code == 206
    if asked and asked == validator and not partly:  # the same file, and all of it again
        validator = None
    resumes = partly or response.headers.get("Accept-Ranges", "").strip().lower() == "bytes"
    return {"url": url, "validator": validator, "resumes": resumes}


@contextmanager
def _answer(client: Any, url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """Yield the response, its body still to come. What breaks then, or in the block, is said in our words."""
    library = http_library()
    try:
        response = _open(client, url, headers)
        try:
            yield response
        finally:
            response.close()
    except (library.InvalidURL, library.TooManyRedirects, UnicodeError) as error:
        raise DownloadError(f"Cannot download {url}: {error}.") from error
    except library.TimeoutException as error:
        raise _BrokenTransferError("the server does not answer") from error
    except library.RequestError as error:
        if certificate := _certificate_error(error):
            said = getattr(certificate, "verify_message", None) or certificate
            raise DownloadError(
                f"Cannot download {url}: {said}. Behind a company proxy, set SSL_CERT_FILE to its certificates."
            ) from error
        raise _BrokenTransferError(own_words(error)) from error


def _open(client: Any, url: str, headers: Mapping[str, str]) -> Any:
    request = client.build_request("GET", url, headers=headers)
    try:
        return within(ANSWER_SECONDS, lambda: client.send(request, stream=True))
    except TimeoutError as error:
        raise _BrokenTransferError(f"the server did not answer within {ANSWER_SECONDS:g} s", final=True) from error


def own_words(error: BaseException) -> str:
    """Return what an error of the HTTP library says, in one line."""
    return " ".join(str(error).replace("unexpectedly", "").split()) or type(error).__name__


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return the refusal of a certificate that led to `error`, if one did."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _copy(response: Any, partial: Path, start: int, total: int | None, progress: Progress | None, end: float) -> None:
    """Write the body after the first `start` bytes of `partial`; what lay beyond them is dropped."""
    done, broken = start, None
    with writing(partial), partial.open("r+b" if partial.exists() else "wb") as file:
        file.seek(start)
        file.truncate()
        try:
            for block in _in_time(response, end):
                if total is None and done // SPACE_BYTES < (done + len(block)) // SPACE_BYTES:
                    require_space(partial.parent, SPACE_BYTES)
                file.write(block)
                file.flush()  # a full disk shows here, not when the file is closed
                done += len(block)
                if progress:
                    progress(done, total)
        except (http_library().NetworkError, http_library().RemoteProtocolError) as error:
            broken = error
    if broken or total not in (None, done):
        of_all = "" if total is None else f" of {total}"
        raise _BrokenTransferError(f"the connection broke after {done}{of_all} bytes") from broken


def _in_time(response: Any, end: float) -> Iterator[bytes]:
    """Yield the body as it comes, so that a break loses nothing. Raises: _BrokenTransferError if it takes too long."""
    blocks, since, came = response.iter_raw(), time.monotonic(), 0
    drips = f"the server sends less than {SLOW_BYTES / SLOW_SECONDS / 1000:g} kB a second"
    while True:
        try:
            block: bytes | None = within(SLOW_SECONDS, lambda: next(blocks, None))
        except TimeoutError as error:  # byte by byte, and not yet a block
            raise _BrokenTransferError(drips, final=True) from error
        if block is None:
            return
        yield block
        came, now = came + len(block), time.monotonic()
        if now > end:
            raise _BrokenTransferError(f"it takes longer than {MOST_SECONDS / 3600:g} hours", final=True)
        if now - since >= SLOW_SECONDS:
            if came < SLOW_BYTES:
                raise _BrokenTransferError(drips, final=True)
            since, came = now, 0


# ---- what the server says ----


def _refuse(url: str, response: Any) -> None:
    """Raise what an answer means that is not the file. Raises: _BrokenTransferError if that may pass."""
    answer = f"{response.status_code} {response.reason_phrase}"
    if response.status_code in PASSING_STATUSES:
        raise _BrokenTransferError(f"the server answered {answer}")
    if not response.is_success:
        said = REFUSALS.get(response.status_code, "refused")
        raise RefusedError(f"Cannot download {url}: {said} ({answer}).", response)
    if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise DownloadError(f"{url} comes as {encoding}, unasked.")
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise DownloadError(
            f"{url} is a web page, not a file. Give the address behind the page's download button; "
            "on an open wireless network, log in first."
        )


def _extent(response: Any, have: int) -> tuple[int, int | None]:
    """Return (where in the file the body starts, bytes of the whole file, None where that is not said)."""
    if response.status_code != 206:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if re.fullmatch("[0-9]{1,18}", length) else None
    match = re.fullmatch(
        r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", response.headers.get("Content-Range", "").strip()
    )
    if not match or int(match[1]) != have:
        raise _BrokenTransferError(f"the server did not resume at byte {have}")
    return have, None if match[2] == "*" else int(match[2])


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return what If-Range accepts (RFC 9110, 13.1.5): a strong ETag, else the date of the last change."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


# ---- the file that grows ----


def _state(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _resumable(url: str, partial: Path) -> tuple[int, str]:
    """Return (bytes to keep, validator): what an earlier attempt left, if the server can tell that it still fits."""
    state = read_record(_state(partial))
    validator = state.get("validator")
    if not validator or state.get("url") != url:
        return 0, ""
    return _size(partial), str(validator)
