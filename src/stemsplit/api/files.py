"""A folder of songs from Python: stems on disk, what is done is skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stemsplit.files.inputs import find_inputs
from stemsplit.files.leftovers import clear_below
from stemsplit.options import SeparateOptions
from stemsplit.runs.jobs import Outcome, Watcher, run
from stemsplit.runs.models import ModelChoice, separator_for
from stemsplit.runs.plan import check_writable, refuse_if_none_is_left
from stemsplit.runs.separate import check_options, plan, work_for
from stemsplit.weights.catalog import DEFAULT_MODEL


def separate_files(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path = SeparateOptions.output,
    *,
    model: ModelChoice = DEFAULT_MODEL,
    watcher: Watcher | None = None,
    **options: Any,
) -> Iterator[Outcome]:
    """Separate files and folders into files, as `stemsplit separate` does, and yield an outcome for each song.

    A song that is done already is skipped, also after a stop. A song that fails stops no other: its outcome has the
    status "failed" and the error.

    Args:
        inputs: audio files, or folders of them.
        output: the folder for the stems.
        model: what separates, as for `separate`.
        watcher: is told what happens meanwhile.
        **options: see `stemsplit.options.SeparateOptions`: format, stems, template, force and so on.

    Raises:
        UsageError: or one of its kinds, before any work.
        OutputError: the folder cannot be written.
        ModelError: or one of its kinds.
    """
    asked = SeparateOptions(output=Path(output), **options)
    check_options(asked)
    paths = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    found = find_inputs([Path(path) for path in paths], asked.output)
    refuse_if_none_is_left(found)
    separator = separator_for(model, asked)
    jobs = plan(found, separator, asked)
    refuse_if_none_is_left(jobs)
    check_writable(asked.output)
    clear_below(asked.output)
    return run(jobs, work_for(separator, asked), watcher)
