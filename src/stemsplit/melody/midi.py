"""A melody as a MIDI file: its notes, with pitch bends that follow the sung pitch.

The file has one track of 960 ticks per beat. Whatever the tempo, notes sound when they were sung: the tempo only
decides on which beats they are drawn. Every note starts with a bend to the pitch that is sung there, and follows the
contour from then on to within `FINEST_BEND`. So the bends also contain the tuning, and the distance from the tempered
note. `RELEASE_S` after the end of a note the pitch wheel goes back to 0, unless the next note has begun by then.
Without bends the file has the tempered notes alone.

The range of the bends is set at the start by RPN 0,0 (MIDI 1.0 Detailed Specification, "Registered Parameter Numbers").
It is 2 semitones if that is enough, because synthesizers that ignore the RPN assume 2. Otherwise it is 12 or 24.
Larger bends are cut off at the end of the range.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stemsplit.analysis.beats import Tempo
from stemsplit.errors import UsageError
from stemsplit.machine.disk import write_whole
from stemsplit.melody.contour import Contour
from stemsplit.melody.notes import Note, Notes, midi_pitch

if TYPE_CHECKING:
    import mido

TICKS_PER_BEAT = 960
VELOCITY = 80
BEND_RANGES = (2, 12, 24)  # semitones
RELEASE_S = 0.25  # a synthesizer lets a note fade after its end, and the wheel would change the pitch of that
_BEND_EVERY_S = 0.01
FINEST_BEND = 0.05  # semitones: nobody hears smaller changes, and sequencers draw every one
_PROGRAM = 53  # General MIDI 54, Voice Oohs: a sound that lasts as long as the note
_WHEEL = 8192  # the pitch wheel goes from −8192 to 8191


class _Sounding(NamedTuple):
    """A note and its bends, in ticks."""

    note: Note
    start: int
    end: int
    ticks: np.ndarray  # (k,) when each bend begins
    bends: np.ndarray  # (k,) semitones above the note's MIDI number


def write_midi(path: Path, notes: Notes, contour: Contour, *, tempo: Tempo | None = None, bends: bool = True) -> None:
    """Write notes, with bends that follow the contour unless told not to. Without notes, the file is valid and silent.

    The tempo is `USUAL` unless given.

    Raises:
        OutputError: the disk refuses.
        UsageError: mido is not installed.
    """
    mido = _mido()
    tempo = tempo or Tempo()
    sounding = list(_sounding(notes, contour if bends else None, tempo))
    reach = bend_range(np.concatenate([np.zeros(1), *(each.bends for each in sounding)]))
    song = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT)
    heading = _heading(mido, notes.tuning_hz, reach, tempo)
    timed = [*_tempo_changes(mido, tempo), *_timed(mido, reach, sounding, tempo)]
    song.tracks.append(_track(mido, heading, sorted(timed, key=itemgetter(0))))
    data = io.BytesIO()
    song.save(file=data)
    write_whole(Path(path), data.getvalue())


def bend_range(bends: np.ndarray) -> int:
    """Return the smallest of `BEND_RANGES` that is enough for all bends (n,) in semitones, or the largest."""
    needed = float(np.abs(bends).max(initial=0.0))
    return next((reach for reach in BEND_RANGES if needed <= reach), BEND_RANGES[-1])


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise UsageError("--midi needs mido, which is not installed: pip install mido") from error
    return mido


def _sounding(notes: Notes, contour: Contour | None, tempo: Tempo) -> Iterator[_Sounding]:
    """Yield the notes in ticks. A note that overlaps with the next one is cut off where that begins."""
    starts = [_ticks(note.onset, tempo) for note in notes.notes]
    for note, (start, following) in zip(notes.notes, pairwise([*starts, 1 << 62]), strict=True):
        end = min(_ticks(note.end, tempo), following)
        if end > start:
            ticks, bends = _bends(note, contour, tempo) if contour is not None else (np.array([start]), np.zeros(1))
            inside = ticks < end
            yield _Sounding(note, start, end, np.maximum(ticks[inside], start), bends[inside])


def _ticks(seconds: float, tempo: Tempo) -> int:
    return round(tempo.beats(seconds) * TICKS_PER_BEAT)


def _bends(note: Note, contour: Contour, tempo: Tempo) -> tuple[np.ndarray, np.ndarray]:
    """Return ticks and semitones of the bends of a note: one at its start, then every 10 ms where it is voiced."""
    first, last = round(note.onset / contour.hop), round(note.end / contour.hop)
    stride = max(1, math.ceil(_BEND_EVERY_S / contour.hop - 1e-6))
    frames = np.arange(first, min(last, len(contour)), stride)
    frames = frames[contour.voiced[frames]]
    if len(frames) == 0:
        return np.array([_ticks(note.onset, tempo)]), midi_pitch(np.array([note.hz])) - note.midi
    ticks = np.array([_ticks(seconds, tempo) for seconds in (note.onset, *(frames[1:] * contour.hop).tolist())])
    return ticks, midi_pitch(contour.frequency[frames]) - note.midi


def _track(mido: Any, heading: list[Any], timed: list[tuple[int, Any]]) -> mido.MidiTrack:
    """Return the track: what stands at its start, then messages as (tick, message) in order."""
    track, now = mido.MidiTrack(heading), 0
    for tick, message in timed:
        message.time, now = tick - now, tick
        track.append(message)
    track.append(mido.MetaMessage("end_of_track"))
    return track


def _heading(mido: Any, tuning_hz: float, reach: int, tempo: Tempo) -> list[Any]:
    bend_sensitivity = [
        (101, 0),
        (100, 0),
        (6, reach),
        (38, 0),
        (101, 127),
        (100, 127),
    ]  # 127, 127: no parameter is selected any more
    return [
        mido.MetaMessage("track_name", name="Melody"),
        mido.MetaMessage("text", text=f"A4 = {tuning_hz:.2f} Hz"),
        mido.MetaMessage("set_tempo", tempo=_microseconds(tempo.first_beat or 60 / tempo.bpm)),
        mido.Message("program_change", program=_PROGRAM),
        *(mido.Message("control_change", control=control, value=value) for control, value in bend_sensitivity),
        mido.Message("pitchwheel", pitch=0),
    ]


def _tempo_changes(mido: Any, tempo: Tempo) -> list[tuple[int, Any]]:
    """Return the tempo that holds from the first beat on, if that is another one than before it."""
    if tempo.first_beat == 0.0:
        return []
    return [(TICKS_PER_BEAT, mido.MetaMessage("set_tempo", tempo=_microseconds(60 / tempo.bpm)))]


def _microseconds(seconds: float) -> int:
    return round(1e6 * seconds)


def _timed(mido: Any, reach: int, sounding: list[_Sounding], tempo: Tempo) -> Iterator[tuple[int, Any]]:
    """Yield the messages of all notes and bends as (tick, message), in order."""
    wheel, finest = 0, max(1, round(FINEST_BEND / reach * _WHEEL))
    starts = [each.start for each in sounding]
    for each, (_, following) in zip(sounding, pairwise([*starts, 1 << 62]), strict=True):
        values = np.clip(np.round(each.bends / reach * _WHEEL), -_WHEEL, _WHEEL - 1).astype(int).tolist()
        if values[0] != wheel:
            wheel = values[0]
            yield each.start, mido.Message("pitchwheel", pitch=wheel)
        yield each.start, mido.Message("note_on", note=each.note.midi, velocity=VELOCITY)
        for tick, value in zip(each.ticks.tolist()[1:], values[1:], strict=True):
            if abs(value - wheel) >= finest:
                wheel = value
                yield tick, mido.Message("pitchwheel", pitch=wheel)
        yield each.end, mido.Message("note_off", note=each.note.midi, velocity=0)
        released = _ticks(each.note.end + RELEASE_S, tempo)
        if released < following and wheel != 0:
            wheel = 0
            yield released, mido.Message("pitchwheel", pitch=0)
