"""The models of the catalog beside each other: what is published of them, and what they cost on this machine.

    python benchmarks/models.py                            every model: minutes, on a quiet machine
    python benchmarks/models.py --write README.md          and put the table between the marks of a document
    python benchmarks/models.py --only htdemucs --threads 2
    python benchmarks/models.py --count                    only what nothing has to be computed for
    python benchmarks/models.py --untimed                  memory, but no CPU seconds: on a machine that is busy

Every network is built in its published shape with random weights, so nothing is downloaded. Multiplications with an
addition (MAC) are counted by PyTorch on tensors without memory: those of matrix products, convolutions and attention,
of the path in plain PyTorch, per second of audio with the model's own overlap. A scan's are not counted.

CPU seconds per second of audio and memory are those of a process of its own that computes one chunk as `separate` does:
the same backend, precision and overlap. A chunk that takes less than two seconds is computed again, warm; the median
counts. A process that takes more than --limit CPU seconds, or more memory than there is, is a row that says so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stemsplit.machine.memory import available_bytes, keep_freed_memory
from stemsplit.networks.kernels.native_library import has_bfloat16
from stemsplit.networks.registry import ARCHITECTURES, Architecture
from stemsplit.weights.card import CONFIG_NAME, ModelCard, read_card, read_config
from stemsplit.weights.catalog import models_dir

ROOT = Path(__file__).parents[1]
RECIPES = {"s4m-tiny-8k": ROOT / "recipes" / "s4m-tiny-8k.toml"}
"""Models without public weights that a recipe makes: shown as long as the catalog has none of that name."""
MELODY_SECONDS = 10.0
SHORT_SECONDS, MOST_PASSES = 2.0, 5
WALL_FOR_CPU = 20
"""A process that has not ended after so many times its limit hangs, however busy the machine is."""
HEAD = ("model", "published, dB", "parameters", "GMAC/s", "CPU s/s", "peak memory")
BEGIN, END = "<!-- costs -->", "<!-- /costs -->"
CAPTION = """Scores as their authors or publishers state them. What a second of a song costs, overlap included, and peak
memory were measured with random weights (`python benchmarks/models.py --write README.md`): """


class Subject(NamedTuple):
    """A model by name, with the scores that are published of it."""

    name: str
    published: str
    architecture: Architecture
    config: Any


def main() -> None:
    """Print the table, and what it was made on."""
    options = parse_options()
    if options.one:
        in_this_process(options)
        return
    found = [subject for subject in subjects(options.models) if not options.only or subject.name in options.only]
    head = HEAD[:4] if options.count else [name for name in HEAD if name != "CPU s/s" or not options.untimed]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    failures: list[str] = []
    print("\n".join(lines))
    for subject in found:
        lines.append(f"| {' | '.join(row(subject, options, failures))} |")
        print(lines[-1], flush=True)
    print(f"\n{machine(options)}")
    if failures:
        sys.exit("\n".join(failures))
    if options.write:
        write_between_marks(options.write, [textwrap.fill(CAPTION + machine(options), width=125), "", *lines])


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these models")
    parser.add_argument("--count", action="store_true", help="compute nothing: parameters and products alone")
    parser.add_argument("--untimed", action="store_true", help="leave out CPU seconds")
    parser.add_argument("--threads", type=int, default=1, help="(1)")
    parser.add_argument("--limit", type=float, default=150.0, help="CPU seconds of a model's process (150)")
    parser.add_argument("--gigabytes", type=float, help="memory of a model's process (what is available)")
    parser.add_argument("--models", type=Path, default=models_dir(), help="folder of models (the catalog's)")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help=f"put the table between {BEGIN} and {END}")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)  # what the process of one model does
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write takes the whole table: leave out --only")
    if options.write and not marks_of(options.write.read_text(encoding="utf-8")):
        parser.error(f"{options.write} lacks the marks {BEGIN} and {END}")
    if options.only:
        names = [subject.name for subject in subjects(options.models)]
        if unknown := [name for name in options.only if name not in names]:
            parser.error(f"no model {', '.join(unknown)}: there are {', '.join(names)}")
    return options


def subjects(folder: Path) -> Iterator[Subject]:
    """Yield the models of a folder by name; after the catalog's those that recipes make."""
    names = set()
    for path in sorted(folder.glob(f"*/{CONFIG_NAME}")):
        told = read_config(path)
        architecture = ARCHITECTURES[told["architecture"]]
        config = architecture.config.from_dict(told["network"])
        names.add(path.parent.name)
        yield Subject(path.parent.name, published(read_card(path.parent)), architecture, config)
    for name, recipe in RECIPES.items():
        if folder == models_dir() and name not in names:
            yield recipe_of(name, recipe)


