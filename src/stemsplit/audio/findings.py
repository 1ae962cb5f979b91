"""What is found wrong with a file while it is read: what is told, and what stops the reading."""

from __future__ import annotations

from pathlib import Path

from stemsplit.audio.info import Warn
from stemsplit.errors import DamagedError

SALVAGED = "salvaged: "
"""Warnings begin with this if the file would have been refused without `salvage`."""


class Findings:
    """Decides over each thing that is found wrong with a file.

    Args:
        path: the file.
        salvage: read what is there of a damaged file, too.
        warn: called with one sentence about each thing that does not stop the reading.
    """

    def __init__(self, path: Path, salvage: bool = False, warn: Warn | None = None) -> None:
        self.path, self.salvage = path, salvage
        self._warn = warn

    def note(self, text: str) -> None:
        """Tell about something that was put right."""
        if self._warn is not None:
            self._warn(f"{self.path.name}: {text}")

    def refuse(self, text: str, cause: Exception | None = None) -> None:
        """Refuse a file of which a part is missing. With `salvage`, tell it and return. Raises: DamagedError."""
        if not self.salvage:
            raise DamagedError(f"{self.path}: {text}") from cause
        if self._warn is not None:
            self._warn(f"{SALVAGED}{self.path.name}: {text}")
