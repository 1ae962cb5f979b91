"""The models of the catalog beside each other: what is published of them, and what they cost on this machine.

    python benchmarks/models.py [--only NAME …] [--count]

Every network is built in its published shape with random weights, so nothing is downloaded. Multiplications with an
addition (MAC) are counted by PyTorch on tensors without memory: those of matrix products, convolutions and attention,
of the path in plain PyTorch, per second of audio with the model's own overlap. CPU seconds and memory are those of a
process of its own that computes one chunk on one thread, as `separate` computes it; CPU seconds depend little on other
work. With `--count` nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stemsplit.networks.registry import ARCHITECTURES, Architecture
from stemsplit.weights.card import CONFIG_NAME, ModelCard, read_config
from stemsplit.weights.catalog import list_models

MELODY_SECONDS = 10.0
HEAD = ("model", "published, dB", "parameters", "GMAC/s", "CPU s/s", "MB")


def main() -> None:
    """Print the table, and what it was made on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these models")
    parser.add_argument("--count", action="store_true", help="time nothing")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)  # what the process of one model does
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(described(options.one))))
        return
    print(f"| {' | '.join(HEAD)} |")
    print(f"| --- | --- |{' --- |' * 4}".replace("|  ", "| "))
    for card in list_models():
        if options.only is None or card.name in options.only:
            print(f"| {' | '.join(row(card, timed=not options.count))} |", flush=True)
    print(f"\n{machine()}")


def row(card: ModelCard, *, timed: bool) -> list[str]:
    """Return the cells of a model."""
    architecture, config = described(card.name)
    try:
        work = f"{counted(architecture, config):.1f}"
    except RuntimeError as error:  # an operation that there is not for tensors without memory
        work = "not counted"
        print(f"{card.name}: {error}", file=sys.stderr)
    cells = [f"`{card.name}`", published(card), f"{card.parameters or 0:,}", work]
    if not timed:
        return [*cells, "", ""]
    found = json.loads(
        subprocess.run(
            [sys.executable, __file__, "--one", card.name],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ).stdout
    )
    return [*cells, f"{found['cpu']:.2f}", f"{found['megabytes']:.0f}"]


def described(name: str) -> tuple[Architecture, Any]:
    """Return the architecture and the config of a model of the catalog."""
    card = next(card for card in list_models() if card.name == name)
    told = read_config(card.path / CONFIG_NAME)
    architecture = ARCHITECTURES[told["architecture"]]
    return architecture, architecture.config.from_dict(told["network"])


def published(card: ModelCard) -> str:
    """Return the scores that a card states as published: means, or else each stem."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for score in card.scores:
        if "published" in score.metric:
            found.setdefault((score.metric, score.dataset), {})[score.stem] = score.value
    parts = []
    for (metric, dataset), values in found.items():
        kind = next((kind for kind in ("uSDR", "cSDR", "SI-SDR", "SNR") if kind in metric), "SDR")
        shown = {"": values["mean"]} if "mean" in values else values
        numbers = ", ".join(f"{stem} {value:.2f}".strip() for stem, value in shown.items())
        parts.append(f"{kind} {numbers} ({dataset})")
    return "; ".join(parts) or "none"


def counted(architecture: Architecture, config: Any) -> float:
    """Return billions of multiplications with an addition per second of audio."""
    with torch.device("meta"):
        network, example = architecture.network(config).eval(), torch.zeros(shape_of(architecture, config))
    network = network.to("meta").requires_grad_(False)  # `to` moves tables that were made elsewhere
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(example)
    return float(counter.get_total_flops()) / 2e9 / seconds_of(architecture, config)


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


def measured(model: tuple[Architecture, Any]) -> dict[str, float]:
    """Return CPU seconds per second of audio on one thread, and the peak of this process' memory in MB."""
    from stemsplit.networks.backends.choose import bind, choose

    torch.set_num_threads(1)
    architecture, config = model
    network = architecture.for_inference(random_network(architecture, config))
    bind(network, choose("cpu"))
    example = 0.1 * torch.randn(shape_of(architecture, config), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        begin = time.process_time()
        network(example)
        cpu = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    return {"cpu": cpu / seconds_of(architecture, config), "megabytes": peak * 1.048576}


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


def machine() -> str:
    """Return a line that says what the numbers hold for."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return f"PyTorch {torch.__version__}, one thread."
    name = next((line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")), "unknown CPU")
    vectors = "with AVX-512" if "avx512f" in text else "without AVX-512"
    return f"{name}, {vectors}, PyTorch {torch.__version__}, one thread, load {os.getloadavg()[0]:.0f}."


if __name__ == "__main__":
    main()
