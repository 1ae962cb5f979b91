"""One song → its stems on disk, and the manifest that says how."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from stemsplit.audio import AudioInfo, check_encodable, choose_depth, output_rate, probe, read_tags
from stemsplit.audio.info import Warn
from stemsplit.files.manifest import output_record, still_holds
from stemsplit.jobs import Job, Progress, recorded
from stemsplit.options import SeparateOptions
from stemsplit.separation.separator import Separator, render, render_into
from stemsplit.separation.source import file_source
from stemsplit.stem_files import Form, Levels, write_files, write_pipe


def separate_track(
    job: Job,
    separator: Separator,
    options: SeparateOptions,
    *,
    on_progress: Progress | None = None,
    on_warning: Warn,
) -> dict[str, Any]:
    """Separate one file, and return its manifest, which is written last.

    Raises: AudioError, OutputError, ModelError and their kinds; nothing is left behind then.
    """

    def make(info: AudioInfo, warn: Warn) -> dict[str, Any]:
        form = form_for(info, options, warn)
        tags = read_tags(job.source, warn)
        levels = write_files(
            partial(
                render_into,
                separator=separator,
                source=file_source(info),
                sample_rate=form.sample_rate,
                on_progress=on_progress,
                on_warning=warn,
            ),
            separator.outputs,
            job.targets,
            form,
            tags={stem: tags.for_stem(stem, Path(job.track).name) for stem in job.targets},
            on_warning=warn,
        )
        return _about(job, separator, options, form, levels)

    return recorded(job, make, on_warning)


def pipe_track(
    source: Path,
    stream: BinaryIO,
    separator: Separator,
    options: SeparateOptions,
    *,
    raw: bool = False,
    on_progress: Progress | None = None,
    on_warning: Warn,
) -> bool:
    """Separate one file into the only output of `separator` on a pipe; False if its reader went away."""
    info = probe(source)
    form = form_for(info, options, on_warning)
    rendered = render(separator, file_source(info), form.sample_rate, on_progress=on_progress, on_warning=on_warning)
    # Not behind the network: a reader that waits would keep Ctrl-C waiting for its thread.
    with closing(rendered):
        return write_pipe(stream, rendered, separator.outputs, form, raw=raw, on_warning=on_warning)


def is_finished(job: Job, separator: Separator, options: SeparateOptions) -> bool:
    """Whether the stems of this very job are on disk already, unchanged."""
    return still_holds(
        job.manifest,
        source=job.source,
        model_sha256=separator.model.sha256,
        settings=track_settings(separator, options),
        targets=job.targets,
    )


def form_for(info: AudioInfo, options: SeparateOptions, on_warning: Warn) -> Form:
    """How the stems of this file are written.

    Raises: OutputError if the format cannot hold them.
    """
    depth = choose_depth(options.format, options.bit_depth, info.bit_depth)
    wanted = options.sample_rate or info.sample_rate
    rate = output_rate(options.format, wanted)
    if rate != wanted:
        on_warning(f"{options.format} cannot hold {wanted} Hz: the stems have {rate} Hz")
    frames = info.frames if rate == info.sample_rate else None
    check_encodable(options.format, rate, info.channels, frames, depth)
    return Form(options.format, depth, rate, info.channels, frames, options.clip, options.exact_sum)


def track_settings(separator: Separator, options: SeparateOptions) -> dict[str, Any]:
    """What, next to input and model, decides over the written bytes."""
    stems = separator.model.network.config.stems
    outputs = {
        output.name: {
            "stems": [stem for stem, weight in zip(stems, output.weights, strict=True) if weight],
            "residual": output.residual,
        }
        for output in separator.outputs
    }
    chunking = {"chunk_samples": separator.chunking.chunk_samples, "overlap": separator.chunking.overlap}
    return {"outputs": outputs, **chunking, **options.settings()}


def _about(job: Job, separator: Separator, options: SeparateOptions, form: Form, levels: Levels) -> dict[str, Any]:
    return {
        "model": {"reference": separator.model.reference, "sha256": separator.model.sha256},
        "settings": track_settings(separator, options),
        "device": str(separator.device),
        "outputs": {
            stem: output_record(job.manifest, target, peak=levels.peaks[stem]) for stem, target in job.targets.items()
        },
        "sample_rate": form.sample_rate,
        "bit_depth": form.bit_depth,
        "samples": levels.frames,
        "gain": levels.gain,
    }
