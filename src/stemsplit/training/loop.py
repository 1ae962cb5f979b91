"""The training loop: draw, step, average, log, save. A killed run goes on from its last save.

Every step draws from a generator seeded with (seed, step, process). So a resumed run sees the examples that the
unbroken run would have seen, no generator has to be saved, and threads may draw ahead. What is trained on what is a
`Task`; a `Recipe` is one task or several, one after the other.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.errors import UsageError
from stemsplit.machine.disk import write_whole, written_aside
from stemsplit.machine.memory import keep_freed_memory
from stemsplit.networks.kernels.native_library import has_bfloat16
from stemsplit.training.averaging import Best, score_of
from stemsplit.training.curve import LOG_NAME, draw_curve, read_log
from stemsplit.training.examples.prefetch import drawn_ahead, threads_for
from stemsplit.training.optimizers.muon import Muon, Together
from stemsplit.training.pace import Clock, Meter, Pace
from stemsplit.training.parallel import average_gradients, followers, rank
from stemsplit.training.schedule import Schedule
from stemsplit.training.task import Event, Recipe, Task

NO_BFLOAT16 = "bf16 is slow here: this CPU has no instructions for it that are faster than those for fp32"


class State(NamedTuple):
    """What a run is: the network, its running average, the optimiser, and the steps done."""

    network: nn.Module
    average: nn.Module
    optimizer: Together
    step: int


def run_recipe(
    recipe: Recipe,
    *,
    device: torch.device | str = "cpu",
    pace: Pace | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Path:
    """Train a recipe's tasks for the pace's minutes in all, and return what the last of them left; see `train`.

    The next call goes on with the task that did not reach its last step in time.
    """
    began, pace = time.monotonic(), pace or Pace()
    minutes = float("inf") if pace.minutes is None else pace.minutes
    for task in recipe.phases():
        left = max(minutes - (time.monotonic() - began) / 60, 1e-3)
        result = train(task, device=device, pace=pace._replace(minutes=left), on_event=on_event)
        if time.monotonic() - began > 60 * minutes:
            break
    return result


def train(
    task: Task,
    *,
    device: torch.device | str = "cpu",
    pace: Pace | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Path:
    """Run `task` to its last step, or as long as `pace` says; return what it leaves: for a model, `{output}/model`.

    The run itself is in `{output}/last.pt`, from which the next call goes on. Events go to `on_event`, to
    `{output}/log.jsonl`, and to `curve.png` where matplotlib is installed. What is exported is the mean of the best
    averages by their development figures, which are kept in `{output}/best`. If the last average scores better, it is
    exported instead. The last event says which. A CPU without bf16 computes in fp32, and an event says so.

    Raises:
        UsageError: The workers do not share a CPU, or each would set the learning rate by its own clock.
        OutputError: The disk refuses a file.
    """
    place, pace = torch.device(device), pace or Pace()
    if task.workers > 1 and place.type != "cpu":
        raise UsageError(f"{task.workers} workers share CPUs, not {place}: set workers = 1")
    if task.workers > 1 and pace.decay_minutes:
        raise UsageError("decay_minutes goes by one clock: set workers = 1, or leave it out")
    suited = in_precision_of(place, task)
    with followers(task.workers, _follow, suited, place, pace._replace(minutes=None)):
        return _lead(suited, place, pace, on_event, slower=suited is not task)


def in_precision_of(device: torch.device, task: Task) -> Task:
    """Return the task in fp32 where it wants bf16 of a CPU that has no instructions for it, otherwise as it is.

    There bf16 products take over ten times as long as those in fp32.
    """
    if task.schedule.precision != "bf16" or device.type != "cpu" or has_bfloat16():
        return task
    schedule = replace(task.schedule, precision="fp32")
    return cast(Task, replace(cast(Any, task), schedule=schedule))


def _lead(
    task: Task, device: torch.device, pace: Pace, on_event: Callable[[Event], None], *, slower: bool = False
) -> Path:
    """Make the steps, and keep what comes of them; whatever ends the run, its last whole step is saved."""
    keep_freed_memory()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    task.output.mkdir(parents=True, exist_ok=True)
    last = task.output / "last.pt"
    state = resume(task, last, device)
    best = Best(task.output / "best", task.schedule.best)
    tell = _open_log(task.output / LOG_NAME, state.step, on_event)
    if slower:
        tell({"step": state.step, "precision": "fp32", "because": NO_BFLOAT16})
    if state.step == 0:
        best.clear()
        if task.warm and (figures := task.dev(state.average, device)):
            _keep({"step": 0, "dev": figures}, state, best, tell)
    clock, saved = Clock(pace), time.monotonic()
    try:
        with clock.minding_stops(), closing(_steps(task, state, device, pace, clock)) as steps:
            for event, state in steps:
                _keep(event, state, best, tell)
                if clock.is_over():
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


def _keep(event: Event | None, state: State, best: Best, tell: Callable[[Event], None]) -> None:
    """Log an event, and offer the average that it scores to the best."""
    if event is None:
        return
    tell(event)
    if "dev" in event:
        best.offer(state.step, event["dev"], state.average)


def _open_log(path: Path, step: int, on_event: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a function that logs an event.

    What a killed run logged after its last save is removed, because those steps are done again; so is what every start
    says again.
    """
    if path.is_file():
        known = [event for event in read_log(path) if event["step"] <= step and not {"export", "precision"} & {*event}]
        write_whole(path, "".join(json.dumps(event) + "\n" for event in known))

    def tell(event: Event) -> None:
        with path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(event) + "\n")
        on_event(event)

    return tell


