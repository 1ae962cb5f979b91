"""The training loop: draw, step, average, log, save; a killed run goes on from its last save.

Every step draws from a generator seeded with (seed, step, process), so a resumed run sees the examples that the
unbroken run would have seen, and no generator has to be saved. What is trained on what is a `Task`.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.errors import UsageError
from stemsplit.memory import keep_freed_memory
from stemsplit.training.parallel import average_gradients, followers, rank
from stemsplit.training.schedule import Schedule

Event = dict[str, Any]


class Task(Protocol):
    """What a run trains, on what, and what it leaves. It is sent to other processes: pickled before it is used."""

    @property
    def output(self) -> Path: ...  # the run's folder
    @property
    def schedule(self) -> Schedule: ...
    @property
    def workers(self) -> int: ...
    @property
    def save_minutes(self) -> float: ...
    @property
    def log_steps(self) -> int: ...
    @property
    def dev_steps(self) -> int: ...
    @property
    def crop_seconds(self) -> float: ...  # of an example

    def build(self) -> nn.Module:
        """A fresh network; the loop has set the seed."""
        ...

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """`size` examples drawn from `rng`, as arrays: what `loss_of` takes as tensors. Threads may call it."""
        ...

    def loss_of(self, network: nn.Module, *batch: Tensor) -> Tensor:
        """The loss on a batch that is on the network's device, a scalar."""
        ...

    def dev(self, average: nn.Module, device: torch.device) -> dict[str, float]:
        """Figures on data that is not trained on; empty where there is none."""
        ...

    def export(self, average: nn.Module) -> Path:
        """Write what the run is for, and return where."""
        ...


class State(NamedTuple):
    """What a run is: the network, its running average, the optimiser, and the steps done."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    step: int


def train(
    task: Task,
    *,
    device: torch.device | str = "cpu",
    minutes: float | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Path:
    """Run `task` to its last step, or for `minutes`; return what it leaves (for a model, the folder `{output}/model`).

    The run itself is in `{output}/last.pt`, from which the next call goes on. Events are dicts with `step` and
    `loss` or `dev` figures; they also go to `{output}/log.jsonl`.
    """
    place = torch.device(device)
    if task.workers > 1 and place.type != "cpu":
        raise UsageError(f"{task.workers} workers share CPUs, not {place}: set workers = 1")
    with followers(task.workers, _follow, task, place):
        return _lead(task, place, minutes, on_event)


def _lead(task: Task, device: torch.device, minutes: float | None, on_event: Callable[[Event], None]) -> Path:
    """Step, and keep what comes of it; whatever ends the run, its last whole step is saved."""
    keep_freed_memory()
    task.output.mkdir(parents=True, exist_ok=True)
    last = task.output / "last.pt"
    state = resume(task, last, device)
    deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
    saved = time.monotonic()
    try:
        with (task.output / "log.jsonl").open("a", encoding="utf-8") as log:
            for event, now in _steps(task, state, device):
                state = now
                if event:
                    log.write(json.dumps(event) + "\n")
                    log.flush()
                    on_event(event)
                if time.monotonic() > deadline:
                    break
                if time.monotonic() - saved > 60 * task.save_minutes:
                    save(state, last)
                    saved = time.monotonic()
    finally:
        save(state, last)
    return task.export(state.average)


def _follow(task: Task, device: torch.device) -> None:
    """Make every step that the leader makes, on other examples, and keep nothing."""
    keep_freed_memory()
    for _ in _steps(task, resume(task, task.output / "last.pt", device), device):
        pass


def _steps(task: Task, state: State, device: torch.device) -> Iterator[tuple[Event | None, State]]:
    """Yield after each step the event to log, if one is due, and the state."""
    schedule = task.schedule
    share = schedule.batch_size // task.workers
    losses, since = [], time.monotonic()
    for step in range(state.step, schedule.steps):
        rng = np.random.default_rng((schedule.seed, step, rank()))
        torch.manual_seed(hash((schedule.seed, step, rank())) % 2**63)  # dropout
        batch = (torch.from_numpy(array).to(device) for array in task.draw(share, rng))
        losses.append(take_step(state, schedule, task.loss_of(state.network, *batch), step))
        state = state._replace(step=step + 1)
        event: Event | None = None
        if state.step % task.log_steps == 0:
            seconds = time.monotonic() - since
            audio = len(losses) * schedule.batch_size * task.crop_seconds
            event = {
                "step": state.step,
                "loss": round(float(np.mean(losses)), 4),
                "audio_per_second": round(audio / seconds, 2),
            }
            losses, since = [], time.monotonic()
        if rank() == 0 and state.step % task.dev_steps == 0 and (figures := task.dev(state.average, device)):
            event = {**(event or {"step": state.step}), "dev": figures}
        yield event, state


def take_step(state: State, schedule: Schedule, loss: Tensor, step: int) -> float:
    """Follow the gradient of a scalar loss, and return the loss. A step whose loss is not finite is skipped."""
    for group in state.optimizer.param_groups:
        group["lr"] = schedule.learning_rate_at(step)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    average_gradients(state.network.parameters())
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), schedule.clip)
    if torch.isfinite(norm):
        state.optimizer.step()
        update_average(state.average, state.network, min(schedule.ema, (step + 1) / (step + 10)))
    return float(loss.detach())


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average ← decay · average + (1 − decay) · network; statistics of normalisations are averages already."""
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
    for kept, latest in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(latest)


def start(task: Task, device: torch.device) -> State:
    """A fresh state, the same for the same seed."""
    schedule = task.schedule
    torch.manual_seed(schedule.seed)
    network = task.build().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    return State(network, copy.deepcopy(network).requires_grad_(False), optimizer, 0)


def resume(task: Task, path: Path, device: torch.device) -> State:
    """The state saved at `path`, or a fresh one where there is none."""
    state = start(task, device)
    if not path.exists():
        return state
    saved = torch.load(path, map_location=device, weights_only=True)
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimizer.load_state_dict(saved["optimizer"])
    return state._replace(step=saved["step"])


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
