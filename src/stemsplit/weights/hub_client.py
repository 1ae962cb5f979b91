"""huggingface_hub's manners, made ours: one clear line per error, no bars, no endless wait."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from stemsplit.errors import DownloadError, UnknownModelError
from stemsplit.weights.cache import cache_dir, unwritable
from stemsplit.weights.download import http_of

T = TypeVar("T")


def endpoint_of(endpoint: str | None) -> str:
    """Return the Hub's address. huggingface_hub reads HF_ENDPOINT at import only; here it counts at every call."""
    return (endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of `call`. Raises: TimeoutError; a name server that never answers knows no other limit."""
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


@contextlib.contextmanager
def quiet_bars() -> Iterator[None]:
    """Keep huggingface_hub's own progress bars off stderr."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextlib.contextmanager
def translated(what: str, repository: str, endpoint: str | None) -> Iterator[None]:
    """Turn what huggingface_hub and its HTTP client raise into one clear line about `what`."""
    from huggingface_hub import get_session
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise UnknownModelError(f"{what}: {_one_line(error)}") from error
    except HfHubHTTPError as error:
        _refused(what, error, repository, endpoint_of(endpoint))
    except (OSError, RuntimeError, http_of(get_session()).HTTPError) as error:  # RuntimeError: hf_xet's uploads
        if isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC):
            raise unwritable(cache_dir(), error) from error
        raise DownloadError(
            f"{what}: the connection to {endpoint_of(endpoint)} failed ({_one_line(error)}). "
            "Check the network, or set HF_ENDPOINT to a mirror."
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


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
    if status in (401, 403):
        raise DownloadError(
            f"{what}: access refused ({status}). Log in with `hf auth login`; the token must allow this."
        ) from error
    raise DownloadError(f"{what}: {endpoint} answered {status}. Try again later.") from error
