"""Compile the kernels into one shared library: `python -m stemsplit.networks.kernels.native.build`.

Every instruction set is a translation unit of its own with its own flags; a compiler that does not know the flags
compiles the unit without them, and the kernels of that set are then left out. The library says which sources it was
made of, so that a stale one is not used.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE / "libstemsplit_native.so"
"""A shared library by that name on every system: it is loaded by its path."""

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fvisibility=hidden", "-Wall", "-Wno-maybe-uninitialized")
SET_FLAGS = {
    "entry.cpp": ("-pthread",),
    "training.cpp": ("-pthread",),
    "set_portable.cpp": (),
    "set_avx2.cpp": ("-mavx2", "-mfma"),
    "set_avx512.cpp": ("-mavx512f", "-mfma"),
    "set_avx512bf16.cpp": ("-mavx512f", "-mfma", "-mavx512bf16"),
}
"""Translation units, and what only they are compiled with."""

X86 = ("x86_64", "amd64")
SECONDS = 300


class BuildError(Exception):
    """No library: one line that says why."""


def source_hash(folder: Path = HERE) -> str:
    """Hash of the C++ sources, 16 hexadecimal digits; line ends do not count."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.cpp"), *folder.glob("*.h")], key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:16]


def find_compiler() -> list[str]:
    """The C++ compiler's command: $CXX, or the first of `COMPILERS`.

    Raises:
        BuildError: there is none.
    """
    if chosen := os.environ.get("CXX", "").split():
        if shutil.which(chosen[0]) is None:
            raise BuildError(f"no C++ compiler: CXX names {chosen[0]}, which is not there")
        return chosen
    for name in COMPILERS:
        if shutil.which(name):
            return [name]
    raise BuildError(f"no C++ compiler: none of $CXX, {', '.join(COMPILERS)}")


def build(target: Path = LIBRARY, extra: tuple[str, ...] = ()) -> Path:
    """Compile and link; `target` appears whole or not at all. `extra` flags go to every unit and to the linker.

    Raises:
        BuildError: no compiler, or it failed.
    """
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as folder:
        objects = compile_units(compiler, Path(folder), extra)
        made = Path(folder) / "library.so"
        _run([*compiler, "-shared", "-pthread", *extra, *map(str, objects), "-o", str(made)])
        beside = target.with_suffix(f".{os.getpid()}.tmp")
        shutil.copyfile(made, beside)
        beside.replace(target)
    return target


def compile_units(compiler: list[str], folder: Path, extra: tuple[str, ...] = ()) -> list[Path]:
    """Compile every unit into `folder`; return the object files."""
    define = f'-DSTEMSPLIT_SOURCE_HASH="{source_hash()}"'
    objects = []
    for name, flags in SET_FLAGS.items():
        target = folder / f"{name}.o"
        common = [*compiler, *FLAGS, define, *extra, "-c", str(HERE / name), "-o", str(target)]
        own = [flag for flag in flags if takes_vector_flags() or not flag.startswith("-m")]
        try:
            _run([*common, *own])
        except BuildError:
            if not own:
                raise
            _run(common)
        objects.append(target)
    return objects


def takes_vector_flags() -> bool:
    """On x86, but not on Windows: GCC there aligns the stack to 16 bytes and spills longer vectors to it."""
    return platform.machine().lower() in X86 and os.name != "nt"


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the C++ compiler did not run: {error}") from None
    if done.returncode:
        lines = (
            [line for line in done.stderr.splitlines() if "error" in line]
            or done.stderr.splitlines()
            or ["without a word"]
        )
        raise BuildError(f"the C++ compiler failed: {lines[0].strip()}")


def main() -> None:
    """Build beside the sources; the end is one line if that fails."""
    try:
        build()
    except BuildError as error:
        raise SystemExit(f"no native kernels: {error}") from None


if __name__ == "__main__":
    main()
