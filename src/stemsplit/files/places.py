"""Places that fsspec reaches: s3://, gs://, hf://, memory://, file:// and others, where songs are and stems go.

An `Address` is named, joined and compared like a path, so that plans need not know of it. What is done at one is done
here, in as few requests as possible: a listing per folder, a request per file that comes or goes. fsspec is imported
with the first address; paths of this machine never need it.
"""

from __future__ import annotations

import posixpath
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stemsplit.errors import PlaceError, StemsplitError, UsageError, reason

if TYPE_CHECKING:
    from pathlib import Path as _Base
else:
    _Base = type(Path())  # only the system's own kind can be subclassed before Python 3.12

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
LOCAL = ("file", "local")
"""What fsspec calls this machine."""
_PATTERN = re.compile(r"[*?[]")
WEB = ("http", "https")
LISTINGS = 64
"""Folders whose names are kept. Songs of one folder come together."""
_MARKS = ("ETag", "etag", "md5Hash", "crc32c", "blob_id", "LastModified", "mtime", "updated", "created")
"""What stores call that which changes with a file's content, the surest first."""


class Address(_Base):
    """A path at a place that is not of this machine's file system: s3://bucket/album/song.wav."""

    def __str__(self) -> str:
        scheme, colon, rest = super().__str__().replace("\\", "/").partition(":")
        slashes = "//" if scheme in LOCAL or not rest else "/"
        return f"{scheme}:{slashes}{rest}" if colon else scheme

    def __fspath__(self) -> str:
        return str(self)

    def absolute(self) -> Address:
        """Return it: an address depends on no current folder."""
        return self


class Listing(NamedTuple):
    """What is at an address: URL → what the store says of that file, sorted; and the URL that tracks are named from."""

    root: str
    files: Mapping[str, Mapping[str, Any]]


def as_address(text: str) -> Address | None:
    """Return the address that a text is; None if it is a path. Raises: UsageError for what cannot be reached."""
    if (match := ADDRESS.match(text)) is None:
        return None
    scheme, rest = match[1].lower(), text[match.end() :]
    if scheme in WEB:
        raise UsageError(f"{text} is an address of the web: download it first, and name the file")
    if "::" in text:
        raise UsageError(f"{text} is an address within another: copy what is in it first")
    if scheme in LOCAL:
        rest = posixpath.abspath(rest)
    if not rest.strip("/"):
        raise UsageError(f"{text} names no folder: add one, as in {scheme}://bucket/folder")
    return Address(f"{scheme}://{rest}")


# --- inputs


def files_at(address: Address) -> Listing:
    """List the files of an address: itself, those below a folder, or those that a pattern with *, ? or [] matches.

    Raises:
        PlaceError: the store cannot be reached, or refuses.
        UsageError: there is nothing of that name, or no package that reaches it.
    """
    with _explained(str(address), missing=UsageError):
        system, path = _system(str(address))
        listed = system.glob(path, detail=True) if _PATTERN.search(path) else {}
        root = _before_pattern(str(address)) if listed else str(address)
        if not listed:
            listed = {path: system.info(path)}
        files: dict[str, Mapping[str, Any]] = {}
        for name, about in listed.items():
            below = system.find(name, detail=True) if about["type"] == "directory" else {name: about}
            files |= {key: one for key, one in below.items() if one["type"] == "file"}
    scheme = str(address).partition("://")[0]
    start = f"{scheme}://{'/' if scheme in LOCAL else ''}"  # memory:// begins its paths with a slash, too
    return Listing(root, {start + key.lstrip("/"): files[key] for key in sorted(files)})


def _before_pattern(url: str) -> str:
    return _PATTERN.split(url, maxsplit=1)[0].rpartition("/")[0]


def mark_of(about: Mapping[str, Any]) -> str:
    """Return a text that changes when a file does, out of what a store says of it; empty if nothing tells."""
    value = next((f"{name}={about[name]}" for name in _MARKS if about.get(name)), "")
    return f"{value};bytes={about.get('size')}" if value else ""


def fetch(url: str, path: Path) -> None:
    """Copy a file to a path of this machine, in one request if the store allows. Raises: PlaceError, UsageError."""
    with _explained(url):
        system, there = _system(url)
        system.get_file(there, str(path))


# --- outputs


