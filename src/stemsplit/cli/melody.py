"""`stemsplit melody`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stemsplit.cli.batch.many import (
    CrewMaker,
    EngineOption,
    JobsOption,
    Many,
    RayAddressOption,
    ShardOption,
    crew_maker,
    many,
    part_of,
)
from stemsplit.cli.batch.run import STREAM, Talk, carry_out, describe, find, find_one, one_job, refuse_stdin_misuse
from stemsplit.cli.flags.shared import (
    DEFAULT_MELODY_MODEL,
    DEFAULT_MODEL,
    OUTPUT_PANEL,
    RUN_PANEL,
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
    as_place,
    as_range,
    model_names,
)
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import Screen, put_exactly
from stemsplit.cli.separate import ready as separator_ready
from stemsplit.errors import UsageError
from stemsplit.machine.streams import require_output
from stemsplit.options import (
    DEFAULT_MELODY_OUTPUT,
    DEFAULT_OUTPUT,
    ContourFormat,
    MelodyOptions,
    Smoothing,
)

if TYPE_CHECKING:
    from stemsplit.melody.reader import Reader

FIGURES = ("hop_ms", "frames", "voiced", "notes", "tuning_hz", "tempo_bpm", "tempo_confidence")
LINES_AT_ONCE = 4096


OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        parser=as_place,
        help="Folder or s3://… for the melodies; - is standard output.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
VocalsOption = Annotated[
    bool,
    typer.Option("--vocals", help="The inputs are voices already: separate nothing first.", rich_help_panel=RUN_PANEL),
    BASIC,
]
FormatOption = Annotated[
    ContourFormat,
    typer.Option(
        case_sensitive=False,
        help="csv has time,frequency,confidence; mirex tabs, and guesses below 0 Hz; "
        "sv only what is sung, for Sonic Visualiser.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
HopMsOption = Annotated[
    float,
    typer.Option(metavar="MS", help="Milliseconds from frame to frame.", rich_help_panel=OUTPUT_PANEL),
]
NotesOption = Annotated[
    bool, typer.Option("--notes", help="Write the notes too, as SONG.notes.csv.", rich_help_panel=OUTPUT_PANEL), BASIC
]
MidiOption = Annotated[
    bool,
    typer.Option("--midi", help="Write SONG.mid too, with bends that follow the voice.", rich_help_panel=OUTPUT_PANEL),
    BASIC,
]
TempoOption = Annotated[
    str | None,
    typer.Option(
        metavar="BPM|auto",
        help="Of the MIDI file; auto listens to the drums. It moves no note, only the grid.",
        show_default="120",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
BendsOption = Annotated[
    bool,
    typer.Option("--bends/--no-bends", help="Whether MIDI notes follow the voice.", rich_help_panel=OUTPUT_PANEL),
]
PlotOption = Annotated[
    bool,
    typer.Option("--plot", help="Draw SONG.melody.png too: the melody on a spectrogram.", rich_help_panel=OUTPUT_PANEL),
    BASIC,
]
UltrastarOption = Annotated[
    bool,
    typer.Option(
        "--ultrastar",
        help="Write SONG.txt too, for karaoke with UltraStar; with the words of SONG.lrc beside the song.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
TuningOption = Annotated[
    float | None,
    typer.Option(
        metavar="HZ",
        help="A4 that notes are counted from, as in 440.",
        show_default="estimated",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
FminOption = Annotated[
    float | None,
    typer.Option(
        metavar="HZ", help="No pitch below this.", show_default="the model's: about 80", rich_help_panel=RUN_PANEL
    ),
]
FmaxOption = Annotated[
    float | None,
    typer.Option(
        metavar="HZ", help="No pitch above this.", show_default="the model's: 1412", rich_help_panel=RUN_PANEL
    ),
]
VoicingThresholdOption = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="From this confidence on a frame is sung, from 0 to 1.",
        show_default="the model's",
        rich_help_panel=RUN_PANEL,
    ),
]
SmoothOption = Annotated[
    Smoothing,
    typer.Option(
        case_sensitive=False,
        help="viterbi follows the likeliest path, median calms it, none takes every frame by itself.",
        rich_help_panel=RUN_PANEL,
    ),
]
SeparatedOption = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        parser=as_path,
        help="Where `separate` put stems: vocals of the same model are used.",
        rich_help_panel=RUN_PANEL,
    ),
]
SeparatorOption = Annotated[
    str | None,
    typer.Option(
        metavar="REF",
        help="Model that separates the vocals first.",
        show_default=DEFAULT_MODEL,
        autocompletion=model_names,
        rich_help_panel=RUN_PANEL,
    ),
    BASIC,
]


def melody(
    inputs: Inputs,
    output: OutputOption = DEFAULT_MELODY_OUTPUT,
    vocals: VocalsOption = False,
    format: FormatOption = "csv",
    hop_ms: HopMsOption = 10.0,
    notes: NotesOption = False,
    midi: MidiOption = False,
    tempo: TempoOption = None,
    bends: BendsOption = True,
    plot: PlotOption = False,
    ultrastar: UltrastarOption = False,
    tuning: TuningOption = None,
    fmin: FminOption = None,
    fmax: FmaxOption = None,
    voicing_threshold: VoicingThresholdOption = None,
    smooth: SmoothOption = "viterbi",
    model: ModelReference = DEFAULT_MELODY_MODEL,
    separator: SeparatorOption = None,
    separated: SeparatedOption = DEFAULT_OUTPUT,
    raw: Raw = None,
    audio_track: AudioTrack = None,
    salvage: Salvage = False,
    time_range: TimeRangeOption = None,
    device: Device = "auto",
    shard: ShardOption = None,
    jobs: JobsOption = None,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    force: Force = False,
    dry_run: DryRun = False,
    json: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> int:
    """Write down the melody that is sung: melody/SONG.f0.csv, and its notes, MIDI and picture on request.

    The vocals are separated first, unless `separate` has left them, or --vocals says that the input is a voice. A song
    that is done already is skipped.

    Examples:
        stemsplit melody song.mp3                        # pitch every 10 ms, as CSV
        stemsplit melody album/ --notes --midi --plot    # of every song in a folder
        stemsplit melody voice.wav --vocals -o - | head  # nothing to separate
    """
    options = MelodyOptions(
        output=output,
        vocals=vocals,
        separated=separated,
        format=format,
        hop_ms=hop_ms,
        fmin=fmin,
        fmax=fmax,
        voicing_threshold=voicing_threshold,
        smooth=smooth,
        notes=notes,
        midi=midi,
        tempo=None if tempo is None else _tempo(tempo),
        bends=bends,
        plot=plot,
        ultrastar=ultrastar,
        tuning=tuning,
        device=device,
        force=force,
        audio_track=audio_track,
        salvage=salvage,
        time_range=as_range(time_range),
    )
    screen = Screen(quiet=quiet, verbose=verbose)
    refuse_stdin_misuse(inputs, raw)
    asked = many(inputs, output, shard, jobs, engine, ray_address)
    if vocals and separator is not None:
        raise UsageError("--vocals separates nothing: leave out --separator, or --vocals")
    models = model, separator or DEFAULT_MODEL
    if output == STREAM:
        _refuse_beside_stream(json, dry_run, notes, midi, plot, ultrastar)
        return _to_pipe(inputs, options, models, raw, screen)
    talk = Talk(screen, json=json, debug=debug, figures=FIGURES)
    return to_files(inputs, options, models, raw, dry_run, talk, asked)


def _tempo(text: str) -> float | Literal["auto"]:
    """Return what --tempo says. Raises: UsageError."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"--tempo is a number of beats per minute, or auto, not {text!r}") from error


