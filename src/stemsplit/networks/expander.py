"""A downward expander for a stem that should be silent where it pauses: what is hardly there becomes next to nothing.

A network that is unsure leaves a little of everything in every stem. Where a stem is far below the mixture for a
second or two, that little is all there is of it: it goes where it came from.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW_SECONDS = 2.0
"""Levels are means over so long: pauses between words are none."""
RATIO = 3.0
"""dB that the stem loses per dB that it lies below the threshold."""
FLOOR_DB = -60.0
"""The most that it loses."""


def expand(stems: Tensor, stem: int, into: int, threshold_db: float, frames_per_second: float) -> Tensor:
    """Return spectra (B, S, C, F, T) of which `stem` is turned down where it is faint, and `into` has what it lost.

    Faint is what lies more than −threshold_db below the sum of all stems; both levels are means over WINDOW_SECONDS.
    """
    gain = expander_gain(
        _levels(stems[:, stem], frames_per_second), _levels(stems.sum(1), frames_per_second), threshold_db
    )
    lost = stems[:, stem] * (1 - gain[:, None, None])
    rows = list(stems.unbind(1))
    rows[stem], rows[into] = rows[stem] - lost, rows[into] + lost
    return torch.stack(rows, dim=1)


def expander_gain(level_db: Tensor, whole_db: Tensor, threshold_db: float) -> Tensor:
    """The factor for a stem at `level_db` beside a mixture at `whole_db`, of their shape."""
    beyond = RATIO * (level_db - whole_db - threshold_db)
    return 10 ** (beyond.clamp(FLOOR_DB, 0) / 20)


def _levels(spectrum: Tensor, frames_per_second: float) -> Tensor:
    """Level in dB of every frame and its neighbours, (B, T), of (B, C, F, T); at the ends of fewer."""
    energy = torch.view_as_real(spectrum).square().sum(dim=(1, 2, 4))
    frames = 2 * round(WINDOW_SECONDS * frames_per_second / 2) + 1
    mean = F.avg_pool1d(energy.unsqueeze(1), frames, 1, frames // 2, count_include_pad=False).squeeze(1)
    return 10 * torch.log10(mean + torch.finfo(mean.dtype).tiny)
