"""stdout for data, stderr for people: lines, and progress bars where stderr is a terminal."""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from stemsplit.machine import signals
from stemsplit.machine.memory import to_stay
from stemsplit.machine.streams import is_terminal, one_line

if TYPE_CHECKING:
    from stemsplit.runs.jobs import Job, Outcome


def put(*lines: str) -> None:
    """Print lines of data on stdout at once, each as `one_line` shows it. Raises: ReaderGone, OutputError."""
    put_exactly("\n".join(one_line(line) for line in lines))


def put_exactly(text: str) -> None:
    """Print text of a format of our own on stdout at once. Raises: ReaderGone, OutputError."""
    print(text, flush=True)


def put_json(value: Any, *, indent: int | None = None) -> None:
    """Print a JSON value on stdout at once, in ASCII, so that any encoding and file name will do."""
    put_exactly(json.dumps(value, indent=indent, allow_nan=False))


def put_help(context: Any) -> None:
    """Print the help of a command on stdout."""
    typer.echo(context.get_help())


def trace(error: BaseException) -> None:
    """Say on stderr how the program got to an error."""
    for line in "".join(traceback.format_exception(error)).rstrip("\n").split("\n"):
        print(one_line(line), file=sys.stderr)


def is_watched() -> bool:
    """Whether a person looks at stderr."""
    return is_terminal(sys.stderr)


class Screen:
    """What a command says on stderr. `write` is replaced while progress bars own the terminal."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        self.write: Callable[[str], object] = lambda line: print(line, file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Something to know, unless -q."""
        if not self.quiet:
            self.write(one_line(text))

    def detail(self, text: str) -> None:
        """Something to know with -v."""
        if self.verbose and not self.quiet:
            self.write(one_line(text))

    def warn(self, text: str) -> None:
        """Something to look at, unless -q."""
        if not self.quiet:
            self.write(f"stemsplit: warning: {one_line(text)}")

    def error(self, text: str) -> None:
        """Something that failed, always."""
        self.write(f"stemsplit: error: {one_line(text)}")

    def can_ask(self) -> bool:
        """Return whether a person looks at stderr and sits at standard input, and did not ask for quiet."""
        return not self.quiet and is_watched() and is_terminal(sys.stdin)

    def agrees(self, question: str) -> bool:
        """Ask a person, and return whether the answer is yes. The end of the input is none."""
        print(one_line(question), "[y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        if not answer.endswith("\n"):
            print(file=sys.stderr)
        return answer.strip().lower() in ("y", "yes")

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show a person a sign of life while something takes a moment."""
        if self.quiet or not is_watched():
            yield
            return
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status(Text(one_line(text))):
            yield

    @contextmanager
    def starting_pytorch(self, model: str | None = None) -> Iterator[None]:
        """Show a person a sign of life while PyTorch is imported, which goes faster in here."""
        if "torch" in sys.modules:
            yield
            return
        with self.busy("starting PyTorch" if model is None else f"loading {model}"), to_stay():
            yield

    @contextmanager
    def downloading(self, name: str) -> Iterator[Callable[[int, int | None], None] | None]:
        """Show a person a bar for a download; what it yields is told the bytes so far and the total."""
        if self.quiet or not is_watched():
            yield None
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.description}", markup=False)
        columns = (text, BarColumn(), DownloadColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False)
        task = None

        def report(done: int, total: int | None) -> None:
            nonlocal task
            if task is None:
                bar.start()
                task = bar.add_task(one_line(name), total=total)
            bar.update(task, completed=done, total=total)

        try:
            yield report
        finally:
            bar.stop()

    def table(self, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """Show a person a table."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
        for column in columns:
            table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        Console(stderr=True).print(table)


class Lines:
    """Shows warnings as lines and nothing else, for logs and pipes; see `jobs.Watcher`."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def on_start(self, job: Job, seconds: float | None) -> None:
        """Say nothing."""

    def on_progress(self, job: Job, seconds: float) -> None:
        """Let a signal be heard that came in a callback."""
        signals.check()

    def on_warning(self, job: Job, text: str) -> None:
        """Print a line."""
        self.screen.warn(text if job.source.name in text else f"{job.called}: {text}")

    def on_outcome(self, outcome: Outcome) -> None:
        """Let a signal be heard, which may have been what made the job fail."""
        signals.check()


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table as data on stdout, folded if that is a terminal; > is to the right."""
    from stemsplit.cli.layout.tables import table_lines

    put(*table_lines(columns, [tuple(one_line(cell) for cell in row) for row in rows], output_columns()))


def put_named(name: str, text: str, name_columns: int) -> None:
    """Print a name and what is said of it, folded beside it if stdout is a terminal."""
    from stemsplit.cli.layout.tables import named_lines

    put(*named_lines(name, one_line(text), name_columns, output_columns()))


def output_columns() -> int | None:
    """Return the width of the terminal that stdout is; None if it is a file or a pipe."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def duration(seconds: float) -> str:
    """Seconds for people: 0.4 s, 12 s, 3:05, 1:02:03."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, hours = whole // 60 % 60, whole // 3600
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}" if minutes else f"{whole} s"


def speed(audio_seconds: float, seconds: float) -> str:
    """How many times faster than the music plays."""
    if seconds <= 0 or audio_seconds <= 0:
        return ""
    times = audio_seconds / seconds
    return f"{times:.1f}× real time" if times < 10 else f"{times:.0f}× real time"
