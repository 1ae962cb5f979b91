"""The loss of Saijo & Bando (arXiv 2602.08671): a negative signal-to-noise ratio that is finite for silence."""

from __future__ import annotations

import torch
from torch import Tensor

ACTIVE_DB = -60.0
"""A reference below this level relative to its mixture counts as silent."""
FLOOR = 1e-3
"""The error's floor, relative to the reference: past 30 dB there is little left to win."""
SILENT_WEIGHT = 0.1
"""Weight of a stem that should be silent, beside a sounding one's, if a schedule does not say otherwise."""


def snr_loss(estimate: Tensor, reference: Tensor, mixture: Tensor, silent_weight: float = SILENT_WEIGHT) -> Tensor:
    """Return the mean loss in dB, a scalar. Lower is better, and −30 dB is perfect for a sounding stem.

    Per channel and stem it is 10 log10(‖ŝ−s‖² + 1e-3 P) − 10 log10 P, with P = ‖s‖² of the reference. For a silent
    reference P is the mixture's energy, and the loss is multiplied by `silent_weight`. So what leaks into a stem that
    should be silent costs something, but never infinitely much.

    Args:
        estimate: ŝ, (B, S, C, samples).
        reference: s, (B, S, C, samples).
        mixture: (B, C, samples).
        silent_weight: Weight of a silent reference beside a sounding one's 1.
    """
    error = (estimate - reference).square().sum(-1)
    return snr_loss_of(error, reference.square().sum(-1), mixture.square().sum(-1), silent_weight)


def snr_loss_of(error: Tensor, power: Tensor, whole: Tensor, silent_weight: float = SILENT_WEIGHT) -> Tensor:
    """Return `snr_loss` of energies.

    Args:
        error: ‖ŝ−s‖², (B, S, C).
        power: ‖s‖², (B, S, C).
        whole: the mixture's energy, (B, C).
        silent_weight: as in `snr_loss`.
    """
    tiny = torch.finfo(error.dtype).tiny
    whole = whole.unsqueeze(1).expand_as(power).clamp_min(1e-8)
    active = 10 * torch.log10(power / whole + tiny) >= ACTIVE_DB
    sounding = _decibel(error + FLOOR * power.clamp_min(tiny)) - _decibel(power.clamp_min(tiny))
    # relative to the mixture, so that a song's level does not change its loss
    silent = silent_weight * (_decibel(error + FLOOR * whole) - _decibel(whole))
    return torch.where(active, sounding, silent).mean()


def _decibel(energy: Tensor) -> Tensor:
    return 10 * torch.log10(energy)
