"""What a caller may hand over as a sound."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from numpy.typing import NDArray

from stemsplit.errors import UsageError

Sound = str | Path | bytes | BinaryIO | NDArray[Any]
"""A path, the bytes of a file, a file open for reading, or float samples at ±1, (channels, samples) or (samples,)."""


@contextmanager
def readable(source: Sound) -> Iterator[str | Path | NDArray[Any]]:
    """Yield a path or an array. Bytes and files lie in a temporary file meanwhile: decoders go back and forth.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(source, bytes) or hasattr(source, "read"):
        with TemporaryDirectory(prefix="stemsplit-") as folder:
            path = Path(folder) / "sound"
            if isinstance(source, bytes):
                path.write_bytes(source)
            else:
                with path.open("wb") as target:
                    shutil.copyfileobj(source, target)
            yield path
    elif isinstance(source, (str, Path)) or hasattr(source, "__array__") or isinstance(source, (list, tuple)):
        yield source
    else:
        raise UsageError(f"a sound is a path, bytes, an open file or an array, not {type(source).__name__}")
