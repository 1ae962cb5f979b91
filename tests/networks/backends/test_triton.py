"""The Triton kernels against the recurrence: interpreted on the CPU, and compiled where there is a GPU.

Triton decides when it is imported whether it interprets, and stays with it: hence a process of its own. Its interpreter
knows no products of bfloat16, so there float16 stands for both.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from stemsplit.networks.backends import triton as ssd_triton
from stemsplit.networks.backends.choose import bind
from stemsplit.networks.backends.gpu import layers
from stemsplit.networks.backends.gpu.layers import BlockOnGpu, bind_by
from stemsplit.networks.backends.triton import TritonBackend
from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig, bimamba_of
from stemsplit.networks.kernels.gpu.settings import FLOAT32, SMALLER, Settings
from stemsplit.networks.kernels.ssd import ssd_recurrence
from stemsplit.networks.layers import mamba2
from stemsplit.networks.layers.bimamba import ResidualBiMamba

CPU = torch.device("cpu")
interpreted = pytest.mark.skipif(not ssd_triton.interpreted(), reason="runs in the process that interprets Triton")
compiled = pytest.mark.skipif(ssd_triton.interpreted(), reason="runs where Triton compiles")
TINY = {"dim": 8, "d_state": 4, "expand": 2, "headdim": 8}
ODD = {"dim": 12, "d_state": 5, "expand": 1, "headdim": 4, "d_conv": 3}
"""No width a power of two, three heads, three taps."""
SHORTEST = Settings(short_steps=16, chunk_steps=16, out_rows=16, out_columns=16)


def block(seed: int = 0, **settings: object) -> ResidualBiMamba:
    """A block whose weights are all random, also those that start as ones and zeros."""
    torch.manual_seed(seed)
    made = bimamba_of(BSMambaConfig(**{**TINY, **settings})).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


@torch.no_grad()
def truth(made: ResidualBiMamba, rows: Tensor) -> Tensor:
    """The unfused block in float64 by the recurrence, step after step."""
    wide = copy.deepcopy(made).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mamba2, "ssd_chunked", ssd_recurrence)
        return wide.forward_unfused(rows.double())


def error(found: Tensor, expected: Tensor, rows: Tensor) -> float:
    """Relative to what the block adds: the residual would flatter it."""
    return ((found.double() - expected).norm() / (expected - rows.double()).norm()).item()


@compiled
def test_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-x", "-p", "no:cacheprovider"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[3]
    run = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


@interpreted
@pytest.mark.parametrize(("length", "settings"), [(1, TINY), (15, TINY), (57, TINY), (2, ODD), (27, ODD)])
def test_short_sequences_equal_the_recurrence(length: int, settings: dict[str, object]) -> None:
    made = block(**settings)
    rows = torch.randn(2 if length < 20 else 1, length, made.proj.out_features)
    found = TritonBackend(Settings()).bind(made)(rows)
    assert found.dtype == rows.dtype
    assert error(found, truth(made, rows), rows) < 1e-6


@interpreted
@pytest.mark.parametrize(("length", "settings"), [(17, TINY), (48, TINY), (33, ODD)])
def test_long_sequences_equal_the_recurrence(length: int, settings: dict[str, object]) -> None:
    made = block(**settings)
    rows = torch.randn(2 if length < 20 else 1, length, made.proj.out_features)
    found = TritonBackend(SHORTEST).bind(made)(rows)
    assert error(found, truth(made, rows), rows) < 1e-6


@interpreted
def test_the_settings_that_float32_gets_do_for_long_sequences() -> None:
    made, rows = block(), torch.randn(1, 37, 8)
    assert error(TritonBackend().bind(made)(rows), truth(made, rows), rows) < 1e-6


@interpreted
@pytest.mark.parametrize("length", [9, 21])
def test_half_rows_and_autocast_are_close(length: int) -> None:
    made, rows = block(), torch.randn(1, length, 8)
    expected = truth(made, rows)
    bound = TritonBackend(SHORTEST).bind(made)
    half = bound(rows.half())
    assert half.dtype == torch.float16
    assert 1e-6 < error(half, expected, rows) < 0.005
    with torch.autocast("cpu", dtype=torch.float16):
        mixed = bound(rows)
    assert mixed.dtype == torch.float32
    assert 1e-6 < error(mixed, expected, rows) < 0.005


@interpreted
@pytest.mark.parametrize("shift", [-8.0, 5.0])
def test_faint_and_strong_decay(shift: float) -> None:
    made, rows = block(), torch.randn(1, 19, 8)
    with torch.no_grad():
        for mamba in (made.forward_mamba2, made.backward_mamba2):
            mamba.dt_bias.add_(shift)
            mamba.A_log.add_(max(shift, 0.0))
    assert error(TritonBackend(SHORTEST).bind(made)(rows), truth(made, rows), rows) < 1e-6


@interpreted
def test_rows_may_be_a_view_and_there_may_be_none() -> None:
    made, rows = block(), torch.randn(7, 3, 8).transpose(0, 1)
    bound = TritonBackend().bind(made)
    assert error(bound(rows), truth(made, rows), rows) < 1e-6
    assert bound(torch.zeros(0, 5, 8)).shape == (0, 5, 8)


@interpreted
def test_sequences_are_taken_in_as_many_goes_as_memory_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    made, rows = block(), torch.randn(2, 3, 8)
    bound = TritonBackend(SHORTEST).bind(made)
    expected = bound(rows)
    monkeypatch.setattr(layers, "MOST_PROJECTED_BYTES", 4 * 3 * 100)
    assert len(list(bound.parts(rows.unsqueeze(0), torch.float32))) > 1
    torch.testing.assert_close(bound(rows), expected)


@interpreted
@pytest.mark.parametrize(("joint", "channels", "settings"), [(False, 2, None), (True, 2, SMALLER), (True, 1, None)])
def test_a_network_equals_the_plain_one(joint: bool, channels: int, settings: Settings | None) -> None:
    small = {"d_state": 3, "expand": 1, "dim": 8, "headdim": 4, "blocks_mask": 1, "blocks_map": 1, "head_expand": 1}
    config = BSMambaConfig(n_fft=32, hop_length=8, bands=(2, 2, 13), joint=joint, normalize=joint, **small)
    torch.manual_seed(0)
    network, mixture = BSMamba(config).eval(), torch.randn(1, channels, 75)
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        expected = copy.deepcopy(network).double()(mixture.double())
        bind(network, TritonBackend(settings))
        assert ((network(mixture) - expected).norm() / expected.norm()).item() < 2e-6


@interpreted
def test_the_weights_are_those_at_the_time_of_binding() -> None:
    made, rows = block(), torch.randn(1, 5, 8)
    bound, expected = TritonBackend().bind(made), truth(made, rows)
    with torch.no_grad():
        made.proj.weight.zero_()
    assert error(bound(rows), expected, rows) < 1e-6


@compiled
def test_without_triton_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssd_triton, "find_spec", lambda _: None)
    assert "not installed" in str(TritonBackend().missing(CPU))
    monkeypatch.setattr(ssd_triton, "find_spec", lambda _: "there")
    assert "NVIDIA" in str(TritonBackend().missing(CPU))
    assert "NVIDIA" in str(TritonBackend().missing(torch.device("mps")))


@compiled
def test_old_gpus_and_a_missing_compiler_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda:0")
    monkeypatch.setattr(ssd_triton, "find_spec", lambda _: "there")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert "Ampere" in str(TritonBackend().missing(device))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))

    def fail() -> None:
        raise RuntimeError("Failed to find C compiler.\nAnd more.")

    active = SimpleNamespace(get_current_target=fail)
    monkeypatch.setattr(ssd_triton, "import_module", lambda _: SimpleNamespace(driver=SimpleNamespace(active=active)))
    ssd_triton.start_problem.cache_clear()
    assert TritonBackend().missing(device) == "Triton cannot start: Failed to find C compiler."
    active.get_current_target = lambda: "a GPU"
    ssd_triton.start_problem.cache_clear()
    assert TritonBackend().missing(device) is None
    ssd_triton.start_problem.cache_clear()


class OutOfResources(Exception):  # noqa: N818
    """Triton's error has this name."""


