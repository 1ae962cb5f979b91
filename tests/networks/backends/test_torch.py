"""The tiled pass in plain PyTorch against the truth, `ResidualBiMamba.forward_unfused` in float64."""

from __future__ import annotations

import copy
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tiny import TINY
from torch import Tensor

from stemsplit.networks.backends import torch as torch_backend
from stemsplit.networks.backends.choose import bind
from stemsplit.networks.backends.torch import TorchBackend, pack, plan_tiles
from stemsplit.networks.bsmamba import CONFIGS, BSMamba, BSMambaConfig, bimamba_of
from stemsplit.networks.kernels import products as cpu_products
from stemsplit.networks.layers.bimamba import ResidualBiMamba

MINI = json.loads((Path(__file__).parents[3] / "models/ts-bsmamba2-mini/config.json").read_text(encoding="utf-8"))
SHAPES = {"tiny": TINY, "mini": BSMambaConfig.from_dict(MINI["network"]), "full": CONFIGS["ts-bsmamba2"]}


def block(name: str, *, spread: float = 0.3) -> ResidualBiMamba:
    """A block whose every parameter is random, also those that start at 0 or 1."""
    torch.manual_seed(0)
    made = bimamba_of(SHAPES[name]).eval()
    with torch.no_grad():
        for value in made.parameters():
            value.add_(spread * value.abs().mean() * torch.randn_like(value) + 0.05 * torch.randn_like(value))
    return made


def truth(of: ResidualBiMamba, rows: Tensor) -> Tensor:
    with torch.inference_mode():
        return copy.deepcopy(of).double().forward_unfused(rows.double())


def snr(found: Tensor, expected: Tensor) -> float:
    return float(10 * torch.log10(expected.square().sum() / (found.double() - expected).square().sum()))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 57, 63, 65, 95, 97, 129, 259])
@torch.inference_mode()
def test_float64_meets_the_truth_at_odd_lengths(length: int) -> None:
    made = block("tiny").double()
    rows = torch.randn(3, length, TINY.dim, dtype=torch.float64)
    torch.testing.assert_close(TorchBackend().bind(made)(rows), made.forward_unfused(rows), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "sequences", "length"),
    [
        ("full", 1, 1),
        ("full", 5, 57),
        ("full", 1, 259),
        ("mini", 1, 1),
        ("mini", 9, 27),
        ("mini", 2, 87),
        ("mini", 1, 475),
    ],
)
@torch.inference_mode()
def test_float32_keeps_110_db_of_what_the_block_adds(name: str, sequences: int, length: int) -> None:
    made = block(name)
    rows = torch.randn(sequences, length, SHAPES[name].dim)
    update = TorchBackend().bind(made)(rows).double() - rows
    assert snr(update, truth(made, rows) - rows) > 110


@torch.inference_mode()
def test_tiles_do_not_touch_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    made = block("tiny").double()
    rows = torch.randn(11, 130, TINY.dim, dtype=torch.float64)
    whole = TorchBackend().bind(made)(rows)
    monkeypatch.setattr(torch_backend, "TILE_BYTES", 1)
    assert plan_tiles(pack(made), 11, 130).sequences == 1
    torch.testing.assert_close(TorchBackend().bind(made)(rows), whole)


@torch.inference_mode()
def test_buffers_carry_nothing_from_call_to_call() -> None:
    backend, made = TorchBackend(), block("tiny").double()
    bound, other = backend.bind(made), backend.bind(block("tiny", spread=1).double())
    rows = {length: torch.randn(4, length, TINY.dim, dtype=torch.float64) for length in (150, 3, 259, 57, 1)}
    first = {length: TorchBackend().bind(made)(value) for length, value in rows.items()}
    for _ in range(2):
        for length, value in rows.items():
            other(value)
            assert torch.equal(bound(value), first[length])


@torch.inference_mode()
def test_strong_and_weak_decays_stay_finite() -> None:
    for rate, step in ((6.0, 6.0), (-6.0, -30.0), (6.0, -200.0)):
        made = block("tiny")
        for mamba in (made.forward_mamba2, made.backward_mamba2):
            mamba.A_log.fill_(rate)
            mamba.dt_bias.fill_(step)
        rows = torch.randn(2, 259, TINY.dim)
        update = TorchBackend().bind(made)(rows).double() - rows
        assert snr(update, truth(made, rows) - rows) > 110


