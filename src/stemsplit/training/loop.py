"""The training loop: draw, step, average, log, save; a killed run goes on from its last save.

Every step draws from a generator seeded with (seed, step, process), so a resumed run sees the examples that the
unbroken run would have seen, no generator has to be saved, and threads may draw ahead. What is trained on what is a
`Task`.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.errors import UsageError
from stemsplit.machine.disk import write_whole, written_aside
from stemsplit.machine.memory import keep_freed_memory
from stemsplit.training.averaging import Best, score_of
from stemsplit.training.curve import LOG_NAME, draw_curve, read_log
from stemsplit.training.muon import Muon, Together
from stemsplit.training.parallel import average_gradients, followers, rank
from stemsplit.training.prefetch import drawn_ahead, threads_for
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

    @property
    def loss_of(self) -> Callable[..., Tensor]:
        """(network, *batch) → the loss, a scalar; a batch is what was drawn, on the network's device."""
        ...

    def dev(self, average: nn.Module, device: torch.device) -> dict[str, float]:
        """Figures on data that is not trained on; empty where there is none.

        Lower is better in all of them, or in the one called `loss`: see `averaging.score_of`.
        """
        ...

    def export(self, average: nn.Module) -> Path:
        """Write what the run is for, and return where."""
        ...


class Phased(Protocol):
    """What a recipe says: the runs that make it up, in order."""

    def phases(self) -> Iterable[Task]:
        """Yield them."""
        ...


class State(NamedTuple):
    """What a run is: the network, its running average, the optimiser, and the steps done."""

    network: nn.Module
    average: nn.Module
    optimizer: Together
    step: int


class Pace(NamedTuple):
    """How a run goes on a machine; nothing of it belongs to a recipe."""

    minutes: float | None = None
    """Stop after this many; None runs to the last step."""
    decay_minutes: float = 0.0
    """Let the learning rate fall to zero over the last of the minutes, wherever the schedule is by then."""
    loaders: int | None = None
    """Threads that draw examples ahead; None: as many as `prefetch.threads_for` says."""
    compile: bool = False
    """Let torch.compile have the network: minutes at first, then faster on a GPU."""


