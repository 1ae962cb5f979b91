"""The default separator with its band split, SFC-CA or SFC-Mamba: trained at one budget, scored and measured.

    python benchmarks/codec_choices.py --data DIR --minutes 60 --output runs/codecs
    python benchmarks/codec_choices.py --data DIR --steps 4780 --output runs/codecs --equal parameters --workers 2
    python benchmarks/codec_choices.py --data shards --recipe recipes/ts-bsmamba2-mini-gpu.toml --device cuda --compile

The recipe is that of the default model. DIR has the folders that recipes call data/, as recipes/README.md lays them out
(songs/train, dev/heldout and so on; those that are missing are left out), or songs with their stems, two of which are
kept for the scores. All codecs take the same steps on the same examples, so they see the same seconds of audio.
--minutes is the time of the slowest: its steps are timed once, when a run begins, and the number is kept in --output.
A DIR with the files of recipes/pack_shards.py is unpacked first. All begin with random weights, also where
the recipe names some.

Runs go on where they were stopped, and what is done is not done again. Only the codec differs: SFC's needs fewer
parameters. With --equal parameters the blocks of the smaller networks are widened until all have about as many.

dev SDR      of crops of songs that nothing is trained on, in dB, at most 30; higher is better
parameters   of the network
GMAC/s       products of one chunk by one second of audio; a scan's and other products by elements are not counted
CPU s/s      processor seconds per second of audio, one thread, one chunk, by the backend that `separate` takes; median
peak         of that process's memory, PyTorch included

The table goes to stdout, the training's log to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from stemsplit.machine.cores import usable_cores  # noqa: E402
from stemsplit.machine.device import choose_device  # noqa: E402
from stemsplit.machine.disk import write_whole  # noqa: E402
from stemsplit.machine.memory import keep_freed_memory  # noqa: E402
from stemsplit.networks.backends.choose import bind, choose  # noqa: E402
from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig  # noqa: E402
from stemsplit.training import loop  # noqa: E402
from stemsplit.training.examples.shards import unpack_all  # noqa: E402
from stemsplit.training.pace import Pace  # noqa: E402
from stemsplit.training.recipe import load_recipe  # noqa: E402
from stemsplit.training.separator_task import Recipe  # noqa: E402
from stemsplit.weights.checkpoint import load_network  # noqa: E402

CODECS: dict[str, dict[str, Any]] = {
    "band split": {},
    "SFC-CA": {"codec": "sfc-ca", "codec_inner": 64},
    "SFC-Mamba": {"codec": "sfc-mamba", "codec_inner": 32, "codec_adaptive": True},
}
"""What differs from the recipe's network. Inner widths and queries are those of the paper's small networks."""
WARM_STEPS, TIMED_STEPS, LEAST_STEPS = 1, 3, 4
KEPT_SONGS = 2
MEASURED = 3
Row = dict[str, Any]


class Budget(NamedTuple):
    """What every codec gets."""

    steps: int
    seconds: float  # of audio


def main() -> None:
    options = parse_options()
    if options.measure:
        print(json.dumps(cost_of(options.measure)))
        return
    torch.set_num_threads(options.threads)
    if any(options.data.glob("*-000.zip")):
        unpack_all(options.data, options.data / "unpacked", threads=usable_cores())
    recipes = recipes_of(options)
    budget = budget_of(recipes, options)
    rows = {name: row_of(recipe, budget, options) for name, recipe in recipes.items()}
    print(f"{budget.steps} steps, {budget.seconds / 60:.1f} minutes of audio each ({options.equal} alike)\n")
    for line in table(rows, recipes["band split"].network.stems):
        print(line)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="what recipes call data/, or a folder of songs")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training for the slowest codec (60)")
    parser.add_argument("--steps", type=int, help="instead of --minutes: so many steps for each")
    parser.add_argument("--output", type=Path, default=Path("runs/codecs"))
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "ts-bsmamba2-mini.toml")
    parser.add_argument("--equal", choices=("separators", "parameters"), default="separators")
    parser.add_argument("--workers", type=int, default=1, help="processes that share a batch (1)")
    parser.add_argument("--threads", type=int, default=1, help="of each (1)")
    parser.add_argument("--device", type=choose_device, default="cpu", help="that trains (cpu)")
    parser.add_argument("--compile", action="store_true", help="let torch.compile have the blocks")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.measure and (options.data is None or not options.data.is_dir()):
        parser.error(f"--data names no folder: {options.data}")
    return options


def recipes_of(options: argparse.Namespace) -> dict[str, Recipe]:
    """The recipe of every codec, with the folders that there are."""
    recipe = load_recipe(options.recipe)
    if not isinstance(recipe, Recipe) or not isinstance(recipe.network, BSMambaConfig):
        sys.exit(f"{options.recipe} trains no TS-BSMamba2")
    folders = folders_of(recipe, options.data)
    recipe = replace(recipe, **folders, workers=options.workers, rescan_minutes=0.0, weights="")
    if not recipe.backing:
        recipe = replace(recipe, mixing=replace(recipe.mixing, backing=0.0))
    found = {}
    for name, changes in CODECS.items():
        network = with_codec(recipe.network, changes, alike=options.equal == "parameters")
        found[name] = replace(recipe, network=network, output=options.output / name.lower().replace(" ", "-"))
    return found


def folders_of(recipe: Recipe, data: Path) -> dict[str, Any]:
    """Those of the recipe's folders that are in `data`; without its songs, `data` itself is the folder of songs."""

    def there(paths: tuple[Path, ...]) -> tuple[Path, ...]:
        moved = (data.joinpath(*path.parts[1:]) for path in paths)
        return tuple(path for path in moved if path.is_dir())

    found: dict[str, Any] = {
        key: there(getattr(recipe, key)) for key in ("songs", "backing", "solo", "loose", "dev_folder", "dev_backing")
    }
    if not found["songs"]:
        found["songs"] = (data,)
    if not found["dev_folder"]:
        found["dev_songs"] = KEPT_SONGS
    return found


