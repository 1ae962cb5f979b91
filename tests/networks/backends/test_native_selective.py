"""Mamba-1 in the native library, against the recurrence in float64."""

from __future__ import annotations

import copy
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from stemsplit.networks.backends.choose import BACKENDS, bind
from stemsplit.networks.backends.native import NativeBackend
from stemsplit.networks.backends.native_selective import BoundSelective
from stemsplit.networks.kernels.native_library import INSTRUCTION_SETS, Library, load_library
from stemsplit.networks.kernels.selective_scan import scan_recurrence
from stemsplit.networks.layers import mamba1
from stemsplit.networks.layers.mamba1 import Mamba1

LIBRARY = load_library()
HERE: tuple[str, ...] = LIBRARY.instruction_sets() if isinstance(LIBRARY, Library) else ()
each_set = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(name not in HERE, reason=f"no {name} here: {LIBRARY}"))
        for name in INSTRUCTION_SETS
    ],
)
needs_native = pytest.mark.skipif(NativeBackend().missing(torch.device("cpu")) is not None, reason=f"{LIBRARY}")
LIMIT = 2e-6


@torch.no_grad()
def layer_of(*sizes: int) -> Mamba1:
    """A layer with nothing left at zero or one, and steps long enough for the decays to matter."""
    torch.manual_seed(sum(sizes))
    made = Mamba1(*sizes)
    for value in (made.D, made.A_log):
        value.add_(0.3 * torch.randn_like(value))
    made.dt_proj.bias.add_(1.5)
    return made.eval()


def bound_to(layer: Mamba1, name: str | None) -> Mamba1:
    made = copy.deepcopy(layer)
    made.bound = NativeBackend(name).bind(made)
    assert made.bound is not None
    return made


def error(found: Tensor, truth: Tensor) -> float:
    assert found.shape == truth.shape
    return float((found - truth).norm() / truth.norm())


@each_set
@pytest.mark.parametrize("sizes", [(32, 8, 4, 1), (48, 8, 4, 1), (20, 3, 4, 2), (5, 1, 1, 1), (33, 17, 6, 3)])
@torch.inference_mode()
def test_it_is_the_recurrence(name: str, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(*sizes)
    exact, bound = copy.deepcopy(layer).double(), bound_to(layer, name)
    monkeypatch.setattr(mamba1, "selective_scan", scan_recurrence)
    for steps in (1, 2, 5, 70):
        rows = torch.randn(3, steps, sizes[0])
        for reverse in (False, True):
            assert error(bound(rows, reverse=reverse), exact(rows.double(), reverse=reverse)) < LIMIT, steps


@needs_native
@torch.inference_mode()
def test_loud_rows_and_long_steps_stay_finite_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of(32, 8, 4, 1)
    layer.dt_proj.weight.mul_(30)
    monkeypatch.setattr(mamba1, "selective_scan", scan_recurrence)
    for scale in (1e-30, 1e3):
        rows = scale * torch.randn(2, 40, 32)
        found, truth = bound_to(layer, None)(rows), copy.deepcopy(layer).double()(rows.double())
        assert torch.isfinite(found).all()
        assert error(found, truth) < 1e-5
    assert not bound_to(layer, None)(torch.empty(2, 0, 32)).numel()


@needs_native
@torch.inference_mode()
def test_threads_strides_and_types_change_nothing() -> None:
    layer = bound_to(layer_of(20, 3, 4, 2), None)
    run, rows = layer.bound, torch.randn(9, 12, 80)
    assert run is not None
    expected = run(rows)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(run(rows), expected)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(run(rows.transpose(0, 1).contiguous().transpose(0, 1)), expected)
    assert error(run(rows.bfloat16()), expected) < 0.02
    wide = layer_of(20, 3, 4, 2).double()
    wide.bound = BoundSelective(wide, cast(Library, LIBRARY), None)
    assert torch.equal(wide.bound(rows.double()), wide.gated(rows.double()))
    with pytest.raises(ValueError, match="40 channels"):
        run(torch.randn(1, 2, 78))


@needs_native
def test_only_inference_takes_it_and_other_backends_have_none() -> None:
    layer = layer_of(20, 3, 4, 2)
    bind(nn.Sequential(layer), BACKENDS["torch"]())
    assert layer.bound is None
    bind(nn.Sequential(layer), BACKENDS["native"]())
    assert layer.bound is not None
    calls: list[int] = []
    layer.bound = lambda rows, *, reverse: calls.append(1) or layer.gated(rows, reverse=reverse)  # type: ignore[assignment,func-returns-value]
    rows = torch.randn(1, 4, 20)
    layer(rows).sum().backward()
    assert calls == []
    with torch.no_grad():
        layer(rows)
    assert calls == [1]
    assert layer.train().bound is None
