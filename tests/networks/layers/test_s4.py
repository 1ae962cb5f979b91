"""S4 against the recurrence that it is, in complex and in real numbers, and against the published initialisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stemsplit.networks.layers.s4 import S4, fast_size, legs, recurrence

DATA = Path(__file__).parents[2] / "data"
WIDTH = 6


def layer(d_state: int = 16) -> S4:
    """A layer in float64 of which no parameter is special: P is complex, B is no multiple of it."""
    torch.manual_seed(0)
    s4 = S4(WIDTH, d_state).double()
    for value in (s4.P, s4.B, s4.frequency, s4.log_rate):
        value.data += 0.3 * torch.randn_like(value)
    return s4


def complex_kernels(s4: S4, length: int) -> Tensor:
    """K[l] = 2 Re Σ C dAˡ dB of one pole of each pair, with the whole A in complex numbers."""
    w = torch.complex(-s4.log_rate.exp(), s4.frequency)
    p, b, c = (torch.view_as_complex(value.contiguous()) for value in (s4.P, s4.B, s4.C))
    w, p, b = (torch.cat([value, value.conj()], -1) for value in (w, p, b))
    half = s4.log_dt.exp()[:, None, None] / 2 * (torch.diag_embed(w) - p.unsqueeze(-1) * p.conj().unsqueeze(-2))
    one = torch.eye(w.shape[-1], dtype=w.dtype)
    inverse = torch.linalg.inv(one - half)
    dA, state = inverse @ (one + half), inverse @ (s4.log_dt.exp()[:, None] * b).unsqueeze(-1)
    taps = []
    for _ in range(length):
        taps.append(2 * (c * state[:, : c.shape[-1], 0]).sum(-1).real)
        state = dA @ state
    return torch.stack(taps, -1)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 16, 17, 127])
@torch.inference_mode()
def test_the_kernels_are_the_answers_of_the_dense_recurrence_to_an_impulse(length: int) -> None:
    s4, impulse = layer(), torch.zeros(WIDTH, length, dtype=torch.float64)
    impulse[:, 0] = 1
    found = s4.kernels(length)
    torch.testing.assert_close(found, recurrence(*s4.discrete(), impulse), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found, complex_kernels(s4, length), rtol=1e-10, atol=1e-12)


@torch.inference_mode()
def test_float32_is_close() -> None:
    s4 = layer()
    exact = s4.kernels(1000)
    assert (s4.float().kernels(1000) - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize("length", [1, 2, 9])
@torch.inference_mode()
def test_the_layer_is_a_sum_over_the_past_and_one_over_the_future(length: int) -> None:
    s4, u = layer(), torch.randn(2, WIDTH, length, dtype=torch.float64)
    ahead, behind = s4.kernels(length)
    mixed = s4.D[:, None] * u
    for t in range(length):
        for j in range(t + 1):
            mixed[..., t] += ahead[:, j] * u[..., t - j]
        for j in range(1, length - t):
            mixed[..., t] += behind[:, j - 1] * u[..., t + j]
    value, gate = s4.output(F.gelu(mixed).transpose(1, 2)).chunk(2, -1)
    expected = value * gate.sigmoid()
    torch.testing.assert_close(s4(u.transpose(1, 2), s4.spectrum(length)), expected, rtol=1e-10, atol=1e-12)


def test_every_parameter_learns() -> None:
    s4 = layer(4)
    s4(torch.randn(1, 20, WIDTH, dtype=torch.float64), s4.spectrum(20)).square().sum().backward()
    assert [name for name, value in s4.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_it_starts_as_published() -> None:
    known = np.load(DATA / "s4_legs_init_16.npz")
    poles, low_rank = legs(16)
    np.testing.assert_allclose(poles.numpy(), known["w"], rtol=1e-5)
    np.testing.assert_allclose(low_rank.numpy(), known["abs_P"], rtol=1e-5)
    np.testing.assert_allclose(2**0.5 * low_rank.numpy(), known["abs_B"], rtol=1e-5)
    np.testing.assert_allclose(S4(3).B.detach().numpy()[1, :, 0], known["abs_B"], rtol=1e-5)


@pytest.mark.parametrize(
    ("least", "size"), [(1, 2), (2, 2), (7, 8), (253, 256), (1009, 1024), (487, 500), (1940, 1944)]
)
def test_sizes_of_ffts(least: int, size: int) -> None:
    assert fast_size(least) <= size
    assert fast_size(least) >= least
    assert fast_size(least) % 2 == 0
