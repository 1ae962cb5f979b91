"""Blocks of samples → overlapping chunks → one overlap-added stream, in memory that does not grow with it.

    source                0                                         length
                          |--------------------------------------------|
    chunks      [ border  |         )                                         each exactly `chunk_samples`
                          [         |         )                               one every `step_samples`
                                                     ...     [         |  border )

Every chunk *finishes* at most `step_samples`: those that no later chunk covers. They are Σ w·y / Σ w over
the chunks that do. `border_samples` are mirrored before the first sample and after the last one, as context
that is computed and thrown away; a source of no more than twice the border gets none. What the last chunks
still lack is filled, so that a network that normalises over its input (GroupNorm) always sees the length it
was trained with.

This is the chunking of ZFTurbo/Music-Source-Separation-Training, with which the public TS-BSMamba2 weights
were measured (overlap 0.5), except that the batch size has no effect. Its rule "no fade-in on the first
chunk, no fade-out on the last" needs no code: a ramp is never longer than a step, so no other chunk covers
those samples, and the division undoes the ramp.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from stemsplit.audio.rechunk import Rechunker
from stemsplit.errors import UsageError

RAMP_PARTS = 10  # a ramp is a tenth of the chunk
SMALLEST_WEIGHT = 1e-8  # a ramp starts above zero: every sample has a weight, whatever the overlap


@dataclass(frozen=True)
class Chunking:
    """How a stream is cut.

    Args:
        chunk_samples: samples that the network sees at once, at least 1.
        overlap: fraction of a chunk that the next one covers again, in [0, 1).
        batch_size: chunks per call of the network; speed and memory only, never the result.

    Raises:
        UsageError: a number outside its range.
    """

    chunk_samples: int
    overlap: float = 0.5
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.chunk_samples < 1:
            raise UsageError(f"a chunk of {self.chunk_samples} samples is empty: choose a longer one")
        if not 0 <= self.overlap < 1:
            raise UsageError(f"an overlap of {self.overlap} is not in [0, 1): 0.5 covers every sample twice")
        if self.batch_size < 1:
            raise UsageError(f"a batch of {self.batch_size} chunks is empty: choose 1 or more")

    @property
    def step_samples(self) -> int:
        """From the start of one chunk to the start of the next."""
        return max(1, round(self.chunk_samples * (1 - self.overlap)))

    @property
    def border_samples(self) -> int:
        """What two neighbours share; also the length of the mirrored ends."""
        return self.chunk_samples - self.step_samples

    def window(self) -> np.ndarray:
        """Weights (chunk_samples,): ones with a linear ramp at both ends, all above zero."""
        ramp_samples = min(self.chunk_samples // RAMP_PARTS, self.step_samples)
        ramp = np.maximum(np.linspace(0, 1, ramp_samples), SMALLEST_WEIGHT)
        flat = np.ones(self.chunk_samples - 2 * ramp_samples)
        return np.concatenate([ramp, flat, ramp[::-1]]).astype(np.float32)


@dataclass(frozen=True)
class Chunk:
    """A piece of the source: samples (channels, chunk_samples), the first of which is source sample `begin`.

    `begin` is negative in the mirrored border. Once this chunk is added, its samples from `first` up to
    `last` (exclusive) are finished.
    """

    samples: np.ndarray
    begin: int
    first: int
    last: int


def chunks(blocks: Iterable[np.ndarray], chunking: Chunking) -> Iterator[Chunk]:
    """Cut blocks (channels, n) of any sizes into chunks; holds about two chunks and one block at a time."""
    chunk, step, border = chunking.chunk_samples, chunking.step_samples, chunking.border_samples
    source, begin = Rechunker(blocks), 0
    head = source.peek(2 * border + 1)
    if head is None:
        return
    mirrored = head.shape[-1] > 2 * border
    if mirrored:
        source.put_back(head[:, border:0:-1])
        begin = -border

    # One sample more than a chunk: so what is held at the end contains all that the mirrored tail is made of.
    while (held := _held(source, chunk + 1)).shape[-1] > chunk:
        yield Chunk(held[:, :chunk], begin, max(0, -begin), step)
        source.drop(step)
        begin += step

    length = begin + held.shape[-1]
    if mirrored:
        held = np.concatenate([held, held[:, -2 : -2 - border : -1]], axis=-1)
    while begin < length:
        yield Chunk(_pad(held[:, :chunk], chunk), begin, max(0, -begin), min(step, length - begin))
        held, begin = held[:, step:], begin + step


def _held(source: Rechunker, samples: int) -> np.ndarray:
    held = source.peek(samples)
    assert held is not None
    return held


class OverlapAdd:
    """Joins the estimates of consecutive chunks, handed to it one by one."""

    def __init__(self, chunking: Chunking) -> None:
        self._step, self._border, self._window = chunking.step_samples, chunking.border_samples, chunking.window()
        self._tail = self._tail_weight = np.zeros(self._border, np.float32)

    def add(self, chunk: Chunk, estimate: np.ndarray) -> np.ndarray | None:
        """Add an estimate (..., chunk_samples) and return the samples (..., n) that are finished by it, or None.

        All that it returns is together exactly as long as what went into `chunks`.
        """
        total, weight = estimate * self._window, self._window.copy()
        total[..., : self._border] += self._tail
        weight[: self._border] += self._tail_weight
        self._tail, self._tail_weight = total[..., self._step :], weight[self._step :]
        if chunk.first >= chunk.last:
            return None
        finished = slice(chunk.first, chunk.last)
        return np.asarray(total[..., finished] / weight[finished])


def _pad(samples: np.ndarray, chunk_samples: int) -> np.ndarray:
    """Fill the end to a whole chunk: mirrored where there is enough to mirror, else with silence."""
    missing = chunk_samples - samples.shape[-1]
    if samples.shape[-1] > chunk_samples // 2:
        return np.pad(samples, ((0, 0), (0, missing)), mode="reflect")
    return np.pad(samples, ((0, 0), (0, missing)))
