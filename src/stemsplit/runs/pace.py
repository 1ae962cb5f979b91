"""How far a track is: the time that has passed, beside what the network and the encoders still have to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stemsplit.audio import probe
from stemsplit.errors import AudioError
from stemsplit.files.places import Address
from stemsplit.options import TimeRange

TRIAL_SECONDS = 10.0
"""So much audio is encoded in any case, to learn what it costs."""


class Pace:
    """Makes one figure, in seconds of audio, of what the network and the encoders have done; it never goes back.

    It is the share of the time, t / (t + what is left), by what a second of audio has cost so far. What is left is
    that of the network or of the encoders, whichever is more, where they go along with it, and of both where they come
    after it.

    Args:
        on_progress: told the seconds of audio that are done.
        seconds: of audio in all; None if that is not known: then only the network counts.
    """

    def __init__(self, on_progress: Callable[[float], object] | None = None, seconds: float | None = None) -> None:
        self._on_progress, self._seconds = on_progress, seconds
        self._began = time.monotonic()
        self._first: tuple[float, float] | None = None  # when the network was first heard of, and how far it was
        self._network, self._network_at = 0.0, self._began
        self._tried = self._trying_took = self._interrupted = 0.0
        self._encoded = self._told = 0.0
        self._afterwards = False

    def network(self, seconds: float) -> None:
        """Learn how many seconds of audio the network is done with."""
        self._network, self._network_at = seconds, time.monotonic()
        if self._first is None:
            self._first, self._interrupted = (self._network_at, seconds), 0.0
        self._tell()

    @property
    def needs_trial(self) -> bool:
        """Whether it is not known yet what encoding costs."""
        return self._tried < TRIAL_SECONDS

    @contextmanager
    def trying(self, seconds: float, *, beside: bool) -> Iterator[None]:
        """Learn from the block how long it takes to encode so many seconds of audio.

        `beside`: the network goes on meanwhile.
        """
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        self._tried, self._trying_took = self._tried + seconds, self._trying_took + took
        self._interrupted += 0.0 if beside else took

    def wait(self) -> None:
        """Learn that the network is done, and that the encoders beside it still work."""
        self._tell()

    def encode_afterwards(self) -> None:
        """Learn that all has to be encoded after the network."""
        self._afterwards = True

    def encoded(self, seconds: float) -> None:
        """Learn that so many more seconds of audio are encoded after the network."""
        self._encoded += seconds
        self._tell()

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._told = max(self._told, self._done())
            self._on_progress(self._told)

    def _done(self) -> float:
        if not self._seconds:
            return self._network
        now = time.monotonic()
        left = max(0.0, self._seconds - self._network) * self._network_cost()
        if self._afterwards:
            if not self._tried:
                return 0.0
            took = self._trying_took + (now - self._network_at if self._encoded else 0.0)
            left += max(0.0, self._seconds - self._encoded) * took / (self._tried + self._encoded)
        elif self._tried:
            left = max(left, (self._seconds - self._tried) * self._trying_took / self._tried)
        passed = now - self._began
        done = self._seconds * passed / (passed + left) if left else self._seconds
        return min(done, self._network) if self.needs_trial and left else done  # what little was measured may deceive

    def _network_cost(self) -> float:
        """Return the seconds that the network takes for one of audio, from its first result on."""
        at, done = self._first or (self._began, 0.0)
        if self._network > done:
            return max(0.0, self._network_at - at - self._interrupted) / (self._network - done)
        return (self._network_at - self._began) / self._network if self._network else 0.0


def known_seconds(source: Path, time_range: TimeRange | None = None) -> float | None:
    """Length of a file or a part of it: None if it does not say, 0 if it cannot be read, which shows later."""
    if isinstance(source, Address):  # nothing is fetched before its turn
        return None
    try:
        return probe(source, time_range=time_range).seconds
    except (AudioError, OSError):
        return 0.0
