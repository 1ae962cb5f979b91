"""Every backend on a GPU: is it right, and how fast is it? One command, a few minutes, one JSON file.

    python benchmarks/gpu.py OUT                    check and time everything, write OUT/gpu.json
    python benchmarks/gpu.py OUT --mamba FOLDER     with mamba-ssm's Triton kernels from an unpacked source archive
    python benchmarks/gpu.py OUT --dry-run          the same steps with tiny sizes on the CPU

Needs PyTorch, Triton and this repository, nothing else. Weights are random: they cost the same. Times are medians of
warm repeats that take turns; "ms/s" is milliseconds per second of stereo audio, one pass without overlap for the
network, and with its own overlap from samples to stems for the stream. The file is written after every step, and a step
that fails is told in it: the next goes on. Exits 1 if a backend is wrong or a step failed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from stemsplit.networks.backends.choose import bind
from stemsplit.networks.bsmamba import bimamba_of

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

TOLERANCE_DB = {"float32": 90.0, "bfloat16": 33.0, "float16": 45.0}
"""A block's update against float64 must be at least that clean."""


NETWORK_TOLERANCE_DB = {"float32": 75.0, "bfloat16": 25.0, "float16": 35.0}
"""The same for the stems of a whole network."""


@dataclass(frozen=True)
class Plan:
    """What is measured. `lengths` and `sizes` are (sequences, steps) of blocks."""

    lengths: tuple[int, ...] = (1, 3, 27, 57, 64, 65, 259, 948)
    sizes: tuple[tuple[int, int], ...] = ((2072, 57), (456, 259), (114, 948), (216, 65))
    batches: tuple[int, ...] = (1, 8, 16)
    networks: tuple[str, ...] = ("ts-bsmamba2", "l-ts-bsmamba2", "ts-bsmamba2-mini")
    block: tuple[tuple[str, int], ...] = (("dim", 128), ("d_state", 128), ("expand", 4), ("headdim", 64))
    warm: int = 2
    repeats: int = 20
    stream_seconds: float = 240.0
    minutes: float = 9.0


