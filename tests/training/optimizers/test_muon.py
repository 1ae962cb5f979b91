"""Muon: steps are orthogonal matrices of the right size; together with AdamW, and saved and resumed with it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from stemsplit.training.optimizers.muon import STEP_RMS, Muon, Together, orthogonal


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 6, 20), (2, 20, 6), (1, 1, 5)])
def test_orthogonal_keeps_the_singular_vectors_and_brings_the_values_near_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    found = left.mT @ orthogonal(matrices) @ right.mT
    inner = torch.diagonal(found, dim1=-2, dim2=-1)
    assert (found - torch.diag_embed(inner)).abs().max() < 1e-10
    seen = inner[values > 0.02 * values[..., :1]]  # five iterations do not lift what is next to nothing
    assert seen.min() > 0.6
    assert seen.max() < 1.3


def test_orthogonal_of_zeros_is_zero() -> None:
    assert not orthogonal(torch.zeros(2, 3, 4)).any()
    assert not orthogonal(torch.zeros(2, 3, 4), products=torch.bfloat16).any()


@pytest.mark.parametrize("shape", [(3, 96, 96), (2, 96, 416), (2, 384, 24), (1, 1, 5)])
def test_products_in_bfloat16_lead_to_nearly_the_same_step(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    exact = orthogonal(matrices.double())
    found = orthogonal(matrices, products=torch.bfloat16)
    assert found.dtype == matrices.dtype
    assert (found - exact).norm() / exact.norm() < 0.05
    values = torch.linalg.svdvals(found)
    assert values[values > 0.3].max() < 1.3  # a square matrix has values so small that five iterations do not lift them
    assert (values > 0.6).float().mean() > 0.9


def test_the_type_of_the_products_is_no_part_of_a_save() -> None:
    value = nn.Parameter(torch.ones(2, 2))
    narrow, exact = Muon([value], lr=0.1, products=torch.bfloat16), Muon([value], lr=0.1)
    assert narrow.state_dict() == exact.state_dict()


def test_a_step_is_as_large_as_one_of_adamw_whatever_the_gradient() -> None:
    torch.manual_seed(0)
    for scale in (1e-6, 1.0, 1e3):
        value = nn.Parameter(torch.zeros(64, 32))
        value.grad = scale * torch.randn(64, 32)
        Muon([value], lr=0.1).step()
        assert value.square().mean().sqrt().item() == pytest.approx(0.1 * STEP_RMS, rel=0.2)


def test_stacked_matrices_move_as_each_would_alone() -> None:
    torch.manual_seed(0)
    gradient = torch.randn(3, 4, 5)
    stack = nn.Parameter(torch.ones(3, 4, 5))
    alone = [nn.Parameter(torch.ones(4, 5)) for _ in range(3)]
    stack.grad = gradient
    for value, part in zip(alone, gradient, strict=True):
        value.grad = part
    Muon([stack], lr=0.1, weight_decay=0.1).step()
    Muon(alone, lr=0.1, weight_decay=0.1).step()
    torch.testing.assert_close(stack.detach(), torch.stack([value.detach() for value in alone]))


def test_what_has_no_gradient_stays() -> None:
    value = nn.Parameter(torch.ones(2, 2))
    Muon([value], lr=0.1).step()
    assert torch.equal(value.detach(), torch.ones(2, 2))


def test_it_finds_the_least_squares_solution() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(8, 8)
    value = nn.Parameter(torch.zeros(8, 8))
    optimizer = Muon([value], lr=1.0)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 1 - step / 300
        optimizer.zero_grad()
        (value - wanted).square().sum().backward()
        optimizer.step()
    assert (value - wanted).abs().max() < 0.05


def _pair() -> tuple[list[nn.Parameter], Together]:
    values = [nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(4))]
    return values, Together(torch.optim.AdamW(values[1:], lr=0.1), Muon(values[:1], lr=0.1))


def _step(values: list[nn.Parameter], optimizer: Together, number: int) -> None:
    torch.manual_seed(number)
    optimizer.zero_grad()
    for value in values:
        value.grad = torch.randn_like(value)
    optimizer.step()


def test_together_they_go_on_from_a_save() -> None:
    whole, optimizer = _pair()
    for number in range(4):
        _step(whole, optimizer, number)
        if number == 1:
            kept, state = [value.detach().clone() for value in whole], copy.deepcopy(optimizer.state_dict())
    broken, resumed = _pair()
    with torch.no_grad():
        for value, saved in zip(broken, kept, strict=True):
            value.copy_(saved)
    resumed.load_state_dict(state)
    for number in (2, 3):
        _step(broken, resumed, number)
    for one, other in zip(whole, broken, strict=True):
        assert torch.equal(one, other)


def test_a_save_of_one_optimizer_by_itself_is_taken() -> None:
    value = nn.Parameter(torch.ones(3))
    lone = torch.optim.AdamW([value], lr=0.1)
    value.grad = torch.ones(3)
    lone.step()
    Together(again := torch.optim.AdamW([value], lr=0.1)).load_state_dict(lone.state_dict())
    assert torch.equal(again.state[value]["exp_avg"], lone.state[value]["exp_avg"])
