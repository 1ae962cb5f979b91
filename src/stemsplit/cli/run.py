"""What `separate` and `melody` have in common: inputs, the dry run, the run and its outcomes, a pipe."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemsplit.cli.screen import Lines, Screen, duration, is_watched, put, put_json, speed, trace
from stemsplit.errors import AudioError, StemsplitError, UsageError
from stemsplit.machine.streams import input_bytes, is_terminal, require_input, require_output

if TYPE_CHECKING:
    from stemsplit.files.inputs import Input
    from stemsplit.runs.jobs import Job, Outcome, Work

STREAM = Path("-")


@dataclass(frozen=True)
class Talk:
    """How a run is told. `figures`: keys of the manifest that the JSON objects of this command have too."""

    screen: Screen
    json: bool = False
    debug: bool = False
    figures: tuple[str, ...] = ()


def refuse_stdin_misuse(paths: Sequence[Path], raw: str | None) -> None:
    """Refuse standard input where it cannot be read, and --raw where it says nothing. Raises: UsageError."""
    if raw is not None:
        from stemsplit.audio import parse_raw

        parse_raw(raw)
        if STREAM not in paths:
            raise UsageError("--raw describes standard input: add - as an input")
    if paths.count(STREAM) > 1:
        raise UsageError("standard input can be read only once: leave out one -")
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
    from stemsplit.runs.jobs import foreseen
    from stemsplit.runs.plan import refuse_if_none_is_left

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


def carry_out(jobs: Sequence[Job], work: Work, talk: Talk, raw: str | None) -> int:
    """Work through the jobs and tell about each; 1 if one of them failed."""
    from stemsplit.files.leftovers import clear_below
    from stemsplit.runs.jobs import run
    from stemsplit.runs.plan import check_writable, refuse_if_none_is_left

    refuse_if_none_is_left(jobs)
    if talk.json:
        require_output()
    check_writable(work.options.output)
    clear_below(work.options.output)
    outcomes: list[Outcome] = []
    told: set[int] = set()
    with ExitStack() as stack:
        jobs = tuple(_fed(job, raw, stack) for job in jobs)
        watcher = stack.enter_context(watching(talk.screen, jobs, bars=not (talk.json and is_terminal(sys.stdout))))
        for outcome in run(jobs, work, watcher):
            watcher.on_outcome(outcome)
            _report(outcome, talk, told)
            outcomes.append(outcome)
    if not talk.json:
        summarize(outcomes, talk.screen)
    return int(any(outcome.status == "failed" for outcome in outcomes))


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


@contextmanager
def watching(screen: Screen, jobs: Sequence[Job], *, bars: bool = True) -> Iterator[Lines]:
    """Yield bars if a person looks at stderr and did not ask for quiet, else lines."""
    if screen.quiet or not bars or not is_watched():
        yield Lines(screen)
        return
    from stemsplit.cli.progress import showing_bars

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

    with ExitStack() as stack:
        job = _fed(Job(found.path, found.track, found.name, {}, STREAM), raw, stack)
        if job.error is not None:
            raise job.error
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
    manifest = outcome.manifest or {}
    return {
        "source": outcome.source,
        "track": outcome.track,
        "status": outcome.status,
        "outputs": {stem: str(path) for stem, path in outcome.outputs.items()},
        "manifest": str(outcome.job.manifest) if manifest else None,
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
        screen.note(f"{outcome.source}: done already in {outcome.target} (--force does it again)")
    elif outcome.status == "done":
        how = f"{duration(outcome.seconds)}, {speed(outcome.audio_seconds, outcome.seconds)}"
        if {"derived_from", "vocals_from"} & (outcome.manifest or {}).keys():
            how += ", from stems that were there"
        screen.note(f"{outcome.source} → {outcome.target}: {', '.join(outcome.outputs)} ({how})")
        for path in outcome.job.beside:
            screen.note(f"listen: open {path} in a browser")


def tell_failure(outcome: Outcome, screen: Screen, debug: bool) -> None:
    """One line on what went wrong; with `debug` how the program got there."""
    if debug and outcome.error is not None:
        trace(outcome.error)
    screen.error(outcome.message)


def summarize(outcomes: Sequence[Outcome], screen: Screen) -> None:
    """For a person: the files of one song, or the count of many."""
    if screen.quiet or not is_watched():
        return
    if len(outcomes) == 1 and outcomes[0].status == "done" and outcomes[0].manifest:
        _list_files(outcomes[0], screen)
    elif len(outcomes) > 1:
        counts = {status: sum(o.status == status for o in outcomes) for status in ("done", "skipped", "failed")}
        audio = sum(o.audio_seconds for o in outcomes if o.status == "done")
        took = sum(o.seconds for o in outcomes)
        parts = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        rate = f", {speed(audio, took)}" if audio else ""
        screen.note(f"{len(outcomes)} songs: {parts} ({duration(took)}{rate})")


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
