"""The depthwise convolution of Mamba layers over rows, whose gradient needs no padded copies of the input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def depthwise_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *, reverse: bool) -> Tensor:
    """Return the causal depthwise convolution of rows x (N, L, channels) with weight (channels, 1, taps).

    With `reverse` it is anti-causal. It is computed as a sum of shifted rows, because conv1d would need transposes, and
    these take longer than the arithmetic.
    """
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
    return _DepthwiseConvolution.apply(x, weight.squeeze(1).to(x.dtype), bias.to(x.dtype), reverse)


class _DepthwiseConvolution(torch.autograd.Function):
    """The convolution with a gradient of its own, which is a convolution too.

    The gradient that autograd would derive keeps a padded copy of the rows for every tap.
    """

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
    """Yield for each tap the steps of `out` that it contributes to, and the steps of `x` that it reads."""
    length = x.shape[1]
    for lag in range(taps - 1, -1, -1):
        kept = max(length - lag, 0)
        late, early = slice(length - kept, length), slice(0, kept)
        yield (out[:, early], x[:, late]) if reverse else (out[:, late], x[:, early])


def _add_shifted(out: Tensor, x: Tensor, weight: Tensor, reverse: bool) -> Tensor:
    """Add the contributions of all taps but the last to `out`, in place.

    The last tap reads the same step that it writes. Its contribution must be in `out` already.
    """
    taps = weight.shape[1]
    for tap, (target, rows) in enumerate(_shifted(out, x, taps, reverse)):
        if tap < taps - 1:
            target.addcmul_(rows, weight[:, tap])
    return out
