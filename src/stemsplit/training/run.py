"""A recipe's runs, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from stemsplit.training.loop import Event, train
from stemsplit.training.melody_task import MelodyRecipe
from stemsplit.training.separator_task import Recipe


def run_recipe(
    recipe: Recipe | MelodyRecipe,
    *,
    device: torch.device | str = "cpu",
    minutes: float | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Path:
    """Train what the recipe says, for `minutes` in all if given, and return what the last run left; see `loop.train`.

    A run that did not reach its last step in time is where the next call goes on.
    """
    began = time.monotonic()
    for phase in recipe.phases():
        left = None if minutes is None else max(minutes - (time.monotonic() - began) / 60, 1e-3)
        result = train(phase, device=device, minutes=left, on_event=on_event)
        if left is not None and time.monotonic() - began > 60 * minutes:  # type: ignore[operator]
            break
    return result
