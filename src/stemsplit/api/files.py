"""A folder of songs from Python: stems on disk, what is done is skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stemsplit.files.inputs import find_inputs
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.options import SeparateOptions
from stemsplit.runs.jobs import Outcome, Watcher, run
from stemsplit.runs.plan import check_writable
from stemsplit.runs.separate import Separating, check_options, plan
from stemsplit.separation.separator import make_separator
from stemsplit.weights.catalog import DEFAULT_MODEL
from stemsplit.weights.model import as_model


def separate_files(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path = SeparateOptions.output,
    *,
    model: str | Path | SeparatorNetwork = DEFAULT_MODEL,
    watcher: Watcher | None = None,
    **options: Any,
) -> Iterator[Outcome]:
    """Separate files and folders into files, as `stemsplit separate` does, and yield an outcome for each song.

    A song that is done already is skipped, also after a stop. A song that fails stops no other: its outcome has the
    status "failed" and the error.

    Args:
        inputs: audio files, or folders of them.
        output: the folder for the stems.
        model: a reference, or a network from `load_network`.
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
    separator = make_separator(as_model(model, "separate"), asked)
    jobs = plan(found, separator, asked)
    check_writable(asked.output)
    return run(jobs, Separating(separator, asked), watcher)
