"""Spectrum ⇄ tokens of bands that may overlap (Lu et al. 2023, arXiv 2309.02612; Wang et al. 2023, arXiv 2310.01809).

    BandSplit        spectrum (B, T, F, C, 2)  → tokens (B, T, G, D)
    MaskEstimator    tokens (B, T, G, D)       → the mask of one stem, (B, T, F, C, 2)

B is the batch, T frames, F bins, C audio channels, 2 real and imaginary parts, G bands, D features. Parameters have
the names of the published weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.networks.layers.roformer.attention import L2Norm


class BandSplit(nn.Module):
    """For each band: all parts of all its bins in all channels → norm → linear map to D features.

    Args:
        bands: the bins of each band.
        channels: audio channels.
        dim: features D of a token.
    """

    def __init__(self, bands: Sequence[np.ndarray], channels: int, dim: int) -> None:
        super().__init__()
        self.bands = [_sliced(band) for band in bands]
        widths = [2 * channels * len(band) for band in bands]
        self.to_features = nn.ModuleList(nn.Sequential(L2Norm(width), nn.Linear(width, dim)) for width in widths)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return the tokens (B, T, G, D) of a spectrum (B, T, F, C, 2)."""
        maps = zip(self.bands, self.to_features, strict=True)
        return torch.stack([to_token(spectrum[:, :, band].flatten(2)) for band, to_token in maps], dim=2)


class MaskEstimator(nn.Module):
    """For each band: linear maps with tanh between them, then a gated linear unit.

    Where bands overlap, the mean of their masks is taken.

    Args:
        bands: the bins of each band; together they are all bins.
        channels: audio channels.
        dim: features D of a token.
        hidden: features between the maps.
        maps: how many linear maps.
    """

    covers: Tensor | None

    def __init__(self, bands: Sequence[np.ndarray], channels: int, dim: int, hidden: int, maps: int) -> None:
        super().__init__()
        self.channels = channels
        self.bands = [_sliced(band) for band in bands]
        covers = torch.from_numpy(np.bincount(np.concatenate(bands))).view(-1, 1, 1)
        # How many bands cover a bin follows from the bands, so it is not among the weights.
        self.register_buffer("covers", covers if covers.max() > 1 else None, persistent=False)
        self.to_freqs = nn.ModuleList(
            nn.Sequential(_perceptron([dim] + [hidden] * (maps - 1) + [4 * channels * len(band)]), nn.GLU())
            for band in bands
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the mask (B, T, F, C, 2) of tokens (B, T, G, D)."""
        found = [
            to_mask(token).unflatten(-1, (-1, self.channels, 2))
            for to_mask, token in zip(self.to_freqs, tokens.unbind(2), strict=True)
        ]
        if self.covers is None:
            return torch.cat(found, dim=2)
        mask = found[0].new_zeros(*tokens.shape[:2], len(self.covers), self.channels, 2)
        for band, part in zip(self.bands, found, strict=True):
            mask[:, :, band] += part
        return mask / self.covers


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Return linear maps from width to width, with tanh between them."""
    maps: list[nn.Module] = []
    for before, after in pairwise(widths):
        maps += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*maps[:-1])


def _sliced(band: np.ndarray) -> slice:
    """Return the bins of a band as a slice: they are neighbours."""
    return slice(int(band[0]), int(band[-1]) + 1)
