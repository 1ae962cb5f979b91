"""What a person sees while songs are worked on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stemsplit.cli.layout.screen import Lines, Screen, speed
from stemsplit.machine.streams import one_line
from stemsplit.runs.jobs import Job, Outcome
from stemsplit.runs.pace import known_seconds

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

NAME_WIDTH = 32
NARROW, NARROWEST = 76, 44
"""Columns of a terminal below which the speed, and then also the time left, give way to name and percentage."""


class Bars(Lines):
    """A bar for every song at hand and, for several songs, one for all of them."""

    def __init__(self, screen: Screen, bars: Progress, jobs: Sequence[Job]) -> None:
        super().__init__(screen)
        self._bars, self._at_hand = bars, dict[str, _Song]()
        self._seconds = _seconds_of(jobs) if len(jobs) > 1 else {}
        self._over, self._worked, self._began = 0.0, 0.0, time.monotonic()
        self._all = (
            bars.add_task(f"{len(jobs)} songs", total=sum(self._seconds.values()), speed="") if self._seconds else None
        )

    def on_start(self, job: Job, seconds: float | None) -> None:
        """Show a bar for the song; one that begins anew has one already."""
        self._take_away(job.name)
        name = _short(job.track, min(NAME_WIDTH, max(8, self._bars.console.width // 3)))
        bar = self._bars.add_task(name, total=seconds or None, speed="")
        self._at_hand[job.name] = _Song(bar, time.monotonic())

    def on_progress(self, job: Job, seconds: float) -> None:
        """Move the song's bar, and that of all songs."""
        super().on_progress(job, seconds)
        if (song := self._at_hand.get(job.name)) is None:
            return
        song.seconds = seconds
        self._bars.update(song.bar, completed=seconds, speed=speed(seconds, time.monotonic() - song.started))
        if self._all is not None:
            total = self._worked + sum(one.seconds for one in self._at_hand.values())
            done = sum(min(one.seconds, self._seconds[name]) for name, one in self._at_hand.items())
            rate = speed(total, time.monotonic() - self._began)
            self._bars.update(self._all, completed=self._over + done, speed=rate)

    def on_outcome(self, outcome: Outcome) -> None:
        """Take the song's bar away and say what became of it."""
        super().on_outcome(outcome)
        self._take_away(outcome.source)
        self._over += self._seconds.get(outcome.source, 0.0)
        self._worked += outcome.audio_seconds if outcome.status == "done" else 0.0
        if self._all is not None:
            self._bars.update(self._all, completed=self._over)

    def _take_away(self, name: str) -> None:
        if (song := self._at_hand.pop(name, None)) is not None:
            self._bars.remove_task(song.bar)


@dataclass
class _Song:
    """A song at hand: its bar, when it began, and how many seconds of it are done."""

    bar: TaskID
    started: float
    seconds: float = 0.0


@contextmanager
def showing_bars(screen: Screen, jobs: Sequence[Job]) -> Iterator[Bars]:
    """Show bars on stderr; what the screen says meanwhile stands above them."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    console = Console(stderr=True)

    class Left(TimeRemainingColumn):
        """How long it will take, where that is known."""

        def render(self, task: Task) -> Text:
            known = task.time_remaining is not None and task.total is not None
            return super().render(task).append(" left", style="dim") if known else Text("")

    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn(bar_width=None)]
    columns.append(TaskProgressColumn())
    if console.width >= NARROW:
        columns.append(TextColumn("{task.fields[speed]}", markup=False, justify="right"))
    if console.width >= NARROWEST:
        columns.append(Left(compact=True))
    plain = screen.write
    progress = Progress(
        *columns,
        console=console,
        transient=True,
        speed_estimate_period=60,
        redirect_stdout=False,  # stdout is for data: Rich would take it along to the terminal
        redirect_stderr=False,
    )
    with progress:
        screen.write = lambda line: console.print(Text(line), soft_wrap=True)
        try:
            yield Bars(screen, progress, jobs)
        finally:
            screen.write = plain


def _seconds_of(jobs: Sequence[Job]) -> dict[str, float]:
    """Job name → seconds of audio: 0 for a file that cannot be read, the mean for one that does not say."""
    known = {job.name: known_seconds(job.source) for job in jobs}
    stated = [seconds for seconds in known.values() if seconds]
    usual = sum(stated) / len(stated) if stated else 1.0
    return {name: usual if seconds is None else seconds for name, seconds in known.items()}


def _short(name: str, width: int) -> str:
    name = one_line(name)
    return name if len(name) <= width else f"…{name[1 - width :]}"
