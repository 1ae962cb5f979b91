"""The fast inverse transform is torch's, at every length, and falls back where it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stemsplit.networks.kernels import stft
from stemsplit.networks.kernels.stft import inverse_stft, window_of


def spectra(length: int, n_fft: int, hop: int, dtype: torch.dtype = torch.float64, neighbours: bool = True) -> Tensor:
    """Random (2, 3, 2, F, T), no transform of any wave; bins or frames are neighbours in memory."""
    generator = torch.Generator().manual_seed(length + n_fft)
    frames, bins = 1 + length // hop, n_fft // 2 + 1
    parts = torch.randn(2, 2, 3, 2, frames, bins, dtype=dtype, generator=generator)
    found = torch.complex(parts[0], parts[1]).transpose(-1, -2)
    return found if neighbours else found.contiguous()


def truth(spectra: Tensor, n_fft: int, hop: int, length: int) -> Tensor:
    window = window_of(n_fft, spectra.real)
    return torch.istft(spectra.flatten(0, -3), n_fft, hop, window=window, length=length).view(2, 3, 2, length)


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (64, 32), (30, 10), (4096, 1024), (2048, 512)])
@pytest.mark.parametrize("extra", [0, 1, 7, 9, 1234])
@pytest.mark.parametrize("neighbours", [True, False])
def test_it_is_torch_s(n_fft: int, hop: int, extra: int, neighbours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    length = n_fft // 2 + 1 + extra
    random = spectra(length, n_fft, hop, neighbours=neighbours)
    expected = truth(random, n_fft, hop, length)
    if hop * 4 <= n_fft:  # else the last samples may hardly be covered, and torch decides
        monkeypatch.setattr(torch, "istft", lambda *args, **kw: pytest.fail("not the fast way"))
    with torch.inference_mode():
        found = inverse_stft(random, n_fft, hop, length)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_float32_is_as_exact_as_torch_s() -> None:
    length = 44101
    exact = spectra(length, 2048, 512)
    rounded = exact.to(torch.complex64)
    expected = truth(rounded.to(torch.complex128), 2048, 512, length)
    with torch.no_grad():
        ours = (inverse_stft(rounded, 2048, 512, length) - expected).square().mean()
        theirs = (truth(rounded, 2048, 512, length) - expected).square().mean()
    assert ours < 1.5 * theirs


def test_a_wave_comes_back() -> None:
    wave = torch.randn(2, 3, 2, 5000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    window = window_of(256, wave)
    there = torch.stft(wave.flatten(0, -2), 256, 64, window=window, return_complex=True).view(2, 3, 2, 129, -1)
    with torch.inference_mode():
        assert (inverse_stft(there, 256, 64, 5000) - wave).abs().max() < 1e-12


def test_waves_may_lie_among_one_another() -> None:
    """As the heads leave them: bins of a frame are neighbours, then come the channels of a stem."""
    random = spectra(700, 64, 16).permute(4, 1, 2, 0, 3).contiguous().permute(3, 1, 2, 4, 0)
    with torch.inference_mode():
        assert (inverse_stft(random, 64, 16, 700) - truth(random, 64, 16, 700)).abs().max() < 1e-12


def test_gradients_go_through_torch() -> None:
    random = spectra(500, 64, 16).requires_grad_()
    inverse_stft(random, 64, 16, 500).sum().backward()
    assert random.grad is not None
    assert random.grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore:The length of signal is shorter")
@pytest.mark.parametrize(("hop", "length"), [(24, 500), (16, 20000)])
def test_what_is_not_even_or_not_covered_is_left_to_torch(hop: int, length: int) -> None:
    random = spectra(500, 64, hop)
    with torch.inference_mode():
        found = inverse_stft(random, 64, hop, length)
        assert torch.equal(found, truth(random, 64, hop, length))


def test_what_is_remembered_may_be_used_with_gradients_later() -> None:
    random = spectra(333, 64, 16)
    with torch.inference_mode():
        inverse_stft(random, 64, 16, 333)
    with torch.no_grad():
        found = inverse_stft(random, 64, 16, 333)
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    (found * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (64, 32), (30, 10), (4096, 2048), (2048, 512)])
@pytest.mark.parametrize("extra", [0, 1, 1234])
@pytest.mark.parametrize("neighbours", [True, False])
def test_all_waves_together_are_torch_s(
    n_fft: int, hop: int, extra: int, neighbours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU computes, on a CPU."""
    length = n_fft // 2 + 1 + extra
    random = spectra(length, n_fft, hop, neighbours=neighbours)
    expected = truth(random, n_fft, hop, length)
    monkeypatch.setattr(stft, "_overlap_add", stft._overlap_add_together)
    with torch.inference_mode():
        found = inverse_stft(random, n_fft, hop, length)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()