DRY = Plan(
    lengths=(1, 3, 17),
    sizes=((2, 17),),
    batches=(1,),
    networks=("tiny",),
    block=(("dim", 8), ("d_state", 4), ("expand", 2), ("headdim", 8)),
    warm=0,
    repeats=1,
    stream_seconds=0.002,
)
"""Small enough for Triton's interpreter."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for gpu.json")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU; Triton is interpreted")
    parser.add_argument("--mamba", type=Path, help="folder that holds mamba_ssm/, where it is not installed")
    parser.add_argument("--minutes", type=float, help="steps that would start later are left out (9)")
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    options = parser.parse_args()
    plan = DRY if options.dry_run else Plan()
    if options.minutes is not None:
        plan = replace(plan, minutes=options.minutes)
    if options.dry_run:
        os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported
    if options.mamba:
        provide_mamba(options.mamba)
    sys.exit(run(plan, options.out, "cpu" if options.dry_run else "cuda", options.steps))


def provide_mamba(folder: Path) -> None:
    """Make mamba_ssm importable without its compiled parts, which its Triton kernels do not need."""
    package = ModuleType("mamba_ssm")
    package.__spec__ = ModuleSpec("mamba_ssm", None, is_package=True)
    package.__path__ = [str(folder / "mamba_ssm")]
    sys.modules["mamba_ssm"] = package


def run(plan: Plan, out: Path, device_name: str, steps: list[str]) -> int:
    """Take the steps, write their results; 0 if all is well."""
    bench = Bench(plan, device_name)
    results: dict[str, Any] = {"device": describe(bench.device), "plan": asdict(plan), "failed": []}
    out.mkdir(parents=True, exist_ok=True)
    for name in steps:
        started = time.monotonic()
        if started > bench.deadline:
            results["failed"].append(f"{name}: no time left")
            continue
        try:
            results[name] = STEPS[name](bench)
        except Exception as error:
            results["failed"].append(f"{name}: {type(error).__name__}: {str(error)[:500]}")
            traceback.print_exc()
        results.setdefault("seconds", {})[name] = round(time.monotonic() - started, 1)
        (out / "gpu.json").write_text(json.dumps(results, indent=1))
        print(f"\n== {name}, {results['seconds'][name]} s", flush=True)
        for row in results.get(name, []):
            print("  " + "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    for line in results["failed"]:
        print(f"FAILED {line}")
    wrong = [row for name in STEPS for row in results.get(name, []) if not row.get("ok", True)]
    return int(bool(wrong or results["failed"]))


class Bench:
    """The device, and the backends that work on it."""

    def __init__(self, plan: Plan, device_name: str) -> None:
        import torch

        from stemsplit.networks.backends.choose import BACKENDS, why_not

        self.plan, self.device = plan, torch.device(device_name)
        self.deadline = time.monotonic() + 60 * plan.minutes
        torch.manual_seed(0)
        reasons = {name: why_not(name, self.device) for name in BACKENDS}
        self.missing = {name: reason for name, reason in reasons.items() if reason is not None}
        self.backends = {name: BACKENDS[name]() for name in BACKENDS if name not in self.missing}
        for name, reason in self.missing.items():
            print(f"without {name}: {reason}")

    def times(self, calls: dict[str, Callable[[], object]]) -> dict[str, float | str]:
        """Median milliseconds of each call; they take turns. A call that fails has its error in place of a time."""
        failed: dict[str, float | str] = {}
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(self.plan.warm + self.plan.repeats):
            for name, call in calls.items():
                if name not in failed:
                    try:
                        taken[name].append(self._time(call))
                    except Exception as error:
                        failed[name] = f"{type(error).__name__}: {str(error)[:200]}"
        medians = {name: statistics.median(taken[name][self.plan.warm :]) for name in calls if name not in failed}
        return failed | {name: round(value, 4) for name, value in medians.items()}

    def _time(self, call: Callable[[], object]) -> float:
        import torch

        if self.device.type != "cuda":
            start = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - start)
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        before.record()
        call()
        after.record()
        torch.cuda.synchronize()
        return before.elapsed_time(after)

    def block(self) -> Any:
        """A block of the full network's size, all weights random, also those that start as ones and zeros."""
        import torch

        from stemsplit.networks.bsmamba import BSMambaConfig

        block = bimamba_of(BSMambaConfig(**dict(self.plan.block))).eval()
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        return block.to(self.device)

    @contextmanager
    def precision(self, dtype: Any) -> Iterator[None]:
        """Inference under autocast, or in float32."""
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32),
        ):
            yield

    @property
    def half(self) -> Any:
        """Triton's interpreter knows no products of bfloat16."""
        import torch

        return torch.bfloat16 if self.device.type == "cuda" else torch.float16


def describe(device: Any) -> dict[str, Any]:
    """The machine and the versions."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    try:
        found["triton"] = version("triton")
    except PackageNotFoundError:
        found["triton"] = None
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "name": properties.name,
            "capability": [properties.major, properties.minor],
            "multiprocessors": properties.multi_processor_count,
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "shared_memory": getattr(properties, "shared_memory_per_block_optin", None),
            "cuda": torch.version.cuda,
        }
    return found


def check(bench: Bench) -> list[dict[str, Any]]:
    """Every backend against the unfused block in float64: a block's update over its error, in dB."""
    import torch

    block, rows = bench.block(), []
    wide = copy.deepcopy(block).double()
    for length in bench.plan.lengths:
        data = torch.randn(3, length, block.proj.out_features, device=bench.device)
        with torch.inference_mode():
            expected = wide.forward_unfused(data.double())
        for name, backend in bench.backends.items():
            for dtype in (torch.float32, torch.bfloat16, torch.float16):
                if bench.device.type == "cpu" and dtype == torch.bfloat16 and name == "triton":
                    continue
                row: dict[str, Any] = {"backend": name, "length": length, "dtype": str(dtype).removeprefix("torch.")}
                try:
                    with bench.precision(dtype):
                        found = backend.bind(block)(data)
                    noise = (found.double() - expected).norm() / (expected - data.double()).norm()
                    row["db"] = round(-20 * torch.log10(noise).item(), 1)
                    row["ok"] = row["db"] >= TOLERANCE_DB[row["dtype"]]
                except Exception as error:
                    row |= {"ok": False, "error": f"{type(error).__name__}: {str(error)[:300]}"}
                rows.append(row)
    return rows


