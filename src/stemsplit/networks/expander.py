"""A downward expander: a stem becomes much softer where it is faint, so that it is silent in its pauses.

An unsure network leaves a little of everything in every stem. Where a stem is far below the mixture for a second or
two, all of it is such a rest. The rest is moved to another stem.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW_SECONDS = 2.0
"""Levels are means over this time, so that the short pauses between words do not count as pauses."""
RATIO = 3.0
"""How many dB the stem is reduced for each dB that it is below the threshold."""
FLOOR_DB = -60.0
"""The strongest reduction."""


def expand_(stems: Tensor, stem: int, into: int, threshold_db: float, frames_per_second: float) -> Tensor:
    """Make one stem softer where it is faint, and add what it loses to another stem. Return the same tensor.

    A stem is faint where its level relative to the sum of all stems is below the threshold. Both levels are means over
    `WINDOW_SECONDS`.

    Args:
        stems: spectra (B, S, C, F, T), which are overwritten.
        stem: index of the stem that becomes softer.
        into: index of the stem that gets what the other loses.
        threshold_db: a negative number.
        frames_per_second: of the spectra.
    """
    # As real numbers, because torch is slow at products of complex with real numbers: (B, S, C, T, F, re | im).
    parts = torch.view_as_real(stems.transpose(-1, -2))
    gain = expander_gain(
        _levels(parts[:, stem], frames_per_second), _levels(parts.sum(1), frames_per_second), threshold_db
    )
    lost = parts[:, stem] * (1 - gain)[:, None, :, None, None]
    parts[:, stem].sub_(lost)
    parts[:, into].add_(lost)
    return stems


def expander_gain(level_db: Tensor, whole_db: Tensor, threshold_db: float) -> Tensor:
    """Return the factor for a stem with the level `level_db` in a mixture with the level `whole_db`, in their shape."""
    beyond = RATIO * (level_db - whole_db - threshold_db)
    return 10 ** (beyond.clamp(FLOOR_DB, 0) / 20)


def _levels(parts: Tensor, frames_per_second: float) -> Tensor:
    """Return the level in dB of each frame together with its neighbours: (B, C, T, F, re | im) → (B, T).

    At the ends there are fewer neighbours.
    """
    energy = torch.linalg.vector_norm(parts.flatten(-2), dim=-1).square().sum(1)
    frames = 2 * round(WINDOW_SECONDS * frames_per_second / 2) + 1
    mean = F.avg_pool1d(energy.unsqueeze(1), frames, 1, frames // 2, count_include_pad=False).squeeze(1)
    return 10 * torch.log10(mean + torch.finfo(mean.dtype).tiny)
