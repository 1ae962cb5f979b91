"""Every function against PyTorch's own, and its gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stemsplit.networks.kernels.features import affine, depthwise, moments, pool, prelu, spread

B, C, T = 2, 3, 11


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def conv(x: Tensor, w: Tensor, b: Tensor | None, stride: int) -> Tensor:
    return F.conv1d(x.transpose(1, 2), w, b, stride, w.shape[-1] // 2, groups=C).transpose(1, 2)


CASES: dict[str, tuple[Callable[..., object], Callable[..., object], list[tuple[int, ...]]]] = {
    "affine": (affine, lambda x, a, b: x * a + b, [(B, T, C), (B, 1, C), (B, 1, C)]),
    "affine of all examples": (affine, lambda x, a, b: x * a + b, [(B, T, C), (C,), (C,)]),
    "moments": (moments, lambda x: (x.mean(1, keepdim=True), x.square().mean(1, keepdim=True)), [(B, T, C)]),
    "prelu": (prelu, F.prelu, [(B, T, C), (1,)]),
    "depthwise": (depthwise, lambda x, w, b: conv(x, w, b, 1), [(B, T, C), (C, 1, 5), (C,)]),
    "every second": (
        lambda x, w, b: depthwise(x, w, b, 2), lambda x, w, b: conv(x, w, b, 2), [(B, T, C), (C, 1, 5), (C,)]
    ),
    "every second of an even count, without bias": (
        lambda x, w: depthwise(x, w, None, 2), lambda x, w: conv(x, w, None, 2), [(B, T - 1, C), (C, 1, 3)]
    ),
    **{
        f"pool to {length}": (
            lambda x, n=length: pool(x, n),
            lambda x, n=length: F.adaptive_avg_pool1d(x.transpose(1, 2), n).transpose(1, 2), [(B, T, C)],
        )
        for length in (1, 2, 3, 5, 6, 10, T)
    },
    **{
        f"spread to {length}": (
            lambda x, n=length: spread(x, n),
            lambda x, n=length: F.interpolate(x.transpose(1, 2), n).transpose(1, 2), [(B, T, C)],
        )
        for length in (1, 5, T, 23)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_pytorchs_own_function(name: str) -> None:
    torch.manual_seed(0)
    ours, theirs, shapes = CASES[name]
    inputs = [draw(*shape) for shape in shapes]
    torch.testing.assert_close(ours(*inputs), theirs(*inputs))
    assert torch.autograd.gradcheck(ours, inputs)
