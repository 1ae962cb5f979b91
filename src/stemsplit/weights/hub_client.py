"""huggingface_hub's manners, made ours: one clear line per error, no endless wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from stemsplit.errors import DownloadError, UnknownModelError
from stemsplit.weights.transfer import RefusedError, http_library, own_words


def endpoint_of(endpoint: str | None) -> str:
    """Return the Hub's address. huggingface_hub reads HF_ENDPOINT at import only; here it counts at every call."""
    return (endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


@contextmanager
def translated(what: str, repository: str, endpoint: str | None) -> Iterator[None]:
    """Turn what huggingface_hub and its HTTP library raise into one clear line about `what`."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined, unused-ignore]

    address, library = endpoint_of(endpoint), http_library()
    try:
        try:
            yield
        except RefusedError as error:  # of our own client: huggingface_hub reads from it what the Hub means
            hf_raise_for_status(error.response)
            raise
    except HFValidationError as error:
        raise UnknownModelError(f"{what}: {own_words(error)}") from error
    except HfHubHTTPError as error:
        _refused(what, error, repository, address)
    # RuntimeError comes from uploads by hf_xet, ImportError from a proxy of a kind that needs another package
    except (library.HTTPError, library.InvalidURL, ConnectionError, TimeoutError, RuntimeError, ImportError) as error:
        raise DownloadError(
            f"{what}: the connection to {address} failed ({own_words(error)}). "
            "Check the network, or set HF_ENDPOINT to a mirror."
        ) from error


def _refused(what: str, error: Any, repository: str, address: str) -> NoReturn:
    from huggingface_hub import errors

    login = "log in with `hf auth login`"
    unknown: dict[type[Exception], str] = {
        errors.RepositoryNotFoundError: f"{address} has no such repository, or it is private: then {login}.",
        errors.RevisionNotFoundError: "the repository has no such revision.",
        errors.EntryNotFoundError: "the repository has no such file.",
    }
    if isinstance(error, errors.GatedRepoError):  # a kind of RepositoryNotFoundError
        raise DownloadError(f"{what} is gated: accept its terms at {address}/{repository}, then {login}.") from error
    for kind, text in unknown.items():
        if isinstance(error, kind):
            raise UnknownModelError(f"{what}: {text}") from error
    status = error.response.status_code
    if status in (401, 403):
        raise DownloadError(
            f"{what}: access refused ({status}). Log in with `hf auth login`; the token must allow this."
        ) from error
    raise DownloadError(f"{what}: {address} answered {status}. Try again later.") from error