def time_blocks(bench: Bench) -> list[dict[str, Any]]:
    """One block, all backends in turns: band path and time path of 4 chunks of 3 s, time path of one of 11 s."""
    import torch

    block, rows = bench.block(), []
    bound = {name: backend.bind(block) for name, backend in bench.backends.items()}
    for count, length in bench.plan.sizes:
        for dtype in (bench.half, torch.float32):
            data = torch.randn(count, length, block.proj.out_features, device=bench.device)
            data = data if dtype == torch.float32 else data.to(dtype)
            with bench.precision(dtype):
                times = bench.times({name: lambda call=call, data=data: call(data) for name, call in bound.items()})
            rows.append({"sequences": count, "steps": length, "dtype": str(dtype).removeprefix("torch."), **times})
    return rows


def sweep(bench: Bench) -> list[dict[str, Any]]:
    """How the Triton kernels are best cut on this chip, half precision, one change at a time from the default."""
    import torch

    from stemsplit.networks.backends.triton import TritonBackend
    from stemsplit.networks.kernels.gpu.settings import Settings

    if "triton" not in bench.backends:
        return []
    base = Settings() if bench.device.type == "cuda" else Settings(short_steps=16, chunk_steps=16, out_rows=16)
    changes: list[dict[str, int]] = [{"stages": 2}]
    if bench.device.type == "cuda":
        changes += [{"short_warps": 4}, {"share_warps": 4}, {"scan_warps": 4}, {"out_warps": 4}, {"chunk_steps": 32}]
        changes += [{"chunk_steps": 32, "stages": 2}, {"scan_warps": 4, "stages": 2}, {"stages": 3}]
        changes += [{"chunk_steps": 128}, {"out_rows": 128}, {"out_columns": 128}, {"layer_warps": 4}]
        changes += [{"short_steps": 32}]
    block, rows = bench.block(), []
    for change in changes:
        bound = {
            "default": TritonBackend(base).bind(block),
            "changed": TritonBackend(replace(base, **change)).bind(block),
        }
        for count, length in bench.plan.sizes:
            if time.monotonic() > bench.deadline:
                return rows
            data = torch.randn(count, length, block.proj.out_features, device=bench.device).to(bench.half)
            with bench.precision(bench.half):
                times = bench.times({name: lambda call=call, data=data: call(data) for name, call in bound.items()})
            rows.append({"sequences": count, "steps": length, "change": str(change), **times})
    return rows


def build(name: str, device: Any) -> Any:
    """A network with random weights."""
    import torch

    from stemsplit.networks.bsmamba import CONFIGS, BSMamba, BSMambaConfig

    torch.manual_seed(0)
    if name == "tiny":
        sizes = {"dim": 8, "blocks_mask": 1, "blocks_map": 1, "d_state": 4, "expand": 2, "headdim": 8}
        config = BSMambaConfig(n_fft=128, hop_length=32, bands=(5, 60), channels=1, chunk_samples=128, **sizes)
    elif name in CONFIGS:
        config = CONFIGS[name]
    else:
        config = BSMambaConfig.from_dict(json.loads((ROOT / "models" / name / "config.json").read_text())["network"])
    return BSMamba(config).eval().to(device)


