"""One song → its tempo, beats, key and chords on disk, beside its stems.

OUTPUT/{track}/beats.txt and chords.txt, labels for Audacity and Sonic Visualiser; click.wav and backing.wav as asked
for; then analysis.json. That is a manifest like those of `separate`, with these keys beside theirs:

    "tempo": {"bpm", "confidence"}, "key": {"name", "confidence"}, "tuning_hz": of A4, "beats": [seconds],
    "chords": [{"start", "end", "name", "confidence"}], "chords_confidence": their mean, see `analysis.song`
    "stems_from": {stem: {"path", "sha256"}}: stems of `separate` that were used; only there if no separator ran
    "count_in_samples": before the song in the backing track; only there if there is one
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemsplit.analysis.beats import Tempo
from stemsplit.analysis.click import click_blocks, count_in
from stemsplit.analysis.song import Analysis, Listener
from stemsplit.audio import StemWriter, choose_depth, shared_gain
from stemsplit.audio.info import Warn
from stemsplit.errors import NotDerivableError, UnknownStemError, UsageError
from stemsplit.files.inputs import Input
from stemsplit.files.manifest import ANALYSIS_MANIFEST, MANIFEST_NAME, output_record, still_holds
from stemsplit.files.naming import track_folder
from stemsplit.files.spool import Spool
from stemsplit.machine.together import Together, written_together
from stemsplit.options import DEFAULT_TEMPLATE, AnalyseOptions, SeparateOptions
from stemsplit.runs.derive import DEPTHS, Derivation, Wanted, derive, records
from stemsplit.runs.jobs import Job, Progress, Record
from stemsplit.runs.plan import with_collisions
from stemsplit.runs.separate import track_settings
from stemsplit.runs.stem_tags import tag_stems
from stemsplit.separation.separator import Separator, render
from stemsplit.separation.source import file_source

UNSURE = 0.7
"""Below this confidence of the tempo there is a warning."""
UNSURE_KEY = 0.5
MOST_BARS = 16


def check_analyse_options(options: AnalyseOptions, stems: Sequence[str]) -> None:
    """Refuse what is wrong whatever the input is. `stems` are those of the model.

    Raises: UsageError, UnknownStemError.
    """
    if not 0 <= options.count_in <= MOST_BARS:
        raise UsageError(f"--count-in is 1 to {MOST_BARS} bars, not {options.count_in}")
    if not 1 <= options.beats_per_bar <= 12:
        raise UsageError(f"a bar has 1 to 12 beats, not {options.beats_per_bar}")
    if unknown := [name for name in options.without if name not in stems]:
        raise UnknownStemError(f"the model separates no {', '.join(unknown)}: it has {', '.join(stems)}")
    if not {"drums", "bass", "other"} & set(stems):
        raise UsageError(f"tempo and chords are heard in drums, bass and other; this model has {', '.join(stems)}")


def plan_analyses(inputs: Sequence[Input], options: AnalyseOptions) -> tuple[Job, ...]:
    """Where every output of every input goes. Inputs that would write over one another are jobs with an error."""
    return with_collisions([_job(item, options) for item in inputs])


def _job(item: Input, options: AnalyseOptions) -> Job:
    names = {"beats": "beats.txt", "chords": "chords.txt"}
    names |= {"click": "click.wav"} if options.click else {}
    names |= {"backing": "backing.wav"} if options.count_in else {}
    folder = track_folder(options.output, DEFAULT_TEMPLATE, item.track, item.path)
    targets = {} if item.error or item.made else {name: folder / file for name, file in names.items()}
    return Job(item.path, item.track, item.name, targets, folder / ANALYSIS_MANIFEST, item.error, item.made)


@dataclass(frozen=True)
class Analysing:
    """The work of a run that analyses. The separator gives all stems of its model."""

    separator: Separator
    options: AnalyseOptions
    on_detail: Callable[[str], object] = lambda text: None  # told why stems that are there are no use

    def is_finished(self, job: Job) -> bool:
        """Return whether the analysis of this very job is on disk already, unchanged."""
        return still_holds(
            job.manifest,
            source=job.source,
            model_sha256=self.separator.model.sha256,
            settings=self.options.settings(),
            targets=job.targets,
            salvage=self.options.salvage,
        )

    def carry_out(self, job: Job, *, on_progress: Progress | None = None, on_warning: Warn) -> dict[str, Any]:
        """Analyse one song, write what was asked for, and return its manifest, which is written last.

        Where `separate` has left stems, they are used: see `runs.derive`.

        Raises: AudioError, OutputError, ModelError and their kinds; nothing is left behind then.
        """
        record = Record(job, self.options, on_warning)
        derived = None if self.options.force else self._derived(job, record)
        with ExitStack() as stack:
            spool = stack.enter_context(Spool(record.info.channels)) if "backing" in job.targets else None
            found, samples = self._heard(record, derived, spool, on_progress)
            _warn_of_guesses(found, record.warn)
            together = stack.enter_context(written_together())
            about: dict[str, Any] = {"model": self.separator.about_model(), "settings": self.options.settings()}
            about |= self._written(job, record, found, samples, spool, together) | found.as_json()
            about |= {} if derived is None else {"stems_from": records(derived.stems, job.manifest)}
            if self.options.tags:
                stems = job.manifest.with_name(MANIFEST_NAME)
                tag_stems(stems, record.sha256, found, together, record.warn)
            return record.write(together, about)

    def _heard(
        self, record: Record, derived: Derivation | None, spool: Spool | None, on_progress: Progress | None
    ) -> tuple[Analysis, int]:
        """Listen to a song, and keep the backing track. Return what was heard, and the samples of the song."""
        names, rate = [output.name for output in self.separator.outputs], record.info.sample_rate
        kept = [i for i, name in enumerate(names) if name not in self.options.without]
        if derived is None:
            source = file_source(record.info)
            blocks = render(self.separator, source, rate, on_progress=on_progress, on_warning=record.warn)
        else:
            blocks = derived.rendered(rate, on_progress)
        listener = Listener(names, rate)
        with closing(blocks):
            for block in blocks:
                listener.add(block.outputs)
                if spool is not None:
                    spool.write(block.outputs[kept].sum(0))
        return listener.analysis(), listener.samples

    def _written(
        self, job: Job, record: Record, found: Analysis, samples: int, spool: Spool | None, together: Together
    ) -> dict[str, Any]:
        """Write the files, and return what the manifest says of them."""
        rate, places = record.info.sample_rate, {name: together.aside(path) for name, path in job.targets.items()}
        _write_labels(places, found)
        depth = choose_depth("wav", "auto", record.info.bit_depth)
        about: dict[str, Any] = {}
        if "click" in places:
            clicks = click_blocks(found.beats, rate, samples)
            _write_wav(job.targets["click"], clicks, rate, 1, depth, together, record.warn)
        if spool is not None:
            about["count_in_samples"], blocks = self._backing(found, spool, rate, depth)
            _write_wav(job.targets["backing"], blocks, rate, spool.channels, depth, together, record.warn)
        outputs = {name: output_record(job.manifest, job.targets[name], place) for name, place in places.items()}
        return about | {"outputs": outputs, "sample_rate": rate, "samples": samples}

    def _backing(self, found: Analysis, spool: Spool, rate: int, depth: str) -> tuple[int, Iterator[np.ndarray]]:
        """Return how many samples come before the song in the backing track, and all its blocks (channels, n)."""
        tempo = found.beat.tempo if found.beat.confidence else Tempo()
        first = float(found.beats[0]) if len(found.beats) else 0.0
        clicks, lead = count_in(tempo, first, self.options.count_in, self.options.beats_per_bar, rate)
        gain = shared_gain(max(spool.peak, 1e-9) + float(np.abs(clicks[lead:]).max(initial=0.0)), depth)

        def blocks() -> Iterator[np.ndarray]:
            yield np.tile(clicks[:lead], (spool.channels, 1)) * np.float32(gain)
            done = lead
            for block in spool.blocks(gain=gain):
                part = clicks[done : done + block.shape[1]]
                block[:, : len(part)] += part * np.float32(gain)
                done += block.shape[1]
                yield block

        return lead, blocks()

    def _derived(self, job: Job, record: Record) -> Derivation | None:
        """Find the stems that `separate` has left; None if the song has to be separated."""
        asked = SeparateOptions(audio_track=self.options.audio_track, time_range=self.options.time_range)
        settings = track_settings(self.separator, asked)
        manifest, rate = job.manifest.with_name(MANIFEST_NAME), record.info.sample_rate
        try:
            return derive(Wanted(manifest, record.sha256, self.separator.model.sha256, settings, rate, DEPTHS[0]))
        except NotDerivableError as error:
            if str(error):
                self.on_detail(f"{job.called}: separated anew, since {error}")
            return None


def _warn_of_guesses(found: Analysis, warn: Warn) -> None:
    if not len(found.beats):
        warn("no beat in it")
    elif found.beat.confidence < UNSURE:
        warn(f"the tempo is a guess: confidence {found.beat.confidence:.2f}")
    if found.key.confidence < UNSURE_KEY:
        warn(f"the key is a guess: confidence {found.key.confidence:.2f}")


def _write_labels(places: Mapping[str, Path], found: Analysis) -> None:
    """Write beats and chords as labels: start, end and text, with tabs between them."""
    beats = [f"{time:.3f}\t{time:.3f}\t{number}" for number, time in enumerate(found.beats, 1)]
    chords = [f"{chord.start:.3f}\t{chord.end:.3f}\t{chord.label(found.key)}" for chord in found.chords]
    for name, lines in (("beats", beats), ("chords", chords)):
        places[name].write_text("".join(f"{line}\n" for line in lines), encoding="ascii", newline="\n")


def _write_wav(
    target: Path,
    blocks: Iterator[np.ndarray],
    rate: int,
    channels: int,
    depth: str,
    together: Together,
    warn: Warn,
) -> None:
    with StemWriter(target, rate, channels, "wav", depth, warn=warn, together=together) as writer:
        for block in blocks:
            writer.write(block)
