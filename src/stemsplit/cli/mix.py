"""`stemsplit mix`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stemsplit.cli.batch.run import STREAM, Talk, carry_out, describe, find
from stemsplit.cli.flags.shared import OUTPUT_PANEL, Debug, DryRun, Force, JsonLines, Quiet, Verbose, as_path
from stemsplit.cli.flags.stems import BitDepthOption, BitrateOption, FormatOption, MixOption, WithoutOption
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import Screen
from stemsplit.cli.separate import parsed_bitrate
from stemsplit.errors import UsageError
from stemsplit.options import DEFAULT_OUTPUT, DEFAULT_TEMPLATE, PACKS, WITHOUT_TEMPLATE, SeparateOptions

Songs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT", help="Songs, folders of songs, or folders with the stems of a song.", parser=as_path
    ),
]
OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        parser=as_path,
        help="Folder that `separate` put the stems into; the mixes go there, too.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]


def mix(
    inputs: Songs,
    output: OutputOption = DEFAULT_OUTPUT,
    without: WithoutOption = None,
    mix: MixOption = None,
    format: FormatOption = "wav",
    bit_depth: BitDepthOption = "auto",
    bitrate: BitrateOption = None,
    force: Force = False,
    dry_run: DryRun = False,
    json: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> int:
    """Mix stems that `separate` has made: everything but the vocals, or drums and bass together.

    No network runs: a song without stems that will do fails. `separate` with the same options makes them.

    Examples:
        stemsplit mix song.mp3 --without vocals
        stemsplit mix album/ --mix backing=drums+bass -f flac
        stemsplit mix separated/song --without drums,bass
    """
    if without is None and not mix:
        raise UsageError("nothing to mix: add --without vocals, or --mix backing=drums+bass")
    if STREAM in (*inputs, output) or format == "raw":
        raise UsageError("mix reads and writes files: name songs, a folder and a format with a header")
    if format in PACKS:
        raise UsageError(f"{format} holds all stems of a song: stemsplit separate --format {format} writes it")
    screen = Screen(quiet=quiet, verbose=verbose)
    with screen.busy("starting PyTorch"):
        from stemsplit.files.manifest import MANIFEST_NAME
        from stemsplit.runs.mix import Mixing, plan_mixes, song_of
        from stemsplit.runs.separate import check_options
    options = SeparateOptions(
        output=output,
        template=DEFAULT_TEMPLATE if without is None else WITHOUT_TEMPLATE,
        without=without,
        mix=tuple(mix or ()),
        format=format,
        bit_depth=bit_depth,
        bitrate=parsed_bitrate(bitrate, format),
        force=force,
    )
    check_options(options)
    stems = [path for path in inputs if (path / MANIFEST_NAME).is_file()]
    songs = [path for path in inputs if path not in stems]
    found = (*(find(songs, output) if songs else ()), *(song_of(folder, output) for folder in stems))
    jobs, work = plan_mixes(found, options), Mixing(options)
    talk = Talk(screen, json=json, debug=debug, figures=("gain",))
    return describe(jobs, work, talk) if dry_run else carry_out(jobs, work, talk, None)
