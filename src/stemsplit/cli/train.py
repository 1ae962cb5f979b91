"""`stemsplit train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stemsplit.cli import interrupts
from stemsplit.cli.flags import Debug, Device, Json, Quiet
from stemsplit.cli.screen import Screen, put, put_json


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What to train on what, and how long.")],
    minutes: Annotated[
        float | None,
        typer.Option(metavar="M", help="Stop after this many minutes.", show_default="run to the last step"),
    ] = None,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network. A run that was stopped goes on from its last save."""
    from stemsplit.device import choose_device
    from stemsplit.training.recipe import load_recipe
    from stemsplit.training.run import run_recipe

    screen = Screen(quiet=quiet)

    def tell(event: dict[str, Any]) -> None:
        interrupts.check()
        if json:
            put_json(event)
        else:
            screen.note("  ".join(f"{name} {_short(value)}" for name, value in event.items()))

    last = run_recipe(load_recipe(recipe), device=choose_device(device), minutes=minutes, on_event=tell)
    if not json:
        put(str(last))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {_short(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
