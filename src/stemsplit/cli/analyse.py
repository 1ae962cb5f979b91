"""`stemsplit analyse`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemsplit.cli.batch.run import STREAM, Talk, carry_out, describe, find, refuse_stdin_misuse
from stemsplit.cli.flags.shared import (
    DEFAULT_MODEL,
    OUTPUT_PANEL,
    AudioTrack,
    Debug,
    Device,
    DryRun,
    Force,
    Inputs,
    JsonLines,
    ModelReference,
    Quiet,
    Raw,
    Salvage,
    TimeRangeOption,
    Verbose,
    as_path,
    as_range,
)
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import Screen, put
from stemsplit.cli.separate import ready
from stemsplit.errors import UsageError
from stemsplit.options import DEFAULT_OUTPUT, AnalyseOptions, SeparateOptions

if TYPE_CHECKING:
    from stemsplit.runs.jobs import Outcome

FIGURES = ("tempo", "key", "tuning_hz", "beats", "chords", "chords_confidence", "count_in_samples")
CHORDS_IN_A_LINE = 8

OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        parser=as_path,
        help="Folder that `separate` put the stems into; the analysis goes there, too.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
ClickOption = Annotated[
    bool,
    typer.Option(
        "--click", help="Write click.wav: a click on every beat, as long as the song.", rich_help_panel=OUTPUT_PANEL
    ),
    BASIC,
]
CountInOption = Annotated[
    int,
    typer.Option(
        metavar="BARS",
        help="Write backing.wav: so many bars of clicks, then the song without its vocals.",
        show_default="off",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
BeatsPerBarOption = Annotated[
    int, typer.Option(metavar="N", help="Clicks in a bar of the count-in.", rich_help_panel=OUTPUT_PANEL)
]
WithoutOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="What the backing track lacks, as in drums or vocals,bass.",
        show_default="vocals",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
TagsOption = Annotated[
    bool,
    typer.Option(
        "--tags", help="Write tempo and key into the tags of stems that are there.", rich_help_panel=OUTPUT_PANEL
    ),
    BASIC,
]


def analyse(
    inputs: Inputs,
    output: OutputOption = DEFAULT_OUTPUT,
    click: ClickOption = False,
    count_in: CountInOption = 0,
    beats_per_bar: BeatsPerBarOption = 4,
    without: WithoutOption = None,
    tags: TagsOption = False,
    model: ModelReference = DEFAULT_MODEL,
    raw: Raw = None,
    audio_track: AudioTrack = None,
    salvage: Salvage = False,
    time_range: TimeRangeOption = None,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    json: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> int:
    """Find tempo, beats, key and chords, each with a confidence from 0 to 1: separated/SONG/analysis.json.

    They are heard in the stems, which are separated first unless `separate` has left them. beats.txt and chords.txt are
    labels for Audacity and Sonic Visualiser. A song that is done already is not heard again.

    Examples:
        stemsplit analyse song.mp3                 # separated/song/analysis.json
        stemsplit analyse album/ --json            # a line of JSON per song
        stemsplit analyse song.mp3 --click --tags  # a click track; tags
        stemsplit analyse song.mp3 --count-in 2    # to sing along
    """
    if output == STREAM:
        raise UsageError("analyse writes files: name a folder; --json prints everything on standard output")
    if without is not None and not count_in:
        raise UsageError("--without says what the backing track lacks: add --count-in 1")
    options = AnalyseOptions(
        output=output,
        click=click,
        count_in=count_in,
        beats_per_bar=beats_per_bar,
        without=tuple(name.strip().lower() for name in (without or "vocals").split(",") if name.strip()),
        tags=tags,
        device=device,
        force=force,
        audio_track=audio_track,
        salvage=salvage,
        time_range=as_range(time_range),
    )
    screen = Screen(quiet=quiet, verbose=verbose)
    refuse_stdin_misuse(inputs, raw)
    found = find(inputs, output)
    with screen.starting_pytorch():
        from stemsplit.runs.analyse import Analysing, check_analyse_options, plan_analyses
    separator = ready(model, SeparateOptions(device=device), screen)
    check_analyse_options(options, separator.model.network.config.stems)
    jobs, work = plan_analyses(found, options), Analysing(separator, options, screen.detail)
    talk = Talk(screen, json=json, debug=debug, figures=FIGURES, show=show)
    return describe(jobs, work, talk) if dry_run else carry_out(jobs, work, talk, raw)


def show(outcome: Outcome) -> None:
    """Print what was heard in a song as data: tempo, key, and the chords in lines."""
    try:
        put(*_lines(outcome.source, outcome.manifest or {}))
    except (KeyError, TypeError, AttributeError, ValueError):  # of an earlier run, and somebody edited it
        put(f"{outcome.source}: {outcome.job.manifest} cannot be read: --force makes it again")


def _lines(name: str, said: Mapping[str, Any]) -> list[str]:
    tempo, key, chords = said["tempo"], said["key"], said["chords"]
    rows = [("tempo", f"{tempo['bpm']:.1f} BPM", tempo["confidence"]), ("key", key["name"], key["confidence"]),
            ("chords", f"{len(chords)}", said["chords_confidence"])]  # fmt: skip
    lines = [name, *(f"  {what:<8}{value:<14}confidence {sure:.2f}" for what, value, sure in rows)]
    for start in range(0, len(chords), CHORDS_IN_A_LINE):
        line = chords[start : start + CHORDS_IN_A_LINE]
        minutes, seconds = divmod(float(line[0]["start"]), 60)
        lines.append(f"  {minutes:.0f}:{seconds:04.1f}  " + " ".join(f"{chord['name']:<4}" for chord in line).rstrip())
    return lines
