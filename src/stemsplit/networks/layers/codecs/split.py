"""The band split that SFC is compared with (arXiv 2602.08671), over overlapping bands.

    encode    rows (B, T, F, 2M) → tokens (B, T, K, D): a norm and a linear map for each band
    decode    tokens → masks (B, T, F, 2NM): a gated two-layer map for each band; where bands overlap, the mean

Parameters have the names of the authors' code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stemsplit.networks.layers.codecs.musical import Band, bands_over

EXPAND = 4
"""The width inside the decoder's maps, divided by D."""


class _NormAndMap(nn.Module):
    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, dim)

    def forward(self, rows: Tensor) -> Tensor:
        return self.fc(self.norm(rows))


class _NormAndGate(nn.Module):
    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.hidden = nn.Sequential(nn.Linear(dim, EXPAND * dim), nn.Tanh())
        self.output = nn.Sequential(nn.Linear(EXPAND * dim, 2 * width), nn.GLU(dim=-1))

    def forward(self, rows: Tensor) -> Tensor:
        return self.output(self.hidden(self.norm(rows)))


class SplitEncoder(nn.Module):
    """Rows (B, T, F, 2M) → tokens (B, T, K, D). A row holds the real parts of M channels, then the imaginary ones.

    Args:
        channels: real numbers 2M of a bin.
        bands: K bands.
        dim: features D of a token.
    """

    def __init__(self, channels: int, bands: list[Band], dim: int) -> None:
        super().__init__()
        self.bands = bands
        self.norm_fc_modules = nn.ModuleList(_NormAndMap(channels * band.width, dim) for band in bands)

    def forward(self, rows: Tensor) -> tuple[Tensor, None]:
        """Return (tokens, None): the decoder needs nothing else."""
        # The features of a band are in the order (channel, re|im, bin).
        ordered = rows.unflatten(-1, (2, -1)).permute(0, 1, 4, 3, 2)  # (B, T, M, 2, F)
        tokens = [
            module(ordered[..., band.start : band.stop].flatten(2))
            for module, band in zip(self.norm_fc_modules, self.bands, strict=True)
        ]
        return torch.stack(tokens, dim=2), None


class SplitDecoder(nn.Module):
    """Tokens (B, T, K, D) → masks (B, T, F, 2NM).

    Args:
        channels: real numbers 2NM of a bin's masks.
        bands: K bands.
        dim: features D of a token.
    """

    def __init__(self, channels: int, bands: list[Band], dim: int) -> None:
        super().__init__()
        self.bands = bands
        self.norm_mlp = nn.ModuleList(_NormAndGate(dim, channels * band.width) for band in bands)
        shares = torch.from_numpy(1 / bands_over(bands, bands[-1].stop)).float()
        self.shares: Tensor
        self.register_buffer("shares", shares, persistent=False)

    def forward(self, tokens: Tensor, side: None = None) -> Tensor:
        """Return masks, whose rows hold the real parts of all stems and channels, then the imaginary ones."""
        total: Tensor | None = None
        for module, band, rows in zip(self.norm_mlp, self.bands, tokens.unbind(2), strict=True):
            # The outputs of a band are in the order (stem and channel, bin, re|im).
            masks = module(rows).unflatten(-1, (-1, band.width, 2)).to(tokens.dtype)
            if total is None:
                total = tokens.new_zeros(*tokens.shape[:2], masks.shape[2], len(self.shares), 2)
            total[:, :, :, band.start : band.stop] += masks * self.shares[band.start : band.stop, None]
        assert total is not None
        return total.permute(0, 1, 3, 4, 2).flatten(-2)  # (B, T, F, 2NM)
