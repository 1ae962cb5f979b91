"""Sounds that several tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import numpy as np
import pytest

Sound = Callable[..., np.ndarray]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script that runs the tests in the background makes them ignore Ctrl-C, and the processes that tests start, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["STEMSPLIT_CONFIG"] = ""  # the config file of whoever runs the tests is not read, by what they start neither


@pytest.fixture
def sound() -> Sound:
    """``sound(channels, frames, rate=44100)`` → float32 (channels, frames): a tone per channel, in noise."""

    def make(channels: int, frames: int, rate: int = 44100, *, amplitude: float = 0.2) -> np.ndarray:
        time = np.arange(frames) / rate
        pitches = 110.0 * (1 + np.arange(channels)[:, None] % 12)
        samples = amplitude * np.sin(2 * np.pi * pitches * time)
        samples += amplitude * np.random.default_rng(frames).uniform(-1, 1, (channels, frames))
        return samples.astype(np.float32)

    return make
