"""Spectra → waveforms: an inverse short-time Fourier transform that is faster than torch's.

`torch.istft` computes the sum of squared windows in each call, and waits for the GPU to check it. Here the sum is
checked once on the CPU, and kept from one call to the next. On a CPU each waveform is finished before the next one, so
that it stays in the cache. On a GPU all are computed together by a few launches.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SMALLEST_ENVELOPE = 1e-11
"""The smallest sum of squared windows that torch.istft divides by."""


def window_of(n_fft: int, like: Tensor, *, rounded: bool = True) -> Tensor:
    """Return the periodic Hann window (n_fft,), by default rounded to float32 in every type, as in TS-BSMamba2."""
    return _window(n_fft, like.device, like.dtype, torch.float32 if rounded else like.dtype)


@lru_cache(maxsize=16)
def _window(n_fft: int, device: torch.device, dtype: torch.dtype, computed: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # it is kept, and may be used outside of inference mode
        return torch.hann_window(n_fft, dtype=computed).to(device, dtype)


def inverse_stft(spectra: Tensor, n_fft: int, hop_length: int, length: int, *, rounded: bool = True) -> Tensor:
    """Return the waveforms (…, length) of spectra (…, F, T) that were made with `center=True` and a Hann window.

    The fast versions are used for inference, if n_fft is a multiple of the hop. In all other cases `torch.istft` is
    used, with which tests compare the fast versions. If the bins of a frame are contiguous in memory, spectra are not
    copied.

    Raises:
        RuntimeError: the length is one that torch.istft refuses.
    """
    plan, window = None, window_of(n_fft, spectra.real, rounded=rounded)
    if not torch.is_grad_enabled() and n_fft % hop_length == 0:
        plan = _plan(n_fft, hop_length, spectra.shape[-1], length, window.dtype, window.device, rounded)
    if plan is not None:
        overlap_add = _overlap_add if spectra.device.type == "cpu" else _overlap_add_together
        return overlap_add(spectra, *plan, length)
    waves = torch.istft(spectra.flatten(0, -3), n_fft, hop_length, window=window, length=length)
    return waves.view(*spectra.shape[:-2], length)


def _overlap_add(spectra: Tensor, window: Tensor, envelope: Tensor, length: int) -> Tensor:
    """Return waveforms (…, length) of spectra (…, F, T).

    Args:
        spectra: (…, F, T).
        window: (parts, hop); a frame consists of parts that are a hop long.
        envelope: (length,), 1 / Σ window².
        length: samples of a waveform.
    """
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


def _overlap_add_together(spectra: Tensor, window: Tensor, envelope: Tensor, length: int) -> Tensor:
    """Return what `_overlap_add` returns, all waveforms together.

    Part p of frame f belongs to step f + p. So the frames of each part are laid out in a row with `parts` zeros at its
    end. If these rows are cut again into rows that are shorter by one, each begins one step later than the one before
    it, and the sum over the rows is the waveform.
    """
    parts, hop_length = window.shape
    frames = spectra.shape[-1]
    pieces = torch.fft.irfft(spectra.transpose(-1, -2), parts * hop_length).reshape(-1, frames, parts, hop_length)
    rows = window.new_zeros(len(pieces), parts, frames + parts, hop_length)
    torch.mul(pieces.transpose(1, 2), window.unsqueeze(1), out=rows[:, :, :frames])
    steps = frames + parts - 1
    cut = rows.flatten(1)[:, : parts * steps * hop_length].unflatten(1, (parts, steps * hop_length))
    start = parts * hop_length // 2
    return (cut.sum(1)[:, start : start + length] * envelope).view(*spectra.shape[:-2], length)


@lru_cache(maxsize=8)
def _plan(
    n_fft: int, hop_length: int, frames: int, length: int, dtype: torch.dtype, device: torch.device, rounded: bool
) -> tuple[Tensor, Tensor] | None:
    """Return the window (parts, hop) and 1 / Σ window² (length,). Return None if the frames do not cover the length."""
    with torch.inference_mode(False):  # these tensors are kept, and may be used outside of inference mode
        window = window_of(n_fft, torch.empty(0, dtype=dtype), rounded=rounded).view(-1, hop_length)
        steps = window.new_zeros(frames + len(window) - 1, hop_length)
        for part, weights in enumerate(window):
            steps[part : part + frames] += weights.square()
        envelope = steps.view(-1)[n_fft // 2 :][:length]
        if len(envelope) < length or envelope.min() <= SMALLEST_ENVELOPE:
            return None
        return window.to(device), envelope.reciprocal().to(device)
