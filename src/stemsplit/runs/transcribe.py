"""One song → its melody on disk, and the manifest that says how.

DIR/{track}.f0.csv (or what the format is called) and, as asked for, .notes.csv, .mid, .melody.png and .txt; then
DIR/{track}.melody.json. That is a manifest like those of `separate`, with these keys beside theirs:

    "separator": {"reference", "sha256"}, or null for a voice,
    "sample_rate", "samples": of the voice as the network got it,
    "hop_ms", "frames": of the contour, "voiced": share of them, "tuning_hz": of A4, "notes": how many
    "vocals_from": {stem: {"path", "sha256"}}: stems of `separate` that were used; only there if no separator ran,
    "tempo_bpm", "tempo_confidence": what --tempo auto heard
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemsplit.analysis.beats import Beat, Drums, Tempo, check_beat_tracker, checked_tempo
from stemsplit.audio import read_tags
from stemsplit.audio.info import Warn
from stemsplit.errors import NotDerivableError, UsageError
from stemsplit.files.inputs import Input
from stemsplit.files.manifest import MANIFEST_NAME, MELODY_MANIFEST, output_record, still_holds
from stemsplit.files.naming import NAME_BYTES, Paths, shortened, track_folder
from stemsplit.machine.together import Together, written_together
from stemsplit.melody.formats import format_named, write_contour
from stemsplit.melody.karaoke.song import heading_for, sound_of, syllables_for, words_hash, words_of
from stemsplit.melody.karaoke.ultrastar import write_ultrastar
from stemsplit.melody.midi import write_midi
from stemsplit.melody.notes import Notes, checked_tuning, find_notes, write_notes
from stemsplit.melody.plot import Spectrogram, check_plotting, plot_melody
from stemsplit.melody.reader import Reader, Reading, listen
from stemsplit.options import DEFAULT_TEMPLATE, MelodyOptions, SeparateOptions
from stemsplit.runs.derive import DEPTHS, Derivation, Wanted, derive, records
from stemsplit.runs.jobs import Job, Progress, Record
from stemsplit.runs.plan import with_collisions
from stemsplit.runs.separate import track_settings
from stemsplit.separation.source import file_source

UNSURE = 0.7
"""Below this confidence of a tempo there is a warning."""
LONGEST_TRACK = NAME_BYTES - 30
"""Bytes of a track's name, so that there is room for every suffix, and for those of hidden files."""


def check_melody_options(options: MelodyOptions) -> None:
    """Refuse what is wrong whatever the input and the model are.

    Raises: UsageError.
    """
    format_named(options.format)
    if options.tuning is not None:
        checked_tuning(options.tuning)
    check_midi_options(options)
    if options.plot:
        check_plotting()


def check_midi_options(options: MelodyOptions) -> None:
    """Check what is asked of the MIDI file.

    Raises:
        UsageError: no MIDI file is written, the tempo is out of range or cannot be estimated.
    """
    timed = options.midi or options.ultrastar
    if (options.tempo is not None and not timed) or not (options.bends or options.midi):
        raise UsageError("--tempo and --no-bends say how the MIDI file is: add --midi")
    if options.tempo == "auto":
        if options.vocals:
            raise UsageError(
                "--tempo auto listens to the drums, and a voice has none: give a number, or leave out --vocals"
            )
        check_beat_tracker()
    elif options.tempo is not None:
        checked_tempo(options.tempo)


def separator_options(options: MelodyOptions) -> SeparateOptions:
    """Return what is asked of the separator, for the vocals of songs and for the drums of an estimated tempo."""
    return SeparateOptions(stems="vocals,drums" if options.tempo == "auto" else "vocals", device=options.device)


