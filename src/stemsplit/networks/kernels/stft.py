"""Spectra → waveforms: the inverse short-time Fourier transform, faster than torch's on a CPU and equal to it.

`torch.istft` computes the sum of squared windows anew each time and passes over all frames of all waves for every step.
Here a wave is finished before the next is begun, which stays in cache, and the sum is known from the time before.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SMALLEST_ENVELOPE = 1e-11
"""torch.istft refuses to divide by less."""


def window_of(n_fft: int, like: Tensor) -> Tensor:
    """The periodic Hann window (n_fft,), rounded to float32 in every precision, as in the published network."""
    return torch.hann_window(n_fft, device=like.device).to(like.dtype)


def inverse_stft(spectra: Tensor, n_fft: int, hop_length: int, length: int) -> Tensor:
    """Waveforms (…, length) of centred spectra (…, F, T) under a Hann window.

    The fast way is for inference on a CPU, with frames that overlap evenly; everything else goes through
    `torch.istft`, which is the truth that it is tested against. Where bins are neighbours in memory nothing is copied,
    however the waves lie among one another.
    Raises: RuntimeError for lengths that torch.istft refuses.
    """
    plan = None
    if spectra.device.type == "cpu" and not torch.is_grad_enabled() and n_fft % hop_length == 0:
        plan = _plan(n_fft, hop_length, spectra.shape[-1], length, spectra.real.dtype)
    if plan is not None:
        return _overlap_add(spectra, *plan, length)
    window = window_of(n_fft, spectra.real)
    waves = torch.istft(spectra.flatten(0, -3), n_fft, hop_length, window=window, length=length)
    return waves.view(*spectra.shape[:-2], length)


def _overlap_add(spectra: Tensor, window: Tensor, envelope: Tensor, length: int) -> Tensor:
    """Waves (…, length) of spectra (…, F, T), window (parts, hop): a frame is as many steps long as it has parts."""
    parts, hop_length = window.shape
    n_fft, frames = parts * hop_length, spectra.shape[-1]
    found = torch.empty(*spectra.shape[:-2], length, dtype=window.dtype)
    for index in np.ndindex(spectra.shape[:-2]):
        pieces = torch.fft.irfft(spectra[index].t(), n_fft).view(frames, parts, hop_length)
        steps = window.new_zeros(frames + parts - 1, hop_length)
        for part in range(parts):
            steps[part : part + frames].addcmul_(pieces[:, part], window[part])
        torch.mul(steps.view(-1)[n_fft // 2 :][:length], envelope, out=found[index])
    return found


@lru_cache(maxsize=8)
def _plan(n_fft: int, hop_length: int, frames: int, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
    """The window (parts, hop) and 1 / Σ window² (length,); None where frames do not cover all of the length."""
    with torch.inference_mode(False):  # it outlives the call
        window = window_of(n_fft, torch.empty(0, dtype=dtype)).view(-1, hop_length)
        steps = window.new_zeros(frames + len(window) - 1, hop_length)
        for part, weights in enumerate(window):
            steps[part : part + frames] += weights.square()
        envelope = steps.view(-1)[n_fft // 2 :][:length]
        if len(envelope) < length or envelope.min() <= SMALLEST_ENVELOPE:
            return None
        return window, envelope.reciprocal()