def recipe_of(name: str, path: Path) -> Subject:
    """Return the model that a recipe trains."""
    from stemsplit.training.recipe import load_recipe

    config: Any = load_recipe(path).network
    architecture = next(row for row in ARCHITECTURES.values() if row.config is type(config))
    return Subject(name, "none: a recipe", architecture, config)


def described(name: str) -> tuple[Architecture, Any]:
    """Return the architecture and the config of a model of the catalog."""
    return next((one.architecture, one.config) for one in subjects(models_dir()) if one.name == name)


def published(card: ModelCard) -> str:
    """Return the scores that a card states as published: means, or else each stem."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for score in card.scores:
        if "published" in score.metric:
            found.setdefault((score.dataset, score.metric), {})[score.stem] = score.value
    parts: dict[str, list[str]] = {}
    for (dataset, metric), values in found.items():
        kind = next((kind for kind in ("uSDR", "cSDR", "SI-SDR", "SNR") if kind in metric), "SDR")
        shown = {"": values["mean"]} if "mean" in values else values
        numbers = ", ".join(f"{stem} {value:.2f}".strip() for stem, value in shown.items())
        parts.setdefault(dataset, []).append(f"{kind} {numbers}")
    return "; ".join(f"{', '.join(scores)} ({dataset})" for dataset, scores in parts.items()) or "none"


def row(subject: Subject, options: argparse.Namespace, failures: list[str]) -> list[str]:
    """Return the cells of a model. What ended in an error is added to `failures`."""
    size, work = counted(subject.architecture, subject.config)
    cells = [f"`{subject.name}`", subject.published, f"{size:,}", f"{work:.1f}"]
    if options.count:
        return cells
    found = in_its_own_process(subject.name, options)
    if "failed" in found:
        failures.append(f"{subject.name}: {found['failed']}")
    why = found.get("why", "failed")
    cpu, peak = (f"{found['cpu']:.3g}", f"{found['gigabytes']:.2f} GB") if "cpu" in found else (why, why)
    return [*cells, peak] if options.untimed else [*cells, cpu, peak]


def counted(architecture: Architecture, config: Any) -> tuple[int, float]:
    """Return the parameters, and billions of multiplications with an addition per second of audio."""
    with torch.device("meta"):
        network, example = architecture.network(config).eval(), torch.zeros(shape_of(architecture, config))
    network = network.to("meta").requires_grad_(False)  # `to` moves tables that were made elsewhere
    plain = patch("torch.autocast", lambda *_, **__: nullcontext())  # which does not know tensors without memory
    with plain, torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(example)
    size = sum(value.numel() for value in network.parameters())
    return size, float(counter.get_total_flops()) / 2e9 / seconds_of(architecture, config)


def shape_of(architecture: Architecture, config: Any) -> tuple[int, ...]:
    """Return the shape of what a network hears at once."""
    if architecture.task == "melody":
        return (1, round(MELODY_SECONDS * config.sample_rate))
    return (1, config.channels, config.chunk_samples)


def seconds_of(architecture: Architecture, config: Any) -> float:
    """Return how much audio is finished by that."""
    if architecture.task == "melody":
        return MELODY_SECONDS
    return float(config.chunk_samples * (1 - config.overlap) / config.sample_rate)


# --- the process of one model


def in_its_own_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return {"cpu", "gigabytes"}, or {"why"}: the limit that was reached, or {"failed"}: the last that was said."""
    command = [sys.executable, __file__, "--one", name, "--models", str(options.models)]
    command += ["--threads", str(options.threads), "--limit", str(options.limit)]
    command += ["--gigabytes", str(options.gigabytes)] if options.gigabytes else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    too_long = {"why": f"over {options.limit:g} CPU s"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=WALL_FOR_CPU * options.limit
        )
    except subprocess.TimeoutExpired:
        return too_long
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
    ends = {-signal.SIGXCPU: too_long, -signal.SIGKILL: {"why": "killed: out of memory?"}}
    return ends.get(done.returncode, {"failed": said[-1]})


