"""The native forward and backward pass of training against autograd in float64."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import Tensor

from stemsplit.networks.bsmamba import BSMambaConfig, bimamba_of
from stemsplit.networks.kernels import native_scan
from stemsplit.networks.kernels.native_library import INSTRUCTION_SETS, Library, load_library
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.mamba2 import Mamba2
from stemsplit.networks.layers.norm import RMS_EPS

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
Layers = tuple[Mamba2, Mamba2]
MINI = {"d_model": 96, "d_state": 32, "d_conv": 4, "expand": 1, "headdim": 48}
ODD = {"d_model": 10, "d_state": 5, "d_conv": 3, "expand": 2, "headdim": 5}
LIMIT = 1e-4


@torch.no_grad()
def layers_of(seed: int = 0, **sizes: int) -> Layers:
    """Two layers with nothing left at zero or one, and steps long enough for the decays to matter."""
    torch.manual_seed(seed)
    made = Mamba2(**sizes), Mamba2(**sizes)
    for layer in made:
        layer.D.add_(0.3 * torch.randn_like(layer.D))
        layer.dt_bias.add_(1.5)
    return made


def normed_gates(projected: Tensor, layers: Layers, name: str | None = None) -> Tensor:
    forward, backward = layers
    return native_scan.normed_gates(projected, forward.scan_tensors(), backward.scan_tensors(), instructions=name)


def rows_of(layers: Layers, sequences: int, length: int) -> Tensor:
    return torch.randn(sequences, length, 2 * layers[0].in_proj.weight.shape[0])


def truth(projected: Tensor, layers: Layers) -> Tensor:
    gates = [
        layer.gated(part, reverse=reverse)
        for layer, part, reverse in zip(layers, projected.chunk(2, -1), (False, True), strict=True)
    ]
    return torch.cat([gate * torch.rsqrt(gate.square().mean(-1, keepdim=True) + RMS_EPS) for gate in gates], dim=-1)


def gradients(layers: Layers) -> dict[str, Tensor]:
    return {
        f"{direction} {name}": value.grad
        for direction, layer in enumerate(layers)
        for name, value in layer.named_parameters()
        if value.grad is not None
    }


def differences(projected: Tensor, layers: Layers, name: str | None) -> dict[str, float]:
    """Relative error, by its norm, of the output and of every gradient.

    The errors of decays and step lengths, sums of what cancels, are counted beside the largest one of their kind.
    """
    exact, same = copy.deepcopy(layers), copy.deepcopy(layers)
    for layer in exact:
        layer.double()
    wide, narrow = projected.double().requires_grad_(), projected.clone().requires_grad_()
    expected, found = truth(wide, exact), normed_gates(narrow, same, name)
    weight = torch.randn_like(expected) + 0.5 * expected.detach()
    expected.backward(weight)
    found.backward(weight.to(found.dtype))
    assert wide.grad is not None
    assert narrow.grad is not None
    errors = {"output": relative(found, expected), "projected": relative(narrow.grad, wide.grad)}
    meant, got = gradients(exact), gradients(same)
    assert meant.keys() == got.keys()
    assert len(got) == 10
    floor = max(float(value.norm()) for value in meant.values()) * 1e-2
    return {**errors, **{key: relative(got[key], meant[key], floor) for key in meant}}


def relative(found: Tensor, expected: Tensor, floor: float = 0.0) -> float:
    return float((found.detach().double() - expected.detach()).norm() / max(float(expected.detach().norm()), floor))


@each_set
@pytest.mark.parametrize("length", [1, 2, 3, 16, 27, 48, 49, 130])
@pytest.mark.parametrize("sizes", [MINI, ODD], ids=["mini", "odd"])
def test_output_and_every_gradient_meet_the_truth(name: str, length: int, sizes: dict[str, int]) -> None:
    layers = layers_of(**sizes)
    errors = differences(rows_of(layers, 3, length), layers, name)
    assert max(errors.values()) < LIMIT, errors


@each_set
def test_random_shapes_meet_the_truth(name: str) -> None:
    draw = random.Random(7)
    for seed in range(8):
        headdim, heads = draw.randint(1, 40), draw.randint(1, 4)
        sizes = {"d_model": headdim * heads, "d_state": draw.randint(1, 40), "d_conv": draw.randint(1, 6)}
        layers = layers_of(seed, **sizes, expand=1, headdim=headdim)
        errors = differences(rows_of(layers, draw.randint(1, 3), draw.randint(1, 150)), layers, name)
        assert max(errors.values()) < LIMIT, (sizes, headdim, errors)


@needs_library
def test_the_full_networks_shape_meets_the_truth() -> None:
    layers = layers_of(d_model=128, d_state=128, d_conv=4, expand=4, headdim=64)
    errors = differences(rows_of(layers, 2, 57), layers, None)
    assert max(errors.values()) < LIMIT, errors


@each_set
def test_fast_and_slow_decays_neither_overflow_nor_vanish(name: str) -> None:
    for shift in (-8.0, 8.0):
        layers = layers_of(**ODD)
        with torch.no_grad():
            for layer in layers:
                layer.dt_bias.add_(shift)
        errors = differences(rows_of(layers, 2, 130), layers, name)
        assert max(errors.values()) < LIMIT, errors


@each_set
def test_bfloat16_rows_are_computed_with_in_float32(name: str) -> None:
    layers = layers_of(**ODD)
    rows = rows_of(layers, 2, 61).bfloat16()
    errors = differences(rows, layers, name)
    assert all(value.dtype == torch.float32 for value in gradients(layers).values())
    assert max(errors["output"], errors["projected"]) < 6e-3, errors  # once rounded to 8 bits
    assert max(errors.values()) < 2e-2, errors


@needs_library
def test_the_same_threads_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = layers_of(**MINI)
    rows = rows_of(layers, 7, 50)
    found = {}
    for threads in (1, 2, 3, 4, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        same, leaf = copy.deepcopy(layers), rows.clone().requires_grad_()
        out = normed_gates(leaf, same)
        out.square().sum().backward()
        assert leaf.grad is not None
        bits = [out.detach(), leaf.grad, *gradients(same).values()]
        if threads in found:
            assert all(torch.equal(a, b) for a, b in zip(found[threads], bits, strict=True))
        found[threads] = bits
    for bits in found.values():
        assert torch.equal(bits[0], found[1][0])
        assert torch.equal(bits[1], found[1][1])
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(bits, found[1], strict=True))


@needs_library
def test_rows_and_gradients_may_lie_anywhere() -> None:
    layers = layers_of(**ODD)
    rows = rows_of(layers, 3, 9)
    strided = torch.stack([rows, rows], dim=-1)[..., 0].requires_grad_()
    plain = rows.clone().requires_grad_()
    weight = torch.randn(2 * layers[0].d_inner, 9, 3).permute(2, 1, 0)
    for leaf in (strided, plain):
        (normed_gates(leaf, layers) * weight).sum().backward()
    assert plain.grad is not None
    assert strided.grad is not None
    assert torch.equal(plain.grad, strided.grad)


@needs_library
@pytest.mark.parametrize("size", [(0, 5), (3, 0)])
def test_nothing_gives_nothing(size: tuple[int, int]) -> None:
    layers = layers_of(**ODD)
    rows = rows_of(layers, *size).requires_grad_()
    out = normed_gates(rows, layers)
    out.sum().backward()
    assert out.shape == (*size, 2 * layers[0].d_inner)
    assert rows.grad is not None
    assert all(not value.any() for value in gradients(layers).values())


@needs_library
def test_a_layer_without_a_bias_in_its_convolution_works() -> None:
    layers = layers_of(**ODD)
    for layer in layers:
        layer.conv1d.bias = None
    rows = rows_of(layers, 2, 9)
    exact = copy.deepcopy(layers)
    assert relative(normed_gates(rows, layers), truth(rows.double(), tuple(m.double() for m in exact))) < LIMIT  # type: ignore[arg-type]


@needs_library
def test_rows_of_another_width_and_a_refusal_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = layers_of(**ODD)
    with pytest.raises(ValueError, match="projected rows"):
        normed_gates(torch.zeros(1, 3, 8), layers)
    monkeypatch.setattr(Library, "scan", lambda *_: 2)
    with pytest.raises(RuntimeError, match="refused"):
        normed_gates(rows_of(layers, 1, 3), layers)


def block_of(**settings: int) -> ResidualBiMamba:
    torch.manual_seed(1)
    sizes = {"dim": 16, "d_state": 4, "expand": 2, "headdim": 8, **settings}
    return bimamba_of(BSMambaConfig(n_fft=128, hop_length=32, bands=(2, 3, 10, 50), **sizes))


@needs_library
def test_a_block_trains_as_the_paper_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEMSPLIT_BACKEND", raising=False)
    block = block_of()
    exact = copy.deepcopy(block).double()
    rows = torch.randn(2, 3, 21, 16)
    calls = []
    real = native_scan.normed_gates
    monkeypatch.setattr(native_scan, "normed_gates", lambda *a: calls.append(1) or real(*a))
    block(rows).square().sum().backward()
    exact.forward_unfused(rows.double()).square().sum().backward()
    assert calls
    for (name, value), other in zip(block.named_parameters(), exact.parameters(), strict=True):
        assert value.grad is not None
        assert other.grad is not None
        assert relative(value.grad, other.grad, 1e-2) < LIMIT, name


@needs_library
def test_the_torch_path_can_be_asked_for_and_takes_what_is_not_for_this(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.zeros(1, 2, 3)
    monkeypatch.delenv("STEMSPLIT_BACKEND", raising=False)
    assert native_scan.usable(rows)
    assert native_scan.usable(rows.bfloat16())
    assert not native_scan.usable(rows.double())
    assert not native_scan.usable(rows.to("meta"))
    for backend, used in (("native", True), ("auto", True), ("torch", False), ("triton", False)):
        monkeypatch.setenv("STEMSPLIT_BACKEND", backend)
        assert native_scan.usable(rows) is used


def test_without_a_library_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_scan, "_chosen", lambda: None)
    block = block_of()
    block(torch.randn(2, 5, 16)).sum().backward()
    assert all(value.grad is not None for value in block.parameters())
