"""Arithmetic on rows of features (B, T, C) that PyTorch has too, with cheaper backward passes on a CPU.

Each function is what its docstring says in PyTorch's own words; tests compare both, gradients too. All of it is limited
by how often memory is read. Neighbours in memory are features of one frame, so that what is said of a feature is
computed for many of them at once. Under autocast all of it stays in the precision of x: only products gain by less.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return x · scale + shift, with factors and addends (B, 1, C)."""
    found: Tensor = _Affine.apply(x, scale, shift)
    return found


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means over T of x and of x², (B, 1, C) each."""
    mean, power = _Moments.apply(x)
    return mean, power


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Return `F.prelu(x, slope)`, with one slope (1,)."""
    with torch.autocast(x.device.type, enabled=False):
        found: Tensor = _PReLU.apply(x, slope)
        return found


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """Return `F.conv1d(…, weight, bias, stride, padding=taps // 2, groups=C)`, weight (C, 1, taps), taps odd."""
    with torch.autocast(x.device.type, enabled=False):
        found: Tensor = _Depthwise.apply(x, weight, bias, stride)
        return found


def pool(x: Tensor, length: int) -> Tensor:
    """Return `F.adaptive_avg_pool1d(…, length)`, for no more frames than x has."""
    found: Tensor = _Pool.apply(x, length)
    return found


def spread(x: Tensor, length: int) -> Tensor:
    """Return `F.interpolate(…, length, mode="nearest")`: frame j is that of ⌊j T' / T⌋."""
    return x.index_select(1, _nearest(x.shape[1], length, x.device))


def _nearest(frames: int, length: int, device: torch.device) -> Tensor:
    return torch.arange(length, device=device) * frames // length


def _as_image(x: Tensor) -> Tensor:
    """Return rows (B, T, C) as an image (B, C, 1, T) whose channels are last in memory."""
    return x.transpose(1, 2).unsqueeze(2)


class _Affine(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.shift_shape = shift.shape
        return torch.addcmul(shift, x, scale)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, scale = ctx.saved_tensors
        of_scale = (g * x).sum(1, keepdim=True).sum_to_size(scale.shape)
        return g * scale, of_scale, g.sum(1, keepdim=True).sum_to_size(ctx.shift_shape)


class _Moments(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        return x.mean(1, keepdim=True), x.square().mean(1, keepdim=True)

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, of_power: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        frames = x.shape[1]
        return torch.addcmul(of_mean / frames, x, of_power * (2 / frames))


class _PReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        of_slope = torch.dot(g.flatten(), x.clamp_max(0).flatten()).view(slope.shape)
        return torch.where(x > 0, g, g * slope), of_slope


class _Depthwise(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.has_bias = stride, bias is not None
        return _convolved(x, weight, bias, stride)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        taps, stride, frames = weight.shape[-1], ctx.stride, x.shape[1]
        padded = F.pad(x, (0, 0, taps // 2, taps // 2))
        of_taps = [(g * padded[:, k : k + frames : stride]).sum((0, 1)) for k in range(taps)]
        of_bias = g.sum((0, 1)) if ctx.has_bias else None
        if stride > 1:  # what was left out has no gradient
            spaced = torch.zeros_like(x)
            spaced[:, ::stride] = g
            g = spaced
        return _convolved(g, weight.flip(-1), None, 1), torch.stack(of_taps, -1).unsqueeze(1), of_bias, None


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    taps = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    found = F.conv2d(_as_image(x), taps, bias, (1, stride), (0, taps.shape[-1] // 2), groups=len(taps))
    return found.squeeze(2).transpose(1, 2).contiguous()


class _Pool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, length: int) -> Tensor:
        ctx.frames, ctx.length = x.shape[1], length
        return F.adaptive_avg_pool2d(_as_image(x), (1, length)).squeeze(2).transpose(1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        frames, length = ctx.frames, ctx.length
        bins = torch.arange(length, device=g.device)
        first, last = bins * frames // length, -(-(bins + 1) * frames // length)  # exclusive
        each = g / (last - first).to(g.dtype).unsqueeze(-1)
        found = each.index_select(1, _nearest(length, frames, g.device))
        shared = bins[(bins * frames) % length > 0]  # such bins begin in the last frame of the bin before
        found[:, first[shared]] += each[:, shared]
        return found, None
