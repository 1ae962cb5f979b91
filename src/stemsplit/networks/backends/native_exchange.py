"""The exchange between channels in the native library: its call, and its weights. See kernels/native/exchange.h."""

from __future__ import annotations

import torch
from torch import Tensor

from stemsplit.networks.backends.native_packing import ByPrecision, Packer, check, thread_scratch
from stemsplit.networks.kernels.native_library import Exchange, Library
from stemsplit.networks.layers.tac import TransformAverageConcatenate


class BoundExchange:
    """A bound exchange: tokens (B, C, K, T, D) → tokens of the same shape and type.

    Tokens in float64 are computed by the layer itself.
    """

    def __init__(self, layer: TransformAverageConcatenate, library: Library, instructions: str | None) -> None:
        self.layer, self.library = layer, library
        self._weights = ByPrecision(library, instructions, layer, pack_exchange)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Compute the exchange.

        Raises:
            DeviceError: the library reports an error.
            ValueError: the tokens have a wrong width.
        """
        if tokens.dtype == torch.float64:
            return self.layer.plain(tokens)
        name, weights = self._weights.now()
        if tokens.shape[-1] != weights.features:
            raise ValueError(f"tokens of {tokens.shape[-1]} features, the layer has {weights.features}")
        values = tokens.detach().to(torch.float32).contiguous()
        out = torch.empty_like(values)
        if not values.numel():
            return out.to(tokens.dtype)
        batch, channels, bands, steps, _ = values.shape
        threads = min(torch.get_num_threads(), batch * bands)
        words = threads * self.library.layer_scratch("exchange", name, weights, channels, steps)
        scratch = thread_scratch(words)
        where = (values.data_ptr(), out.data_ptr())
        sizes = (batch, channels, bands, steps, threads, scratch.data_ptr(), words)
        check(name, self.library.layer("exchange", name, weights, *where, *sizes))
        return out.to(tokens.dtype)


def pack_exchange(layer: TransformAverageConcatenate, packer: Packer) -> Exchange:
    """Pack the weights of an exchange."""
    own, shared = (packer.pad(part, dim=1) for part in layer.concatenate.weight.chunk(2, dim=1))
    return Exchange(
        features=layer.norm_weight.numel(),
        hidden=packer.padded(layer.average.weight.shape[0]),
        norm_weight=packer.vector(layer.norm_weight),
        norm_bias=packer.vector(layer.norm_bias),
        transform=packer.matrix(packer.pad(layer.transform.weight)),
        transform_bias=packer.vector(layer.transform.bias),
        average=packer.matrix(packer.pad(packer.pad(layer.average.weight), dim=1)),
        average_bias=packer.vector(layer.average.bias),
        concatenate_own=packer.matrix(own),
        concatenate_shared=packer.matrix(shared),
        bias=packer.vector(layer.concatenate.bias),
    )