def time_networks(bench: Bench) -> list[dict[str, Any]]:
    """Networks alone, half precision, by batch of chunks: ms per second of audio, and the most memory."""
    import torch

    rows = []
    for name in bench.plan.networks:
        network = build(name, bench.device)
        config = network.config
        for batch in bench.plan.batches:
            mixture = 0.1 * torch.randn(batch, config.channels, config.chunk_samples, device=bench.device)
            seconds = batch * config.chunk_samples / config.sample_rate
            for backend_name, backend in bench.backends.items():
                row = {"network": name, "batch": batch, "backend": backend_name}
                bind(network, backend)
                _reset_peak(bench.device)
                with bench.precision(bench.half):
                    taken = bench.times({"": lambda network=network, mixture=mixture: network(mixture)})[""]
                row["ms_per_second"] = taken if isinstance(taken, str) else round(taken / seconds, 4)
                row["peak_gb"] = _peak_gb(bench.device)
                rows.append(row)
    return rows


def time_graphs(bench: Bench) -> list[dict[str, Any]]:
    """Whole networks, launched one by one and repeated as a CUDA graph: ms per second of audio."""
    import torch

    from stemsplit.networks.backends.gpu.graphs import Graphs

    rows = []
    for name in bench.plan.networks:
        network = build(name, bench.device)
        config = network.config
        for backend_name in [candidate for candidate in ("triton", "torch") if candidate in bench.backends]:
            bind(network, bench.backends[backend_name])
            for batch in bench.plan.batches:
                mixture = 0.1 * torch.randn(batch, config.channels, config.chunk_samples, device=bench.device)
                graphs = Graphs(network) if bench.device.type == "cuda" else Graphs(network, _rehearsed_capture)
                calls = {"eager": partial(network, mixture), "graph": partial(graphs, mixture)}
                with bench.precision(bench.half):
                    difference = [graphs(mixture) - network(mixture) for _ in range(2)][-1].abs().max().item()
                    times = bench.times(calls)
                seconds = batch * config.chunk_samples / config.sample_rate
                per = {key: t if isinstance(t, str) else round(t / seconds, 4) for key, t in times.items()}
                recorded = any(one is not None for one in graphs._known.values())
                row = {"network": name, "backend": backend_name, "batch": batch, **per}
                rows.append(
                    {**row, "recorded": recorded, "difference": difference, "ok": recorded and difference < 1e-3}
                )
                del graphs, calls
                _reset_peak(bench.device)
    return rows


def _rehearsed_capture(network: Any, mixture: Any) -> tuple[Callable[[], object], Any]:
    """In place of CUDA's, for the rehearsal."""
    stems = network(mixture)
    return lambda: stems.copy_(network(mixture)), stems


def check_networks(bench: Bench) -> list[dict[str, Any]]:
    """Whole networks against the plain one in float64 on the CPU, one second of audio: signal over error in dB."""
    import torch

    rows = []
    for name in bench.plan.networks:
        network = build(name, "cpu")
        config = network.config
        with torch.no_grad():  # also those that start as ones and zeros
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        samples = min(config.sample_rate, config.chunk_samples)
        mixture = 0.1 * torch.randn(1, config.channels, samples)
        with torch.inference_mode():
            expected = copy.deepcopy(network).double()(mixture.double())
        network, mixture = network.to(bench.device), mixture.to(bench.device)
        for backend_name, backend in bench.backends.items():
            for dtype in (torch.float32, bench.half):
                kind = str(dtype).removeprefix("torch.")
                row: dict[str, Any] = {"network": name, "backend": backend_name, "dtype": kind}
                try:
                    bind(network, backend)
                    with bench.precision(dtype):
                        found = network(mixture).cpu().double()
                    row["db"] = round(20 * torch.log10(expected.norm() / (found - expected).norm()).item(), 1)
                    row["ok"] = row["db"] >= NETWORK_TOLERANCE_DB[kind]
                except Exception as error:
                    row |= {"ok": False, "error": f"{type(error).__name__}: {str(error)[:300]}"}
                rows.append(row)
    return rows