def with_codec(config: BSMambaConfig, changes: dict[str, Any], *, alike: bool) -> BSMambaConfig:
    """The network with another codec of as many bands; `alike`: widened to about as many parameters."""
    if not changes:
        return config
    other = replace(config, **changes, codec_bands=len(config.bands), joint=True)
    if not alike:
        return other
    wanted = parameters_of(config)
    widths = range(config.dim, 6 * config.dim, config.headdim)
    return min((replace(other, dim=dim) for dim in widths), key=lambda one: abs(parameters_of(one) - wanted))


def parameters_of(config: BSMambaConfig) -> int:
    """How many a network has."""
    with torch.device("meta"):
        return sum(value.numel() for value in BSMamba(config).parameters())


def budget_of(recipes: dict[str, Recipe], options: argparse.Namespace) -> Budget:
    """What was decided when the run began, or now: the slowest codec's steps in so many minutes."""
    kept: Path = options.output / "budget.json"
    if not kept.is_file():
        steps = options.steps
        if steps is None:
            slowest = max(seconds_of_a_step(recipe, options.device) for recipe in recipes.values())
            steps = max(round(60 * options.minutes / slowest), LEAST_STEPS)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, json.dumps({"steps": steps, "equal": options.equal}) + "\n")
    decided = json.loads(kept.read_text(encoding="utf-8"))
    if decided["equal"] != options.equal or options.steps not in (None, decided["steps"]):
        sys.exit(f"{options.output} holds runs of {decided['steps']} steps, {decided['equal']} alike: take another")
    recipe = recipes["band split"]
    return Budget(decided["steps"], decided["steps"] * recipe.schedule.batch_size * recipe.crop_seconds)


def seconds_of_a_step(recipe: Recipe, device: torch.device) -> float:
    """Wall seconds of one process's share of a step, the median of a few."""
    task = loop.in_precision_of(device, recipe)
    assert isinstance(task, Recipe)
    state, spent = loop.start(task, device), []
    share = task.schedule.batch_size // task.workers
    for step in range(WARM_STEPS + TIMED_STEPS):
        began = time.monotonic()
        arrays = task.draw(share, np.random.default_rng((1, step)))
        batch = (torch.from_numpy(array).to(device) for array in arrays)
        loop.take_step(state, task.schedule, task.loss_of(state.network, *batch), step)  # and wait for its loss
        spent.append(time.monotonic() - began)
        print(f"{task.output.name}: a step takes {spent[-1]:.1f} s", file=sys.stderr, flush=True)
    return statistics.median(spent[WARM_STEPS:])