def plan_melodies(inputs: Sequence[Input], options: MelodyOptions) -> tuple[Job, ...]:
    """Where every output of every input goes. Inputs that would write over one another are jobs with an error."""
    suffixes = {"f0": format_named(options.format).suffix}
    suffixes |= {"notes": "notes.csv"} if options.notes else {}
    suffixes |= {"midi": "mid"} if options.midi else {}
    suffixes |= {"plot": "melody.png"} if options.plot else {}
    suffixes |= {"ultrastar": "txt"} if options.ultrastar else {}
    return with_collisions([_job(item, options.output, suffixes) for item in inputs])


def _job(item: Input, output: Path, suffixes: Mapping[str, str]) -> Job:
    track = shortened(item.track, LONGEST_TRACK)
    targets = {} if item.error or item.made else {name: output / f"{track}.{end}" for name, end in suffixes.items()}
    manifest = output / f"{track}.{MELODY_MANIFEST}"
    return Job(item.path, item.track, item.name, Paths(targets), manifest, item.error, item.made, mark=item.mark)


@dataclass(frozen=True)
class Transcribing:
    """The work of a run that reads melodies."""

    reader: Reader
    options: MelodyOptions
    on_detail: Callable[[str], object] = lambda text: None  # told why stems that are there are no use

    def is_finished(self, job: Job) -> bool:
        """Return whether the melody of this very job is on disk already, unchanged."""
        return still_holds(
            job.manifest,
            source=job.source,
            model_sha256=self.reader.model.sha256,
            settings=melody_settings(self.reader, self.options) | words_setting(job),
            targets=job.targets,
            salvage=self.options.salvage,
            known=job.known,
        )

    def carry_out(self, job: Job, *, on_progress: Progress | None = None, on_warning: Warn) -> dict[str, Any]:
        """Read the melody of one file, write what was asked for, and return its manifest, which is written last.

        Where `separate` has left the vocals (and drums, if the tempo is wanted), they are used: see `runs.derive`. As
        they may be rounded, or come through the song's rate, pitches may differ by a hundredth of a semitone.

        Raises: AudioError, OutputError, ModelError and their kinds; nothing is left behind then.
        """
        record = Record(job, self.options, on_warning)
        spectrogram = Spectrogram() if self.options.plot else None
        rate = self.reader.model.network.config.sample_rate
        drums = Drums(rate) if self.options.tempo == "auto" else None
        anew = self.options.force and not self.options.keep_stems
        derived = None if anew else self._derived(job, record)
        reading = listen(
            self.reader,
            file_source(record.info),
            rendered=None if derived is None else derived.rendered(rate, on_progress),
            on_voice=spectrogram.add if spectrogram is not None else lambda samples: None,
            on_drums=drums.add if drums is not None else lambda samples: None,
            on_progress=on_progress,
            on_warning=record.warn,
        )
        notes = find_notes(reading.contour, self.options.tuning)
        beat = drums.beat() if drums is not None else None
        if beat is not None and beat.confidence < UNSURE:
            record.warn(f"the tempo is a guess: confidence {beat.confidence:.2f}; --tempo BPM sets it")
        with written_together() as together:
            _write(job, reading, notes, spectrogram, self.options, beat, together)
            if "ultrastar" in job.targets:
                _write_ultrastar(job, notes, self.options, _tempo(self.options, beat), record, together)
            about = _about(job, self.reader, self.options, reading, notes, together) | _tempo_of(beat)
            about |= {} if derived is None else {"vocals_from": records(derived.stems, job.manifest)}
            return record.write(together, about)

    def _derived(self, job: Job, record: Record) -> Derivation | None:
        """Find the stems that `separate` has left; None if the song has to be separated."""
        separator, folder = self.reader.separator, self.options.separated
        if separator is None or folder is None:
            return None
        asked = SeparateOptions(audio_track=self.options.audio_track, time_range=self.options.time_range)
        settings, rate = track_settings(separator, asked), record.info.sample_rate
        manifest = _stems_manifest(job, folder)
        try:
            return derive(Wanted(manifest, record.sha256, separator.model.sha256, settings, rate, DEPTHS[0]))
        except NotDerivableError as error:
            if str(error):
                self.on_detail(f"{job.called}: separated anew, since {error}")
            return None


