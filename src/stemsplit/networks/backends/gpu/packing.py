"""The weights of layers → the weights that the kernels of `kernels.gpu` read.

Maps that follow one another without a nonlinearity become one: the weight and bias of every norm go into the next map,
and out_proj and the block's projection are multiplied, as in `ResidualBiMamba.fused`.
"""

from __future__ import annotations

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.kernels.gpu.settings import SMALLEST_BLOCK
from stemsplit.networks.kernels.gpu.weights import BlockWeights, ExchangeWeights, HeadsWeights, SplitWeights
from stemsplit.networks.layers.bands import BandHeads, BandSplit
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.tac import TransformAverageConcatenate


@torch.no_grad()
def pack_block(block: ResidualBiMamba, dtype: torch.dtype) -> BlockWeights:
    """Return the weights of a bidirectional block."""
    directions = (block.forward_mamba2, block.backward_mamba2)
    width = 2 * (directions[0].d_inner + directions[0].d_state)
    split = [mamba.in_proj.weight.to(dtype).split([width, mamba.heads]) for mamba in directions]
    outward = block.proj.weight.to(dtype).chunk(2, dim=1)
    readers = [part for part, _ in split] + [outward[0] + outward[1]] + [part for _, part in split]
    inward = torch.cat(readers)
    bias = inward @ block.norm_bias.to(dtype)
    start = 2 * width
    bias[start : start + len(outward[0])] += block.proj.bias.to(dtype)
    padding = -len(inward) % SMALLEST_BLOCK  # GPUs read rows faster that start at multiples of 32 bytes
    folded = [
        (out @ (mamba.out_proj.weight.to(dtype) * mamba.norm.weight.to(dtype))).T
        for mamba, out in zip(directions, outward, strict=True)
    ]

    def both(name: str) -> Tensor:
        return torch.stack([getattr(mamba, name).to(dtype) for mamba in directions]).contiguous()

    return BlockWeights(
        inward=F.pad(inward * block.norm_weight.to(dtype), (0, 0, 0, padding)),
        inward_bias=F.pad(bias, (0, padding)),
        outward=torch.stack(folded).contiguous(),
        conv_weight=torch.stack([mamba.conv1d.weight.to(dtype).squeeze(1).T for mamba in directions]).contiguous(),
        conv_bias=torch.stack([bias_of(mamba.conv1d).to(dtype) for mamba in directions]),
        dt_bias=both("dt_bias"),
        rate=-both("A_log").exp(),
        skip=both("D"),
        state=directions[0].d_state,
    )


@torch.no_grad()
def pack_split(layer: BandSplit, dtype: torch.dtype) -> SplitWeights:
    """Return the weights of a band split."""
    weight, added = layer.weight.to(dtype), layer.weight.to(dtype) * layer.norm_bias.to(dtype)
    constant = [part.sum((1, 2)) for part in added.split(layer.widths, dim=-1)]
    return SplitWeights(
        starts=_starts(layer.widths, weight),
        weight=(weight * layer.norm_weight.to(dtype)).contiguous(),
        bias=layer.bias.to(dtype) + torch.stack(constant),
        widths=tuple(layer.widths),
        group=layer.group,
    )


@torch.no_grad()
def pack_heads(layer: BandHeads, dtype: torch.dtype) -> HeadsWeights:
    """Return the weights of heads."""
    weight1, bias1 = _after_norm(layer.weight1, layer.bias1, layer.norm_weight, layer.norm_bias, dtype)
    four = (BandHeads.GROUPS, -1)
    return HeadsWeights(
        starts=_starts(layer.widths, weight1),
        weight1=weight1.unflatten(1, four).contiguous(),
        bias1=bias1.unflatten(1, four).contiguous(),
        weight2=layer.weight2.to(dtype).clone().contiguous(),
        bias2=layer.bias2.to(dtype).clone().unflatten(1, four).contiguous(),
        weight3=layer.weight3.to(dtype).clone().contiguous(),
        bias3=layer.bias3.to(dtype).clone().contiguous(),
        widths=tuple(layer.widths),
        group=layer.group,
    )


@torch.no_grad()
def pack_exchange(layer: TransformAverageConcatenate, dtype: torch.dtype) -> ExchangeWeights:
    """Return the weights of an exchange between channels."""
    first = layer.transform
    weight1, bias1 = _after_norm(first.weight[None], first.bias[None], layer.norm_weight, layer.norm_bias, dtype)
    return ExchangeWeights(
        weight1=weight1[0].contiguous(),
        bias1=bias1[0].contiguous(),
        weight2=layer.average.weight.to(dtype).clone(),
        bias2=layer.average.bias.to(dtype).clone(),
        weight3=layer.concatenate.weight.to(dtype).clone(),
        bias3=layer.concatenate.bias.to(dtype).clone(),
    )


def bias_of(conv: nn.Conv1d) -> Tensor:
    """Return the bias of a convolution; zeros if it has none."""
    return torch.zeros_like(conv.weight[:, 0, 0]) if conv.bias is None else conv.bias


def _after_norm(
    weight: Tensor, bias: Tensor, norm_weight: Tensor, norm_bias: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return maps (n, O, D) and biases (n, O) that contain the weight and bias, (n, D) or (D), of the norm before."""
    weight, norm_weight = weight.to(dtype), norm_weight.to(dtype).view(-1, 1, weight.shape[-1])
    added = (weight * norm_bias.to(dtype).view(-1, 1, weight.shape[-1])).sum(-1)
    return weight * norm_weight, bias.to(dtype) + added


def _starts(widths: list[int], like: Tensor) -> Tensor:
    return torch.tensor([0, *accumulate(widths)], dtype=torch.int32, device=like.device)