def train(
    task: Task,
    *,
    device: torch.device | str = "cpu",
    pace: Pace | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Path:
    """Run `task` to its last step, or as long as `pace` says; return what it leaves: for a model, `{output}/model`.

    The run itself is in `{output}/last.pt`, from which the next call goes on. Events are dicts with `step` and
    `loss` or `dev` figures; they also go to `{output}/log.jsonl`, and to `curve.png` where matplotlib is installed.
    What is exported is the mean of the best averages by their dev figures, kept in `{output}/best`, or the last
    average if that scores better; the last event says which.

    Raises: UsageError for workers that do not share a CPU, or whose clocks would decide on the learning rate.
    """
    place, pace = torch.device(device), pace or Pace()
    if task.workers > 1 and place.type != "cpu":
        raise UsageError(f"{task.workers} workers share CPUs, not {place}: set workers = 1")
    if task.workers > 1 and pace.decay_minutes:
        raise UsageError("decay_minutes goes by one clock: set workers = 1, or leave it out")
    with followers(task.workers, _follow, task, place):
        return _lead(task, place, pace, on_event)


def run_recipe(
    recipe: Phased,
    *,
    device: torch.device | str = "cpu",
    pace: Pace | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Path:
    """Train what the recipe says, for the pace's minutes in all, and return what the last run left; see `train`.

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


def _lead(task: Task, device: torch.device, pace: Pace, on_event: Callable[[Event], None]) -> Path:
    """Step, and keep what comes of it; whatever ends the run, its last whole step is saved."""
    keep_freed_memory()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    task.output.mkdir(parents=True, exist_ok=True)
    last = task.output / "last.pt"
    state = resume(task, last, device)
    best = Best(task.output / "best", task.schedule.best)
    if state.step == 0:
        best.clear()
    tell = _open_log(task.output / LOG_NAME, state.step, on_event)
    deadline = time.monotonic() + 60 * pace.minutes if pace.minutes else float("inf")
    saved = time.monotonic()
    try:
        with closing(_steps(task, state, device, pace, deadline)) as steps:
            for event, now in steps:
                state = now
                if event:
                    tell(event)
                if event and "dev" in event:
                    best.offer(state.step, event["dev"], state.average)
                if time.monotonic() > deadline:
                    break
                if time.monotonic() - saved > 60 * task.save_minutes:
                    save(state, last)
                    draw_curve(task.output)
                    saved = time.monotonic()
    finally:
        save(state, last)
    chosen = _choose(task, state, best, device, tell)
    draw_curve(task.output)
    return task.export(chosen)


def _open_log(path: Path, step: int, on_event: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return what writes an event down; what a killed run logged after its last save goes, as it is done again."""
    if path.is_file():
        known = [event for event in read_log(path) if event["step"] <= step and "export" not in event]
        write_whole(path, "".join(json.dumps(event) + "\n" for event in known))

    def tell(event: Event) -> None:
        with path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(event) + "\n")
        on_event(event)

    return tell


def _choose(task: Task, state: State, best: Best, device: torch.device, tell: Callable[[Event], None]) -> nn.Module:
    """The mean of the best averages or the last one, whichever scores better."""
    figures = task.dev(state.average, device) if best.kept else {}
    if not figures:
        return state.average
    mean = best.mean(state.average)
    of_mean = task.dev(mean, device)
    better = score_of(of_mean) < score_of(figures)
    event = {"step": state.step, "export": f"mean of the best {len(best.kept)}" if better else "last average"}
    tell({**event, "dev": of_mean if better else figures, "instead_of": figures if better else of_mean})
    return mean if better else state.average


def _follow(task: Task, device: torch.device) -> None:
    """Make every step that the leader makes, on other examples, and keep nothing."""
    keep_freed_memory()
    for _ in _steps(task, resume(task, task.output / "last.pt", device), device, Pace(), float("inf")):
        pass


def _steps(
    task: Task, state: State, device: torch.device, pace: Pace, deadline: float
) -> Generator[tuple[Event | None, State]]:
    """Yield after each step the event to log, if one is due, and the state."""
    schedule = task.schedule
    share = schedule.batch_size // task.workers
    threads = threads_for(device) if pace.loaders is None else pace.loaders
    if pace.compile:
        _compile(state.network)

    def draw(step: int) -> list[Tensor]:
        drawn = task.draw(share, np.random.default_rng((schedule.seed, step, rank())))
        tensors = [torch.from_numpy(array) for array in drawn]
        return [tensor.pin_memory() for tensor in tensors] if device.type == "cuda" else tensors

    losses, since = [], time.monotonic()
    with closing(drawn_ahead(draw, range(state.step, schedule.steps), threads)) as batches:
        for step, batch in enumerate(batches, state.step):
            torch.manual_seed(hash((schedule.seed, step, rank())) % 2**63)  # dropout
            loss = task.loss_of(state.network, *(part.to(device, non_blocking=True) for part in batch))
            left = (deadline - time.monotonic()) / 60
            fade = min(1.0, max(left, 0.0) / pace.decay_minutes) if pace.decay_minutes else 1.0
            losses.append(take_step(state, schedule, loss, step, fade))
            state = state._replace(step=step + 1)
            event: Event | None = None
            if state.step % task.log_steps == 0:
                audio = len(losses) * schedule.batch_size * task.crop_seconds
                rate = round(audio / (time.monotonic() - since), 2)
                event = {"step": state.step, "loss": round(float(np.mean(losses)), 4), "audio_per_second": rate}
                losses, since = [], time.monotonic()
            if rank() == 0 and state.step % task.dev_steps == 0:
                paused = time.monotonic()
                if figures := task.dev(state.average, device):
                    event = {**(event or {"step": state.step}), "dev": figures}
                since += time.monotonic() - paused
            yield event, state


def _compile(network: nn.Module) -> None:
    """Compile the network's blocks, which share their code; one without a list of blocks as a whole."""
    lists = [child for child in network.children() if isinstance(child, nn.ModuleList)]
    for part in [block for blocks in lists for block in blocks] or [network]:
        part.compile()


def take_step(state: State, schedule: Schedule, loss: Tensor, step: int, fade: float = 1.0) -> float:
    """Follow the gradient of a scalar loss, and return the loss. A step whose loss is not finite is skipped.

    `fade` is a factor of the schedule's learning rate.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = fade * schedule.learning_rate_at(step)
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
    optimizer = optimizer_of(network, schedule)
    return State(network, copy.deepcopy(network).requires_grad_(False), optimizer, 0)


def optimizer_of(network: nn.Module, schedule: Schedule) -> Together:
    """AdamW, or Muon for the matrices that `network` names and AdamW for the rest."""
    lr, weight_decay = schedule.learning_rate, schedule.weight_decay
    chosen: list[nn.Parameter] = []
    if schedule.optimizer == "muon":
        if not callable(name := getattr(network, "matrices", None)):
            raise UsageError(f"a {type(network).__name__} names no matrices for muon: set optimizer to adamw")
        chosen = name()
    known = {id(value) for value in chosen}
    rest = [value for value in network.parameters() if id(value) not in known]
    adamw = torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay)
    return Together(adamw, Muon(chosen, lr=lr, weight_decay=weight_decay)) if chosen else Together(adamw)


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
    values = {
        "step": state.step,
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
    }
    with written_aside(path) as partial:
        torch.save(values, partial)
