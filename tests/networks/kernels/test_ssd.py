"""State-space duality against the step-by-step recurrence, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stemsplit.networks.kernels.convolution import depthwise_convolution
from stemsplit.networks.kernels.ssd import CHUNK_STEPS, ssd_chunked, ssd_recurrence
from stemsplit.networks.layers.mamba2 import Mamba2

LENGTHS = (1, 2, 57, CHUNK_STEPS - 1, CHUNK_STEPS, CHUNK_STEPS + 1, 259)


def _inputs(length: int, seed: int = 0) -> tuple[Tensor, ...]:
    """x, a, b, c with decays from nearly none to nearly total."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(3, length, *shape, dtype=torch.float64, generator=generator)

    return draw(2, 5), -(draw(2) * 2).exp(), draw(7), draw(7)


def _relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_chunks_equal_the_recurrence_with_gradients(length: int, reverse: bool) -> None:
    slow = [value.clone().requires_grad_() for value in _inputs(length)]
    fast = [value.clone().requires_grad_() for value in _inputs(length)]
    expected, found = ssd_recurrence(*slow, reverse=reverse), ssd_chunked(*fast, reverse=reverse)
    assert found.shape == expected.shape
    assert _relative(found, expected) < 1e-12
    weights = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    for mine, truth in zip(fast, slow, strict=True):
        if length == 1 and truth is slow[1]:  # one step has nothing to decay
            assert not mine.grad.abs().any()
            continue
        assert _relative(mine.grad, truth.grad) < 1e-11


@pytest.mark.parametrize("chunk_steps", [1, 2, 3, 16, 1000])
def test_the_chunk_length_does_not_matter(chunk_steps: int) -> None:
    inputs = _inputs(50)
    for reverse in (False, True):
        found = ssd_chunked(*inputs, reverse=reverse, chunk_steps=chunk_steps)
        assert _relative(found, ssd_recurrence(*inputs, reverse=reverse)) < 1e-12


def test_backward_in_time_is_the_flipped_forward() -> None:
    inputs = _inputs(70)
    flipped = ssd_recurrence(*(value.flip(1) for value in inputs)).flip(1)
    torch.testing.assert_close(ssd_recurrence(*inputs, reverse=True), flipped)


def test_strong_decay_over_long_sequences_stays_finite() -> None:
    x, a, b, c = _inputs(300)
    for reverse in (False, True):
        found = ssd_chunked(x.float(), 1000 * a.float(), b.float(), c.float(), reverse=reverse)
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 9])
def test_convolution_of_rows_equals_conv1d(length: int, reverse: bool) -> None:
    conv = torch.nn.Conv1d(6, 6, 4, groups=6).double()
    x = torch.randn(2, length, 6, dtype=torch.float64, requires_grad=True)
    found = depthwise_convolution(x, conv.weight, conv.bias, reverse=reverse)
    oriented = x.flip(1) if reverse else x
    expected = conv(F.pad(oriented.transpose(1, 2), (3, 0))).transpose(1, 2)
    torch.testing.assert_close(found, expected.flip(1) if reverse else expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_the_convolution_are_exact(reverse: bool) -> None:
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *args: depthwise_convolution(*args, reverse=reverse), (x, weight, bias))


@pytest.mark.parametrize("length", [1, 3, 57, 130])
def test_a_layer_backward_in_time_is_the_flipped_layer(length: int) -> None:
    torch.manual_seed(0)
    layer = Mamba2(d_model=8, d_state=4, d_conv=4, expand=2, headdim=4).double()
    u = torch.randn(3, length, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(u, reverse=True), layer(u.flip(1)).flip(1))


def test_a_layer_is_causal() -> None:
    torch.manual_seed(0)
    layer = Mamba2(d_model=8, d_state=4, d_conv=4, expand=2, headdim=4).double()
    u = torch.randn(1, 100, 8, dtype=torch.float64)
    changed = u.clone()
    changed[:, 60:] += 1
    torch.testing.assert_close(layer(u)[:, :60], layer(changed)[:, :60])
    assert (layer(u)[:, 60:] - layer(changed)[:, 60:]).abs().amax(-1).min() > 0


def test_parameters_are_named_as_in_mamba_ssm() -> None:
    layer = Mamba2(d_model=128, d_state=128, d_conv=4, expand=4, headdim=64)
    shapes = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    assert shapes == {
        "dt_bias": (8,),
        "A_log": (8,),
        "D": (8,),
        "in_proj.weight": (1288, 128),
        "conv1d.weight": (768, 1, 4),
        "conv1d.bias": (768,),
        "norm.weight": (512,),
        "out_proj.weight": (128, 512),
    }


def test_a_head_width_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="headdim 5"):
        Mamba2(d_model=8, d_state=4, d_conv=4, expand=2, headdim=5)
