"""`stemsplit separate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stemsplit.cli.flags import (
    DEFAULT_MODEL,
    OUTPUT_PANEL,
    RUN_PANEL,
    AudioTrack,
    BatchSizeOption,
    Debug,
    Device,
    DryRun,
    Force,
    Inputs,
    JsonLines,
    ModelReference,
    OverlapOption,
    PrecisionOption,
    Quiet,
    Raw,
    Salvage,
    Verbose,
    as_path,
)
from stemsplit.cli.run import STREAM, Talk, carry_out, describe, find, find_one, one_job, refuse_stdin_misuse
from stemsplit.cli.screen import Screen
from stemsplit.errors import UsageError
from stemsplit.machine.streams import ReaderGone, is_terminal, output_bytes
from stemsplit.options import DEFAULT_OUTPUT, DEFAULT_TEMPLATE, WITHOUT_TEMPLATE, Clip, SeparateOptions

if TYPE_CHECKING:
    from stemsplit.separation.separator import Separator

MOST_DIGITS = 9
"""Of a sample rate in Hz: a billion is beyond every format."""
Format = Literal["wav", "flac", "mp3", "ogg", "opus", "aiff", "raw"]
BitDepth = Literal["auto", "16", "24", "32f"]


OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        parser=as_path,
        help="Folder for the stems; - writes one stem to standard output.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
StemsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Only these stems, as in vocals,drums.",
        show_default="all",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
TwoStemsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="This stem, and all others together as no_NAME.",
        show_default="off",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
WithoutOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Everything but these stems, in one file: SONG (no vocals).wav.",
        show_default="off",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
MixOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=A+B",
        help="One more output, mixed of these stems. Repeatable.",
        show_default="none",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
ExactSumOption = Annotated[
    bool,
    typer.Option(
        "--exact-sum",
        help="Let the stems add up to the song within 1 LSB: what is left over goes into other.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "-f",
        "--format",
        case_sensitive=False,
        help="File format; raw (no header) only with -o -.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
BitDepthOption = Annotated[
    BitDepth,
    typer.Option(
        case_sensitive=False, help="Bits of a sample; auto keeps the song's, or takes 24.", rich_help_panel=OUTPUT_PANEL
    ),
]
SampleRateOption = Annotated[
    str,
    typer.Option(metavar="HZ", help="Sample rate in Hz; source keeps the song's.", rich_help_panel=OUTPUT_PANEL),
]
ClipOption = Annotated[
    Clip,
    typer.Option(
        case_sensitive=False,
        help="Samples beyond full scale: rescale turns all stems down by one gain, clamp cuts them off, "
        "none leaves them to the format.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
NoCoverOption = Annotated[
    bool,
    typer.Option("--no-cover", help="Leave the song's cover art out of the stems.", rich_help_panel=OUTPUT_PANEL),
]
PlayerOption = Annotated[
    bool,
    typer.Option(
        "--player",
        help="Write a page that plays the stems, too: player.html, for any browser.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        help="Where a stem goes inside the output folder. {suffix} and {folder} are those of the song.",
        show_default=DEFAULT_TEMPLATE,
        rich_help_panel=OUTPUT_PANEL,
    ),
]
ChunkSecondsOption = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        help="Length of a chunk in seconds. Shorter needs less memory.",
        show_default="the model's",
        rich_help_panel=RUN_PANEL,
    ),
]


def separate(
    inputs: Inputs,
    output: OutputOption = DEFAULT_OUTPUT,
    model: ModelReference = DEFAULT_MODEL,
    stems: StemsOption = None,
    two_stems: TwoStemsOption = None,
    without: WithoutOption = None,
    mix: MixOption = None,
    exact_sum: ExactSumOption = False,
    format: FormatOption = "wav",
    bit_depth: BitDepthOption = "auto",
    sample_rate: SampleRateOption = "source",
    clip: ClipOption = "rescale",
    no_cover: NoCoverOption = False,
    template: TemplateOption = None,
    player: PlayerOption = False,
    raw: Raw = None,
    audio_track: AudioTrack = None,
    salvage: Salvage = False,
    chunk_seconds: ChunkSecondsOption = None,
    overlap: OverlapOption = None,
    batch_size: BatchSizeOption = None,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    json: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> int:
    """Split songs into stems: separated/SONG/vocals.wav and so on.

    Every stem has its song's exact length, sample rate and channels. A song that is done already is skipped.
    A model of two speakers (s4m) splits talk into speaker1 and speaker2: which is which is arbitrary.
    """
    options = SeparateOptions(
        output=output,
        template=template or (DEFAULT_TEMPLATE if without is None else WITHOUT_TEMPLATE),
        stems=stems,
        two_stems=two_stems,
        without=without,
        mix=tuple(mix or ()),
        exact_sum=exact_sum,
        format=format,
        bit_depth=bit_depth,
        sample_rate=_rate(sample_rate),
        clip=clip,
        cover=not no_cover,
        chunk_seconds=chunk_seconds,
        overlap=overlap,
        batch_size=batch_size,
        device=device,
        precision=precision,
        force=force,
        audio_track=audio_track,
        salvage=salvage,
        player=player,
    )
    screen = Screen(quiet=quiet, verbose=verbose)
    refuse_stdin_misuse(inputs, raw)
    if output == STREAM:
        if json or dry_run or player:
            raise UsageError("-o - writes a stem to standard output: it excludes --json, --dry-run and --player")
        return _to_pipe(inputs, options, raw, model, screen)
    if format == "raw":
        raise UsageError("--format raw has no header and needs a pipe: add -o -, or choose another format")
    return to_files(inputs, options, model, screen, raw=raw, dry_run=dry_run, json=json, debug=debug)


def to_files(
    paths: Sequence[Path],
    options: SeparateOptions,
    model: str,
    screen: Screen,
    *,
    raw: str | None = None,
    dry_run: bool = False,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Plan, then separate every input into files; 1 if one of them failed."""
    with screen.starting_pytorch():
        from stemsplit.runs.separate import Separating, check_options, plan
    check_options(options)
    found = find(paths, options.output)
    separator = ready(model, options, screen)
    work = Separating(separator, options, screen.detail)
    talk = Talk(screen, json=json, debug=debug, figures=("gain", "precision", *(("player",) if options.player else ())))
    jobs = plan(found, separator, options)
    if dry_run:
        return describe(jobs, work, talk)
    code = carry_out(jobs, work, talk, raw)
    if options.player:
        _list_pages(options, screen)
    return code


