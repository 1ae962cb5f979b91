"""What `separate` and `melody` have in common: inputs, the dry run, the run and its outcomes, a pipe."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemsplit.cli.layout.screen import Lines, Screen, duration, is_watched, put, put_json, speed, trace
from stemsplit.errors import AudioError, StemsplitError, UsageError
from stemsplit.files.places import Address
from stemsplit.machine.streams import input_bytes, is_terminal, require_input, require_output

if TYPE_CHECKING:
    from stemsplit.files.inputs import Input
    from stemsplit.runs.jobs import Job, Outcome, Work
    from stemsplit.runs.workers.scheduler import Crew

STREAM = Path("-")
MOST_RECAPPED = 20
"""Failures that the end of a run tells again."""


@dataclass(frozen=True)
class Talk:
    """How a run is told.

    Attributes:
        figures: keys of the manifest that the JSON objects of this command have too.
        hint: what is said last of all to a person, after one song.
        show: prints what a song's outcome holds for a person, as data.
    """

    screen: Screen
    json: bool = False
    debug: bool = False
    figures: tuple[str, ...] = ()
    hint: Callable[[], str] | None = None
    show: Callable[[Outcome], None] | None = None


def refuse_stdin_misuse(paths: Sequence[Path], raw: str | None) -> None:
    """Refuse standard input where it cannot be read, and --raw where it says nothing. Raises: UsageError."""
    if raw is not None:
        from stemsplit.audio import parse_raw

        parse_raw(raw)
        if STREAM not in paths:
            raise UsageError("--raw describes standard input: add - as an input")
    if paths.count(STREAM) > 1:
        raise UsageError("standard input can be read only once: leave out one -")
    if STREAM in paths and len(paths) > 1 and is_terminal(sys.stdin):
        raise UsageError("a - alone is standard input, which is a terminal: put a name with spaces into quotes")
    if STREAM in paths:
        require_input()


def find(paths: Sequence[Path], output: Path, *, stem: str | None = None) -> tuple[Input, ...]:
    """Files of folders and files; standard input is found, and not yet read. See `inputs.find_inputs`.

    Raises: UsageError if there is something wrong with every one of them.
    """
    from stemsplit.files.inputs import Input, find_inputs
    from stemsplit.runs.plan import refuse_if_none_is_left

    named = [path for path in paths if path != STREAM]
    found = find_inputs(named, output, stem=stem) if named or STREAM not in paths else ()
    inputs = (*found, *(Input(STREAM, "stdin", "-") for _ in range(paths.count(STREAM))))
    refuse_if_none_is_left(inputs)
    return inputs


def find_one(paths: Sequence[Path]) -> Input:
    """Return the input of a pipe. Raises: UsageError if there are several."""
    found = find(paths, STREAM)
    if len(found) != 1:
        raise UsageError(f"-o - takes one input, not {len(found)}: name a folder instead")
    return found[0]


def describe(jobs: Sequence[Job], work: Work, talk: Talk) -> int:
    """Say on stdout what would be written; 1 if a job would fail, as far as can be told."""
    from stemsplit.runs.plan import refuse_if_none_is_left
    from stemsplit.runs.workers.mirror import foreseen

    refuse_if_none_is_left(jobs)
    told: set[int] = set()
    outcomes = [foreseen(job, work, known=job.source != STREAM) for job in jobs]
    for outcome in outcomes:
        _report_failure(outcome, talk, told)
        if talk.json:
            failed = {} if outcome.error is None else {"error": _error(outcome)}
            outputs = {name: str(path) for name, path in outcome.job.targets.items()}
            about = {"source": outcome.source, "track": outcome.track, "status": outcome.status, "outputs": outputs}
            put_json(about | failed)
        elif outcome.error is None:
            for path in (*outcome.job.targets.values(), *outcome.job.beside):
                put(f"{'done already' if outcome.status == 'skipped' else 'would write'}  {path}")
    return int(any(outcome.status == "failed" for outcome in outcomes))


def carry_out(
    jobs: Sequence[Job], work: Work, talk: Talk, raw: str | None, crew: Callable[[int], Crew] | None = None
) -> int:
    """Work through the jobs and tell about each; 1 if one of them failed.

    Args:
        jobs: what is to be done.
        work: how; with a crew only what was asked of it is read.
        talk: how the run is told.
        raw: what standard input is, if it is bare samples.
        crew: makes the workers for so many jobs; None: this process does them.
    """
    from stemsplit.files.leftovers import clear_below
    from stemsplit.runs.jobs import run
    from stemsplit.runs.plan import check_writable, refuse_if_none_is_left

    refuse_if_none_is_left(jobs)
    if talk.json:
        require_output()
    check_writable(work.options.output)
    clear_below(work.options.output)
    tally, told = Tally(), set[int]()
    with ExitStack() as stack:
        jobs = tuple(_fed(job, raw, stack) for job in jobs)
        watcher = stack.enter_context(watching(talk.screen, jobs, bars=not (talk.json and is_terminal(sys.stdout))))
        outcomes = (
            run(jobs, work, watcher, do=_doing(jobs)) if crew is None else _among(jobs, crew, watcher, talk.screen)
        )
        for outcome in stack.enter_context(closing(outcomes)):
            watcher.on_outcome(outcome)
            _report(outcome, talk, told)
            tally.add(outcome)
    if tally.lost_workers:
        clear_below(work.options.output)
    if not talk.json:
        summarize(tally, talk.screen)
        _give_hint(tally, talk)
    return int(tally.counts["failed"] > 0)


def _doing(jobs: Sequence[Job]) -> Callable[..., Outcome | None] | None:
    """Return what does jobs at addresses; None if all is on this machine."""
    if not any(isinstance(path, Address) for job in jobs for path in (job.source, job.manifest)):
        return None
    from stemsplit.runs.workers.mirror import attempt

    return attempt


def _among(
    jobs: Sequence[Job], crew: Callable[[int], Crew], watcher: Lines, screen: Screen
) -> Generator[Outcome, None, None]:
    from stemsplit.runs.workers.scheduler import run_among

    left = sum(job.error is None and not job.made for job in jobs)
    yield from run_among(jobs, crew(left), watcher, screen.detail)


@dataclass
class Tally:
    """What became of the jobs so far. Manifests of many are not kept."""

    counts: dict[str, int] = field(default_factory=lambda: {"done": 0, "skipped": 0, "failed": 0})
    audio_seconds: float = 0.0
    only: Outcome | None = None  # the outcome, if there is one
    lost_workers: bool = False
    reasons: list[str] = field(default_factory=list)  # of the first that failed
    _began: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.only = outcome if not self.songs else None
        self.counts[outcome.status] += 1
        self.audio_seconds += outcome.audio_seconds if outcome.status == "done" else 0.0
        self.lost_workers |= outcome.attempts > 1
        if outcome.status == "failed" and len(self.reasons) < MOST_RECAPPED:
            named = outcome.source in outcome.message
            self.reasons.append(outcome.message if named else f"{outcome.source}: {outcome.message}")

    @property
    def songs(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def seconds(self) -> float:
        """How long it took."""
        return time.monotonic() - self._began


def _report_failure(outcome: Outcome, talk: Talk, told: set[int]) -> None:
    """Tell an error once, also if it is that of several inputs."""
    if outcome.error is not None and id(outcome.error) not in told:
        told.add(id(outcome.error))
        tell_failure(outcome, talk.screen, talk.debug)


def _report(outcome: Outcome, talk: Talk, told: set[int]) -> None:
    _report_failure(outcome, talk, told)
    if talk.json:
        put_json(as_json(outcome, talk.figures))
    else:
        tell(outcome, talk.screen)
        if talk.show is not None and outcome.error is None and not outcome.job.made:
            talk.show(outcome)


@contextmanager
def watching(screen: Screen, jobs: Sequence[Job], *, bars: bool = True) -> Iterator[Lines]:
    """Yield bars if a person looks at stderr and did not ask for quiet, else lines."""
    if screen.quiet or not bars or not is_watched():
        yield Lines(screen)
        return
    from stemsplit.cli.layout.progress import showing_bars

    with showing_bars(screen, jobs) as watcher:
        yield watcher


@contextmanager
def one_job(
    found: Input, raw: str | None, screen: Screen
) -> Iterator[tuple[Job, Callable[[float], object], Callable[[str], None]]]:
    """Return the job of a pipe, which has no targets, and what to tell about progress and warnings.

    Errors of its input name it as the user does, and the way on.
    """
    from stemsplit.runs.jobs import Job, message_of
    from stemsplit.runs.workers.mirror import fetched, is_elsewhere

    with ExitStack() as stack:
        job = _fed(Job(found.path, found.track, found.name, {}, STREAM), raw, stack)
        if job.error is not None:
            raise job.error
        if is_elsewhere(job):
            job = replace(job, source=stack.enter_context(fetched(job)))
        watcher = stack.enter_context(watching(screen, [job]))
        watcher.on_start(job, None)
        try:
            yield job, lambda seconds: watcher.on_progress(job, seconds), lambda text: watcher.on_warning(job, text)
        except AudioError as error:
            raise type(error)(message_of(error, job)) from error


def _fed(job: Job, raw: str | None, stack: ExitStack) -> Job:
    """Return the job; standard input, if that is its source, is copied to where decoders can seek in it."""
    if job.source != STREAM:
        return job
    from stemsplit.audio import parse_raw, spool_stdin

    try:
        spooled = spool_stdin(input_bytes(), parse_raw(raw) if raw else None)
        return replace(job, source=stack.enter_context(spooled))
    except StemsplitError as error:
        return replace(job, error=error)


# --- outcomes, for programs and for people


def as_json(outcome: Outcome, figures: Sequence[str]) -> dict[str, Any]:
    """Return an outcome as a JSON object; `figures` are keys of the manifest that the command puts into it."""
    from stemsplit.files.manifest import kept_path

    manifest = outcome.manifest or {}
    return {
        "source": outcome.source,
        "track": outcome.track,
        "status": outcome.status,
        "outputs": {stem: str(path) for stem, path in outcome.outputs.items()},
        "manifest": str(kept_path(outcome.job.manifest)) if manifest else None,
        **{figure: manifest.get(figure) for figure in figures},
        "audio_seconds": round(outcome.audio_seconds, 3),
        "seconds": round(outcome.seconds, 3),
        "warnings": list(outcome.warnings),
        "error": None if outcome.error is None else _error(outcome),
    }


def _error(outcome: Outcome) -> dict[str, str]:
    return {"type": type(outcome.error).__name__, "message": outcome.message}


def tell(outcome: Outcome, screen: Screen) -> None:
    """One line, unless it failed."""
    if outcome.job.made:
        screen.note(f"{outcome.source}: {outcome.warnings[0]}")
    elif outcome.status == "skipped":
        screen.note(f"{outcome.source}: done already in {_place(outcome)} (--force does it again)")
    elif outcome.status == "done":
        how = f"{duration(outcome.seconds)}, {speed(outcome.audio_seconds, outcome.seconds)}"
        if {"derived_from", "vocals_from", "stems_from"} & (outcome.manifest or {}).keys():
            how += ", from stems that were there"
        screen.note(f"{outcome.source} → {_written(outcome)} ({how})")
        for path in outcome.job.beside:
            screen.note(f"listen: open {path} in a browser")


def _place(outcome: Outcome) -> Path:
    """Return the folder of the outputs, or the only file where a template has put it elsewhere."""
    paths = list(outcome.outputs.values())
    if not paths or any(path.parent == outcome.target for path in paths):
        return outcome.target
    return paths[0] if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths]))


def _written(outcome: Outcome) -> str:
    """Return what was written: a folder and the outputs in it, or the only file."""
    place = _place(outcome)
    return str(place) if place in outcome.outputs.values() else f"{place}: {', '.join(outcome.outputs)}"


def tell_failure(outcome: Outcome, screen: Screen, debug: bool) -> None:
    """One line on what went wrong; with `debug` how the program got there."""
    if debug and outcome.error is not None:
        trace(outcome.error)
    screen.error(outcome.message)


def summarize(tally: Tally, screen: Screen) -> None:
    """For a person: the files of one song, or the count of many."""
    if screen.quiet or not is_watched():
        return
    if tally.only is not None and tally.only.status == "done" and tally.only.manifest:
        _list_files(tally.only, screen)
    elif tally.songs > 1:
        parts = ", ".join(f"{count} {status}" for status, count in tally.counts.items() if count)
        rate = f", {speed(tally.audio_seconds, tally.seconds)}" if tally.audio_seconds else ""
        screen.note(f"{tally.songs} songs: {parts} ({duration(tally.seconds)}{rate})")
        _recap(tally, screen)


def _recap(tally: Tally, screen: Screen) -> None:
    """Say again what failed and why, a line each: the lines of other songs stand between."""
    for reason in tally.reasons:
        screen.note(f"  failed  {reason}")
    if (more := tally.counts["failed"] - len(tally.reasons)) > 0:
        screen.note(f"  and {more} more, told above")


def _give_hint(tally: Tally, talk: Talk) -> None:
    if talk.hint is None or talk.screen.quiet or not is_watched():
        return
    if tally.only is not None and tally.only.status == "done" and (text := talk.hint()):
        talk.screen.note(text)


def _list_files(outcome: Outcome, screen: Screen) -> None:
    """Stems with their peaks, other files without."""
    written = (outcome.manifest or {})["outputs"]
    if all("peak" in written[name] for name in outcome.outputs):
        rows = [(name, _decibels(written[name]["peak"]), str(path)) for name, path in outcome.outputs.items()]
        screen.table(("stem", ">peak dB", "file"), rows)
    else:
        screen.table(("output", "file"), [(name, str(path)) for name, path in outcome.outputs.items()])


def _decibels(peak: float) -> str:
    return f"{20 * math.log10(peak):.1f}" if peak > 0 else "−∞"
