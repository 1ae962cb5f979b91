"""The adaptor to mamba-ssm, with the recurrence in the place of its kernels."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stemsplit.networks.backends import mamba as mamba_backend
from stemsplit.networks.backends.mamba import MambaBackend
from stemsplit.networks.bsmamba import BSMambaConfig, bimamba_of
from stemsplit.networks.kernels.convolution import depthwise_convolution
from stemsplit.networks.kernels.ssd import ssd_recurrence
from stemsplit.networks.layers.bimamba import ResidualBiMamba


def scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk_size: int, *, D: Tensor, z: Tensor, dt_bias: Tensor,
    dt_softplus: bool,
) -> Tensor:  # fmt: skip
    """What mamba_ssm.ops.triton.ssd_combined.mamba_chunk_scan_combined documents."""
    assert dt_softplus
    assert chunk_size >= 16
    assert chunk_size & (chunk_size - 1) == 0
    assert B.shape[2] == C.shape[2] == 1
    dt = F.softplus(dt.float() + dt_bias)
    y = ssd_recurrence(x.float() * dt[..., None], dt * A, B[:, :, 0].float(), C[:, :, 0].float())
    return ((y + D[:, None] * x) * F.silu(z.float())).to(x.dtype)


def conv(x: Tensor, weight: Tensor, bias: Tensor, *, activation: str) -> Tensor:
    """What causal_conv1d.causal_conv1d_fn documents: x (N, channels, L), weight (channels, taps)."""
    assert activation == "silu"
    assert x.stride(1) == 1  # channels last
    rows = depthwise_convolution(x.transpose(1, 2), weight[:, None], bias, reverse=False)
    return F.silu(rows).transpose(1, 2)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, SimpleNamespace]:
    """Both packages, installed; tests may take one away."""
    there = {
        mamba_backend.SCAN_MODULE: SimpleNamespace(mamba_chunk_scan_combined=scan),
        mamba_backend.CONV_MODULE: SimpleNamespace(causal_conv1d_fn=conv),
    }
    monkeypatch.setattr(mamba_backend, "import_module", there.__getitem__)
    monkeypatch.setattr(mamba_backend, "find_spec", lambda name: name in there or name == "mamba_ssm" or None)
    mamba_backend.import_problem.cache_clear()
    yield there
    mamba_backend.import_problem.cache_clear()


def block() -> ResidualBiMamba:
    torch.manual_seed(0)
    made = bimamba_of(BSMambaConfig(dim=12, d_state=5, expand=2, headdim=8)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


@torch.no_grad()
def error(found: Tensor, made: ResidualBiMamba, rows: Tensor) -> float:
    expected = copy.deepcopy(made).double().forward_unfused(rows.double())
    return ((found.double() - expected).norm() / (expected - rows.double()).norm()).item()


@pytest.mark.parametrize("with_conv", [True, False])
@pytest.mark.parametrize("length", [1, 3, 57, 130])
def test_the_block_equals_the_truth(modules: dict[str, SimpleNamespace], length: int, with_conv: bool) -> None:
    if not with_conv:
        del modules[mamba_backend.CONV_MODULE]
    made, rows = block(), torch.randn(3, length, 12)
    found = MambaBackend().bind(made)(rows)
    assert found.dtype == rows.dtype
    assert error(found, made, rows) < 1e-6
    assert not found.requires_grad


def test_autocast_is_close_and_keeps_the_type_of_the_rows(modules: dict[str, SimpleNamespace]) -> None:
    made, rows = block(), torch.randn(3, 20, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = MambaBackend().bind(made)(rows)
    assert found.dtype == torch.float32
    assert 1e-6 < error(found, made, rows) < 0.03


def test_no_rows_and_weights_that_change_later(modules: dict[str, SimpleNamespace]) -> None:
    made, rows = block(), torch.randn(2, 5, 12)
    bound, before = MambaBackend().bind(made), copy.deepcopy(made)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    assert error(bound(rows), before, rows) < 1e-6
    assert bound(torch.zeros(0, 5, 12)).shape == (0, 5, 12)


def test_what_is_missing_is_told(modules: dict[str, SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "GPUs" in str(MambaBackend().missing(torch.device("cpu")))
    device = torch.device("cuda:0")
    assert MambaBackend().missing(device) is None
    mamba_backend.import_problem.cache_clear()
    del modules[mamba_backend.SCAN_MODULE]
    assert "cannot be imported" in str(MambaBackend().missing(device))
    monkeypatch.setattr(mamba_backend, "find_spec", lambda _: None)
    assert "pip install" in str(MambaBackend().missing(device))
