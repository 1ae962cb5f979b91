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


def expand(stems: Tensor, stem: int, into: int, threshold_db: float, frames_per_second: float) -> Tensor:
    """Return spectra in which one stem is softer where it is faint. What it loses is added to another stem.

    A stem is faint where its level relative to the sum of all stems is below the threshold. Both levels are means over
    `WINDOW_SECONDS`.

    Args:
        stems: spectra (B, S, C, F, T).
        stem: index of the stem that becomes softer.
        into: index of the stem that gets what the other loses.
        threshold_db: a negative number.
        frames_per_second: of the spectra.
    """
    gain = expander_gain(
        _levels(stems[:, stem], frames_per_second), _levels(stems.sum(1), frames_per_second), threshold_db
    )
    lost = stems[:, stem] * (1 - gain[:, None, None])
    rows = list(stems.unbind(1))
    rows[stem], rows[into] = rows[stem] - lost, rows[into] + lost
    return torch.stack(rows, dim=1)


def expander_gain(level_db: Tensor, whole_db: Tensor, threshold_db: float) -> Tensor:
    """Return the factor for a stem with the level `level_db` in a mixture with the level `whole_db`, in their shape."""
    beyond = RATIO * (level_db - whole_db - threshold_db)
    return 10 ** (beyond.clamp(FLOOR_DB, 0) / 20)


def _levels(spectrum: Tensor, frames_per_second: float) -> Tensor:
    """Return the level in dB of each frame together with its neighbours: (B, C, F, T) → (B, T).

    At the ends there are fewer neighbours.
    """
    energy = torch.view_as_real(spectrum).square().sum(dim=(1, 2, 4))
    frames = 2 * round(WINDOW_SECONDS * frames_per_second / 2) + 1
    mean = F.avg_pool1d(energy.unsqueeze(1), frames, 1, frames // 2, count_include_pad=False).squeeze(1)
    return 10 * torch.log10(mean + torch.finfo(mean.dtype).tiny)