KERNELS = {
    "block_kernels": ("short_kernel", "share_kernel", "scan_kernel", "out_kernel"),
    "layer_kernels": ("norm_kernel", "split_kernel", "heads_kernel", "exchange_kernel"),
}


def launches_of(kernel: Callable[[], object]) -> ModuleType:
    """A copy of the module that launches kernels, with others in place of Triton's; it does not need Triton."""
    source = Path(layers.__file__).parents[2] / "kernels" / "gpu" / "launches.py"
    text = source.read_text(encoding="utf-8")
    line = "from stemsplit.networks.kernels.gpu import block_kernels, layer_kernels\n"
    assert line in text
    module = ModuleType("launches")
    for name, kernels in KERNELS.items():
        setattr(module, name, SimpleNamespace(**{one: kernel() for one in kernels}))
    exec(compile(text.replace(line, ""), str(source), "exec"), vars(module))
    return module


@compiled
def test_out_of_shared_memory_the_pieces_shrink_once_and_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    class Kernel:
        def __getitem__(self, grid: tuple[int, ...]) -> Kernel:
            return self

        def __call__(self, *args: object, **settings: int) -> None:
            tried.append(settings.get("STEPS") or settings["ROWS"])
            if tried[-1] > limit:
                raise OutOfResources("shared memory")

    bound, limit = BlockOnGpu(block(), launches_of(Kernel), FLOAT32), 16
    bound(torch.randn(1, 30, 8))
    assert tried == [16, 32, 16, 16, 16, 16]
    bound(torch.randn(1, 30, 8))
    assert tried[6:] == [16, 16, 16, 16]
    assert bound.settings == SMALLER
    limit = 8
    with pytest.raises(OutOfResources):
        bound(torch.randn(1, 30, 8))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available() or ssd_triton.interpreted(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("dtype", "bound_on_error"), [(torch.float32, 2e-5), (torch.bfloat16, 0.03), (torch.float16, 0.01)]
)
@pytest.mark.parametrize("length", [1, 27, 57, 65, 259])
def test_on_a_gpu_the_published_sizes_equal_the_recurrence(
    length: int, dtype: torch.dtype, bound_on_error: float
) -> None:
    device = torch.device("cuda:0")
    backend = TritonBackend()
    if reason := backend.missing(device):
        pytest.skip(reason)
    made = block(dim=128, d_state=128, expand=4, headdim=64).to(device)
    rows = torch.randn(3, length, 128, device=device)
    with torch.inference_mode(), torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
        found = backend.bind(made)(rows)
    assert error(found, truth(made, rows), rows) < bound_on_error


