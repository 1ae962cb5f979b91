"""`stemsplit train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stemsplit.cli.flags.shared import RUN_PANEL, Debug, Device, Json, Quiet, as_path
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import Screen, put, put_json
from stemsplit.machine import signals
from stemsplit.machine.streams import require_output


def train(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE.toml", parser=as_path, help="What to train on what, and how long.")
    ],
    minutes: Annotated[
        float | None,
        typer.Option(metavar="M", help="Stop after this many minutes.", show_default="run to the last step"),
        BASIC,
    ] = None,
    decay_minutes: Annotated[
        float,
        typer.Option(metavar="M", help="Let the learning rate fall to zero over the last M of the minutes."),
        BASIC,
    ] = 0.0,
    device: Device = "auto",
    loaders: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Threads that draw examples ahead.",
            show_default="none on a CPU, up to 8 on a GPU",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Let torch.compile have the network.", rich_help_panel=RUN_PANEL)
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network. A run that was stopped goes on from its last save.

    The run's folder has log.jsonl, and curve.png where matplotlib is installed.
    What is exported is the mean of the best weights by development score, or the last average if that is better.

    Examples:
        stemsplit train recipe.toml               # to the last step
        stemsplit train recipe.toml --minutes 60 --loaders 2
        stemsplit train recipe.toml --device cuda # on a GPU
    """
    from stemsplit.machine.device import choose_device
    from stemsplit.training.loop import run_recipe
    from stemsplit.training.pace import Pace
    from stemsplit.training.recipe import load_recipe

    require_output()
    screen = Screen(quiet=quiet)

    def tell(event: dict[str, Any]) -> None:
        signals.check()
        if json:
            put_json(event)
        else:
            screen.note("  ".join(f"{name} {_short(value)}" for name, value in event.items()))

    pace = Pace(minutes, decay_minutes, loaders, compile)
    last = run_recipe(load_recipe(recipe), device=choose_device(device), pace=pace, on_event=tell)
    if not json:
        put(str(last))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {_short(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
