"""`stemsplit separate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

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
    AudioTrack,
    BatchSizeOption,
    Debug,
    Device,
    DryRun,
    Force,
    Inputs,
    JsonLines,
    OverlapOption,
    PrecisionOption,
    PresetOption,
    QualityOption,
    Quiet,
    Raw,
    Salvage,
    TimeRangeOption,
    Verbose,
    YesOption,
    as_range,
    is_from,
    left_out,
)
from stemsplit.cli.flags.stems import (
    BitDepthOption,
    BitrateOption,
    ChunkSecondsOption,
    ClipOption,
    DawOption,
    ExactSumOption,
    FormatOption,
    MixOption,
    ModelsOption,
    NoCoverOption,
    OutputOption,
    PlayerOption,
    SampleRateOption,
    StemsOption,
    TemplateOption,
    TwoStemsOption,
    WithoutOption,
)
from stemsplit.cli.layout.screen import Screen
from stemsplit.cli.quality.consent import Consent, with_way_back
from stemsplit.cli.quality.levels import hint_for, models_for
from stemsplit.errors import ModelError, UnknownModelError, UsageError
from stemsplit.files.places import Address
from stemsplit.machine.streams import ReaderGone, is_terminal, output_bytes
from stemsplit.options import (
    DEFAULT_OUTPUT,
    DEFAULT_TEMPLATE,
    PACK_TEMPLATE,
    PACKS,
    WITHOUT_TEMPLATE,
    SeparateOptions,
)

if TYPE_CHECKING:
    from stemsplit.files.inputs import Input
    from stemsplit.networks.contract import SeparatorNetwork
    from stemsplit.separation.ensemble import AnySeparator
    from stemsplit.separation.separator import Separator
    from stemsplit.weights.model import Model

MOST_DIGITS = 9
"""Of a sample rate in Hz: a billion is beyond every format."""


def separate(
    context: typer.Context,
    inputs: Inputs,
    output: OutputOption = DEFAULT_OUTPUT,
    preset: PresetOption = None,
    model: ModelsOption = None,
    quality: QualityOption = None,
    yes: YesOption = False,
    stems: StemsOption = None,
    two_stems: TwoStemsOption = None,
    without: WithoutOption = None,
    mix: MixOption = None,
    exact_sum: ExactSumOption = False,
    format: FormatOption = "wav",
    bit_depth: BitDepthOption = "auto",
    bitrate: BitrateOption = None,
    sample_rate: SampleRateOption = "source",
    clip: ClipOption = "rescale",
    no_cover: NoCoverOption = False,
    template: TemplateOption = None,
    daw: DawOption = None,
    player: PlayerOption = False,
    raw: Raw = None,
    audio_track: AudioTrack = None,
    salvage: Salvage = False,
    time_range: TimeRangeOption = None,
    chunk_seconds: ChunkSecondsOption = None,
    overlap: OverlapOption = None,
    batch_size: BatchSizeOption = None,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
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
    """Split songs into stems: separated/SONG/vocals.wav and so on.

    Every stem has its song's exact length, sample rate and channels. A song that is done already is skipped.

    Examples:
        stemsplit separate song.mp3                    # four stems, as WAV
        stemsplit separate album/ -o stems -f flac     # every song in a folder
        stemsplit separate song.m4a --without vocals   # the backing track
        stemsplit separate song.wav --stems drums,bass # these two alone
    """
    left = left_out(context)
    stems, two_stems, without, quality = (
        None if name in left else value
        for name, value in (("stems", stems), ("two_stems", two_stems), ("without", without), ("quality", quality))
    )
    mix, model = (None if name in left else value for name, value in (("mix", mix), ("model", model)))
    if output == STREAM:  # a pipe takes one form, whatever is usual for files
        format = "wav" if is_from(context, "format", "DEFAULT_MAP") else format
        player = player and not is_from(context, "player", "DEFAULT_MAP")
    options = SeparateOptions(
        output=output,
        template=template or _template(format, without),
        stems=stems,
        two_stems=two_stems,
        without=without,
        mix=tuple(mix or ()),
        exact_sum=exact_sum,
        format=format,
        bit_depth=bit_depth,
        bitrate=parsed_bitrate(bitrate, format),
        sample_rate=_rate(sample_rate),
        clip=clip,
        cover=not no_cover,
        daw=daw,
        chunk_seconds=chunk_seconds,
        overlap=overlap,
        batch_size=batch_size,
        device=device,
        precision=precision,
        force=force,
        audio_track=audio_track,
        salvage=salvage,
        time_range=as_range(time_range),
        player=player,
    )
    screen, models = Screen(quiet=quiet, verbose=verbose), models_for(quality, model)
    consent = None if quality is None else Consent(quality.lower(), models, yes, device)
    refuse_stdin_misuse(inputs, raw)
    asked = many(inputs, output, shard, jobs, engine, ray_address)
    if output == STREAM:
        if json or dry_run or player:
            raise UsageError("-o - writes a stem to standard output: it excludes --json, --dry-run and --player")
        return _to_pipe(inputs, options, raw, models, screen, consent)
    if isinstance(output, Address) and (player or daw is not None):
        raise UsageError("--player and --daw write beside stems on this machine: leave them out, or name a folder here")
    if format == "raw":
        raise UsageError("--format raw has no header and needs a pipe: add -o -, or choose another format")
    hint = partial(hint_for, inputs) if model is None and quality is None else None
    return to_files(
        inputs,
        options,
        models,
        screen,
        consent,
        raw=raw,
        dry_run=dry_run,
        json=json,
        debug=debug,
        hint=hint,
        asked=asked,
    )


def _template(format: str, without: str | None) -> str:
    """Return where stems go that are told no other place."""
    if format in PACKS:
        return PACK_TEMPLATE
    return DEFAULT_TEMPLATE if without is None else WITHOUT_TEMPLATE


def to_files(
    paths: Sequence[Path],
    options: SeparateOptions,
    models: Sequence[str],
    screen: Screen,
    consent: Consent | None = None,
    *,
    raw: str | None = None,
    dry_run: bool = False,
    json: bool = False,
    debug: bool = False,
    hint: Callable[[], str] | None = None,
    asked: Many = Many(),  # noqa: B008
) -> int:
    """Plan, then separate every input into files; 1 if one of them failed."""
    found = find(paths, options.output)  # a name that is wrong is told at once
    with screen.starting_pytorch(" and ".join(models)):
        from stemsplit.runs.separate import check_options, plan, work_for
    check_options(options)
    separator = ready_all(models, options, screen, consent, found)
    work = work_for(separator, options, screen.detail)
    figures = ("gain", "precision", *(("player",) if options.player else ()))
    talk = Talk(screen, json=json, debug=debug, figures=figures, hint=hint)
    jobs = part_of(plan(found, separator, options), asked, screen)
    if dry_run:
        return describe(jobs, work, talk)
    code = carry_out(jobs, work, talk, raw, _crew(models, separator, options, asked, screen))
    if options.player:
        _list_pages(options, screen)
    return code


def _list_pages(options: SeparateOptions, screen: Screen) -> None:
    """Write the page that lists the songs of the output folder, if there are several with a page."""
    from stemsplit.runs.player import write_index

    if (index := write_index(options.output, force=options.force)) is not None:
        screen.note(f"all songs: open {index} in a browser")


def _crew(
    models: Sequence[str], separator: AnySeparator, options: SeparateOptions, asked: Many, screen: Screen
) -> CrewMaker | None:
    """Return what makes the workers of a run; None if this process does the work. Raises: UsageError."""
    if not asked.has_crew:
        return None
    from stemsplit.runs.workers.setup import Asked, SeparateSetup
    from stemsplit.separation.separator import Separator

    if not isinstance(separator, Separator):
        raise UsageError("several models run in one process: leave out --jobs and --engine, or name one model")
    setup = SeparateSetup(Asked.of(models[0], separator.model), options)
    return crew_maker(setup, separator, asked, screen)


def _to_pipe(
    paths: Sequence[Path],
    options: SeparateOptions,
    raw: str | None,
    models: Sequence[str],
    screen: Screen,
    consent: Consent | None,
) -> int:
    """One file, one stem, to standard output."""
    if options.format not in ("wav", "raw"):
        raise UsageError(f"-o - writes wav or raw, not {options.format}: name a folder, or leave out --format")
    if is_terminal(sys.stdout):
        raise UsageError("-o - writes audio, and standard output is a terminal: add > vocals.wav, or | a player")
    stream, found = output_bytes(), find_one(paths)
    with screen.starting_pytorch(" and ".join(models)):
        from stemsplit.runs.separate import check_options, pipe_track
    bare, options = options.format == "raw", replace(options, format="wav")
    check_options(options)
    separator = ready_all(models, options, screen, consent, [found])
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
    """Load the separator of a run that has one model; with -v its figures are told."""
    from stemsplit.separation.separator import make_separator

    separator = make_separator(loaded(screen, reference), options)
    _tell(separator, screen)
    return separator


def ready_all(
    models: Sequence[str],
    options: SeparateOptions,
    screen: Screen,
    consent: Consent | None = None,
    inputs: Sequence[Input] = (),
) -> AnySeparator:
    """Load the models of a run, see `runs.models`; with -v their figures are told.

    With `consent` nothing is downloaded for these inputs before a person has agreed.
    """
    from stemsplit.runs.models import separator_for
    from stemsplit.separation.ensemble import Ensemble

    try:
        if consent is not None:
            consent.require(inputs, screen)
        separator = separator_for(models, options, partial(loaded, screen))
    except (ModelError, UnknownModelError) as error:
        raise (error if consent is None else with_way_back(error)) from error
    members = [member.separator for member in separator.members] if isinstance(separator, Ensemble) else [separator]
    for member in members:
        _tell(member, screen)
    return separator


def loaded(screen: Screen, reference: str) -> Model[SeparatorNetwork]:
    """Load a model; a download is shown. Raises: ModelError, UnknownModelError, UsageError."""
    from stemsplit.machine.memory import keep_freed_memory
    from stemsplit.weights.model import load_model

    keep_freed_memory()
    with screen.downloading(reference) as progress:
        return load_model(reference, "separate", progress=progress)


def _tell(separator: Separator, screen: Screen) -> None:
    model, chunking = separator.model, separator.chunking
    chunk = chunking.chunk_samples / model.network.config.sample_rate
    screen.detail(f"model {model.reference}, SHA-256 {model.sha256}")
    screen.detail(
        f"on {separator.device} in {separator.precision_name}, chunks of {chunk:.2f} s, "
        f"overlap {chunking.overlap:g}, {chunking.batch_size * separator.side_by_side} at once"
    )


def parsed_bitrate(text: str | None, format: str) -> int | None:
    """Return bit/s; None for the usual rate. Raises: UsageError, also for a format that has none."""
    if text is None:
        return None
    from stemsplit.audio.encoding.bitrates import check_bitrate, parse_bitrate

    bitrate = parse_bitrate(text)
    check_bitrate("wav" if format == "raw" else format, bitrate)
    return bitrate


def _rate(text: str) -> int | None:
    if text.lower() == "source":
        return None
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) < 1:
        raise UsageError(f"--sample-rate {text[:40]}: give Hz, as in 44100, or source")
    return int(text)
