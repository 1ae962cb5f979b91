"""A stem's file → what the page has of it: its levels, and the sound as Opus."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np

from stemsplit.audio import blocks, resample
from stemsplit.errors import OutputError

OPUS_RATE = 48000
BITS_PER_SECOND = {1: 64_000, 2: 96_000}
"""For one channel and for two; silence takes next to nothing."""
PARTS = 1600
"""Into how many the song is divided to measure its levels."""
_PER_SECOND = 200
_BLOCK = 48000


class Levels:
    """Measures blocks as they pass: the largest sample and the root of the mean square, over all channels."""

    def __init__(self, sample_rate: int) -> None:
        self._size = max(1, sample_rate // _PER_SECOND)
        self._rest = np.zeros((0, 0), dtype=np.float32)
        self._peaks: list[np.ndarray] = []
        self._squares: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        """Measure float32 (channels, n)."""
        samples = np.concatenate([self._rest, block], axis=1) if self._rest.size else block
        count = samples.shape[1] // self._size
        self._measure(samples[:, : count * self._size], self._size)
        self._rest = samples[:, count * self._size :].copy()

    def _measure(self, samples: np.ndarray, size: int) -> None:
        if samples.size:
            cells = samples.reshape(samples.shape[0], -1, size)
            self._peaks.append(np.abs(cells).max(axis=(0, 2)))
            self._squares.append((cells.astype(np.float64) ** 2).mean(axis=(0, 2)))

    def packed(self) -> str:
        """Return the levels of `PARTS` equal parts of what came: base64 of a byte for the peak and one for the mean.

        A byte is 255 times the square root of the level, so that quiet parts keep their shape.
        """
        if self._rest.size:
            self._measure(self._rest, self._rest.shape[1])
            self._rest = self._rest[:, :0]
        peaks, squares = (np.concatenate(found) if found else np.zeros(1) for found in (self._peaks, self._squares))
        edges = np.linspace(0, len(peaks), min(PARTS, len(peaks)) + 1).round().astype(int)[:-1]
        counts = np.diff(np.append(edges, len(peaks)))
        levels = np.stack([np.maximum.reduceat(peaks, edges), np.sqrt(np.add.reduceat(squares, edges) / counts)], 1)
        return base64.b64encode(np.rint(255 * np.sqrt(np.clip(levels, 0, 1))).astype(np.uint8).tobytes()).decode()


def measured(path: Path, samples: int, sample_rate: int, *, embed: bool) -> tuple[str, bytes | None]:
    """Return the levels of a stem, packed, and the stem as Ogg Opus if it is to be embedded.

    Args:
        path: the file.
        samples: how long the song is, at `sample_rate` (Hz); lossy files may be somewhat off.
        sample_rate: of the stems.
        embed: whether Opus is wanted.

    Raises: AudioError, OutputError.
    """
    levels = Levels(sample_rate)

    def passing() -> Iterator[np.ndarray]:
        for block in _exactly(samples, blocks(path)):
            levels.add(block)
            yield block if block.shape[0] <= 2 else block.mean(axis=0, keepdims=True)

    opus = None
    if embed:
        opus = encode_opus(passing(), sample_rate)
    else:
        for _ in passing():
            pass
    return levels.packed(), opus


def _exactly(samples: int, stream: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield blocks until there are so many samples; silence where the stream is shorter."""
    left, channels = samples, 1
    for block in stream:
        channels = block.shape[0]
        if left > 0:
            yield block[:, :left]
        left -= block.shape[1]
    while left > 0:
        yield np.zeros((channels, min(left, _BLOCK)), dtype=np.float32)
        left -= _BLOCK


def encode_opus(stream: Iterator[np.ndarray], sample_rate: int) -> bytes:
    """Encode blocks (channels, n), one channel or two, as Ogg Opus. The same samples, the same bytes.

    Raises: OutputError if this PyAV has no Opus.
    """
    first = next(stream, np.zeros((1, 1), dtype=np.float32))
    channels = first.shape[0]
    file, exact = io.BytesIO(), {"flags": "+bitexact", "compression_level": "5"}
    try:
        with av.open(file, "w", format="ogg", options={"fflags": "+bitexact"}) as container:
            layout = "mono" if channels == 1 else "stereo"
            track = container.add_stream("libopus", rate=OPUS_RATE, layout=layout, options=exact)
            track.bit_rate = BITS_PER_SECOND[channels]
            place = 0
            for block in resample(_chained(first, stream), sample_rate, OPUS_RATE, channels):
                flat = np.ascontiguousarray(block.T, dtype=np.float32).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(flat, format="flt", layout=layout)
                frame.sample_rate, frame.pts = OPUS_RATE, place
                place += block.shape[1]
                container.mux(track.encode(frame))
            container.mux(track.encode(None))
    except (av.FFmpegError, ValueError) as error:
        raise OutputError(f"this PyAV cannot encode Opus ({error}): use --audio link") from error
    return file.getvalue()


def _chained(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest
