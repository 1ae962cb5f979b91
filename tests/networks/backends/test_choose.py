"""Every backend against the truth in float64, and how one is chosen."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import TINY

from stemsplit.errors import DeviceError, UsageError
from stemsplit.machine.device import BACKEND_VARIABLE
from stemsplit.networks.backends import choose as backends
from stemsplit.networks.backends.choose import bind
from stemsplit.networks.bsmamba import BSMamba
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.separation.chunks import Chunking
from stemsplit.separation.inference import Inference

CPU = torch.device("cpu")


class Marker:
    """A backend whose blocks answer with zeros."""

    name = "marker"

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason

    def missing(self, device: torch.device) -> str | None:
        return self.reason

    def bind(self, layer: torch.nn.Module) -> backends.Bound | None:
        return torch.zeros_like if isinstance(layer, ResidualBiMamba) else None


@pytest.fixture
def _fake_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"torch": Marker, "native": lambda: Marker("no compiler was here"), "triton": Marker}
    monkeypatch.setattr(backends, "BACKENDS", table)
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)


def bound_blocks(network: BSMamba) -> list[bool]:
    return [module.bound is not None for module in network.modules() if isinstance(module, ResidualBiMamba)]


@pytest.mark.usefixtures("_fake_backends")
def test_auto_passes_over_what_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.FASTEST_FIRST, "cpu", ("native", "triton", "torch"))
    monkeypatch.setitem(backends.BACKENDS, "triton", lambda: Marker())
    assert backends.choose(CPU).missing(CPU) is None
    assert backends.why_not("native", CPU) == "no compiler was here"


@pytest.mark.usefixtures("_fake_backends")
def test_an_explicit_choice_is_kept_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND_VARIABLE, "native")
    with pytest.raises(DeviceError, match=r"native.*no compiler was here.*STEMSPLIT_BACKEND=auto"):
        backends.choose(CPU)
    assert backends.choose(CPU, "torch").missing(CPU) is None
    with pytest.raises(UsageError, match=r"unknown backend 'fast'.*torch"):
        backends.choose(CPU, "fast")


def test_a_backend_that_cannot_be_imported_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> backends.Backend:
        raise ImportError("No module named 'triton'")

    monkeypatch.setitem(backends.BACKENDS, "triton", absent)
    assert "No module named 'triton'" in str(backends.why_not("triton", CPU))
    with pytest.raises(DeviceError, match="cannot be imported"):
        backends.choose(CPU, "triton")


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda"])
def test_torch_always_works(device: str) -> None:
    assert backends.choose(device, "torch").name == "torch"


def test_what_is_bound_runs_only_at_inference() -> None:
    network, mixture = BSMamba(TINY).eval(), torch.randn(1, 2, 500)
    with torch.inference_mode():
        expected = network(mixture)
        bind(network, Marker())
        assert not torch.equal(network(mixture), expected)
    with torch.enable_grad():
        torch.testing.assert_close(network(mixture), expected)
    with torch.inference_mode():
        bind(network, None)
        assert torch.equal(network(mixture), expected)


def test_what_is_bound_in_the_same_way_is_not_packed_again() -> None:
    network = BSMamba(TINY).eval()
    block = next(layer for layer in network.modules() if isinstance(layer, ResidualBiMamba))
    bind(network, Marker())
    block.bound = first = lambda rows: rows
    bind(network, Marker())
    assert block.bound is first
    bind(network, Marker("set up in another way"))
    assert block.bound is not first
    block.bound = first
    with torch.no_grad():
        block.norm_weight.add_(1)
    bind(network, Marker("set up in another way"))
    assert block.bound is not first


def test_changed_weights_are_never_answered_by_old_ones() -> None:
    network = BSMamba(TINY).eval()
    for change in (
        lambda: network.train().eval(),
        lambda: network.load_state_dict(network.state_dict()),
        lambda: network.double().float(),
    ):
        bind(network, Marker())
        assert all(bound_blocks(network))
        change()
        assert not any(bound_blocks(network))
    bind(network, Marker())
    assert not any(bound_blocks(copy.deepcopy(network)))
    assert "bound" not in "".join(network.state_dict())


def test_inference_binds_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    network = BSMamba(TINY)
    monkeypatch.setenv(BACKEND_VARIABLE, "torch")
    Inference(network, Chunking(8000, 0.5), CPU, None, print)
    assert all(bound_blocks(network))
    monkeypatch.setenv(BACKEND_VARIABLE, "fast")
    with pytest.raises(UsageError, match="unknown backend"):
        Inference(network, Chunking(8000, 0.5), CPU, None, print)


def test_auto_precision_on_a_cpu_is_bf16_where_its_backend_multiplies_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "choose", lambda device: Named("native"))
    monkeypatch.setattr(backends, "has_bfloat16", lambda: True)
    network = BSMamba(TINY)
    assert backends.precision_for(network, "auto", CPU) is torch.bfloat16
    assert backends.precision_for(network, "fp32", CPU) is None
    plain = torch.nn.Linear(2, 2)
    assert backends.precision_for(plain, "auto", CPU) is None
    plain.bfloat16_on_cpu = True
    assert backends.precision_for(plain, "auto", CPU) is torch.bfloat16
    assert backends.precision_for(lambda mixture: mixture, "auto", CPU) is None
    assert backends.precision_for(network, "auto", torch.device("mps")) is None
    monkeypatch.setattr(backends, "has_bfloat16", lambda: False)
    assert backends.precision_for(network, "auto", CPU) is None
    monkeypatch.setattr(backends, "has_bfloat16", lambda: True)
    monkeypatch.setattr(backends, "choose", lambda device: Named("torch"))
    assert backends.precision_for(network, "auto", CPU) is None


def test_a_network_that_leaves_only_products_in_bf16_needs_no_backend_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(torch.nn.Module):
        bfloat16_on_cpu = True

    monkeypatch.setattr(backends, "choose", lambda device: Named("torch"))
    for has, precision in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(backends, "has_bfloat16", lambda has=has: has)
        assert backends.precision_for(Own(), "auto", CPU) is precision
        assert backends.precision_for(Own(), "fp32", CPU) is None


class Named:
    """Something that has the name of a backend."""

    def __init__(self, name: str) -> None:
        self.name = name
