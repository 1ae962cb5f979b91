"""huggingface_hub's manners, made ours: one clear line per error, our progress, no endless wait."""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from stemsplit.errors import DownloadError, UnknownModelError
from stemsplit.weights.cache import cache_dir, unwritable
from stemsplit.weights.download import Progress

T = TypeVar("T")
WAITS_SECONDS = (0.5, 2.0)  # between attempts at one file


class BrokenConnectionError(DownloadError):
    """Nobody answered, or the answer broke off: another attempt may help."""


def endpoint_of(endpoint: str | None) -> str:
    """The Hub's address. huggingface_hub reads HF_ENDPOINT at import only; here it counts at every call."""
    return (endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of `call`, or TimeoutError: a name server that never answers knows no other limit."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    return results[0]


def persistent(call: Callable[[], T]) -> T:
    """The result of `call`, tried again when its connection breaks: not every huggingface_hub does so itself."""
    for seconds in WAITS_SECONDS:
        try:
            return call()
        except BrokenConnectionError:
            time.sleep(seconds)
    return call()


@contextlib.contextmanager
def quiet_bars() -> Iterator[None]:
    """Keep huggingface_hub's own progress bars off stderr."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def reporting(call: Callable[..., Any], progress: Progress | None, total: int | None) -> dict[str, Any]:
    """The argument that makes a download report its bytes, where this huggingface_hub has one."""
    if progress is None or "tqdm_class" not in inspect.signature(call).parameters:
        return {}
    from huggingface_hub.utils.tqdm import tqdm

    report: Progress = progress

    class Reporter(tqdm):  # type: ignore[type-arg, misc, unused-ignore]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.done = int(kwargs.get("initial") or 0)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.done += int(n or 0)
            report(self.done, total)
            return None

    return {"tqdm_class": Reporter}


@contextlib.contextmanager
def translated(what: str, repository: str, endpoint: str | None) -> Iterator[None]:
    """Turn what huggingface_hub and its HTTP client raise into one clear line about `what`."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    failed = f"{what}: the connection to {endpoint_of(endpoint)} failed"
    advice = "Check the network, or set HF_ENDPOINT to a mirror."
    try:
        yield
    except LocalEntryNotFoundError as error:  # after retries of its own
        raise DownloadError(f"{failed} ({_one_line(error.__cause__ or error)}). {advice}") from error
    except HFValidationError as error:
        raise UnknownModelError(f"{what}: {_one_line(error)}") from error
    except HfHubHTTPError as error:
        _refused(what, error, repository, endpoint_of(endpoint))
    except _client_errors() as error:
        if isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC):
            raise unwritable(cache_dir(), error) from error
        raise BrokenConnectionError(f"{failed} ({_one_line(error)}). {advice}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _client_errors() -> tuple[type[Exception], ...]:
    """What a broken transfer raises: OSError, RuntimeError (hf_xet), and the base exception of the HTTP client,
    which is requests in huggingface_hub 0.x, httpx in 1.x, httpx2 in 2.4."""
    clients = [sys.modules.get(name) for name in ("requests", "httpx", "httpx2")]
    bases = [getattr(client, "RequestException", getattr(client, "HTTPError", None)) for client in clients]
    found = (base for base in bases if isinstance(base, type) and issubclass(base, Exception))
    return (OSError, RuntimeError, *found)


def _refused(what: str, error: Any, repository: str, endpoint: str) -> NoReturn:
    from huggingface_hub import errors

    status = getattr(error.response, "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        raise DownloadError(
            f"{what} is gated: accept its terms at {endpoint}/{repository}, then log in with `hf auth login`."
        ) from error
    if isinstance(error, errors.RepositoryNotFoundError):
        raise UnknownModelError(
            f"{what}: {endpoint} has no such repository, or it is private: then log in with `hf auth login`."
        ) from error
    if isinstance(error, errors.RevisionNotFoundError):
        raise UnknownModelError(f"{what}: the repository has no such revision.") from error
    if isinstance(error, errors.EntryNotFoundError):
        raise UnknownModelError(f"{what}: the repository has no such file.") from error
    if status in (401, 403):
        raise DownloadError(
            f"{what}: access refused ({status}). Log in with `hf auth login`; the token must allow this."
        ) from error
    raise DownloadError(f"{what}: {endpoint} answered {status}. Try again later.") from error
