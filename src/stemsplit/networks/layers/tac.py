"""The exchange between audio channels: transform, average, concatenate (Luo et al. 2020, arXiv 1910.14104)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.kernels.products import tanh_
from stemsplit.networks.layers.bindable import Bindable
from stemsplit.networks.layers.norm import group_norm

BANDS_AT_ONCE = 8
"""How many bands are computed at once at inference. Their tensors fit into the cache."""


class TransformAverageConcatenate(Bindable):
    """The exchange between audio channels: each gets the average over all channels.

    Args:
        dim: features D of a token.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = 3 * dim
        self.norm_weight = nn.Parameter(torch.ones(dim))
        self.norm_bias = nn.Parameter(torch.zeros(dim))
        self.transform = nn.Linear(dim, hidden)
        self.average = nn.Linear(hidden, hidden)
        self.concatenate = nn.Linear(2 * hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return updated tokens (B, C, K, T, D). At inference they are computed by the backend, if one is bound."""
        return self.plain(tokens) if (bound := self.backend()) is None else bound(tokens)

    def plain(self, tokens: Tensor) -> Tensor:
        """Return the same without a backend.

        At inference only a few bands are computed at a time, so that their tensors fit into the cache.
        """
        if torch.is_grad_enabled():
            return tokens + self._update(tokens)
        out = torch.empty(tokens.shape, dtype=tokens.dtype, device=tokens.device)
        for band in range(0, tokens.shape[2], BANDS_AT_ONCE):
            part = tokens[:, :, band : band + BANDS_AT_ONCE]
            torch.add(part, self._update(part), out=out[:, :, band : band + BANDS_AT_ONCE])
        return out

    def _update(self, tokens: Tensor) -> Tensor:
        own = tanh_(self.transform(group_norm(tokens, self.norm_weight, self.norm_bias)))
        shared = tanh_(self.average(own.mean(dim=1, keepdim=True)))
        # The linear map of a concatenation is the sum of two maps. So the average need not be repeated per channel.
        for_own, for_shared = self.concatenate.weight.chunk(2, dim=1)
        return tanh_(F.linear(own, for_own) + F.linear(shared, for_shared, self.concatenate.bias))
