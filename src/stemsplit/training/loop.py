"""The training loop: draw, step, average, log, save; a killed run goes on from its last save.

Every step draws from a generator seeded with (seed, step, process), so a resumed run sees the examples that the
unbroken run would have seen, and no generator has to be saved.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stemsplit import checkpoint
from stemsplit.errors import UsageError
from stemsplit.memory import keep_freed_memory
from stemsplit.networks.bsmamba import BSMamba
from stemsplit.training.data import draw_batch, find_songs
from stemsplit.training.losses import snr_loss
from stemsplit.training.parallel import average_gradients, followers, rank
from stemsplit.training.recipe import Recipe, Schedule

Event = dict[str, Any]


class State(NamedTuple):
    """What a run is: the network, its running average, the optimiser, and the steps done."""

    network: BSMamba
    average: BSMamba
    optimizer: torch.optim.Optimizer
    step: int


def train(
    recipe: Recipe,
    *,
    device: torch.device | str = "cpu",
    minutes: float | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Path:
    """Run `recipe` to its last step, or for `minutes`; return the model folder that it leaves, `{output}/model`.

    The run itself is in `{output}/last.pt`, from which the next call goes on. Events are dicts with `step` and
    `loss` or `dev` figures; they also go to `{output}/log.jsonl`.
    """
    place = torch.device(device)
    if recipe.workers > 1 and place.type != "cpu":
        raise UsageError(f"{recipe.workers} workers share CPUs, not {place}: set workers = 1")
    with followers(recipe.workers, _follow, recipe, place):
        return _lead(recipe, place, minutes, on_event)


def _lead(recipe: Recipe, device: torch.device, minutes: float | None, on_event: Callable[[Event], None]) -> Path:
    """Step, and keep what comes of it; whatever ends the run, its last whole step is saved."""
    keep_freed_memory()
    recipe.output.mkdir(parents=True, exist_ok=True)
    last = recipe.output / "last.pt"
    state = resume(recipe, last, device)
    deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
    saved = time.monotonic()
    try:
        with (recipe.output / "log.jsonl").open("a", encoding="utf-8") as log:
            for event, now in _steps(recipe, state, device):
                state = now
                if event:
                    log.write(json.dumps(event) + "\n")
                    log.flush()
                    on_event(event)
                if time.monotonic() > deadline:
                    break
                if time.monotonic() - saved > 60 * recipe.save_minutes:
                    save(state, last)
                    saved = time.monotonic()
    finally:
        save(state, last)
    return export(recipe, state)


def _follow(recipe: Recipe, device: torch.device) -> None:
    """Make every step that the leader makes, on other examples, and keep nothing."""
    keep_freed_memory()
    for _ in _steps(recipe, resume(recipe, recipe.output / "last.pt", device), device):
        pass


def _steps(recipe: Recipe, state: State, device: torch.device) -> Iterator[tuple[Event | None, State]]:
    """Yield after each step the event to log, if one is due, and the state."""
    schedule, network = recipe.schedule, recipe.network
    songs = find_songs(recipe.songs, network.stems)
    held, songs = songs[: recipe.dev_songs], songs[recipe.dev_songs :]  # a folder that grows keeps its first songs
    share = schedule.batch_size // recipe.workers
    losses, since = [], time.monotonic()
    for step in range(state.step, schedule.steps):
        rng = np.random.default_rng((schedule.seed, step, rank()))
        batch = draw_batch(songs, network.stems, share, recipe.mixing, network.sample_rate, rng)
        losses.append(take_step(state, schedule, torch.from_numpy(batch).to(device), step))
        state = state._replace(step=step + 1)
        event: Event | None = None
        if state.step % recipe.log_steps == 0:
            seconds = time.monotonic() - since
            audio = len(losses) * schedule.batch_size * recipe.mixing.crop_seconds
            event = {
                "step": state.step,
                "loss": round(float(np.mean(losses)), 4),
                "audio_per_second": audio / seconds,
            }
            losses, since = [], time.monotonic()
        if held and rank() == 0 and state.step % recipe.dev_steps == 0:
            event = {**(event or {"step": state.step}), "dev": dev_score(state.average, recipe, held, device)}
        yield event, state


def take_step(state: State, schedule: Schedule, stems: Tensor, step: int) -> float:
    """One step on stems (B, S, C, samples); returns the loss in dB. A step whose loss is not finite is skipped."""
    for group in state.optimizer.param_groups:
        group["lr"] = schedule.learning_rate_at(step)
    mixture = stems.sum(1)
    with torch.autocast(stems.device.type, torch.bfloat16, enabled=schedule.precision == "bf16"):
        estimates = state.network.estimates(mixture)
    share = schedule.masked_weight
    loss = (1 - share) * snr_loss(estimates.two_stage, stems, mixture)
    loss = loss + share * snr_loss(estimates.masked, stems, mixture)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    average_gradients(state.network.parameters())
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), schedule.clip)
    if torch.isfinite(norm):
        state.optimizer.step()
        update_average(state.average, state.network, min(schedule.ema, (step + 1) / (step + 10)))
    return float(loss.detach())


@torch.no_grad()
def update_average(average: BSMamba, network: BSMamba, decay: float) -> None:
    """average ← decay · average + (1 − decay) · network."""
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


@torch.inference_mode()
def dev_score(network: BSMamba, recipe: Recipe, songs: list[Path], device: torch.device) -> dict[str, float]:
    """Return each stem's loss (dB, lower is better) on fixed crops of songs that are not trained on."""
    stems = recipe.network.stems
    scores: dict[str, list[float]] = {stem: [] for stem in stems}
    for index in range(2 * len(songs)):
        rng = np.random.default_rng((recipe.schedule.seed, 10**9 + index))
        batch = draw_batch(songs, stems, 1, recipe.mixing, recipe.network.sample_rate, rng)
        reference = torch.from_numpy(batch).to(device)
        mixture = reference.sum(1)
        estimate = network(mixture)
        for k, stem in enumerate(stems):
            if reference[:, k].abs().max() > 0:
                scores[stem].append(float(snr_loss(estimate[:, k : k + 1], reference[:, k : k + 1], mixture)))
    return {stem: round(float(np.mean(values)), 3) for stem, values in scores.items() if values}


def start(recipe: Recipe, device: torch.device) -> State:
    """A fresh state, the same for the same seed."""
    torch.manual_seed(recipe.schedule.seed)
    network = BSMamba(recipe.network).to(device)
    schedule = recipe.schedule
    optimizer = torch.optim.AdamW(network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    return State(network, copy.deepcopy(network).requires_grad_(False), optimizer, 0)


def resume(recipe: Recipe, path: Path, device: torch.device) -> State:
    """The state saved at `path`, or a fresh one where there is none."""
    state = start(recipe, device)
    if not path.exists():
        return state
    saved = torch.load(path, map_location=device, weights_only=True)
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimizer.load_state_dict(saved["optimizer"])
    return state._replace(step=saved["step"])


def export(recipe: Recipe, state: State) -> Path:
    """Write the averaged weights as a model folder, in half precision, and return it."""
    about = {"name": recipe.name, **recipe.about}
    return checkpoint.save(state.average, recipe.output / "model", dtype=torch.float16, **about)


def save(state: State, path: Path) -> None:
    """Write the state to `path`, whole or not at all."""
    partial = path.with_suffix(".partial")
    values = {
        "step": state.step,
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
    }
    with partial.open("wb") as file:
        torch.save(values, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
