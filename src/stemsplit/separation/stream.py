"""Blocks of a mixture → blocks of its stems, of any length in bounded memory.

blocks (channels, n) → chunks (B, channels, S) → network, by channel groups → stems (B, K, channels, S)
                     → overlap-add → blocks (K, channels, n)

Speakers have no order: a network that is trained without one hears all channels as one, and its chunks are stitched.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
import torch

from stemsplit.errors import DecodeError, ModelError, UsageError
from stemsplit.machine.side_by_side import in_order
from stemsplit.networks.contract import SeparatorConfig, SeparatorNetwork
from stemsplit.separation.chunks import Chunk, Chunking, chunks
from stemsplit.separation.inference import Inference, is_out_of_memory
from stemsplit.separation.level import Level, level_of
from stemsplit.separation.placement import placed, placement, to_mono
from stemsplit.separation.stitch import joiner

T = TypeVar("T")

# Channels that belong together, in the order of WAV and FLAC: a left with its right, the others alone.
LAYOUTS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((0, 1),),  # FL FR
    3: ((0, 1), (2,)),  # FL FR FC
    4: ((0, 1), (2, 3)),  # FL FR BL BR
    5: ((0, 1), (2,), (3, 4)),  # FL FR FC BL BR
    6: ((0, 1), (2,), (3,), (4, 5)),  # FL FR FC LFE BL BR
    7: ((0, 1), (2,), (3,), (4,), (5, 6)),  # FL FR FC LFE BC SL SR
    8: ((0, 1), (2,), (3,), (4, 5), (6, 7)),  # FL FR FC LFE BL BR SL SR
}


def channel_groups(channels: int, *, widest: int = 2) -> tuple[tuple[int, ...], ...]:
    """Which channels go through the network together, in ascending order.

    Args:
        channels: of the source; a count without a layout is separated channel by channel.
        widest: channels that the network takes at once.
    """
    alone = tuple((channel,) for channel in range(channels))
    return LAYOUTS.get(channels, alone) if widest >= 2 else alone


MOST_CHUNK_SECONDS = 3600
"""What memory could ever hold; memory that is short before shows when it is asked for."""


def chunking_for(
    config: SeparatorConfig,
    *,
    chunk_seconds: float | None = None,
    overlap: float | None = None,
    batch_size: int = 1,
) -> Chunking:
    """Return the network's own chunking, with what the user chose in its place.

    Raises:
        UsageError: a number outside its range, or a chunk shorter than the network's shortest, or too long for it.
    """
    if chunk_seconds is not None and not math.isfinite(chunk_seconds):
        raise UsageError(f"chunks of {chunk_seconds} s have no length: choose a few seconds")
    if chunk_seconds is not None and chunk_seconds > MOST_CHUNK_SECONDS:
        raise UsageError(f"chunks of {chunk_seconds:g} s are too long: choose at most {MOST_CHUNK_SECONDS} s")
    samples = config.chunk_samples if chunk_seconds is None else round(chunk_seconds * config.sample_rate)
    if samples < config.shortest_samples:
        seconds = config.shortest_samples / config.sample_rate
        raise UsageError(f"chunks of {chunk_seconds} s are too short for this model: {seconds:.3f} s or more")
    if config.centred_chunks and samples > config.chunk_samples:
        seconds = config.chunk_samples / config.sample_rate
        raise UsageError(f"chunks of {chunk_seconds:g} s are too long for this model: {seconds:g} s or less")
    return Chunking(
        samples,
        config.overlap if overlap is None else overlap,
        batch_size,
        config.shortest_samples,
        plain=config.plain_chunks,
        centred=config.centred_chunks,
    )


def separate_blocks(
    network: SeparatorNetwork,
    blocks: Iterable[np.ndarray],
    *,
    channels: int,
    chunking: Chunking,
    device: torch.device | str = "cpu",
    precision: torch.dtype | None = None,
    side_by_side: int = 1,
    apart: bool = False,
    level: Level | None = None,
    on_progress: Callable[[int], object] | None = None,
    on_warning: Callable[[str], object] = warnings.warn,
) -> Generator[np.ndarray]:
    """Separate a stream.

    Args:
        network: see `SeparatorNetwork`; a module is moved to `device`.
        blocks: float32 (channels, n) at the network's rate, n ≥ 0 may vary.
        channels: of every block; more than the network takes are separated in `channel_groups`, or are taken together
            where the network gives its stems in any order.
        chunking: see `Chunking`; `chunking_for(network.config)` is the network's own.
        device: where to start; see `inference` for what happens when its memory runs out.
        precision: dtype of autocast, None for fp32; see `device.choose_precision`.
        side_by_side: calls of the network at once, each on one thread; for small networks on a CPU.
        apart: separate every channel by itself.
        level: of the whole stream, which is taken out before the network and put back behind it; see `level`.
        on_progress: called with the count of samples finished so far.
        on_warning: called with one line when memory runs out or half precision overflows.

    Yields:
        float32 (K, channels, n), in the order of `network.config.stems`; together as many samples as came in.

    Raises:
        DecodeError: the mixture holds NaN or infinity.
        ModelError: the network returned NaN, infinity or another shape.
        OutOfMemoryError: not even a short chunk fits on the CPU.
    """
    infer = Inference(network, chunking, torch.device(device), precision, on_warning)
    checked = _checked(blocks, channels, network.config.sample_rate)
    if level is not None:
        checked = map(level.taken_out, checked)
    heard = channels if network.config.aligned else min(channels, network.config.channels)
    groups = [list(group) for group in channel_groups(heard, widest=1 if apart else network.config.channels)]
    cut = chunks(checked if heard == channels else to_mono(checked), chunking)
    joined, done = joiner(network.config, chunking, infer.one), 0
    for batch, stems in _computed(infer, _batched(cut, chunking.batch_size), groups, side_by_side):
        for chunk, estimate in zip(batch, stems, strict=True):
            _require_finite(chunk, estimate, network.config.sample_rate)
            block = joined.add(chunk, estimate)
            if block is None:
                continue
            done += block.shape[-1]
            if on_progress is not None:
                on_progress(done)
            if level is not None:
                block = level.put_back(block)
            yield block if heard == channels else np.repeat(block, channels, axis=1)
            del block
        del batch, stems, chunk, estimate  # before the network needs the memory


def separate_array(
    network: SeparatorNetwork,
    mixture: np.ndarray,
    *,
    chunking: Chunking | None = None,
    device: torch.device | str = "cpu",
    precision: torch.dtype | None = None,
    side_by_side: int = 1,
    on_progress: Callable[[int], object] | None = None,
    on_warning: Callable[[str], object] = warnings.warn,
) -> np.ndarray:
    """Separate (channels, samples) at once into (K, channels, samples); see `separate_blocks`."""
    channels = len(mixture)
    level = level_of([mixture]) if network.config.levelled else None
    stems = separate_blocks(
        network,
        [mixture],
        channels=channels,
        chunking=chunking or chunking_for(network.config),
        device=device,
        precision=precision,
        side_by_side=side_by_side,
        level=level,
        on_progress=on_progress,
        on_warning=on_warning,
    )
    nothing = np.zeros((len(network.config.stems), channels, 0), np.float32)
    return np.concatenate([nothing, *stems], axis=-1)


def _computed(
    infer: Inference, batches: Iterable[list[Chunk]], groups: list[list[int]], side_by_side: int
) -> Iterator[tuple[list[Chunk], np.ndarray]]:
    """Pair every batch with its stems (B, K, channels, S); several at once while memory lasts."""
    alone = partial(_estimate, infer, groups)
    if side_by_side == 1:
        return ((batch, alone(batch)) for batch in batches)
    at_once = partial(_estimate, infer.once, groups)
    return in_order(at_once, batches, side_by_side, alone=alone, crowded=is_out_of_memory)


def _estimate(infer: Callable[[np.ndarray], np.ndarray], groups: list[list[int]], batch: list[Chunk]) -> np.ndarray:
    """Return the stems (B, K, channels, S) of a batch; channels go through the network group by group."""
    mixture = np.stack([chunk.samples for chunk in batch])
    stems = []
    for group in groups:
        part = mixture[:, group]
        if (gains := placement(part)) is None:
            stems.append(infer(part))
        else:
            stems.append(infer(placed(part, gains)) * gains[:, None, :, None])
    return stems[0] if len(stems) == 1 else np.concatenate(stems, axis=2)


def _require_finite(chunk: Chunk, estimate: np.ndarray, sample_rate: int) -> None:
    if not np.isfinite(estimate).all():
        raise ModelError(
            f"the network made NaN or infinity of the chunk at {max(0, chunk.begin) / sample_rate:.2f} s, in fp32: "
            "`stemsplit models verify` checks its weights"
        )


def _checked(blocks: Iterable[np.ndarray], channels: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Return what the network may see: float32 (channels, n), all finite."""
    position = 0
    for block in blocks:
        if block.ndim != 2 or len(block) != channels:
            raise ValueError(f"a block of shape {block.shape} instead of ({channels}, samples)")
        finite = np.isfinite(block).all(axis=0)
        if not finite.all():
            seconds = (position + int(finite.argmin())) / sample_rate
            raise DecodeError(f"the audio holds NaN or infinity at {seconds:.2f} s: export it again")
        position += block.shape[-1]
        yield block.astype(np.float32, copy=False)


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items, the last one shorter (itertools.batched of Python 3.12)."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch
