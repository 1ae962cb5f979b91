"""The depthwise convolution of Mamba layers over rows, with a gradient that keeps no padded copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def depthwise_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *, reverse: bool) -> Tensor:
    """Causal (`reverse`: anti-causal) depthwise convolution of rows x (N, L, channels), weight (channels, 1, taps).

    A sum of shifted rows: the transposes that conv1d would need cost more than its arithmetic.
    """
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
    return _DepthwiseConvolution.apply(x, weight.squeeze(1).to(x.dtype), bias.to(x.dtype), reverse)


class _DepthwiseConvolution(torch.autograd.Function):
    """Autograd by itself would keep a padded copy of the rows for every tap; the gradient is one more convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.reverse = reverse
        return _add_shifted(torch.addcmul(bias, x, weight[:, -1]), x, weight, reverse)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad_x = _add_shifted(grad * weight[:, -1], grad, weight, not ctx.reverse)
        products = [(g * rows).sum((0, 1)) for g, rows in _shifted(grad, x, weight.shape[1], ctx.reverse)]
        return grad_x, torch.stack(products, dim=1), grad.sum((0, 1)), None


def _shifted(out: Tensor, x: Tensor, taps: int, reverse: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """For each tap, the steps of `out` that it reaches and the steps of `x` that it reads."""
    length = x.shape[1]
    for lag in range(taps - 1, -1, -1):
        kept = max(length - lag, 0)
        late, early = slice(length - kept, length), slice(0, kept)
        yield (out[:, early], x[:, late]) if reverse else (out[:, late], x[:, early])


def _add_shifted(out: Tensor, x: Tensor, weight: Tensor, reverse: bool) -> Tensor:
    """Add every tap but the last, which reads its own step and is there already, to `out` in place."""
    taps = weight.shape[1]
    for tap, (target, rows) in enumerate(_shifted(out, x, taps, reverse)):
        if tap < taps - 1:
            target.addcmul_(rows, weight[:, tap])
    return out