def autocast_to(dtype: torch.dtype) -> torch.autocast:
    return torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32)


class Chip:
    """A driver for Triton that knows what chip to compile for, and has none."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> object:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return self.capability

    def get_current_stream(self, device: int) -> int:
        return 0


SMALLEST_SHARED_MEMORY = 99 * 1024
"""Bytes that a program may have on consumer chips (compute capability 8.6, 8.9, 12.0); 8.0 has 163 KB, 9.0 227."""


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 86, 90, 120])
def test_the_published_sizes_compile_for_chips_that_are_not_here(
    capability: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    from triton.runtime import driver

    from stemsplit.networks.kernels.gpu import block_kernels, launches, layer_kernels

    shared: list[int] = []

    class Compiling:
        def __init__(self, kernel: object) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def launch(*args: object, **settings: object) -> None:
                shared.append(self.kernel.warmup(*args, grid=grid, **settings).metadata.shared)

            return launch

    for module in (block_kernels, layer_kernels):
        for name in KERNELS[module.__name__.rpartition(".")[2]]:
            monkeypatch.setattr(module, name, Compiling(getattr(module, name)))
    network = BSMamba(BSMambaConfig(blocks_mask=1, blocks_map=1)).eval()
    parts = (network.split_mask, network.heads_mask, network.blocks_mask[0].channel)
    split, heads, exchange = (bind_by(launches, part) for part in parts)
    bound = TritonBackend().bind(block(dim=128, d_state=128, expand=4, headdim=64))
    before = dict(vars(driver))
    driver.set_active(Chip(capability))
    try:
        for dtype in (torch.bfloat16, torch.float32):
            for length in (27, 57, 259):
                bound(torch.randn(2, length, 128, dtype=dtype))
            with autocast_to(dtype), torch.inference_mode():
                spectrum, tokens = torch.randn(1, 2, 1025, 4, dtype=torch.complex64), torch.randn(1, 2, 57, 4, 128)
                split(spectrum)
                exchange(tokens)
                heads(tokens, None, heads(tokens, spectrum, None))
    finally:
        vars(driver).clear()  # its own way back looks for a GPU at once
        vars(driver).update(before)
    assert len(shared) == (2 + 2 + 4) + (2 + 4 + 4) + 2 * (1 + 2 + 2 + 2)
    assert max(shared) <= SMALLEST_SHARED_MEMORY
