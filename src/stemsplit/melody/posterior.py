"""A voice → posteriors: the network's probabilities of every frame. Memory does not depend on the voice's length.

    samples        0                                                total
                   |----- context | chunk of frames | context -----|
    frames         i is centred at sample i · hop; there are 1 + total // hop

The voice is computed in chunks. Each chunk is read together with the frames around it that its own frames depend on
(`context_frames`), so the result is the same as if the whole voice were computed at once. The network pads only at the
two ends of the voice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import nn

from stemsplit.audio.formats import SILENT_PEAK
from stemsplit.audio.rechunk import Rechunker
from stemsplit.errors import DecodeError, ModelError, OutOfMemoryError
from stemsplit.machine.device import threads_within_cores
from stemsplit.melody.octaves import context_frames
from stemsplit.melody.pitch import PitchGrid
from stemsplit.networks.contract import MelodyConfig, MelodyNetwork
from stemsplit.separation.inference import is_out_of_memory

CHUNK_SECONDS = 10.0
"""The context, half a second on either side, costs little beside this. A longer chunk would only need more memory."""
TINY = np.finfo(np.float32).tiny
SILENT_BELIEF = np.float32(1e-6)
"""Probability that a silent frame is sung. It is not 0, so that the pitches of the frame keep their proportions."""


Correct = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Puts posteriors (n, 1 + bins) right by their samples (k,); their first frame is that frame of the samples."""


def grid_of(config: MelodyConfig) -> PitchGrid:
    """Return the pitches that a network's bins stand for."""
    return PitchGrid(config.lowest_hz, config.bin_cents, config.bins)


def posteriors(
    network: MelodyNetwork,
    blocks: Iterable[np.ndarray],
    *,
    device: torch.device | str = "cpu",
    chunk_seconds: float = CHUNK_SECONDS,
    correct: Correct = lambda rows, samples, first: rows,
    on_warning: Callable[[str], object] = warnings.warn,
) -> Iterator[np.ndarray]:
    """Compute the posteriors of a voice.

    Args:
        network: see `MelodyNetwork`; if it is a torch module, it is moved to `device` and set to evaluation.
        blocks: float32 (n,) at the network's sample rate; n ≥ 0 may differ between blocks.
        device: where to compute; if its memory runs out, the rest is computed on the CPU.
        chunk_seconds: affects speed and memory, but not the result.
        correct: what puts the network's posteriors right, as `octaves.Octaves` does.
        on_warning: called with one sentence if memory runs out.

    Yields:
        float32 (frames, 1 + bins): rows of probabilities that sum to 1, non-voice first. There are 1 + samples // hop
        rows in all. Where the voice is silent, they say that nothing is sung, whatever the network computes.

    Raises:
        DecodeError: the voice holds NaN or infinity.
        ModelError: the network returned NaN, infinity or a wrong shape.
        OutOfMemoryError: the CPU has not enough memory for a chunk.
    """
    config = network.config
    frames = max(1, round(chunk_seconds * config.sample_rate / config.hop_samples))
    estimate = _Estimate(network, torch.device(device), on_warning)
    for samples, first, last in _chunks(_checked(blocks, config.sample_rate), config, frames):
        rows = correct(estimate(samples)[first:last], samples, first)
        yield _silenced(rows, _is_silent(samples, config.hop_samples)[first:last])


def _chunks(blocks: Iterable[np.ndarray], config: MelodyConfig, frames: int) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield each chunk with its context: samples (n,) from a frame on, and the range of the chunk's own frames."""
    hop = config.hop_samples
    # `_is_silent` and `octaves` need some context, too.
    context = max(1, config.context_frames, context_frames(config.sample_rate, hop))
    source, before = Rechunker(blocks), 0  # `before`: frames of context before the chunk
    while (held := source.peek(needed := (before + frames + context) * hop)) is not None and len(held) == needed:
        yield held, before, before + frames
        passed = max(0, before + frames - context)
        source.drop(passed * hop)
        before += frames - passed
    if held is not None and len(held):
        yield held, before, 1 + len(held) // hop
    else:  # no samples: a very short voice can lose its only sample when its rate is converted
        yield np.zeros(hop, np.float32), 0, 1