@torch.inference_mode()
def test_any_strides_and_no_sequences() -> None:
    bound = TorchBackend().bind(block("tiny"))
    rows = torch.randn(57, 6, TINY.dim).transpose(0, 1)
    kept = rows.clone()
    assert torch.equal(bound(rows), bound(rows.contiguous()))
    assert torch.equal(rows, kept)
    assert bound(rows[:0]).shape == (0, 57, TINY.dim)


def test_it_runs_without_inference_mode_too() -> None:
    bound, rows = TorchBackend().bind(block("tiny")), torch.randn(2, 70, TINY.dim)
    with torch.inference_mode():
        expected = bound(rows)
    with torch.no_grad():
        assert torch.equal(bound(rows), expected)


@torch.inference_mode()
def test_the_networks_output_keeps_110_db() -> None:
    torch.manual_seed(0)
    network, mixture = BSMamba(TINY).eval(), torch.randn(1, 2, 3001)
    expected = copy.deepcopy(network).double()(mixture.double())
    bind(network, TorchBackend())
    assert snr(network(mixture), expected) > 110


@torch.inference_mode()
def test_under_autocast_the_block_rounds_as_it_always_did() -> None:
    made, rows = block("tiny"), torch.randn(2, 57, TINY.dim)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(TorchBackend().bind(made)(rows), made.fused(rows))


@torch.inference_mode()
def test_threads_may_share_a_backend() -> None:
    bound = TorchBackend().bind(block("tiny"))
    rows = [torch.randn(40, length, TINY.dim) for length in (57, 90, 130, 57)]
    expected = [bound(value) for value in rows]

    def run(index: int) -> bool:
        with torch.inference_mode():
            return all(torch.equal(bound(rows[index]), expected[index]) for _ in range(5))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(4)))


@torch.inference_mode()
def test_memory_does_not_grow_with_sequences_or_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_backend, "TILE_BYTES", 2_000_000)
    backend = TorchBackend()
    bound = backend.bind(block("mini"))
    bound(torch.randn(50, 27, SHAPES["mini"].dim))
    held = backend.own.buffers.nbytes()
    for count in (100, 75, 1):
        bound(torch.randn(count, 27, SHAPES["mini"].dim))
    assert backend.own.buffers.nbytes() <= 1.3 * held
    assert held < 2 * torch_backend.TILE_BYTES


def test_threads_do_not_try_the_products_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[int] = []
    most: list[int] = []

    def trial() -> bool:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return False

    def product() -> None:
        with cpu_products.fast_products():
            pass

    monkeypatch.setattr(cpu_products, "_onednn_is_exact", trial)
    threads = [threading.Thread(target=product) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_faster_products_are_taken_only_where_they_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = cpu_products._settings()
    if settings is None:
        pytest.skip("this torch has one library only")
    before = settings.fp32_precision
    for exact in (True, False):
        monkeypatch.setattr(cpu_products, "_onednn_is_exact", lambda exact=exact: exact)
        with cpu_products.fast_products():
            assert (settings.fp32_precision == "bf16") == (exact or before == "bf16")
        assert settings.fp32_precision == before
    monkeypatch.setattr(cpu_products, "_onednn_is_exact", lambda: True)
    first, second = cpu_products.fast_products(), cpu_products.fast_products()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert settings.fp32_precision == "bf16"
    second.__exit__(None, None, None)
    assert settings.fp32_precision == before
    with pytest.raises(RuntimeError, match="inside"), cpu_products.fast_products():
        raise RuntimeError("inside")
    assert settings.fp32_precision == before


def test_the_faster_tanh_is_a_tanh() -> None:
    x = torch.cat([torch.linspace(-20, 20, 4001), torch.tensor([-1e30, 1e30, 0.0])])
    exact = torch.tanh(x.double())
    with torch.inference_mode():
        assert (cpu_products.tanh_(x.clone()).double() - exact).abs().max() < 3e-7
    kept = x.clone().requires_grad_()
    cpu_products.tanh_(kept).sum().backward()
    torch.testing.assert_close(kept.grad.double(), 1 - exact.square(), rtol=1e-5, atol=1e-6)


def test_the_trial_of_float32_products_says_the_same_under_autocast() -> None:
    """Otherwise the bytes of a song would depend on what ran before it in the process."""
    trial = cpu_products._onednn_is_exact.__wrapped__
    expected = trial()
    with torch.autocast("cpu", torch.bfloat16):
        assert trial() == expected
