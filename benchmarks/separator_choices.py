"""What the shipped separator's size, shape, data and loss are worth: variants of its recipe at one equal budget.

    python benchmarks/separator_choices.py RECIPE.toml --seconds 300 --dev DIR [--pairs DIR] --output runs/choices
        [--only NAME ...] [--limit N]

Every variant gets as many seconds of one thread's processor time for its steps, whatever it does with them: its steps
are counted out by timing a few first, and its learning rate falls to zero over the last half. The dev songs are in no
training data. Runs and scores are kept in --output and are not made again. The table goes to stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from separation_quality import model_method, run, song_folders

from stemsplit.machine.memory import keep_freed_memory
from stemsplit.training import loop
from stemsplit.training.recipe import load_recipe
from stemsplit.training.separator_task import Recipe

FINE = (2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 16, 16, 16, 16, 32, 32, 32, 64, 64, 64, 205, 204, 204)
"""The recipe's bands in Hz at half its window."""

Changes = dict[str, dict[str, Any]]
VARIANTS: dict[str, Changes] = {
    "recipe": {},
    "rendered-only": {"recipe": {"backing": ()}, "mixing": {"backing": 0.0}},
    "exchange": {"network": {"joint": False}},
    "narrow": {"network": {"dim": 64, "headdim": 32, "head_expand": 2, "blocks_mask": 3, "blocks_map": 1}},
    "more-frames": {"network": {"hop_length": 1024}},
    "adamw": {"schedule": {"optimizer": "adamw"}},
    "one-stage": {"network": {"blocks_mask": 6, "blocks_map": 0}},
    "no-speed": {"mixing": {"speed": 0.0}},
    "one-song": {"mixing": {"in_song": 1.0, "other_voice": 0.0}},
    "short-window": {"network": {"n_fft": 2048, "hop_length": 1024, "bands": FINE}},
    "waveform-loss": {"recipe": {"loss": "waveform"}, "mixing": {"equalise_db": 0.0}},
    "long-crops": {"mixing": {"crop_seconds": 6.0}, "schedule": {"batch_size": 1}},
}
WARM_STEPS, TIMED_STEPS = 5, 9


def main() -> None:
    options = parse_options()
    torch.set_num_threads(1)
    keep_freed_memory()
    recipe = load_recipe(options.recipe)
    if not isinstance(recipe, Recipe):
        sys.exit(f"{options.recipe} trains no separator")
    rows = {name: variant_row(name, recipe, options) for name in options.only}
    print(f"{options.seconds:g} s of one thread per variant; dB, medians over {options.limit or 'all'} songs")
    for name, row in rows.items():
        print(f"{name:16}" + "  ".join(f"{key} {value}" for key, value in row.items()))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0, help="processor time of every variant (300)")
    parser.add_argument("--dev", type=Path, required=True, help="songs with four stems that nothing is trained on")
    parser.add_argument("--pairs", type=Path, help="recordings with vocals and accompaniment, likewise")
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--limit", type=int, help="only the first N songs of each folder")
    parser.add_argument("--output", type=Path, default=Path("runs/choices"))
    return parser.parse_args()


def variant_row(name: str, recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """What a variant scored: from its file, or after training it now."""
    kept: Path = options.output / name / "scores.json"
    if not kept.exists():
        row = train(changed(recipe, VARIANTS[name], options.output / name), options.seconds)
        row |= scores(options.dev, options, kept.parent / "model")
        if options.pairs:
            row |= {
                f"real {stem}": value for stem, value in scores(options.pairs, options, kept.parent / "model").items()
            }
        kept.write_text(json.dumps(row) + "\n")
    return json.loads(kept.read_text())  # type: ignore[no-any-return]


def changed(recipe: Recipe, changes: Changes, output: Path) -> Recipe:
    """The recipe with some settings replaced."""
    parts = {part: replace(getattr(recipe, part), **changes[part]) for part in changes if part != "recipe"}
    return replace(recipe, **changes.get("recipe", {}), **parts, output=output, workers=1, save_minutes=1e9)


def train(recipe: Recipe, seconds: float) -> dict[str, Any]:
    """Train for so many seconds of processor time."""
    step_seconds = timed(recipe)
    steps = max(round(seconds / step_seconds), 10)
    schedule = replace(recipe.schedule, steps=steps, decay_steps=steps // 2, warmup_steps=min(60, steps // 5))
    recipe = replace(recipe, schedule=schedule, dev_steps=10**9)
    loop.train(recipe, on_event=lambda event: print(recipe.output.name, event, file=sys.stderr, flush=True))
    seen = steps * schedule.batch_size * recipe.crop_seconds
    size = sum(value.numel() for value in recipe.build().parameters())
    return {"steps": steps, "audio min": round(seen / 60, 1), "parameters": size}


def timed(recipe: Recipe) -> float:
    """Processor time of a step, the median of a few when memory has settled."""
    state, spent = loop.start(recipe, torch.device("cpu")), []
    for step in range(WARM_STEPS + TIMED_STEPS):
        began = time.process_time()
        arrays = recipe.draw(recipe.schedule.batch_size, np.random.default_rng((1, step)))
        loss = recipe.loss_of(state.network, *map(torch.from_numpy, arrays))
        loop.take_step(state, recipe.schedule, loss, step)
        spent.append(time.process_time() - began)
    return float(np.median(spent[WARM_STEPS:]))


def scores(songs: Path, options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Median SDR by stem."""
    chunking = argparse.Namespace(device="cpu", chunk_seconds=None, overlap=0.25, expander=None)
    method = model_method(str(model), chunking)
    result = run({"model": method}, song_folders(songs)[: options.limit])["model"]
    return {score.stem: round(score.sdr_db, 2) for score in result.medians if score.sdr_db is not None}


if __name__ == "__main__":
    main()
