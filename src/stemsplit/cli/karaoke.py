"""`stemsplit karaoke`: what `separate` and `melody` make of a song for who wants to sing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stemsplit.cli.batch.many import Many
from stemsplit.cli.batch.run import STREAM, Talk
from stemsplit.cli.flags.shared import (
    DEFAULT_MELODY_MODEL,
    DEFAULT_MODEL,
    OUTPUT_PANEL,
    Debug,
    Device,
    DryRun,
    Force,
    Inputs,
    JsonLines,
    ModelReference,
    Quiet,
    Salvage,
    Verbose,
    as_path,
)
from stemsplit.cli.flags.stems import FormatOption
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import Screen
from stemsplit.cli.melody import FIGURES
from stemsplit.cli.melody import to_files as write_melodies
from stemsplit.cli.separate import to_files as write_stems
from stemsplit.errors import UsageError
from stemsplit.options import MelodyOptions, SeparateOptions

OutputOption = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="DIR", parser=as_path, help="Folder for all of it.", rich_help_panel=OUTPUT_PANEL
    ),
    BASIC,
]


def karaoke(
    inputs: Inputs,
    output: OutputOption = Path("karaoke"),
    format: FormatOption = "flac",
    model: ModelReference = DEFAULT_MODEL,
    salvage: Salvage = False,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    json: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> int:
    """Make a song ready to be sung: without its voice, with its notes and words.

    karaoke/SONG/no_vocals.flac and vocals.flac, karaoke/SONG.mid, and karaoke/SONG.txt for UltraStar. The words are
    those of SONG.lrc beside the song, shared among the notes of each line; without it notes are sung on la.

    Examples:
        stemsplit karaoke song.mp3
        stemsplit karaoke party.m3u -o ~/ultrastar   # every song of a list
        stemsplit karaoke album/ -m bsmamba2-vocals  # a better model for voices
    """
    if STREAM in (*inputs, output):
        raise UsageError("karaoke reads songs twice, and writes several files: name songs and a folder")
    screen = Screen(quiet=quiet, verbose=verbose)
    stems = SeparateOptions(
        output=output, two_stems="vocals", format=format, device=device, force=force, salvage=salvage
    )
    code = write_stems(inputs, stems, [model], screen, dry_run=dry_run, json=json, debug=debug)
    notes = MelodyOptions(
        output=output, separated=output, keep_stems=True, midi=True, bends=False, ultrastar=True,
        device=device, force=force, salvage=salvage,
    )  # fmt: skip
    talk, models = Talk(screen, json=json, debug=debug, figures=FIGURES), (DEFAULT_MELODY_MODEL, model)
    return max(code, write_melodies(inputs, notes, models, None, dry_run, talk, Many()))
