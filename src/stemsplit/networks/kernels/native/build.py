"""Compile the kernels into one shared library: `python -m stemsplit.networks.kernels.native.build`.

Every instruction set is a translation unit with its own flags. If the compiler does not know the flags, the unit is
compiled without them, and then leaves out its kernels. The library holds a hash of its sources, so that a stale library
is recognised.
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
"""The shared library. It has this name on every system, because it is loaded by its path."""

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fvisibility=hidden", "-Wall", "-Wno-maybe-uninitialized")
SET_FLAGS = {
    "entry.cpp": ("-pthread",),
    "around.cpp": ("-pthread",),
    "compare.cpp": ("-pthread",),
    "selective.cpp": ("-pthread",),
    "training.cpp": ("-pthread",),
    "set_portable.cpp": (),
    "set_avx2.cpp": ("-mavx2", "-mfma"),
    "set_avx512.cpp": ("-mavx512f", "-mfma"),
    "set_avx512bf16.cpp": ("-mavx512f", "-mfma", "-mavx512bf16"),
    "set_amx.cpp": ("-mavx512f", "-mfma", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
}
"""Translation unit → the flags that only this unit is compiled with."""

X86 = ("x86_64", "amd64")
SECONDS = 300


class BuildError(Exception):
    """The library could not be built. The message is one line that says why."""


def source_hash(folder: Path = HERE) -> str:
    """Return a hash of the C++ sources, 16 hexadecimal digits. It does not depend on the kind of line ends."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.cpp"), *folder.glob("*.h")], key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:16]


def find_compiler() -> list[str]:
    """Return the command of the C++ compiler: $CXX, or the first of `COMPILERS` that is installed.

    Raises:
        BuildError: there is no compiler.
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
    """Compile and link the library, whose file appears whole or not at all.

    Args:
        target: the file.
        extra: more flags, for every unit and for the linker.

    Raises:
        BuildError: there is no compiler, or it failed.
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
    """Compile every unit into `folder`, and return the object files."""
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
    """Return whether to compile for longer vectors: on x86, but not on Windows.

    On Windows, GCC aligns the stack to 16 bytes only, and yet puts longer vectors there, which makes programs crash.
    """
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
    """Build the library beside the sources. If that fails, exit with one line that says why."""
    try:
        build()
    except BuildError as error:
        raise SystemExit(f"no native kernels: {error}") from None


if __name__ == "__main__":
    main()
