"""Workers for tests: a crew that is a script, and work that does without a network."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stemsplit.errors import DecodeError
from stemsplit.machine.together import written_together
from stemsplit.options import SeparateOptions
from stemsplit.runs.jobs import Job, Progress
from stemsplit.runs.workers.scheduler import News, Ready, Task


def job_named(name: str, output: Path, **more: Any) -> Job:
    """A job whose one output is a text."""
    folder = output / name
    return Job(
        output.parent / f"{name}.wav", name, f"{name}.wav", {"text": folder / "text"}, folder / "stemsplit.json", **more
    )


@dataclass
class Script:
    """A crew whose workers answer a task with what `answer` says: at once, one after the other."""

    answer: Callable[[Task], list[News]]
    count: int = 2
    tasks: list[Task] = field(default_factory=list)
    closed: bool = False
    _said: deque[tuple[int, News]] = field(default_factory=deque)
    _next: int = 0
    _alive: set[int] = field(default_factory=set)

    def hand(self, worker: int, task: Task) -> None:
        self.tasks.append(task)
        self._said.extend((worker, news) for news in self.answer(task))

    def news(self, wanted: int) -> Iterator[tuple[int, News]]:
        while len(self._alive) < min(self.count, wanted):
            self._alive.add(self._next)
            self._said.append((self._next, Ready()))
            self._next += 1
        if self._said:
            worker, news = self._said.popleft()
            if type(news).__name__ == "Lost":
                self._alive.discard(worker)
            yield worker, news
        else:
            time.sleep(0.01)

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class TextWork:
    """Writes the number of its process; names say what goes wrong on the way.

    "poison" kills its process, "once" does so the first time, "bad" is refused, "odd" raises what cannot be pickled,
    "long" takes half a minute, and "first" only the first time.
    """

    options: SeparateOptions

    def is_finished(self, job: Job) -> bool:
        return job.manifest.exists()

    def carry_out(self, job: Job, *, on_progress: Progress | None = None, on_warning: Any) -> Mapping[str, Any]:
        assert on_progress is not None
        on_progress(0.5)
        on_warning(f"{job.track} is warned of")
        first = job.manifest.parent.with_name(f"{job.track}.begun")
        begun = first.exists()
        first.touch()
        if "bad" in job.track:
            raise DecodeError(f"{job.source}: not audio")
        if "odd" in job.track:
            raise OddError(1, 2)
        with written_together() as together:
            together.aside(job.targets["text"]).write_text(str(os.getpid()))
            together.aside(job.manifest).write_text("{}")
            if "poison" in job.track or ("once" in job.track and not begun):
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
            long = "long" in job.track or ("first" in job.track and not begun)
            for _ in range(300 if long else 0):
                time.sleep(0.1)
                on_progress(0.6)
        return {"samples": 8000, "sample_rate": 8000}


class OddError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@dataclass(frozen=True)
class TextSetup:
    """Makes `TextWork`; fails if `broken` says how."""

    options: SeparateOptions
    broken: str = ""

    def work(self, on_detail: Callable[[str], object]) -> TextWork:
        if self.broken == "die":
            os._exit(3)
        if self.broken:
            raise DecodeError(self.broken)
        on_detail("made")
        return TextWork(self.options)

    def absolute(self) -> TextSetup:
        return self