class Store:
    """The folder at an address that a run writes to. What is listed once is not listed again."""

    def __init__(self, root: Address) -> None:
        """Find out how it is reached. Raises: PlaceError, UsageError."""
        self.root = str(root)
        with _explained(self.root):
            self._system, _ = _system(self.root)
        self._listings: dict[str, dict[str, int | None]] = {}

    def size(self, path: Path) -> int | None:
        """Return the bytes of a file below the root; None if there is none. Raises: PlaceError."""
        folder, name = self._below(path)
        with _explained(str(path)):
            return self._names(folder).get(name)

    def _below(self, path: Path) -> tuple[str, str]:
        folder, _, name = str(path)[len(self.root) + 1 :].rpartition("/")
        return folder, name

    def _names(self, folder: str) -> dict[str, int | None]:
        """Return name → bytes for a folder below the root; a folder in it has None."""
        if folder not in self._listings:
            names = self._list(folder)
            if len(self._listings) >= LISTINGS:  # the first is the root, which all need
                self._listings = dict([next(iter(self._listings.items()))])
            self._listings[folder] = names
        return self._listings[folder]

    def _list(self, folder: str) -> dict[str, int | None]:
        """Ask for the names in a folder. One that its parent does not list is not asked for."""
        if folder:
            parent, _, name = folder.rpartition("/")
            if name not in self._names(parent):
                return {}
        _, path = _system(f"{self.root}/{folder}".rstrip("/"))
        try:
            entries = self._system.ls(path, detail=True)
        except FileNotFoundError:  # no file is there yet, so there is no folder
            return {}
        names = ((entry["name"].rstrip("/"), entry) for entry in entries)
        return {
            name.rpartition("/")[2]: entry.get("size") if entry["type"] == "file" else None
            for name, entry in names
            if name.rpartition("/")[0].strip("/") == path.strip("/")
        }

    def fetch(self, path: Path, to: Path) -> None:
        """Copy a file below the root to this machine. Raises: PlaceError."""
        fetch(str(path), to)

    def put(self, source: Path, path: Path) -> None:
        """Copy a file of this machine to a path below the root. Raises: PlaceError."""
        with _explained(str(path)):
            self._system.put_file(str(source), _system(str(path))[1])
        folder, name = self._below(path)
        self._note(folder, name, source.stat().st_size)

    def _note(self, folder: str, name: str, size: int | None) -> None:
        """Keep in mind what is there now, without a request."""
        if folder in self._listings:
            self._listings[folder][name] = size
        if folder:
            parent, _, inner = folder.rpartition("/")
            self._note(parent, inner, None)

    def remove(self, path: Path) -> None:
        """Remove a file below the root. Raises: PlaceError."""
        with _explained(str(path)):
            self._system.rm_file(_system(str(path))[1])
        folder, name = self._below(path)
        self._listings.get(folder, {}).pop(name, None)

    def try_out(self) -> None:
        """Begin a run: forget what was listed, write a small file, and remove it.

        Raises: PlaceError, as when the credentials do not suffice.
        """
        self._listings.clear()
        path = f"{self.root}/.stemsplit-{secrets.token_hex(4)}"
        with _explained(self.root, bucket=True):
            there = _system(path)[1]
            self._system.pipe_file(there, b"stemsplit was here\n")
            self._system.rm_file(there)


@lru_cache(4)
def store_at(root: Address) -> Store:
    """Return the store that this process writes to. Raises: PlaceError, UsageError."""
    return Store(root)


# --- fsspec, and what it says


def _system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path that it has there."""
    from fsspec.core import url_to_fs

    more = {"auto_mkdir": True} if url.startswith(tuple(f"{scheme}://" for scheme in LOCAL)) else {}
    system, path = url_to_fs(url, use_listings_cache=False, **more)
    return system, str(path)


@contextmanager
def _explained(url: str, *, missing: type[StemsplitError] = PlaceError, bucket: bool = False) -> Iterator[None]:
    """Turn whatever a store's library raises into words; `bucket`: what is missing can only be that."""
    try:
        yield
    except StemsplitError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        kinds = {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}
        if isinstance(error, ImportError):
            raise UsageError(
                f"{url}: a package is missing that reaches it: pip install 'stemsplit-mamba[remote]' ({said})"
            ) from error
        if isinstance(error, ValueError) and "Protocol not known" in said:
            raise UsageError(f"{url}: no such kind of address; there are s3://, gs://, hf:// and more") from error
        if isinstance(error, FileNotFoundError):
            what = "bucket" if bucket or _NO_BUCKET.search(said) else "file or folder"
            raise missing(f"{url}: no such {what} there") from error
        raise PlaceError(f"{url}: {_in_words(error, kinds, said)}") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "ProfileNotFound"}
_NO_BUCKET = re.compile("bucket does not exist|NoSuchBucket", re.IGNORECASE)
_REFUSALS = {"PermissionError", "GatedRepoError", "RefreshError"}
_UNREACHED = {
    "ConnectionError", "HTTPClientError", "TimeoutError", "ClientConnectionError", "ClientPayloadError", "gaierror",
    "ConnectError", "TransportError", "IncompleteReadError", "ResponseStreamingError",
}  # fmt: skip


def _in_words(error: Exception, kinds: set[str], said: str) -> str:
    if kinds & _CREDENTIALS:
        return f"no credentials for it: set its service's own, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({said})"
    if kinds & _REFUSALS:
        return f"no permission: the credentials do not suffice ({said})"
    if kinds & _UNREACHED:
        return f"it cannot be reached, or stopped answering ({said or type(error).__name__})"
    with suppress(AttributeError):
        if isinstance(error, OSError) and error.strerror:
            return reason(error)
    return f"{type(error).__name__}: {said}"
