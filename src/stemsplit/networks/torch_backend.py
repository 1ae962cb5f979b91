"""The block in plain PyTorch: works on every device, needs nothing else."""

from __future__ import annotations

import torch

from stemsplit.networks.backends import Bound
from stemsplit.networks.bsmamba import ResidualBiMamba


class TorchBackend:
    """See `backends.Backend`."""

    name = "torch"

    def missing(self, device: torch.device) -> str | None:
        """It works wherever torch does."""
        return None

    def bind(self, block: ResidualBiMamba) -> Bound:
        """Return the block's own fused pass."""
        return block.fused