def in_this_process(options: argparse.Namespace) -> None:
    """Measure a model within the limits, and print what was found."""
    from stemsplit.separation.inference import is_out_of_memory

    subject = next(one for one in subjects(options.models) if one.name == options.one)
    free = 1e9 * options.gigabytes if options.gigabytes else available_bytes()
    taken = own_bytes("VmSize")
    if free is not None and taken is not None:  # addresses: those of libraries take little memory
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(free), taken + int(free)))
    seconds = math.ceil(options.limit)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    try:
        print(json.dumps(measured(subject.architecture, subject.config, options.threads)))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        print(json.dumps({"why": f"out of memory: over {free / 1e9:.1f} GB" if free else "out of memory"}))


def measured(architecture: Architecture, config: Any, threads: int = 1) -> dict[str, float]:
    """Return CPU seconds per second of audio, and the peak of this process' memory in GB."""
    from stemsplit.networks.backends.choose import bind, choose, precision_for

    torch.set_num_threads(threads)
    keep_freed_memory()
    network = architecture.for_inference(random_network(architecture, config))
    bind(network, choose("cpu"))
    example = 0.1 * torch.randn(shape_of(architecture, config), generator=torch.Generator().manual_seed(0))
    precision = precision_for(network, "auto", example.device) if architecture.task == "separate" else None
    spent: list[float] = []
    with torch.inference_mode(), torch.autocast("cpu", dtype=precision, enabled=precision is not None):
        while not spent or (spent[-1] < SHORT_SECONDS and len(spent) < MOST_PASSES):
            begin = time.process_time()
            network(example)
            spent.append(time.process_time() - begin)
    cpu = statistics.median(spent[1:] or spent) / seconds_of(architecture, config)
    return {"cpu": cpu, "gigabytes": peak_bytes() / 1e9}


def peak_bytes() -> int:
    """Return the highest that this process' memory was. `ru_maxrss` of Linux may be that of the process before it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return own_bytes("VmHWM") or peak


def own_bytes(name: str) -> int | None:
    """Return what Linux says of this process under a name; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def random_network(architecture: Architecture, config: Any) -> nn.Module:
    """Return a network with weights that make neither silence nor infinity."""
    with torch.device("meta"):
        network = architecture.network(config)
    generator, state = torch.Generator().manual_seed(0), {}
    for key, value in network.state_dict().items():
        spread = 1 / math.sqrt(max(1, value[0].numel())) if value.dim() > 1 else 0.1
        state[key] = torch.zeros(value.shape, dtype=value.dtype)
        if value.is_floating_point():
            state[key].uniform_(-spread, spread, generator=generator)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


# --- what the table stands in


def machine(options: argparse.Namespace) -> str:
    """Return a paragraph that says what the numbers hold for."""
    from floor import processor

    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    precision = "bf16 where a network has it" if has_bfloat16() else "fp32"
    load = "" if options.count or options.untimed else f", load {os.getloadavg()[0]:.0f}"
    return f"{processor()}, PyTorch {torch.__version__.partition('+')[0]}, {threads}, {precision}{load}."


def marks_of(text: str) -> tuple[str, str] | None:
    """Return what stands before and after the table of a document; None if it lacks the marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return (before + begin, end + after) if begin and end else None


def write_between_marks(document: Path, lines: list[str]) -> None:
    """Replace what stands between the marks of a document."""
    marks = marks_of(document.read_text(encoding="utf-8"))
    assert marks is not None  # the options were checked
    before, after = marks
    document.write_text("\n".join([before, *lines, after]), encoding="utf-8")


if __name__ == "__main__":
    main()
