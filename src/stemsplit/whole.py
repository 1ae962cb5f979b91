"""Small files, whole or not at all."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from stemsplit.errors import OutputError


def write_whole(path: Path, data: bytes) -> None:
    """Write under a hidden name in the same folder, then rename; folders above are made.

    Raises: OutputError, and `path` is as it was before.
    """
    partial = path.with_name(f".{path.name[:40]}.partial-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
