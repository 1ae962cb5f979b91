"""A store for tests that counts what it is asked and fails when told: fsspec's memory, under counted://."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import soundfile
from fsspec.implementations.memory import MemoryFileSystem


class Counted(MemoryFileSystem):
    protocol = "counted"
    root_marker = "/"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    asked: ClassVar[list[str]] = []
    before: ClassVar[list[Callable[[str, str], object]]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.replace("counted://", "memory://"))

    def _ask(self, what: str, path: str) -> None:
        self.asked.append(f"{what} {path}")
        for call in self.before:
            call(what, path)

    def ls(self, path: str, detail: bool = True, **more: Any) -> Any:
        self._ask("list", path)
        return super().ls(path, detail=detail, **more)

    def get_file(self, rpath: str, lpath: str, **more: Any) -> None:
        self._ask("get", rpath)
        Path(lpath).write_bytes(self.store[rpath].getvalue() if rpath in self.store else _missing(rpath))

    def put_file(self, lpath: str, rpath: str, **more: Any) -> None:
        self._ask("put", rpath)
        super().put_file(lpath, rpath, **more)

    def rm_file(self, path: str) -> None:
        self._ask("remove", path)
        super().rm_file(path)


def _missing(path: str) -> bytes:
    raise FileNotFoundError(path)


fsspec.register_implementation("counted", Counted, clobber=True)


def emptied() -> type[Counted]:
    """The store, with nothing in it."""
    Counted.store.clear()
    Counted.pseudo_dirs[:] = [""]
    Counted.asked.clear()
    Counted.before.clear()
    return Counted


def put_songs(folder: Path, url: str, names: list[str], frames: int = 2000) -> None:
    """Write songs of noise, in stereo at 8 kHz, to a URL."""
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).normal(0, 0.1, (2, frames))
        path = folder / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise.T, 8000)
        system, there = fsspec.core.url_to_fs(f"{url}/{name}", **({"auto_mkdir": True} if "file:" in url else {}))
        system.pipe_file(there, path.read_bytes())
