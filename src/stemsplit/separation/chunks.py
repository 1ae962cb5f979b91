"""Blocks of samples → overlapping chunks → one overlap-added stream, in memory that does not grow with it.

    source                0                                         length
                          |--------------------------------------------|
    chunks      [ border  |         )                                         each `chunk_samples`
                          [         |         )                               one every `step_samples`
                                                     ...     [         |  border )

Every chunk *finishes* at most `step_samples`: those that no later chunk covers. They are Σ w·y / Σ w over
the chunks that do. `border_samples` are mirrored before the first sample and after the last one, as context
that is computed and thrown away; a source of no more than twice the border gets none. What the last chunks
still lack is mirrored, too: silence would be heard by a network that normalises over its input (GroupNorm).

A source that fits into one chunk is one chunk, as long as the source is: a short file costs one call of the
network, and no more than its length. Only what is shorter than `shortest_samples` is filled up to that.
Networks that normalise over their input like that better than a whole chunk filled with silence (for the
figures, see benchmarks/LOG.md).

Of longer sources this is the chunking of ZFTurbo/Music-Source-Separation-Training, with which the public
TS-BSMamba2 weights were measured (overlap 0.5), except that the batch size has no effect, and that it fills
a last chunk of which less than half is left with silence, which at that overlap never happens. Its rule "no
fade-in on the first chunk, no fade-out on the last" needs no code: a ramp is never longer than a step, so no
other chunk covers those samples, and the division undoes the ramp.

*Plain* chunks are those of SFC's authors: no borders, no ramps, and silence where the last chunk lacks samples. Where
two chunks overlap, their mean is taken.

*Centred* chunks are those of Demucs: no borders, and weights that rise to the middle of a chunk and fall again. A chunk
at the end, which lacks samples, is seen in the middle of others: what comes before it, and silence behind the song.
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
        shortest_samples: what the network needs at least; at most `chunk_samples`.
        plain: average chunks without ramps, and mirror nothing.
        centred: cut, weigh and fill chunks as Demucs does.

    Raises:
        UsageError: a number outside its range.
    """

    chunk_samples: int
    overlap: float = 0.5
    batch_size: int = 1
    shortest_samples: int = 1
    plain: bool = False
    centred: bool = False

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
        step = self.chunk_samples * (1 - self.overlap)
        return max(1, int(step) if self.centred else round(step))

    @property
    def border_samples(self) -> int:
        """What two neighbours share; also the length of the mirrored ends."""
        return self.chunk_samples - self.step_samples

    def window(self) -> np.ndarray:
        """Weights (chunk_samples,): ones with a linear ramp at both ends, all above zero; plain ones have none.

        Those of centred chunks are a triangle.
        """
        if self.plain:
            return np.ones(self.chunk_samples, np.float32)
        if self.centred:
            rising, falling = np.arange(1, self.chunk_samples // 2 + 1), np.arange(-(-self.chunk_samples // 2), 0, -1)
            triangle: np.ndarray = np.concatenate([rising, falling]) / falling[0]
            return triangle.astype(np.float32)
        ramp_samples = min(self.chunk_samples // RAMP_PARTS, self.step_samples)
        ramp = np.maximum(np.linspace(0, 1, ramp_samples), SMALLEST_WEIGHT)
        flat = np.ones(self.chunk_samples - 2 * ramp_samples)
        return np.concatenate([ramp, flat, ramp[::-1]]).astype(np.float32)


@dataclass(frozen=True)
class Chunk:
    """A piece of the source: samples (channels, n), the first of which is source sample `begin`.

    `begin` is negative in the mirrored border. Once this chunk is added, its samples from `first` up to
    `last` (exclusive) are finished. n is `chunk_samples`, except where the chunk is `alone`: the whole source.
    """

    samples: np.ndarray
    begin: int
    first: int
    last: int
    alone: bool = False
    lead: int = 0
    """So many samples come before `begin`, as context alone. All of `first` and `last` counts from there on."""


def chunks(blocks: Iterable[np.ndarray], chunking: Chunking) -> Iterator[Chunk]:
    """Cut blocks (channels, n) of any sizes into chunks; holds about two chunks and one block at a time."""
    chunk, step, border = chunking.chunk_samples, chunking.step_samples, chunking.border_samples
    source, begin = Rechunker(blocks), 0
    if chunking.centred:
        yield from _centred(source, chunking)
        return
    head = source.peek(max(chunk, 2 * border) + 1)
    if head is None:
        return
    if (length := head.shape[-1]) <= chunk:
        if length:
            yield Chunk(_pad(head, max(length, chunking.shortest_samples)), 0, 0, length, alone=True)
        return
    mirrored = not chunking.plain and head.shape[-1] > 2 * border
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
    if chunking.plain:  # one more chunk finishes all that is left
        yield Chunk(np.pad(held, ((0, 0), (0, chunk - held.shape[-1]))), begin, 0, length - begin)
        return
    while begin < length:
        yield Chunk(_pad(held[:, :chunk], chunk), begin, max(0, -begin), min(step, length - begin))
        held, begin = held[:, step:], begin + step


def _centred(source: Rechunker, chunking: Chunking) -> Iterator[Chunk]:
    """Cut a stream into centred chunks. Half a chunk before the one at hand is held, as context for the last ones."""
    chunk, step, before = chunking.chunk_samples, chunking.step_samples, 0
    begin = 0
    while (held := source.peek(before + chunk + 1)) is not None and held.shape[-1] > before + chunk:
        yield Chunk(held[:, before : before + chunk], begin, 0, step)
        source.drop(dropped := max(0, before + step - chunk // 2))
        before, begin = before + step - dropped, begin + step
    if held is None:
        return
    for start in range(before, held.shape[-1], step):
        own = held.shape[-1] - start
        lead = (chunk - own) // 2
        context = held[:, max(0, start - lead) : start + chunk - lead]
        left = max(0, lead - start)
        filled = np.pad(context, ((0, 0), (left, chunk - left - context.shape[-1])))
        yield Chunk(filled, begin + start - before, 0, min(step, own), lead=lead)


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
        """Add the estimate (..., n) of a chunk, and return the samples (..., m) that are finished by it, or None.

        All that it returns is together exactly as long as what went into `chunks`.
        """
        if chunk.alone:
            return np.asarray(estimate[..., chunk.first : chunk.last])
        if chunk.lead:  # what is behind the song then has no weight in it
            estimate = np.roll(estimate, -chunk.lead, axis=-1)
        step = max(self._step, chunk.last)  # the last of plain chunks finishes more than a step
        carried = min(step, self._border)
        total, weight = estimate[..., :step] * self._window[:step], self._window[:step].copy()
        total[..., :carried] += self._tail[..., :carried]
        weight[:carried] += self._tail_weight[:carried]
        self._carry(estimate[..., self._step :])
        if chunk.first >= chunk.last:
            return None
        finished = slice(chunk.first, chunk.last)
        total, weight = total[..., finished], weight[finished]
        total /= weight
        return np.asarray(total)

    def _carry(self, end: np.ndarray) -> None:
        """Keep what later chunks will be added to: the end of an estimate, and what is left of the ends before."""
        tail, weight = end * self._window[self._step :], self._window[self._step :].copy()
        left = max(0, self._border - self._step)
        tail[..., :left] += self._tail[..., self._border - left :]
        weight[:left] += self._tail_weight[self._border - left :]
        self._tail, self._tail_weight = tail, weight


def _pad(samples: np.ndarray, wanted_samples: int) -> np.ndarray:
    """Fill the end to what is wanted: mirrored, as often as it takes; one sample alone is followed by silence."""
    missing = wanted_samples - samples.shape[-1]
    return np.pad(samples, ((0, 0), (0, missing)), mode="reflect" if samples.shape[-1] > 1 else "constant")
