"""One training step of the separator with and without the native kernels, on the CPU: time, memory, error of gradients.

    python benchmarks/training.py
    python benchmarks/training.py --model models/ts-bsmamba2-mini --batch 2 --seconds 3 --threads 1 --repeats 7
    python benchmarks/training.py --batch 4 --before ../stemsplit-before

Weights and songs are random, which costs the same. Precisions and paths take turns in one process; figures are medians.

recipe       seconds of audio per processor second of whole steps as the default model's recipe takes them: spectra with
             filters, loss, gradients, clipping, optimiser and running average, in bf16 and fp32; nothing is drawn. With
             --before, those of another checkout as well, whose process takes turns with this one's, and only these
step, block  processor seconds, which other programs disturb less than the wall clock's: the whole step, forward and
             back; the part between the projections of one block over time and one over bands
error        of all gradients of a smaller step, together, beside those of float64: |found - exact| / |exact|
peak         of the process's memory less that before the step, in MB; every path in a process of its own
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

PATHS = {"native": "auto", "torch": "torch"}  # values of STEMSPLIT_BACKEND
PRECISIONS = ("bf16", "fp32")
SMALL_SECONDS = 0.7  # of the step in float64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "ts-bsmamba2-mini")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--before", type=Path, help="another checkout, with its native library built")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    if options.peak:
        print(peak_of_a_step(*options.peak, options))
        return
    from backends import processor

    print(
        f"{processor()}, {options.threads} threads, batch {options.batch} x {options.seconds:g} s, {options.model.name}"
    )
    report_recipe(options)
    if options.before:
        return
    report("step", timed_in_turns(options, step_of), options.repeats)
    report("block", timed_in_turns(options, blocks_of), options.repeats)
    for (precision, path), error in gradient_errors(options).items():
        print(f"error  {precision:5} {path:7} {error:.1e}")
    for precision in PRECISIONS:
        for path in PATHS:
            print(f"peak   {precision:5} {path:7} {peak_in_a_process(precision, path, options):6.0f} MB", flush=True)


def report(what: str, times: dict[tuple[str, str], list[float]], repeats: int) -> None:
    for precision in PRECISIONS:
        native, torch = (statistics.median(times[precision, path]) for path in PATHS)
        best = [min(times[precision, path]) for path in PATHS]
        print(f"{what:6} {precision:5} native {native:.3f} s, torch {torch:.3f} s: {torch / native:.1f} x", end=" ")
        print(f"(least of {repeats}: {best[0]:.3f}, {best[1]:.3f})", flush=True)


def report_recipe(options: argparse.Namespace) -> None:
    """Print the audio per second of this checkout, and of another one, if there is one."""
    checkouts = {"now": ROOT, **({"before": options.before} if options.before else {})}
    audio = options.batch * options.seconds
    for precision in PRECISIONS:
        times = recipe_steps(checkouts, precision, options)
        rates = {name: audio / statistics.median(found) for name, found in times.items()}
        text = ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items())
        gain = f": {rates['now'] / rates['before']:.2f} x" if options.before else ""
        print(f"recipe {precision:5} {text} s of audio per s{gain}", flush=True)


def recipe_steps(checkouts: dict[str, Path], precision: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Processor seconds of the steps of every checkout, each in a process of its own; they take turns."""
    sizes = ["--batch", options.batch, "--seconds", options.seconds, "--threads", options.threads]
    servers = {}
    for name, root in checkouts.items():
        command = [sys.executable, __file__, "--serve", root.resolve(), *sizes, "--peak", precision, ""]
        environment = {**os.environ, "PYTHONPATH": str(root.resolve() / "src")}
        servers[name] = subprocess.Popen(
            list(map(str, command)), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    times: dict[str, list[float]] = {name: [] for name in servers}
    for turn in range(options.repeats + 2):
        for name, server in servers.items():
            assert server.stdin is not None
            assert server.stdout is not None
            print(file=server.stdin, flush=True)
            seconds = float(server.stdout.readline())
            if turn > 1:  # the first ones also touch memory for the first time
                times[name].append(seconds)
    for server in servers.values():
        server.communicate()
    return times


def serve(options: argparse.Namespace) -> None:
    """Take a step of the recipe for every line of input, and print its processor seconds."""
    sys.path.insert(0, str(options.serve / "src"))
    step = recipe_step_of(options)
    for number, _ in enumerate(sys.stdin):
        start = time.process_time()
        step(number)
        print(time.process_time() - start, flush=True)


def recipe_step_of(options: argparse.Namespace) -> Callable[[int], None]:
    """Return a function that takes one step with a batch of noise, of which one item is merged."""
    import torch

    from stemsplit.machine.memory import keep_freed_memory
    from stemsplit.training import loop
    from stemsplit.training.examples.mixes import OCTAVES
    from stemsplit.training.recipe import load_recipe

    torch.set_num_threads(options.threads)
    keep_freed_memory()
    recipe = load_recipe(options.serve / "recipes" / "ts-bsmamba2-mini.toml")
    schedule = replace(recipe.schedule, precision=options.peak[0])
    recipe = replace(recipe, schedule=schedule)
    state = loop.start(recipe, torch.device("cpu"))
    c = recipe.network
    torch.manual_seed(0)
    stems = 0.1 * torch.randn(options.batch, len(c.stems), c.channels, round(options.seconds * c.sample_rate))
    merged = torch.arange(options.batch) == 0
    octaves = torch.randn(options.batch, len(c.stems), len(OCTAVES))

    def step(number: int) -> None:
        loop.take_step(state, schedule, recipe.loss_of(state.network, stems, merged, octaves), number)

    return step


def timed_in_turns(
    options: argparse.Namespace, prepare: Callable[[argparse.Namespace], Callable[[str], None]]
) -> dict[tuple[str, str], list[float]]:
    """Processor seconds of every precision and path, once per round, after a round to be warm."""
    run = prepare(options)
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(options.repeats + 1):
        for precision in PRECISIONS:
            for path in PATHS:
                with backend(path):
                    start = time.process_time()
                    run(precision)
                    if turn:
                        times.setdefault((precision, path), []).append(time.process_time() - start)
    return times


@contextmanager
def backend(path: str) -> Any:
    before = os.environ.get("STEMSPLIT_BACKEND")
    os.environ["STEMSPLIT_BACKEND"] = PATHS[path]
    try:
        yield
    finally:
        del os.environ["STEMSPLIT_BACKEND"]
        if before is not None:
            os.environ["STEMSPLIT_BACKEND"] = before


def network_of(options: argparse.Namespace) -> Any:
    import torch

    from stemsplit.machine.memory import keep_freed_memory
    from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    stored = json.loads((options.model / "config.json").read_text(encoding="utf-8"))
    return BSMamba(BSMambaConfig.from_dict(stored["network"])).train()


def song_of(network: Any, batch: int, seconds: float) -> Any:
    """Stems (B, S, C, samples) of noise."""
    import torch

    c = network.config
    return 0.1 * torch.randn(batch, len(c.stems), c.channels, round(seconds * c.sample_rate))


def step(network: Any, stems: Any, precision: str) -> None:
    """Forward and back; no optimiser, which is the same for all."""
    import torch

    from stemsplit.training.losses import snr_loss

    network.zero_grad()
    mixture = stems.sum(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        both = network.estimates(mixture)
    loss = 0.7 * snr_loss(both.two_stage, stems, mixture) + 0.3 * snr_loss(both.masked, stems, mixture)
    loss.backward()


def step_of(options: argparse.Namespace) -> Callable[[str], None]:
    network = network_of(options)
    stems = song_of(network, options.batch, options.seconds)
    return lambda precision: step(network, stems, precision)


def blocks_of(options: argparse.Namespace) -> Callable[[str], None]:
    """What lies between the projections, by either path, of sequences over time and over bands."""
    import torch

    from stemsplit.networks.kernels import native_scan as native_training
    from stemsplit.networks.layers.norm import RMS_EPS

    network = network_of(options)
    c, block = network.config, network.blocks_mask[0].time
    layers = (block.forward_mamba2, block.backward_mamba2)
    frames = round(options.seconds * c.sample_rate) // c.hop_length + 1
    bands, width = len(c.bands), 2 * layers[0].in_proj.weight.shape[0]
    sizes = [(options.batch * c.channels * bands, frames), (options.batch * c.channels * frames, bands)]
    rows = {
        (kind, size): torch.randn(*size, width, dtype=dtype).requires_grad_()
        for kind, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32))
        for size in sizes
    }

    def gates(projected: Any) -> Any:
        if native_training.usable(projected):
            return native_training.normed_gates(projected, layers)
        halves = [
            layer.gated(part, reverse=reverse)
            for layer, part, reverse in zip(layers, projected.chunk(2, -1), (False, True), strict=True)
        ]
        norms = [torch.rsqrt(half.square().mean(-1, keepdim=True) + RMS_EPS).to(half.dtype) for half in halves]
        return torch.cat([half * norm for half, norm in zip(halves, norms, strict=True)], dim=-1)

    def run(precision: str) -> None:
        for size in sizes:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                out = gates(rows[precision, size])
            out.backward(out.detach())

    return run


