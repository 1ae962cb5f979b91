"""Mamba-1 against its recurrence, and against the layer written out step by step."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stemsplit.networks.kernels import selective_scan as kernel
from stemsplit.networks.kernels.selective_scan import scan_recurrence, selective_scan
from stemsplit.networks.layers.mamba1 import Mamba1


def inputs(n: int, length: int, channels: int = 5, states: int = 3) -> list[Tensor]:
    torch.manual_seed(length)
    x, dt = torch.randn(2, n, length, channels, dtype=torch.float64)
    b, c = torch.randn(2, n, length, states, dtype=torch.float64)
    return [x, F.softplus(dt), -torch.rand(channels, states, dtype=torch.float64) * 4, b, c]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 32, 33, 34, 80])
@torch.inference_mode()
def test_the_fast_scan_is_the_recurrence(length: int, reverse: bool) -> None:
    values = inputs(2, length)
    expected = scan_recurrence(*values, reverse=reverse)
    torch.testing.assert_close(selective_scan(*values, reverse=reverse), expected, rtol=1e-12, atol=1e-12)
    found = selective_scan(*(value.float() for value in values), reverse=reverse)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_of_the_recurrence(reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "STEPS_AT_ONCE", 4)
    gradients = []
    for scan in (scan_recurrence, selective_scan):
        values = [value.requires_grad_() for value in inputs(2, 10)]
        found = scan(*values, reverse=reverse)
        gradients.append(torch.autograd.grad((found * torch.arange(10).view(10, 1)).sum(), values))
    for slow, fast in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


@torch.inference_mode()
def test_the_layer_is_what_the_paper_says() -> None:
    torch.manual_seed(0)
    layer, rows = Mamba1(20, 3, 4, 2).double(), torch.randn(2, 9, 20, dtype=torch.float64)
    x, gate = (rows @ layer.in_proj.weight.t()).split(40, dim=-1)
    taps = layer.conv1d.weight.squeeze(1)
    before = torch.cat([torch.zeros(2, 3, 40, dtype=torch.float64), x], dim=1)
    x = F.silu(sum(before[:, k : k + 9] * taps[:, k] for k in range(4)) + layer.conv1d.bias)
    low, b, c = (x @ layer.x_proj.weight.t()).split([2, 3, 3], dim=-1)
    dt = F.softplus(low @ layer.dt_proj.weight.t() + layer.dt_proj.bias)
    y = scan_recurrence(x, dt, -layer.A_log.exp(), b, c) + layer.D * x
    expected = (y * F.silu(gate)) @ layer.out_proj.weight.t()
    torch.testing.assert_close(layer(rows), expected)
    torch.testing.assert_close(layer(rows.flip(1), reverse=True).flip(1), expected)


def test_it_starts_as_in_the_paper() -> None:
    layer = Mamba1(16, 4, 4, 1)
    torch.testing.assert_close(layer.A_log.exp()[3], torch.arange(1.0, 5.0))
    dt = F.softplus(layer.dt_proj.bias.detach())
    assert 0.99e-3 <= float(dt.min()) <= float(dt.max()) <= 1.01e-1
