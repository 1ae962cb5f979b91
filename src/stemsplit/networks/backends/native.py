"""Layers in C++ on the CPU, with threads of their own: blocks, band split, heads, exchange, Mamba-1. See native/abi.h.

They compute in fp32. Under `torch.autocast("cpu", torch.bfloat16)` the matrix products are in bfloat16, if the
processor has instructions for that; sums, decays and states stay in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from stemsplit.errors import DeviceError
from stemsplit.networks.backends.native_bands import BoundHeads, BoundSplit
from stemsplit.networks.backends.native_block import BoundBlock
from stemsplit.networks.backends.native_exchange import BoundExchange
from stemsplit.networks.backends.native_packing import WIDE
from stemsplit.networks.kernels.native_library import Library, LibraryError, load_library
from stemsplit.networks.layers.bands import BandHeads, BandSplit
from stemsplit.networks.layers.bimamba import PreNormBiMamba, ResidualBiMamba
from stemsplit.networks.layers.bindable import Bound
from stemsplit.networks.layers.tac import TransformAverageConcatenate


class NativeBackend:
    """The backend that uses the native library. See `contract.Backend`.

    Args:
        instructions: an instruction set for all calls, for tests and comparisons; by default the best one.
    """

    name = "native"

    def __init__(self, instructions: str | None = None) -> None:
        self.instructions = instructions

    def missing(self, device: torch.device) -> str | None:
        """Return None if this is the CPU, with the library and at least AVX2, otherwise the reason in one line."""
        if torch.device(device).type != "cpu":
            return "it is for the CPU"
        library = load_library()
        if isinstance(library, LibraryError):
            return str(library)
        here = library.instruction_sets()
        if self.instructions is not None and self.instructions not in here:
            return f"this processor has no {self.instructions}, or the compiler had none"
        if self.instructions is None and not set(WIDE) & set(here):
            return "this processor has neither AVX-512 nor AVX2"
        return None

    def bind(self, layer: nn.Module) -> Bound | None:
        """Pack the weights of a layer, if there is a kernel for it.

        Raises:
            DeviceError: the backend does not work here, see `missing`.
        """
        make = next((make for kind, make in _KERNELS if isinstance(layer, kind)), None) or _rarer(layer)
        if make is None:
            return None
        reason = self.missing(next(layer.parameters()).device)
        library = load_library()
        if reason is not None or isinstance(library, LibraryError):
            raise DeviceError(f"no native kernels: {reason}")
        bound: Bound = make(layer, library, self.instructions)
        return bound


Make = Callable[[Any, Library, str | None], Bound]
_KERNELS: tuple[tuple[type[nn.Module], Make], ...] = (
    (ResidualBiMamba, BoundBlock),
    (PreNormBiMamba, BoundBlock),
    (BandSplit, BoundSplit),
    (BandHeads, BoundHeads),
    (TransformAverageConcatenate, BoundExchange),
)
"""Kind of layer → what computes it."""


def _rarer(layer: nn.Module) -> Make | None:
    """Return what computes a layer that few networks have. Its code is loaded only for these."""
    from stemsplit.networks.backends.native_selective import BoundSelective
    from stemsplit.networks.layers.mamba1 import Mamba1

    return BoundSelective if isinstance(layer, Mamba1) else None