def gradient_errors(options: argparse.Namespace) -> dict[tuple[str, str], float]:
    """Of one step of one example, beside the same in float64 on the torch path."""
    import torch

    network = network_of(options)
    stems = song_of(network, 1, SMALL_SECONDS)
    found = {}
    for precision in PRECISIONS:
        for path in PATHS:
            with backend(path):
                step(network, stems, precision)
            found[precision, path] = all_gradients(network)
    step(network.double(), stems.double(), "fp64")
    exact = all_gradients(network)
    return {key: float((torch.as_tensor(value) - exact).norm() / exact.norm()) for key, value in found.items()}


def all_gradients(network: Any) -> Any:
    import torch

    return torch.cat([value.grad.double().flatten() for value in network.parameters() if value.grad is not None])


def peak_in_a_process(precision: str, path: str, options: argparse.Namespace) -> float:
    arguments = ["--model", options.model, "--batch", options.batch, "--seconds", options.seconds]
    command = [sys.executable, __file__, "--peak", precision, path, *arguments, "--threads", options.threads]
    environment = {**os.environ, "STEMSPLIT_BACKEND": PATHS[path]}
    done = subprocess.run(map(str, command), env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def peak_of_a_step(precision: str, path: str, options: argparse.Namespace) -> float:
    """MB that a step adds to the highest that this process had before; a tiny step has loaded what there is to load."""
    network = network_of(options)
    step(network, song_of(network, 1, 0.2), precision)
    stems = song_of(network, options.batch, options.seconds)
    before = highest_kilobytes()
    step(network, stems, precision)
    return (highest_kilobytes() - before) / 1e3


def highest_kilobytes() -> int:
    """Of this program alone: getrusage starts from what the parent had."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
