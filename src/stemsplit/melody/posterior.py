"""Blocks of a voice → what a network believes of every frame, of any length in bounded memory.

    samples        0                                                total
                   |----- context | chunk of frames | context -----|
    frames         i is centred at sample i · hop; there are 1 + total // hop

Every chunk is read with the frames around it that its own depend on (`context_frames`), so the result is that of the
whole voice at once. Nothing is padded but by the network, at the voice's own two ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import nn

from stemsplit.audio.rechunk import Rechunker
from stemsplit.errors import DecodeError, ModelError, OutOfMemoryError
from stemsplit.machine.device import threads_within_cores
from stemsplit.melody.pitch import PitchGrid
from stemsplit.networks.contract import MelodyConfig, MelodyNetwork
from stemsplit.separation.inference import is_out_of_memory

CHUNK_SECONDS = 10.0
"""Long enough that its context (half a second on either side) is little beside it; a longer one only needs memory."""
TINY = np.finfo(np.float32).tiny
SILENT_PEAK = 1e-5  # −100 dBFS: below the last bit of 16
SILENT_BELIEF = np.float32(1e-6)
"""Probability that a silent frame is sung. Not 0: its pitches keep their proportions, and a path can pass through."""


def grid_of(config: MelodyConfig) -> PitchGrid:
    """The pitches that a network's bins stand for."""
    return PitchGrid(config.lowest_hz, config.bin_cents, config.bins)


def posteriors(
    network: MelodyNetwork,
    blocks: Iterable[np.ndarray],
    *,
    device: torch.device | str = "cpu",
    chunk_seconds: float = CHUNK_SECONDS,
    on_warning: Callable[[str], object] = warnings.warn,
) -> Iterator[np.ndarray]:
    """Estimate a stream.

    Args:
        network: see `MelodyNetwork`; a module is moved to `device` and set to evaluation.
        blocks: float32 (n,) at the network's rate, n ≥ 0 may vary.
        device: where to run; when its memory runs out, the rest goes to the CPU.
        chunk_seconds: speed and memory only, never the result.
        on_warning: told in one line when memory runs out.

    Yields:
        float32 (frames, 1 + bins), rows of probabilities that sum to 1, non-voice first; together 1 + samples // hop
        rows. Where the voice is silent nothing is sung, whatever the network says.

    Raises:
        DecodeError: the voice holds NaN or infinity.
        ModelError: the network returned NaN, infinity or another shape.
        OutOfMemoryError: the CPU has no memory for a chunk.
    """
    config = network.config
    frames = max(1, round(chunk_seconds * config.sample_rate / config.hop_samples))
    estimate = _Estimate(network, torch.device(device), on_warning)
    for samples, first, last in _chunks(_checked(blocks, config.sample_rate), config, frames):
        rows = estimate(samples)[first:last]
        yield _silenced(rows, _is_silent(samples, config.hop_samples)[first:last])


def _chunks(blocks: Iterable[np.ndarray], config: MelodyConfig, frames: int) -> Iterator[tuple[np.ndarray, int, int]]:
    """Samples (n,) that begin on a frame, and the range of their frames that this chunk answers for."""
    hop, context = config.hop_samples, max(1, config.context_frames)  # silence is heard a frame away
    source, before = Rechunker(blocks), 0  # `before`: frames that are held as context of the next chunk
    while (held := source.peek(needed := (before + frames + context) * hop)) is not None and len(held) == needed:
        yield held, before, before + frames
        passed = max(0, before + frames - context)
        source.drop(passed * hop)
        before += frames - passed
    if held is not None and len(held):
        yield held, before, 1 + len(held) // hop
    else:  # one sample at 48 kHz is none at 16
        yield np.zeros(hop, np.float32), 0, 1


class _Estimate:
    """Samples (n,) → probabilities (1 + n // hop, 1 + bins)."""

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
    """What the network may see: float32 (n,), all finite."""
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
    """Whether nothing sounds within a hop around each frame: (1 + n // hop,) bool."""
    frames = 1 + len(samples) // hop
    padded = np.zeros((frames + 1) * hop, np.float32)  # one hop before the first frame, the last frame's after it
    padded[hop : hop + len(samples)] = np.abs(samples)[: frames * hop]
    peaks = padded.reshape(-1, hop).max(1)
    return np.maximum(peaks[:-1], peaks[1:]) < SILENT_PEAK


def _silenced(rows: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """Rows of probabilities, with (almost) all of it on non-voice where silent."""
    if not silent.any():
        return rows
    pitches = rows[:, 1:] + np.finfo(np.float32).tiny  # a network that is very sure rounds them all to 0
    quiet = np.concatenate(
        [np.full((len(rows), 1), 1 - SILENT_BELIEF), SILENT_BELIEF * pitches / pitches.sum(1, keepdims=True)], axis=1
    )
    return np.where(silent[:, None], quiet, rows).astype(np.float32, copy=False)


def together(first: Iterable[np.ndarray], second: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the geometric mean of two streams of posteriors, normalised: (n, 1 + bins) float32, as `first` comes.

    A song is heard twice: its separated vocals, from which a separator may have taken some of the voice and left some
    of the music, and the song itself, in which nothing is missing and much is in the way. Where the two err they err at
    different frames, so what both find likely is right more often than what either does.

    The streams may be cut differently. Where `second` ends early (a conversion of the rate may cost it a frame),
    `first` stands alone.
    """
    others = Rechunker(second, axis=0)
    for rows in first:
        other = others.take(len(rows))
        other = rows[:0] if other is None else other
        mean = np.sqrt((rows[: len(other)] + TINY) * (other + TINY))
        yield np.concatenate([mean / mean.sum(1, keepdims=True), rows[len(other) :]]).astype(np.float32, copy=False)
