"""Stems that `separate` has left → mixes of them; no network ever runs. What will do is told by `runs.derive`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stemsplit.audio import format_named
from stemsplit.audio.info import Warn
from stemsplit.errors import NotDerivableError, StemsplitError, UsageError
from stemsplit.files.inputs import Input
from stemsplit.files.manifest import MANIFEST_NAME, read_manifest, selection_for, selections, still_holds
from stemsplit.files.naming import stem_path, track_folder
from stemsplit.machine.together import written_together
from stemsplit.options import SeparateOptions
from stemsplit.runs.derive import Derivation, Wanted, derive
from stemsplit.runs.jobs import Job, Progress, Record
from stemsplit.runs.pace import Pace
from stemsplit.runs.plan import with_collisions
from stemsplit.runs.separate import coarsest_depth, form_for, tags_for, written_record
from stemsplit.runs.stem_files import Form, stem_files
from stemsplit.separation.stems import Output, select


def song_of(folder: Path, output: Path) -> Input:
    """Return the song whose stems lie in a folder below `output`, or what is wrong with it."""
    said = (read_manifest(folder / MANIFEST_NAME) or {}).get("input")
    location = said.get("location") if isinstance(said, dict) else None
    below, real = os.path.realpath(output), os.path.realpath(folder)
    if not isinstance(location, str) or not Path(location).is_file():
        error = UsageError(f"{folder}: its song is not where it was: name the song")
    elif not Path(real).is_relative_to(below):
        error = UsageError(f"{folder}: not below {output}: add -o {folder.parent}")
    else:
        return Input(Path(location), Path(real).relative_to(below).as_posix(), str(folder))
    return Input(folder, folder.name, str(folder), error)


def plan_mixes(inputs: Sequence[Input], options: SeparateOptions) -> tuple[Job, ...]:
    """Where every mix of every input goes. An input without stems is a job with an error."""
    return with_collisions([_job(item, options) for item in inputs])


def _job(item: Input, options: SeparateOptions) -> Job:
    folder = track_folder(options.output, options.template, item.track, item.path)
    job = Job(item.path, item.track, item.name, {}, folder / MANIFEST_NAME, item.error, item.made)
    if item.error or item.made:
        return job
    try:
        outputs = _outputs(_bases(job)[0], options)
        extension = format_named(options.format).suffix
        paths = {
            output.name: stem_path(
                options.output, options.template, item.track, output.name, extension, source=item.path
            )
            for output in outputs
        }
    except StemsplitError as error:
        return replace(job, error=error)
    return replace(job, targets=paths)


def _bases(job: Job) -> list[Mapping[str, Any]]:
    """Return the selections that say all that a mix has to know, newest first. Raises: NotDerivableError."""
    manifest = read_manifest(job.manifest)
    found = [
        made
        for made in selections(manifest or {})
        if isinstance(made.get("settings"), dict)
        and isinstance(made.get("model"), dict)
        and {"stems", "sha256"} <= made["model"].keys()
    ]
    if not found:
        raise _missing(job, "no stems" if manifest is None else "no stems of this version")
    return found


def _missing(job: Job, why: str) -> NotDerivableError:
    folder, stems = job.manifest.parent, "the stems there"
    found = f"the stems in {folder}{why[len(stems) :]}" if why.startswith(stems) else f"{why} in {folder}"
    return NotDerivableError(f"{job.called}: {found}: `stemsplit separate` makes them, with the same options too")


def _outputs(base: Mapping[str, Any], options: SeparateOptions) -> tuple[Output, ...]:
    """Return what is to be mixed of the stems of a selection's model. Raises: UsageError and its kinds."""
    if options.without is not None:
        return select(base["model"]["stems"], without=options.without, mix=options.mix)
    names = [text.partition("=")[0].strip() for text in options.mix]
    return select(base["model"]["stems"], stems=names, mix=options.mix)


def _settings(base: Mapping[str, Any], options: SeparateOptions) -> dict[str, Any]:
    stems = base["model"]["stems"]
    outputs = {
        output.name: {
            "stems": [stem for stem, weight in zip(stems, output.weights, strict=True) if weight],
            "residual": output.residual,
        }
        for output in _outputs(base, options)
    }
    written = {"format": options.format, "bit_depth": options.bit_depth, "clip": options.clip}
    rate = {} if options.bitrate is None else {"bitrate": options.bitrate}
    kept = {name: value for name, value in base["settings"].items() if name != "bitrate"}
    return {**kept, "outputs": outputs, **written, **rate}


@dataclass(frozen=True)
class Mixing:
    """The work of a run that mixes."""

    options: SeparateOptions

    def is_finished(self, job: Job) -> bool:
        """Return whether the mixes of this very job are on disk already, unchanged."""
        made = selection_for(job.manifest, job.targets)
        return made is not None and any(
            still_holds(
                job.manifest,
                source=job.source,
                model_sha256=base["model"]["sha256"],
                settings=_settings(base, self.options),
                targets=job.targets,
            )
            for base in _bases(job)
        )

    def carry_out(self, job: Job, *, on_progress: Progress | None = None, on_warning: Warn) -> dict[str, Any]:
        """Mix the stems of one song, and return its manifest, which is written last.

        Raises: NotDerivableError, AudioError, OutputError and their kinds; nothing is left behind then.
        """
        record = Record(job, self.options, on_warning)
        pace = Pace(on_progress, record.info.seconds)
        form = form_for(record.info, self.options, record.warn)
        base, derived = self._derived(job, record, form)
        named, outputs = tags_for(job, record, cover=self.options.cover), _outputs(base, self.options)
        blocks = derived.rendered(form.sample_rate, pace.network)
        with written_together() as together:
            with (
                closing(blocks),
                stem_files(
                    outputs, job.targets, form, together, tags=named, pace=pace, on_warning=record.warn
                ) as files,
            ):
                for block in blocks:
                    files.write(block)
            about = {"model": base["model"], "settings": _settings(base, self.options)}
            about |= written_record(job, form, files.levels, together) | derived.about(job.manifest, form.bit_depth)
            return record.write(together, about)

    def _derived(self, job: Job, record: Record, form: Form) -> tuple[Mapping[str, Any], Derivation]:
        """Find a selection whose stems will do. Raises: NotDerivableError."""
        whys, depth = [], coarsest_depth(form, record.info)
        for base in _bases(job):
            model, settings = base["model"]["sha256"], _settings(base, self.options)
            wanted = Wanted(job.manifest, record.sha256, model, settings, form.sample_rate, depth, as_written=True)
            try:
                return base, derive(wanted)
            except NotDerivableError as error:
                whys.append(str(error))
        raise _missing(job, whys[0])
