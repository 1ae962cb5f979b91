"""The bidirectional Mamba-2 blocks in the native library: their call, and their weights. See kernels/native/block.h."""

from __future__ import annotations

import torch
from torch import Tensor

from stemsplit.networks.backends.native_packing import ByPrecision, Packer, check, thread_scratch
from stemsplit.networks.kernels.native_library import BlockWeights, Direction, Library, Places, Shape
from stemsplit.networks.layers.bimamba import NormedMamba2, PreNormBiMamba, ResidualBiMamba
from stemsplit.networks.layers.mamba2 import Mamba2


class BoundBlock:
    """A bound block: tokens (…, L, D) with any strides → tokens of the same shape and type.

    Weights are packed at the first call in each precision. Tokens in float64 are computed by the block itself.
    """

    strided = True

    def __init__(self, block: ResidualBiMamba | PreNormBiMamba, library: Library, instructions: str | None) -> None:
        self.block, self.library = block, library
        self._weights = ByPrecision(library, instructions, block, pack_block)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Compute the block with as many threads as PyTorch would use.

        Raises:
            DeviceError: the library reports an error.
            ValueError: the tokens have a wrong width.
        """
        if tokens.dtype == torch.float64:  # more precision than the library has
            return self.block.fused(tokens)
        name, weights = self._weights.now()
        if tokens.shape[-1] != weights.shape.features:
            raise ValueError(f"tokens of {tokens.shape[-1]} features, the block has {weights.shape.features}")
        values = tokens.detach().to(torch.float32)
        out = torch.empty_like(values)
        places = places_of(values)
        if places is None or places != places_of(out):
            values = values.contiguous()
            out = torch.empty_like(values)
            places = places_of(values)
        if values.numel():
            assert places is not None
            self._run(name, weights, values, out, Places(*places))
        return out.to(tokens.dtype)

    def _run(self, name: str, weights: BlockWeights, values: Tensor, out: Tensor, places: Places) -> None:
        steps, threads = values.shape[-2], min(torch.get_num_threads(), places.sequences)
        words = threads * self.library.scratch(name, weights.shape, steps)
        scratch = thread_scratch(words)
        pointers = (values.data_ptr(), out.data_ptr(), scratch.data_ptr())
        check(name, self.library.run(name, weights, pointers, places, (steps, threads), words))


def places_of(tokens: Tensor) -> tuple[int, int, int, int, int] | None:
    """Return where the sequences of tokens (…, L, D) lie: the fields of `Places`. None if these cannot say it."""
    *outer, steps, features = zip(tokens.shape, tokens.stride(), strict=True)
    if features[1] != 1:
        return None
    axes: list[tuple[int, int]] = []  # sizes and strides, of which neighbours are joined where one goes on in the other
    for size, stride in outer:
        if axes and axes[-1][1] == size * stride:
            axes[-1] = (axes[-1][0] * size, stride)
        elif size != 1:
            axes.append((size, stride))
    if len(axes) > 2:
        return None
    (groups, group_stride), (inner, stride) = [(1, 0)] * (2 - len(axes)) + axes
    return groups * inner, max(1, inner), group_stride, stride, steps[1]


def pack_block(block: ResidualBiMamba | PreNormBiMamba, packer: Packer) -> BlockWeights:
    """Pack the weights of a block."""
    return _pack_normed_by_rows(block, packer) if isinstance(block, PreNormBiMamba) else _pack_residual(block, packer)


def _pack_residual(block: ResidualBiMamba, packer: Packer) -> BlockWeights:
    mamba, outward = block.forward_mamba2, [part.detach() for part in block.proj.weight.chunk(2, dim=1)]
    weights = BlockWeights(
        shape=_shape(block.norm_weight.numel(), mamba, packer),
        by_row=0,
        norm_weight=packer.vector(block.norm_weight),
        norm_bias=packer.vector(block.norm_bias),
        straight=packer.matrix(outward[0] + outward[1]),
        bias=packer.keep(block.proj.bias),
    )
    directions = (block.forward_mamba2, block.backward_mamba2)
    for index, (one, out) in enumerate(zip(directions, outward, strict=True)):
        weights.direction[index] = _pack_direction(one, one.in_proj.weight, out, packer)
    return weights


def _pack_normed_by_rows(block: PreNormBiMamba, packer: Packer) -> BlockWeights:
    outward = [part.detach() for part in block.linear.weight.chunk(2, dim=1)]
    weights = BlockWeights(
        shape=_shape(block.linear.out_features, block.forward_block.mixer, packer),
        by_row=1,
        straight=packer.matrix(outward[0] + outward[1]),
        bias=packer.keep(block.linear.bias),
    )
    directions: tuple[NormedMamba2, ...] = (block.forward_block, block.backward_block)
    for index, (one, out) in enumerate(zip(directions, outward, strict=True)):
        inward = one.mixer.in_proj.weight * one.norm.weight
        weights.direction[index] = _pack_direction(one.mixer, inward, out, packer)
    return weights


def _shape(features: int, mamba: Mamba2, packer: Packer) -> Shape:
    return Shape(
        features=features,
        inner=mamba.d_inner,
        state=packer.padded(mamba.d_state),
        heads=mamba.heads,
        channels=packer.padded(mamba.headdim),
        taps=mamba.d_conv,
        heads_padded=packer.padded(mamba.heads),
    )


def _pack_direction(mamba: Mamba2, inward: Tensor, outward: Tensor, packer: Packer) -> Direction:
    """Pack a layer whose in-projection is `inward`, and after which `outward` (D, D) follows."""
    inner, state, heads = mamba.d_inner, mamba.d_state, mamba.heads
    gate, x, b, c, dt = inward.split([inner, inner, state, state, heads])
    folded = outward.double() @ (mamba.out_proj.weight * mamba.norm.weight).double()
    kernel = torch.cat([mamba.conv1d.weight.squeeze(1), _bias(mamba).unsqueeze(1)], dim=1)  # (channels, taps + 1)
    kernel = torch.cat([_heads(kernel[:inner], mamba, packer), *map(packer.pad, kernel[inner:].split(state))])
    mixed = torch.cat([_heads(x, mamba, packer), *map(packer.pad, (b, c, dt))])
    return Direction(
        mixed=packer.matrix(mixed),
        gate=packer.matrix(_heads(gate, mamba, packer)),
        out=packer.matrix(_heads(folded.T, mamba, packer).T),
        conv=packer.keep(kernel[:, :-1].T),
        conv_bias=packer.keep(kernel[:, -1]),
        dt_bias=packer.vector(mamba.dt_bias),
        a=packer.vector(-torch.exp(mamba.A_log.double())),
        skip=packer.keep(mamba.D),
    )


def _heads(rows: Tensor, mamba: Mamba2, packer: Packer) -> Tensor:
    """Append zeros to the channels of every head: (heads * P, …) → (heads * padded P, …)."""
    return packer.pad(rows.unflatten(0, (mamba.heads, mamba.headdim)), dim=1).flatten(0, 1)


def _bias(mamba: Mamba2) -> Tensor:
    bias = mamba.conv1d.bias
    return mamba.conv1d.weight.new_zeros(mamba.conv1d.weight.shape[0]) if bias is None else bias