def row_of(recipe: Recipe, budget: Budget, options: argparse.Namespace) -> Row:
    """Train, score and measure one codec, or read what was found before."""
    kept = recipe.output / "figures.json"
    if not kept.is_file():
        minutes = trained(in_so_many(recipe, budget.steps), options.device, Pace(compile=options.compile))
        model = recipe.output / "model"
        scores = recipe.dev(load_network(model), torch.device("cpu"))
        row = {"SDR": {name: -value for name, value in scores.items()}, "minutes": minutes, **measured(model)}
        write_whole(kept, json.dumps(row) + "\n")
    found: Row = json.loads(kept.read_text(encoding="utf-8"))
    return found


def in_so_many(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with so many steps, of which as large a share warms up and decays."""
    whole = recipe.schedule
    share = steps / whole.steps
    schedule = replace(
        whole, steps=steps, warmup_steps=max(1, round(whole.warmup_steps * share)),
        decay_steps=max(1, round(whole.decay_steps * share)), ema=min(whole.ema, 1 - 10 / max(steps, 11)),
    )  # fmt: skip
    return replace(recipe, schedule=schedule, dev_steps=max(1, steps // 4))


def trained(recipe: Recipe, device: torch.device, pace: Pace) -> float:
    """Train to the last step, and return the minutes that all sittings took."""
    clock = recipe.output / "minutes.json"
    before = json.loads(clock.read_text(encoding="utf-8")) if clock.is_file() else 0.0
    began = time.monotonic()
    try:
        told = partial(print, recipe.output.name, file=sys.stderr, flush=True)
        loop.train(recipe, device=device, pace=pace, on_event=told)
    finally:
        minutes: float = before + (time.monotonic() - began) / 60
        if recipe.output.is_dir():
            write_whole(clock, json.dumps(minutes) + "\n")
    return minutes


def measured(model: Path) -> Row:
    """Measure a model in processes of their own, and return the medians."""
    command = [sys.executable, __file__, "--measure", str(model)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = [
        json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(MEASURED)
    ]
    return {key: statistics.median(one[key] for one in found) for key in found[0]}


def cost_of(model: Path) -> Row:
    """What one chunk costs in this process, on one thread."""
    torch.set_num_threads(1)
    keep_freed_memory()
    network = load_network(model)
    assert isinstance(network, BSMamba)
    config = network.config
    seconds = config.chunk_samples / config.sample_rate
    mixture = 0.1 * torch.randn(1, config.channels, config.chunk_samples, generator=torch.Generator().manual_seed(0))
    bind(network, choose("cpu"))
    with torch.inference_mode():
        network(mixture)
        began = time.process_time()
        network(mixture)
        spent = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        bind(network, None)
        products = macs_of(network, mixture)
    parameters = sum(value.numel() for value in network.parameters())
    return {"parameters": parameters, "gmac": products / seconds / 1e9, "cpu": spent / seconds, "peak": peak}


def macs_of(network: torch.nn.Module, mixture: torch.Tensor) -> float:
    """Multiplications with an addition in matrix products and convolutions of one pass."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(mixture)
    return counter.get_total_flops() / 2


def table(rows: dict[str, Row], stems: tuple[str, ...]) -> Iterator[str]:
    """The lines of a Markdown table."""
    heads = ["codec", "dev SDR", *stems, "parameters", "GMAC/s", "CPU s/s", "peak", "trained in"]
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for name, row in rows.items():
        scores = [row["SDR"].get(key) for key in ("loss", *stems)]
        cells = [name, *("" if value is None else f"{value:.2f}" for value in scores)]
        cells += [f"{row['parameters'] / 1e6:.2f}M", f"{row['gmac']:.2f}", f"{row['cpu']:.3f}"]
        cells += [f"{row['peak']:.2f} GB", f"{row['minutes']:.0f} min"]
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
