"""Outcomes of a batch, for programs and for people."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stemsplit.cli.screen import Screen, duration, is_watched, speed

if TYPE_CHECKING:
    from stemsplit.runs.jobs import Outcome


def as_json(outcome: Outcome, figures: Sequence[str]) -> dict[str, Any]:
    """An outcome as a JSON object; `figures` are keys of the manifest that the command puts into it."""
    error = outcome.error
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
        "error": None if error is None else {"type": type(error).__name__, "message": outcome.message},
    }


def tell(outcome: Outcome, screen: Screen) -> None:
    """One line, unless it failed."""
    if outcome.status == "skipped":
        screen.note(f"{outcome.source}: done already in {outcome.target} (--force does it again)")
    elif outcome.status == "done":
        how = f"{duration(outcome.seconds)}, {speed(outcome.audio_seconds, outcome.seconds)}"
        screen.note(f"{outcome.source} → {outcome.target}: {', '.join(outcome.outputs)} ({how})")


def tell_failure(outcome: Outcome, screen: Screen, debug: bool) -> None:
    """One line on what went wrong; with `debug` how the program got there."""
    if debug and outcome.error is not None:
        traceback.print_exception(outcome.error)
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