def _list_pages(options: SeparateOptions, screen: Screen) -> None:
    """Write the page that lists the songs of the output folder, if there are several with a page."""
    from stemsplit.runs.player import write_index

    if (index := write_index(options.output, force=options.force)) is not None:
        screen.note(f"all songs: open {index} in a browser")


def _to_pipe(paths: Sequence[Path], options: SeparateOptions, raw: str | None, model: str, screen: Screen) -> int:
    """One file, one stem, to standard output."""
    with screen.starting_pytorch():
        from stemsplit.runs.separate import check_options, pipe_track

    if options.format not in ("wav", "raw"):
        raise UsageError(f"-o - writes wav or raw, not {options.format}: name a folder, or leave out --format")
    bare, options = options.format == "raw", replace(options, format="wav")
    check_options(options)
    if is_terminal(sys.stdout):
        raise UsageError("-o - writes audio, and standard output is a terminal: add > vocals.wav, or | a player")
    stream, found = output_bytes(), find_one(paths)
    separator = ready(model, options, screen)
    names = [output.name for output in separator.outputs]
    if len(names) != 1:
        raise UsageError(f"-o - takes one stem, not {len(names)}: choose one, as in --stems {names[-1]}")
    with one_job(found, raw, screen) as (job, on_progress, on_warning):
        complete = pipe_track(
            job.source,
            stream,
            separator,
            options,
            raw=bare,
            on_progress=on_progress,
            on_warning=on_warning,
        )
    if not complete:
        raise ReaderGone
    return 0


def ready(reference: str, options: SeparateOptions, screen: Screen) -> Separator:
    """Load the separator of a run; with -v its figures are told."""
    from stemsplit.machine.memory import keep_freed_memory
    from stemsplit.separation.separator import make_separator
    from stemsplit.weights.model import load_model

    keep_freed_memory()
    with screen.downloading(reference) as progress:
        model = load_model(reference, "separate", progress=progress)
    separator = make_separator(model, options)
    chunk = separator.chunking.chunk_samples / model.network.config.sample_rate
    screen.detail(f"model {model.reference}, SHA-256 {model.sha256}")
    screen.detail(
        f"on {separator.device} in {separator.precision_name}, chunks of {chunk:.2f} s, "
        f"overlap {separator.chunking.overlap:g}, {separator.chunking.batch_size * separator.side_by_side} at once"
    )
    return separator


def _rate(text: str) -> int | None:
    if text.lower() == "source":
        return None
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) < 1:
        raise UsageError(f"--sample-rate {text[:40]}: give Hz, as in 44100, or source")
    return int(text)
