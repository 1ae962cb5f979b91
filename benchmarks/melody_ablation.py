"""The paper's ablation of the melody network: how its 1-D kernels start, and what two resolutions are worth.

    python benchmarks/melody_ablation.py RECIPE.toml --steps 350 --output runs/ablation       trains what is missing
    python benchmarks/melody_quality.py --mir1k DIR --model runs/ablation/*/model …           scores the variants

Every variant is the recipe with the same number of steps, examples and seed; `pretrained` trains its 1-D CNN alone
before that. Runs can be stopped and resumed. --figure FILE draws the kernels' magnitude responses of the variants.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {
    "pretrained": {"start": "pretrained"},
    "cosine": {"start": "cosine"},
    "random": {"start": "random"},
    "only-64": {"start": "pretrained", "kernel_samples": (64,), "positions": (16,)},
    "only-960": {"start": "pretrained", "kernel_samples": (960,), "positions": (6,)},
}


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, then draw."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--pretraining-steps", type=int, default=200)
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--output", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    folders = {name: _train(name, options) for name in options.variants}
    if options.figure:
        draw(folders, options.figure)
    return 0


def _train(name: str, options: argparse.Namespace) -> Path:
    """The folder of a variant's model, trained now if it is not there."""
    from stemsplit.training.loop import run_recipe
    from stemsplit.training.recipe import load_recipe

    folder: Path = options.output / name / "model"
    if (folder / "config.json").exists():
        return folder
    recipe: Any = load_recipe(options.recipe)
    settings = dict(VARIANTS[name])
    start = settings.pop("start")
    schedule = replace(recipe.schedule, steps=options.steps, decay_steps=options.steps * 2 // 3, warmup_steps=50)
    variant = replace(
        recipe,
        name=name,
        start=start,
        network=replace(recipe.network, **settings),
        schedule=schedule,
        pretraining_steps=options.pretraining_steps,
        output=folder.parent,
    )
    began = time.monotonic()
    run_recipe(variant, on_event=lambda event: print(name, event, file=sys.stderr, flush=True))
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return folder


def draw(folders: dict[str, Path], target: Path) -> None:
    """Magnitude responses of the kernels, one row of images per variant, as the paper's Figures 2 to 4."""
    import torch
    from matplotlib.figure import Figure

    from stemsplit.weights.checkpoint import load_network

    networks: dict[str, Any] = {name: load_network(folder) for name, folder in folders.items()}
    columns = max(len(network.stage1.banks) for network in networks.values())
    figure = Figure(figsize=(5 * columns, 2.6 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), columns, squeeze=False)
    for row, (name, network) in zip(axes, networks.items(), strict=True):
        for axis in row[len(network.stage1.banks) :]:
            axis.set_axis_off()
        for axis, bank in zip(row, network.stage1.banks, strict=False):
            response = torch.fft.rfft(bank.weight.float(), n=4096).abs()
            decibels = 20 * torch.log10(response / response.amax(1, keepdim=True) + 1e-6)
            rate = network.config.sample_rate
            image = axis.imshow(
                decibels.T.numpy(), origin="lower", aspect="auto", vmin=-30, vmax=0, cmap="magma",
                extent=(0, len(bank.weight), 0, rate / 2000),
            )  # fmt: skip
            axis.set(title=f"{name}, {bank.length} samples", xlabel="kernel", ylabel="kHz")
            axis.set_ylim(0, 2)
    figure.colorbar(image, ax=axes, label="dB below each kernel's peak", shrink=0.5)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=80)


if __name__ == "__main__":
    sys.exit(main())
