"""The songs that there are, looked for again from time to time while others are still making more."""

from __future__ import annotations

import time
from collections.abc import Callable

from stemsplit.training.examples.mixes import Library


class Shelf:
    """A library that grows. Threads may share it: at worst two of them look for new songs at once."""

    def __init__(self, find: Callable[[], Library], minutes: float) -> None:
        """Look for songs with `find`, again whenever so many minutes have passed; with 0 minutes only once."""
        self._find, self._minutes = find, minutes
        self._found: Library | None = None
        self._looked = 0.0

    def library(self) -> Library:
        """Return the songs that are known, after looking for new ones if it is time."""
        if self._found is None or (self._minutes and time.monotonic() - self._looked > 60 * self._minutes):
            self._looked = time.monotonic()
            self._found = self._find()
        return self._found