def count_launches(bench: Bench) -> list[dict[str, Any]]:
    """Kernels of one pass: as the profiler sees them, and as `launches.py` counts them without a GPU."""
    import launches
    import torch

    rows = []
    for name in bench.plan.networks:
        network = build(name, bench.device)
        config = network.config
        row: dict[str, Any] = {"network": name, "counted": launches.count(config, half=True).total}
        if bench.device.type == "cuda":
            bind(network, bench.backends.get("triton") or bench.backends["torch"])
            mixture = 0.1 * torch.randn(8, config.channels, config.chunk_samples, device=bench.device)
            with bench.precision(bench.half):
                row["profiled"] = sum(event.count for event in _profiled(partial(network, mixture)))
        rows.append(row)
    return rows


def time_streams(bench: Bench) -> list[dict[str, Any]]:
    """From samples in memory to stems in memory, as the command does it but for files: ms per second, × real time."""
    import numpy as np
    import torch

    from stemsplit.machine.device import BACKEND_VARIABLE
    from stemsplit.separation.stream import chunking_for, separate_blocks

    rng, rows = np.random.default_rng(0), []
    for name in bench.plan.networks:
        network = build(name, bench.device)
        config = network.config
        block = (0.1 * rng.standard_normal((config.channels, config.sample_rate))).astype(np.float32)
        count = max(1, round(bench.plan.stream_seconds))
        block = (
            block if bench.device.type == "cuda" else block[:, : round(bench.plan.stream_seconds * config.sample_rate)]
        )
        for backend_name in bench.backends:
            for batch in bench.plan.batches[-2:]:
                chunking = chunking_for(config, batch_size=batch)
                os.environ[BACKEND_VARIABLE] = backend_name
                taken = []
                try:
                    for repeat in range(3 if bench.plan.repeats > 1 else 2):
                        length = count if repeat else min(count, 20)  # the first one warms up
                        start = time.perf_counter()
                        stems = separate_blocks(
                            network, (block for _ in range(length)), channels=config.channels, chunking=chunking,
                            device=bench.device, precision=bench.half,
                        )  # fmt: skip
                        samples = sum(part.shape[-1] for part in stems)
                        taken.append((time.perf_counter() - start) / (samples / config.sample_rate))
                finally:
                    del os.environ[BACKEND_VARIABLE]
                best = min(taken[1:])
                row = {"network": name, "backend": backend_name, "batch": batch, "overlap": config.overlap}
                rows.append({**row, "ms_per_second": round(1e3 * best, 3), "times_real_time": float(f"{1 / best:.4g}")})
        del network
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
    return rows


def profile(bench: Bench) -> list[dict[str, Any]]:
    """Where the full network's time goes with the fastest backend: 30 kernels, ms of one pass."""
    import torch

    if bench.device.type != "cuda":
        return []
    network = build(bench.plan.networks[0], bench.device)
    bind(network, bench.backends.get("triton") or bench.backends["torch"])
    config = network.config
    mixture = 0.1 * torch.randn(4, config.channels, config.chunk_samples, device=bench.device)
    with bench.precision(bench.half):
        events = _profiled(lambda: network(mixture))
    events.sort(key=lambda event: -event.self_device_time_total)
    return [
        {"ms": round(event.self_device_time_total / 1e3, 3), "calls": event.count, "kernel": event.key[:100]}
        for event in events[:30]
    ]


def _profiled(call: Callable[[], object]) -> list[Any]:
    """Kernels and copies on the GPU of a second call."""
    import torch

    call()
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        call()
        torch.cuda.synchronize()
    return [event for event in profiler.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA]


def _reset_peak(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak_gb(device: Any) -> float | None:
    import torch

    return round(torch.cuda.max_memory_allocated(device) / 1e9, 3) if device.type == "cuda" else None


STEPS: dict[str, Callable[[Bench], list[dict[str, Any]]]] = {
    "correct": check,
    "parity": check_networks,
    "launches": count_launches,
    "blocks": time_blocks,
    "networks": time_networks,
    "streams": time_streams,
    "graphs": time_graphs,
    "profile": profile,
    "sweep": sweep,
}

if __name__ == "__main__":
    main()
