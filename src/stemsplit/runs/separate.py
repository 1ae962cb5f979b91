"""Songs → their stems on disk: everything that can be refused is refused first, then every song is a job.

A finished song has a manifest, written last, that says how it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from stemsplit.audio import AudioInfo, Tags, check_encodable, choose_depth, format_named, output_rate, probe, read_tags
from stemsplit.audio.encoding.bitrates import check_bitrate, output_bitrate
from stemsplit.audio.formats import track_format
from stemsplit.audio.info import Warn, rate_problem
from stemsplit.errors import NotDerivableError, OutputError, TargetCollisionError, UsageError
from stemsplit.files.inputs import Input
from stemsplit.files.manifest import MANIFEST_NAME, PAGE_NAME, output_record, still_holds
from stemsplit.files.naming import Paths, check_template, same_place, stem_path, track_folder
from stemsplit.machine.together import Together, written_together
from stemsplit.options import CLIPS, PICTURED, SeparateOptions
from stemsplit.runs.derive import Derivation, Wanted, derive
from stemsplit.runs.jobs import Job, Progress, Record
from stemsplit.runs.pace import Pace
from stemsplit.runs.plan import with_collisions
from stemsplit.runs.stem_files import Form, Levels, stem_files, write_pipe
from stemsplit.separation.ensemble import AnySeparator
from stemsplit.separation.source import file_source

if TYPE_CHECKING:
    from stemsplit.runs.player import WithPage


PACK = "stem file"
"""What the only output is called where all stems go into one file."""


def check_options(options: SeparateOptions) -> None:
    """Refuse what is wrong whatever the input is.

    Raises: UsageError.
    """
    check_template(options.template)
    row = format_named(options.format)
    choose_depth(options.format, options.bit_depth)
    check_bitrate(track_format(options.format), options.bitrate)
    if options.clip not in CLIPS:
        raise UsageError(f"unknown --clip {options.clip!r}: choose one of {', '.join(CLIPS)}")
    if options.exact_sum and row.lossy:
        raise UsageError(f"--exact-sum needs wav, flac, alac or aiff: {row.name} changes samples")
    if options.daw not in (None, "reaper"):
        raise UsageError(f"unknown --daw {options.daw!r}: there is reaper")
    if options.packed and (options.player or options.daw):
        raise UsageError(f"--{'player' if options.player else 'daw'} needs a file per stem: choose another --format")
    if options.format.lower() in PICTURED and options.time_range is not None:
        raise UsageError(f"--format {options.format} keeps the whole picture: leave out --time-range, or write m4a")
    rate = options.sample_rate
    if rate is not None and (problem := rate_problem(rate)):
        raise UsageError(f"--sample-rate {rate}: {problem}")
    if rate is not None and output_rate(options.format, rate) != rate:
        best = output_rate(options.format, rate)
        raise UsageError(f"{row.name} cannot hold {rate} Hz: use --sample-rate {best}, or --format wav")


def plan(inputs: Sequence[Input], separator: AnySeparator, options: SeparateOptions) -> tuple[Job, ...]:
    """Where every stem of every input goes. Inputs that would write over one another are jobs with an error.

    Raises: TargetCollisionError, UsageError.
    """
    if options.packed:
        from stemsplit.separation.beside import check_packable  # few runs want it

        check_packable(separator.reference, separator.stems, separator.outputs)
    extension = format_named(options.format).suffix
    jobs = [_job(item, separator, options, extension) for item in inputs]
    return with_collisions(jobs, ", or put {suffix} or {folder} into --template")


def _job(item: Input, separator: AnySeparator, options: SeparateOptions, extension: str) -> Job:
    folder = track_folder(options.output, options.template, item.track, item.path)
    outputs = [PACK] if options.packed else [output.name for output in separator.outputs]
    names = () if item.error or item.made else outputs
    targets = {
        name: stem_path(options.output, options.template, item.track, name, extension, source=item.path)
        for name in names
    }
    if len({same_place(path) for path in targets.values()}) < len(targets):
        path = next(iter(targets.values()))
        raise TargetCollisionError(f"all stems of {item.name} would be {path}: put {{stem}} into --template")
    beside = (folder / PAGE_NAME,) if options.player and targets else ()
    manifest = folder / MANIFEST_NAME
    return Job(item.path, item.track, item.name, Paths(targets), manifest, item.error, item.made, beside, item.mark)


def work_for(
    separator: AnySeparator, options: SeparateOptions, on_detail: Callable[[str], object] = lambda text: None
) -> Separating | WithPage:
    """Return what a run does to every song. `on_detail` is told why stems that are there are no use."""
    separating = Separating(separator, options, on_detail)
    if not options.player:
        return separating
    from stemsplit.runs.player import WithPage

    return WithPage(separating)


@dataclass(frozen=True)
class Separating:
    """The work of a run that separates."""

    separator: AnySeparator
    options: SeparateOptions
    on_detail: Callable[[str], object] = lambda text: None  # told why stems that are there are no use

    def is_finished(self, job: Job) -> bool:
        """Return whether the stems of this very job are on disk already, unchanged."""
        return still_holds(
            job.manifest,
            source=job.source,
            model_sha256=self.separator.sha256,
            settings=track_settings(self.separator, self.options),
            targets=job.targets,
            salvage=self.options.salvage,
            known=job.known,
        )

    def carry_out(self, job: Job, *, on_progress: Progress | None = None, on_warning: Warn) -> dict[str, Any]:
        """Separate one file, and return its manifest, which is written last.

        Where stems of an earlier run will do, the outputs are derived from them: see `runs.derive`.

        Raises: AudioError, OutputError, ModelError and their kinds; nothing is left behind then.
        """
        options = self.options
        record = Record(job, options, on_warning)
        pace = Pace(on_progress, record.info.seconds)
        form = form_for(record.info, self.options, record.warn)
        named, outputs = tags_for(job, record, cover=self.options.cover), self.separator.outputs
        derived = None if self.options.force else self._derived(job, record, form)
        if derived is not None:
            form = replace(form, exact_sum=False)  # the stems have it already
            blocks = derived.rendered(form.sample_rate, pace.network)
        else:
            source = file_source(record.info)
            folder = next(iter(job.targets.values())).parent
            blocks = self.separator.rendered(
                source, form.sample_rate, on_progress=pace.network, on_warning=record.warn, folder=folder
            )
        if options.packed:
            from stemsplit.separation.beside import SONG, with_song  # few runs want it

            outputs, blocks = (*outputs, SONG), with_song(blocks, file_source(record.info), form.sample_rate)
        with written_together() as together:
            with (
                closing(blocks),
                stem_files(
                    outputs, job.targets, form, together, tags=named, pace=pace, on_warning=record.warn
                ) as files,
            ):
                for block in blocks:
                    files.write(block)
            about = _about(job, self.separator, self.options, form, files.levels, together)
            if derived is not None:
                about |= derived.about(job.manifest, form.bit_depth)
            if self.options.daw is not None:
                from stemsplit.runs.project import write_project  # few runs want it

                levels = files.levels
                about |= write_project(job, levels.frames, form.sample_rate, record.sha256, together, record.warn)
            return record.write(together, about)

    def _derived(self, job: Job, record: Record, form: Form) -> Derivation | None:
        """Find stems that are there; None if the network has to run."""
        settings = track_settings(self.separator, self.options)
        depth = coarsest_depth(form, record.info)
        wanted = Wanted(job.manifest, record.sha256, self.separator.sha256, settings, form.sample_rate, depth)
        try:
            return derive(wanted)
        except NotDerivableError as error:
            if str(error):
                self.on_detail(f"{job.called}: separated anew, since {error}")
            return None


def tags_for(job: Job, record: Record, *, cover: bool) -> dict[str, Tags]:
    """Return the tags of the outputs of a job: those of its source, and what each is."""
    tags = read_tags(job.source, record.warn, cover=cover)
    return {stem: tags if stem == PACK else tags.for_stem(stem, Path(job.track).name) for stem in job.targets}


def pipe_track(
    source: Path,
    stream: BinaryIO,
    separator: AnySeparator,
    options: SeparateOptions,
    *,
    raw: bool = False,
    on_progress: Progress | None = None,
    on_warning: Warn,
) -> bool:
    """Separate one file into the only output of `separator` on a pipe; False if its reader went away."""
    info = probe(source, track=options.audio_track, salvage=options.salvage, time_range=options.time_range)
    form = form_for(info, options, on_warning)
    rendered = separator.rendered(file_source(info), form.sample_rate, on_progress=on_progress, on_warning=on_warning)
    # Not behind the network: a reader that waits would keep Ctrl-C waiting for its thread.
    with closing(rendered):
        return write_pipe(stream, rendered, separator.outputs, form, raw=raw, on_warning=on_warning)


def form_for(info: AudioInfo, options: SeparateOptions, on_warning: Warn) -> Form:
    """How the stems of this file are written.

    Raises: OutputError if the format cannot hold them.
    """
    depth = choose_depth(options.format, options.bit_depth, info.bit_depth)
    wanted = options.sample_rate or info.sample_rate
    rate = output_rate(options.format, wanted)
    if rate != wanted:
        on_warning(f"{options.format} cannot hold {wanted} Hz: the stems have {rate} Hz")
    channels = 2 if options.packed else info.channels
    bitrate = output_bitrate(track_format(options.format), options.bitrate, rate, channels)
    if options.bitrate is not None and bitrate is not None and bitrate != options.bitrate:
        on_warning(
            f"{options.format} cannot have {options.bitrate / 1000:g} kbit/s at {rate} Hz with {channels} "
            f"channels: the stems have {bitrate / 1000:g}"
        )
    frames = info.frames if rate == info.sample_rate else None
    check_encodable(options.format, rate, info.channels, frames, depth)
    picture = _picture(info, options, on_warning) if options.format.lower() in PICTURED else None
    return Form(options.format, depth, rate, info.channels, frames, options.clip, options.exact_sum, bitrate, picture)


def _picture(info: AudioInfo, options: SeparateOptions, on_warning: Warn) -> tuple[Path, int | None] | None:
    """Return where the picture of a video is copied from; None if there is none. Raises: OutputError."""
    from stemsplit.audio.encoding.picture import HELD, picture_kind  # few runs want it

    if (kind := picture_kind(info.path)) is None:
        on_warning(f"there is no picture in it: an {options.format} of sound alone")
        return None
    if kind not in HELD:
        raise OutputError(f"an {options.format} cannot hold its picture, which is {kind}: use --format m4a")
    return info.path, info.track


def coarsest_depth(form: Form, info: AudioInfo) -> str:
    """Return the bit depth that stems must have for files of this form to be derived from them."""
    return choose_depth("wav", "auto", info.bit_depth) if format_named(form.format).lossy else form.bit_depth


def track_settings(separator: AnySeparator, options: SeparateOptions) -> dict[str, Any]:
    """Return what decides over the written bytes besides input and model."""
    outputs = {
        output.name: {
            "stems": [stem for stem, weight in zip(separator.stems, output.weights, strict=True) if weight],
            "residual": output.residual,
        }
        for output in separator.outputs
    }
    return {"outputs": outputs, **separator.chunk_settings(), **options.settings()}


def _about(
    job: Job, separator: AnySeparator, options: SeparateOptions, form: Form, levels: Levels, together: Together
) -> dict[str, Any]:
    return {
        "model": separator.about_model(),
        "settings": track_settings(separator, options),
        "device": str(separator.device),
        "precision": separator.precision_name,
        **written_record(job, form, levels, together),
    }


def written_record(job: Job, form: Form, levels: Levels, together: Together) -> dict[str, Any]:
    """Return what a manifest says of the files that were written."""
    peaks = levels.peaks
    if PACK in job.targets and PACK not in peaks:
        peaks = {PACK: max(peaks.values())}
    return {
        "outputs": {
            stem: output_record(job.manifest, target, together.aside(target), peaks[stem])
            for stem, target in job.targets.items()
        },
        "sample_rate": form.sample_rate,
        "bit_depth": form.bit_depth,
        "samples": levels.frames,
        "gain": levels.gain,
    }
