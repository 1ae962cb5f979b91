"""How far a track is, where its stems have to be encoded after the network as well: both count by what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TRIAL_SECONDS = 10.0
"""So much audio is encoded in any case, to learn what it costs."""


class Pace:
    """Makes one figure, in seconds of audio, of what the network and the encoders have done; it never goes back.

    Encoders that go along with the network add nothing. Once it is known that all has to be encoded afterwards, a
    second of audio is done in part when the network is done with it, and in full when it is encoded.

    Args:
        on_progress: told the seconds of audio that are done.
    """

    def __init__(self, on_progress: Callable[[float], object] | None = None) -> None:
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._network = self._network_took = 0.0
        self._tried = self._trying_took = 0.0
        self._encoded = self._told = 0.0
        self._afterwards = False

    def network(self, seconds: float) -> None:
        """Learn how many seconds of audio the network is done with."""
        self._network, self._network_took = seconds, time.monotonic() - self._began
        self._tell()

    @property
    def needs_trial(self) -> bool:
        """Whether it is not known yet what encoding costs."""
        return self._tried < TRIAL_SECONDS

    @contextmanager
    def trying(self, seconds: float) -> Iterator[None]:
        """Learn from the block how long it takes to encode so many seconds of audio."""
        began = time.monotonic()
        yield
        self._tried, self._trying_took = self._tried + seconds, self._trying_took + time.monotonic() - began

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
        if not (self._afterwards and self._tried and self._network):
            return self._network
        network, encoding = self._network_took / self._network, self._trying_took / self._tried
        return (self._network * network + self._encoded * encoding) / (network + encoding)