def to_files(
    paths: Sequence[Path],
    options: MelodyOptions,
    models: tuple[str, str],
    raw: str | None,
    dry_run: bool,
    talk: Talk,
    asked: Many,
) -> int:
    """Plan, then read every input's melody into files; 1 if one of them failed."""
    found = find(paths, options.output, stem="vocals" if options.vocals else None)
    with talk.screen.starting_pytorch():
        from stemsplit.runs.transcribe import Transcribing, check_melody_options, plan_melodies
    check_melody_options(options)
    jobs = part_of(plan_melodies(found, options), asked, talk.screen)
    reader = _ready(options, models, talk.screen)
    work = Transcribing(reader, options, talk.screen.detail)
    if dry_run:
        return describe(jobs, work, talk)
    return carry_out(jobs, work, talk, raw, _crew(models, reader, options, asked, talk.screen))


def _crew(
    models: tuple[str, str], reader: Reader, options: MelodyOptions, asked: Many, screen: Screen
) -> CrewMaker | None:
    """Return what makes the workers of a run; None if this process does the work."""
    if not asked.has_crew:
        return None
    from stemsplit.runs.workers.setup import Asked, MelodySetup

    separator = None if reader.separator is None else Asked.of(models[1], reader.separator.model)
    return crew_maker(MelodySetup(Asked.of(models[0], reader.model), separator, options), reader, asked, screen)


def _refuse_beside_stream(*wanted: bool) -> None:
    if any(wanted):
        raise UsageError(
            "-o - writes a contour to standard output: it excludes --notes, --midi, --plot, --ultrastar, --json and "
            "--dry-run"
        )


def _to_pipe(
    paths: Sequence[Path], options: MelodyOptions, models: tuple[str, str], raw: str | None, screen: Screen
) -> int:
    """One file's contour, to standard output."""
    with screen.starting_pytorch():
        from stemsplit.audio import probe
        from stemsplit.melody.formats import format_named
        from stemsplit.melody.reader import listen
        from stemsplit.runs.transcribe import check_melody_options
        from stemsplit.separation.source import file_source

    check_melody_options(options)
    require_output()
    found = find_one(paths)
    reader = _ready(options, models, screen)
    with one_job(found, raw, screen) as (job, on_progress, on_warning):
        info = probe(job.source, track=options.audio_track, salvage=options.salvage, time_range=options.time_range)
        source = file_source(info)
        contour = listen(reader, source, on_progress=on_progress, on_warning=on_warning).contour
    _put_lines(format_named(options.format).lines(contour))
    return 0


def _put_lines(lines: Iterable[str]) -> None:
    lines = iter(lines)
    while some := list(islice(lines, LINES_AT_ONCE)):
        put_exactly("\n".join(some))


def _ready(options: MelodyOptions, models: tuple[str, str], screen: Screen) -> Reader:
    """Load the melody model, and the separator unless the inputs are voices; with -v their figures are told."""
    from stemsplit.machine.memory import keep_freed_memory
    from stemsplit.melody.reader import decoding_for, make_reader
    from stemsplit.runs.transcribe import separator_options
    from stemsplit.weights.model import load_model

    keep_freed_memory()
    reference, separator_reference = models
    with screen.downloading(reference) as progress:
        model = load_model(reference, "melody", progress=progress)
    decoding = decoding_for(model, options)
    screen.detail(f"model {model.reference}, SHA-256 {model.sha256}, voicing threshold {decoding.threshold:g}")
    if options.vocals:
        return make_reader(model, None, options)
    return make_reader(model, separator_ready(separator_reference, separator_options(options), screen), options)
