"""A recipe's runs, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from stemsplit.training.loop import Event, Pace, train
from stemsplit.training.melody_task import MelodyRecipe
from stemsplit.training.separator_task import Recipe


def run_recipe(
    recipe: Recipe | MelodyRecipe,
    *,
    device: torch.device | str = "cpu",
    pace: Pace | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Path:
    """Train what the recipe says, for the pace's minutes in all, and return what the last run left; see `loop.train`.

    A run that did not reach its last step in time is where the next call goes on.
    """
    began, pace = time.monotonic(), pace or Pace()
    minutes = float("inf") if pace.minutes is None else pace.minutes
    for phase in recipe.phases():
        left = max(minutes - (time.monotonic() - began) / 60, 1e-3)
        result = train(phase, device=device, pace=pace._replace(minutes=left), on_event=on_event)
        if time.monotonic() - began > 60 * minutes:
            break
    return result
