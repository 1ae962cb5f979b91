"""The native comparison of stems with the truth, forward and back, against the torch path in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig
from stemsplit.networks.contract import Supervision
from stemsplit.networks.kernels import native_compare, native_scan
from stemsplit.networks.kernels.native_library import INSTRUCTION_SETS, Library, load_library

LIBRARY = load_library()
HERE: tuple[str, ...] = LIBRARY.instruction_sets() if isinstance(LIBRARY, Library) else ()
needs_library = pytest.mark.skipif(native_scan._chosen() is None, reason=f"no native kernels: {LIBRARY}")
each_set = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(name not in HERE, reason=f"no {name} here: {LIBRARY}"))
        for name in INSTRUCTION_SETS
    ],
)
LIMIT = 1e-4


@torch.no_grad()
def network_of(seed: int = 0, **settings: object) -> BSMamba:
    torch.manual_seed(seed)
    sizes = {
        "n_fft": 128,
        "hop_length": 64,
        "bands": (2, 3, 17, 43),
        "dim": 12,
        "d_state": 4,
        "expand": 1,
        "headdim": 6,
    }
    shape = {"blocks_mask": 1, "blocks_map": 1, "head_expand": 1, "normalize": True, **sizes, **settings}
    network = BSMamba(BSMambaConfig(stems=("drums", "vocals", "other"), **shape))  # type: ignore[arg-type]
    for heads in (network.heads_mask, network.heads_map):
        for bias in (heads.bias1, heads.bias2, heads.bias3):
            bias.add_(0.5 * torch.randn_like(bias))
    return network.train()


def fold_of(batch: int) -> Tensor:
    fold = torch.eye(3).repeat(batch, 1, 1)
    fold[-1] = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 0]])
    return fold


def energies(network: BSMamba, stems: Tensor, fold: Tensor | None) -> Tensor:
    wide = stems.to(network.fusion.weight.dtype)
    gains = torch.linspace(0.5, 2, 65, dtype=wide.dtype).expand(*stems.shape[:2], -1)
    supervision = Supervision(True, 0.3, lambda _: gains, fold if fold is None else fold.to(wide.dtype))
    return network._spectra_compared(wide, supervision)[0]


def differences(network: BSMamba, stems: Tensor, fold: Tensor | None = None) -> dict[str, float]:
    exact = copy.deepcopy(network).double()
    expected, found = energies(exact, stems, fold), energies(network, stems, fold)
    weight = torch.rand_like(expected)
    (expected[:2] * weight[:2]).sum().backward()
    (found[:2] * weight[:2].float()).sum().backward()
    errors = {"energies": relative(found, expected)}
    for (name, value), other in zip(network.named_parameters(), exact.parameters(), strict=True):
        assert value.grad is not None
        assert other.grad is not None
        if float(other.grad.norm()) > 1e-6:
            errors[name] = relative(value.grad, other.grad)
    return errors


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.detach().double() - expected.detach()).norm() / expected.detach().norm())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Notes every native comparison."""
    found: list[int] = []
    real = native_compare.energies
    monkeypatch.delenv("STEMSPLIT_BACKEND", raising=False)
    monkeypatch.setattr(native_compare, "energies", lambda *a: found.append(1) or real(*a))
    return found


@each_set
@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_energies_and_every_gradient_meet_the_truth(
    name: str, joint: bool, channels: int, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_scan, "_chosen", lambda: name)
    torch.manual_seed(0)
    stems = torch.randn(2, 3, channels, 64 * 20)
    errors = differences(network_of(joint=joint), stems, fold_of(2))
    assert calls
    assert max(errors.values()) < LIMIT, errors


@needs_library
def test_many_frames_and_no_normalisation_meet_the_truth(calls: list[int]) -> None:
    errors = differences(network_of(1, normalize=False, dim=20, headdim=4), torch.randn(1, 3, 2, 64 * 130))
    assert calls
    assert max(errors.values()) < LIMIT, errors


@needs_library
def test_any_number_of_threads_gives_the_same_bits(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    network, stems = network_of(joint=True), torch.randn(2, 3, 2, 64 * 20)
    found = []
    for threads in (1, 2, 9):
        monkeypatch.setattr(native_compare, "_threads", lambda threads=threads: threads)
        network.zero_grad()
        out = energies(network, stems, None)
        out[:2].sum().backward()
        grads = [value.grad for heads in (network.heads_mask, network.heads_map) for value in heads.parameters()]
        found.append([out.detach(), *grads])
    for bits in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(bits, found[0], strict=True))


@needs_library
def test_silence_has_finite_gradients(calls: list[int]) -> None:
    network = network_of(joint=True)
    out = energies(network, torch.zeros(1, 3, 2, 640), None)
    out[:2].sum().backward()
    assert not out[2].any()
    assert all(torch.isfinite(value.grad).all() for value in network.parameters() if value.grad is not None)


@needs_library
def test_the_torch_path_can_be_asked_for(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    network, stems = network_of(joint=True), torch.randn(1, 3, 2, 640)
    native = energies(network, stems, None)
    monkeypatch.setenv("STEMSPLIT_BACKEND", "torch")
    torch.testing.assert_close(energies(network, stems, None), native, rtol=1e-4, atol=1e-4)
    assert len(calls) == 1


@needs_library
def test_a_refusal_and_channels_that_do_not_fit_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    network, stems = network_of(joint=True), torch.randn(1, 3, 2, 640)
    spectrum, known = network.transform(stems.sum(1)), network.transform(torch.randn(1, 3, 3, 640))
    with pytest.raises(ValueError, match="3 channels of true stems"):
        network._energies(spectrum, known, torch.ones(1), Supervision(True))
    monkeypatch.setattr(native_compare, "OK", 1)
    with pytest.raises(RuntimeError, match="refused"):
        energies(network, stems, None)