def _choose(task: Task, state: State, best: Best, device: torch.device, tell: Callable[[Event], None]) -> nn.Module:
    """Return the mean of the best averages or the last one, whichever scores better, and log which."""
    figures = task.dev(state.average, device) if best.kept else {}
    if not figures:
        return state.average
    mean = best.mean(state.average)
    of_mean = task.dev(mean, device)
    better = score_of(of_mean) < score_of(figures)
    event = {"step": state.step, "export": f"mean of the best {len(best.kept)}" if better else "last average"}
    tell({**event, "dev": of_mean if better else figures, "instead_of": figures if better else of_mean})
    return mean if better else state.average


def _follow(task: Task, device: torch.device, pace: Pace) -> None:
    """Make every step that the leader makes, on other examples, and keep nothing. The leader says when it is over."""
    keep_freed_memory()
    state = resume(task, task.output / "last.pt", device)
    for _ in _steps(task, state, device, pace, Clock()):
        pass


def _steps(
    task: Task, state: State, device: torch.device, pace: Pace, clock: Clock
) -> Generator[tuple[Event | None, State]]:
    """Yield after each step the event to log, if one is due, and the state."""
    if pace.compile:
        _compile(state.network)
    meter = Meter(task.schedule.batch_size * task.crop_seconds, clock)
    with closing(_batches(task, state.step, device, pace.loaders)) as batches:
        for step, batch in enumerate(batches, state.step):
            clock.tick()
            torch.manual_seed(hash((task.schedule.seed, step, rank())) % 2**63)  # dropout
            loss = task.loss_of(state.network, *(part.to(device, non_blocking=True) for part in batch))
            meter.add(take_step(state, task.schedule, loss, step, clock.fade()))
            state = state._replace(step=step + 1)
            event = meter.read(state.step) if state.step % task.log_steps == 0 else None
            if rank() == 0 and state.step % task.dev_steps == 0:
                with meter.paused():
                    figures = task.dev(state.average, device)
                event = {**(event or {"step": state.step}), "dev": figures} if figures else event
            yield event, state


def _batches(task: Task, first: int, device: torch.device, loaders: int | None) -> Generator[list[Tensor]]:
    """Yield this process's share of the batch of every step from `first` on, as tensors of the CPU."""
    schedule = task.schedule
    share = schedule.batch_size // task.workers

    def draw(step: int) -> list[Tensor]:
        drawn = task.draw(share, np.random.default_rng((schedule.seed, step, rank())))
        tensors = [torch.from_numpy(array) for array in drawn]
        return [tensor.pin_memory() for tensor in tensors] if device.type == "cuda" else tensors

    threads = threads_for(device) if loaders is None else loaders
    return drawn_ahead(draw, range(first, schedule.steps), threads)


def _compile(network: nn.Module) -> None:
    """Compile the network's blocks, which share their code; one without a list of blocks as a whole."""
    lists = [child for child in network.children() if isinstance(child, nn.ModuleList)]
    for part in [block for blocks in lists for block in blocks] or [network]:
        part.compile()


def take_step(state: State, schedule: Schedule, loss: Tensor, step: int, fade: float = 1.0) -> float:
    """Follow the gradient of a scalar loss, and return the loss.

    A step whose gradient is not finite is skipped. `fade` is a factor of the schedule's learning rate.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = fade * schedule.learning_rate_at(step)
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    average_gradients(state.network.parameters())
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), schedule.clip)
    if torch.isfinite(norm):
        state.optimizer.step()
        update_average(state.average, state.network, min(schedule.ema, (step + 1) / (step + 10)))
    return float(loss.detach())


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move `average` towards `network`: average ← decay · average + (1 − decay) · network.

    Buffers are copied: the statistics of normalisations are averages already.
    """
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
    for kept, latest in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(latest)


def start(task: Task, device: torch.device) -> State:
    """Return a fresh state, the same for the same seed."""
    schedule = task.schedule
    torch.manual_seed(schedule.seed)
    network = task.build().to(device)
    optimizer = optimizer_of(network, schedule)
    return State(network, copy.deepcopy(network).requires_grad_(False), optimizer, 0)


def optimizer_of(network: nn.Module, schedule: Schedule) -> Together:
    """Return AdamW, or Muon for the matrices that `network` names with AdamW for the rest.

    Raises:
        UsageError: The schedule asks for Muon, and the network names no matrices.
    """
    lr, weight_decay = schedule.learning_rate, schedule.weight_decay
    chosen: list[nn.Parameter] = []
    if schedule.optimizer == "muon":
        if not callable(name := getattr(network, "matrices", None)):
            raise UsageError(f"a {type(network).__name__} names no matrices for muon: set optimizer to adamw")
        chosen = name()
    known = {id(value) for value in chosen}
    rest = [value for value in network.parameters() if id(value) not in known]
    adamw = torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay, fused=True)
    if not chosen:
        return Together(adamw)
    products = torch.bfloat16 if schedule.precision == "bf16" else None
    return Together(adamw, Muon(chosen, lr=lr, weight_decay=weight_decay, products=products))


def resume(task: Task, path: Path, device: torch.device) -> State:
    """Return the state saved at `path`, or a fresh one where there is none."""
    state = start(task, device)
    if not path.exists():
        return state
    saved = torch.load(path, map_location=device, weights_only=True)
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimizer.load_state_dict(saved["optimizer"])
    return state._replace(step=saved["step"])


def save(state: State, path: Path) -> None:
    """Write the state to `path`, whole or not at all.

    Raises:
        OutputError: The disk refuses the file; what was saved before is still there.
    """
    values = {
        "step": state.step,
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
    }
    with written_aside(path) as partial, partial.open("wb") as file:
        torch.save(values, file)
