"""One address → its bytes on disk: attempt by attempt, each from the byte that the last one reached.

Beside the file that grows, `<file>.json` says which version of the remote file its bytes belong to.
"""

from __future__ import annotations

import importlib
import ipaddress
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from stemsplit import __version__
from stemsplit.errors import DownloadError, UnknownModelError
from stemsplit.weights.cache import read_record, require_space, write_record, writing

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes on disk so far and the total, None while unknown."""

TIMEOUT_SECONDS = 15.0  # to connect, and between two blocks
WAITS_SECONDS = (0.2, 0.5, 1.0, 2.0)  # between attempts that bring nothing new
MAX_REDIRECTS = 10
PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)
REFUSALS = {401: "access refused", 403: "access refused", 404: "no such file", 410: "no such file"}


class RefusedError(DownloadError):
    """The server refused the file; `response` is its answer."""

    def __init__(self, message: str, response: Any) -> None:
        super().__init__(message)
        self.response = response


class _BrokenTransferError(Exception):
    """The transfer stopped early; another attempt may help."""


def transfer(url: str, partial: Path, headers: Mapping[str, str], progress: Progress | None) -> bool:
    """Fill `partial` with the bytes of `url`; return whether they come from more than one attempt.

    What `partial` holds already is kept if the server can tell that it still fits. `headers` have names in lower
    case; a redirect to another host does not get "authorization".
    Raises: DownloadError (RefusedError if the server says no), UnknownModelError, OutputError.
    """
    furthest, failures = _size(partial), 0
    joined = furthest > 0
    with _client(headers) as client:
        while True:
            try:
                _attempt(client, url, partial, progress)
                return joined
            except _BrokenTransferError as broken:
                reached, joined = _size(partial), True
                failures = 0 if reached > furthest else failures + 1
                furthest = max(furthest, reached)
                if failures > len(WAITS_SECONDS):
                    raise DownloadError(_gave_up(url, broken, reached)) from broken
            time.sleep(WAITS_SECONDS[max(failures, 1) - 1])


def _gave_up(url: str, broken: Exception, reached: int) -> str:
    kept = f" The {reached} bytes that came are kept: the same command goes on from there." if reached else ""
    return f"Cannot download {url}: {broken}. Check the network and try again.{kept}"


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


def _attempt(client: Any, url: str, partial: Path, progress: Progress | None) -> None:
    """Make one request. Raises: _BrokenTransferError if another one may bring the rest."""
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
        write_record(_state(partial), {"url": url, "validator": _validator(response.headers)})
        _copy(response, partial, start, total, progress)


@contextmanager
def _answer(client: Any, url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """Yield the response, its body still to come. What breaks then, or in the block, is said in our words."""
    library = http_library()
    try:
        with client.stream("GET", url, headers=headers) as response:
            yield response
    except (library.InvalidURL, library.TooManyRedirects) as error:
        raise DownloadError(f"Cannot download {url}: {error}.") from error
    except library.TimeoutException as error:
        raise _BrokenTransferError("the server does not answer") from error
    except library.RequestError as error:
        if certificate := _certificate_error(error):
            said = getattr(certificate, "verify_message", None) or certificate
            raise DownloadError(
                f"Cannot download {url}: {said}. Behind a company proxy, set SSL_CERT_FILE to its certificates."
            ) from error
        raise _BrokenTransferError(" ".join(str(error).split()) or type(error).__name__) from error


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return the refusal of a certificate that led to `error`, if one did."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _copy(response: Any, partial: Path, start: int, total: int | None, progress: Progress | None) -> None:
    """Write the body after the first `start` bytes of `partial`; what lay beyond them is dropped."""
    done, broken = start, None
    with writing(partial), partial.open("r+b" if partial.exists() else "wb") as file:
        file.seek(start)
        file.truncate()
        try:
            for block in response.iter_raw():  # as they come, so that a break loses nothing
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
        return 0, int(length) if re.fullmatch("[0-9]+", length) else None
    match = re.fullmatch(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)", response.headers.get("Content-Range", "").strip())
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