def _stems_manifest(job: Job, separated: Path) -> Path:
    """Return where the manifest is of the stems that `separate` may have left of a song."""
    return track_folder(separated, DEFAULT_TEMPLATE, job.track, job.source) / MANIFEST_NAME


def words_setting(job: Job) -> dict[str, Any]:
    """Return the setting that stands for the words of a song; none if they are not wanted."""
    return {"words": words_hash(_lasting(job))} if "ultrastar" in job.targets else {}


def _lasting(job: Job) -> Path | None:
    """Return the source of a job; None if it is a pipe, whose file does not last."""
    return None if job.location is None else job.source


def _write_ultrastar(
    job: Job, notes: Notes, options: MelodyOptions, tempo: Tempo, record: Record, together: Together
) -> None:
    target, source = job.targets["ultrastar"], _lasting(job)
    lyrics, start = words_of(source), 0.0 if options.time_range is None else options.time_range.start
    folder = options.separated
    sound = {} if folder is None else sound_of(_stems_manifest(job, folder), record.sha256)
    tags = read_tags(job.source, record.warn, cover=False)
    heading = heading_for(target, source, job.track, tags, lyrics, sound, tempo.bpm)
    write_ultrastar(together.aside(target), heading, syllables_for(notes.notes, lyrics, start))


def _tempo_of(beat: Beat | None) -> dict[str, Any]:
    """Return what the manifest says of an estimated tempo."""
    if beat is None:
        return {}
    return {"tempo_bpm": round(beat.tempo.bpm, 2), "tempo_confidence": round(beat.confidence, 2)}


def _tempo(options: MelodyOptions, beat: Beat | None) -> Tempo:
    if beat is not None:
        return beat.tempo
    return Tempo(options.tempo) if isinstance(options.tempo, float) else Tempo()


def _write(
    job: Job,
    reading: Reading,
    notes: Notes,
    spectrogram: Spectrogram | None,
    options: MelodyOptions,
    beat: Beat | None,
    together: Together,
) -> None:
    contour, places = reading.contour, {name: together.aside(target) for name, target in job.targets.items()}
    write_contour(places["f0"], contour, options.format)
    if "notes" in places:
        write_notes(places["notes"], notes)
    if "midi" in places:
        write_midi(places["midi"], notes, contour, tempo=_tempo(options, beat), bends=options.bends)
    if spectrogram is not None:
        plot_melody(places["plot"], contour, notes, spectrogram, job.track)


def melody_settings(reader: Reader, options: MelodyOptions) -> dict[str, Any]:
    """Return what decides over the written bytes besides input and model."""
    separator = reader.separator
    return {
        "separator": None if separator is None else separator.model.sha256,
        "voicing_threshold": reader.decoding.threshold,
        **options.settings(),
    }


def _about(
    job: Job, reader: Reader, options: MelodyOptions, reading: Reading, notes: Notes, together: Together
) -> dict[str, Any]:
    separator, contour = reader.separator, reading.contour
    return {
        "model": _named(reader.model.reference, reader.model.sha256),
        "separator": None if separator is None else _named(separator.model.reference, separator.model.sha256),
        "settings": melody_settings(reader, options) | words_setting(job),
        "device": str(reader.device),
        "outputs": {
            name: output_record(job.manifest, target, together.aside(target)) for name, target in job.targets.items()
        },
        "sample_rate": reader.model.network.config.sample_rate,
        "samples": reading.samples,
        "hop_ms": options.hop_ms,
        "frames": len(contour),
        "voiced": round(float(contour.voiced.mean()), 4) if len(contour) else 0.0,
        "tuning_hz": round(notes.tuning_hz, 3),
        "notes": len(notes.notes),
    }


def _named(reference: str, sha256: str) -> dict[str, str]:
    return {"reference": reference, "sha256": sha256}