class _Estimate:
    """Samples (n,) → probabilities (1 + n // hop, 1 + bins), on the CPU once the device runs out of memory."""

    def __init__(self, network: MelodyNetwork, device: torch.device, warn: Callable[[str], object]) -> None:
        self.network, self.device, self.warn = network, device, warn
        self._place()

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        try:
            return self._run(samples)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if self.device.type == "cpu":
            raise OutOfMemoryError("out of memory on the CPU: free some memory")
        self.warn(f"out of memory on {self.device}: the melody network goes on with the CPU")
        self.device = torch.device("cpu")
        self._place()
        return self(samples)

    def _run(self, samples: np.ndarray) -> np.ndarray:
        config = self.network.config
        with torch.inference_mode(), threads_within_cores():
            waveform = torch.from_numpy(np.ascontiguousarray(samples)).to(self.device)
            logits = self.network(waveform[None])
            expected = (1, 1 + len(samples) // config.hop_samples, 1 + config.bins)
            if tuple(logits.shape) != expected:
                raise ModelError(f"the melody network returned {tuple(logits.shape)}, its config promises {expected}")
            rows = logits[0].float().softmax(-1).cpu().numpy()
        if not np.isfinite(rows).all():
            raise ModelError("the melody network gave NaN or infinity: `stemsplit models verify` checks its weights")
        return rows

    def _place(self) -> None:
        if isinstance(self.network, nn.Module):
            self.network.to(self.device).eval()


def _checked(blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
    """Yield the blocks as float32 (n,), after checking that all samples are finite."""
    position = 0
    for block in blocks:
        if block.ndim != 1:
            raise ValueError(f"a block of shape {block.shape} instead of (samples,)")
        finite = np.isfinite(block)
        if not finite.all():
            seconds = (position + int(finite.argmin())) / sample_rate
            raise DecodeError(f"the audio holds NaN or infinity at {seconds:.2f} s: export it again")
        position += len(block)
        yield block.astype(np.float32, copy=False)


def _is_silent(samples: np.ndarray, hop: int) -> np.ndarray:
    """Return for each frame whether the samples within one hop around it are silent: (1 + n // hop,) bool."""
    frames = 1 + len(samples) // hop
    padded = np.zeros((frames + 1) * hop, np.float32)  # from one hop before the first frame to one after the last
    padded[hop : hop + len(samples)] = np.abs(samples)[: frames * hop]
    peaks = padded.reshape(-1, hop).max(1)
    return np.asarray(np.maximum(peaks[:-1], peaks[1:]) < SILENT_PEAK)


def _silenced(rows: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """Return the rows, changed where `silent` so that non-voice has almost all of the probability."""
    if not silent.any():
        return rows
    pitches = rows[:, 1:] + np.finfo(np.float32).tiny  # a very sure network rounds all pitches to 0, and 0 / 0 is NaN
    quiet = np.concatenate(
        [np.full((len(rows), 1), 1 - SILENT_BELIEF), SILENT_BELIEF * pitches / pitches.sum(1, keepdims=True)], axis=1
    )
    return np.where(silent[:, None], quiet, rows).astype(np.float32, copy=False)


def together(first: Iterable[np.ndarray], second: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the normalised geometric mean of two streams of posteriors: (n, 1 + bins) float32, in blocks as of `first`.

    The network hears a song twice. In the separated vocals, some of the voice may be missing and some music may be
    left. In the song itself nothing is missing, but all the music is there. The errors in both are mostly at different
    frames. So what is likely in both is right more often than what is likely in one of them.

    The blocks of the streams may have different sizes. If `second` ends early, as it may by a frame when a sample rate
    is converted, the rest is that of `first` alone.
    """
    others = Rechunker(second, axis=0)
    for rows in first:
        other = others.take(len(rows))
        other = rows[:0] if other is None else other
        mean = np.sqrt((rows[: len(other)] + TINY) * (other + TINY))
        yield np.concatenate([mean / mean.sum(1, keepdims=True), rows[len(other) :]]).astype(np.float32, copy=False)
