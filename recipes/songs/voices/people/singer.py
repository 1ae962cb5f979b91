"""A person as a singer: words for a melody, and their sound at a pitch that is sung or spoken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from scipy import signal

from songs.composition.score import Form, Note
from songs.mix.effects import RATE
from songs.voices.line import REST, Manner, Sung
from songs.voices.people import talk as speech
from songs.voices.people.person import Person
from songs.voices.people.syllables import Syllable, find_syllables
from songs.voices.people.talk import BINS, FRAME_SAMPLES, HERTZ, Talk, analyse_talk
from songs.voices.people.timing import SILENT, Laid, lay
from songs.voices.people.upper_band import upper_band
from songs.voices.sing import phrases, warp
from songs.voices.voicebank import FRAME_SECONDS, AnalysisStore, world

_VERSION = "talk 1"  # another one makes kept analyses anew
FEWEST = 6
"""Syllables of a person who can sing, at least."""
_QUIET = -26.0  # natural logarithm of the power of silence
_NOISE = 6.5  # what is softer than a vowel by this much, as a natural logarithm of power, is turned down further
_FADE = 6  # frames over which a stretch of sound begins and ends
_BLENDED = 3  # frames on either side of a cut in the speech that are blended


@dataclass(frozen=True)
class Singer:
    """A person whose speech has been analysed."""

    person: Person
    talk: Talk
    syllables: tuple[Syllable, ...]

    @property
    def loudness(self) -> float:
        """The usual loudness of a vowel; natural logarithm of its power."""
        return float(np.median([syllable.loudness for syllable in self.syllables]))

    def runs(self) -> list[tuple[Syllable, ...]]:
        """Return the syllables between pauses."""
        found: dict[int, list[Syllable]] = {}
        for syllable in self.syllables:
            found.setdefault(syllable.run, []).append(syllable)
        return [tuple(run) for run in found.values()]


def singer_of(person: Person, store: AnalysisStore) -> Singer | None:
    """Return a person as a singer, or None if too little of what was said can be sung.

    Raises:
        OutputError: The disk refuses the analysis.
    """
    kept = store.arrays(repr((_VERSION, *person.files)), lambda: _analyse(person))
    talk = Talk(*(kept[name] for name in Talk._fields))
    table = zip(kept["syllables"].tolist(), kept["loudness"].tolist(), strict=True)
    syllables = tuple(Syllable._make((*places, loudness)) for places, loudness in table)
    return Singer(person, talk, syllables) if len(syllables) >= FEWEST else None


def _analyse(person: Person) -> dict[str, np.ndarray]:
    """Return the fields of a person's `Talk`, and the syllables in it."""
    found = dict(analyse_talk(person.files))
    syllables = find_syllables(Talk(**found))
    places = np.array([syllable[:-1] for syllable in syllables], int).reshape(-1, len(Syllable._fields) - 1)
    return found | {"syllables": places, "loudness": np.array([syllable.loudness for syllable in syllables])}


def set_words(
    rng: np.random.Generator, form: Form, notes: Sequence[Note], syllables: Sequence[Syllable], melisma: float
) -> tuple[list[Sung], list[Syllable | None]]:
    """Put what a person said under a melody, syllable by syllable; after a rest it goes on anywhere.

    Args:
        rng: The source of all choices.
        form: Its tempo turns beats into seconds.
        notes: The melody.
        syllables: What can be said, in order.
        melisma: Probability that a note holds the syllable before it.

    Returns:
        The notes in seconds, and the syllable of each; None holds the one before.
    """
    starts = [at for at, word in enumerate(syllables) if at == 0 or word.run != syllables[at - 1].run]
    sung: list[Sung] = []
    words: list[Syllable | None] = []
    at, last_end = 0, -1.0
    for note in notes:
        start = max(form.seconds(note.start) + float(rng.normal(0, 0.012)), last_end if last_end > 0 else 0.0)
        end = max(form.seconds(note.start + note.beats), start + 0.05)
        rested = start - last_end > REST
        if rested:
            at = starts[int(rng.integers(len(starts)))] if rng.random() < 0.7 else int(rng.integers(len(syllables)))
        held = not rested and rng.random() < melisma
        words.append(None if held else syllables[at % len(syllables)])
        at += not held
        sung.append(Sung(start, end, float(note.pitch), (note.velocity / 110) ** 1.5, None))
        last_end = end
    return sung, words


def voiced_as(
    rng: np.random.Generator,
    singer: Singer,
    notes: Sequence[Sung],
    words: Sequence[Syllable | None],
    pitch: np.ndarray | float,
    manner: Manner,
    seconds: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Sing or say words at their notes.

    Args:
        rng: The source of noise and of small movements.
        singer: Who sings.
        notes: When each note begins and ends; their pitches do not count.
        words: The syllable of every note; None holds the one before.
        pitch: The pitch in MIDI semitones, (frames,) every 5 ms; or how far the speech's own pitch is moved.
        manner: Its formant, breath, whisper and, for the speech's own pitch, `spoken` (1: all of its accents) count.
        seconds: The length.

    Returns:
        Float32 (samples,) at 44.1 kHz, and f0 (frames,) in Hz every 5 ms, 0 where the voice has no pitch.
    """
    frames = int(seconds / FRAME_SECONDS) + 1
    laid = lay(rng, notes, words, singer.loudness, frames)
    logs = _stream(singer, laid)
    if manner.formant != 1:
        logs = warp(logs, manner.formant)
    if manner.whisper:
        logs += np.clip(1.5 * np.log2(np.maximum(HERTZ, 50) / 1500), -4, 1).astype(np.float32)
    semitones = _own_pitch(singer.talk, laid.rows, manner.spoken) + pitch if isinstance(pitch, float) else pitch
    voiced = _voiced(singer.talk, laid.rows) & (not manner.whisper)
    f0 = np.where(voiced, 440 * 2 ** ((semitones - 69) / 12), 0.0)
    samples = round(seconds * RATE)
    low = _synthesize(singer.talk, laid.rows, logs, f0, manner.breath)
    sound = np.zeros(samples, np.float32)
    known = np.asarray(soxr.resample(low, speech.RATE, RATE), np.float32)[:samples]
    sound[: len(known)] = known
    return sound + upper_band(rng, logs, f0, samples), f0


def _stream(singer: Singer, laid: Laid) -> np.ndarray:
    """Return what is heard at every frame: the logarithm of the power, (frames, BINS)."""
    sounding = laid.rows != SILENT
    logs = np.full((len(laid.rows), BINS), _QUIET, np.float32)
    logs[sounding] = singer.talk.logs(laid.rows[sounding]) + laid.gain[sounding, None].astype(np.float32)
    total = np.log(np.exp(logs).sum(1))
    logs += np.minimum(total - (singer.loudness - _NOISE), 0)[:, None]
    steps = np.diff(laid.rows)
    for cut in np.flatnonzero((np.abs(steps) > 4) & sounding[1:] & sounding[:-1]) + 1:
        first, last = max(cut - _BLENDED, 0), min(cut + _BLENDED, len(logs) - 1)
        weight = np.linspace(0, 1, last - first + 1, dtype=np.float32)[:, None]
        logs[first : last + 1] = logs[first] * (1 - weight) + logs[last] * weight
    return np.asarray(np.maximum(logs + 2 * np.log(_fades(sounding))[:, None], _QUIET), np.float32)


def _fades(sounding: np.ndarray) -> np.ndarray:
    """Return gains (frames,) that rise and fall over some frames where sound begins and ends; nearly 0 in silence."""
    window = np.hanning(_FADE + 2)[1:-1]
    inner = ~(np.convolve(~sounding, np.ones(_FADE), mode="same") > 0)
    gains: np.ndarray = np.clip(np.convolve(inner, window / window.sum(), mode="same") * sounding, 1e-3, 1.0)
    return gains


def _voiced(talk: Talk, rows: np.ndarray) -> np.ndarray:
    """Return where there is a pitch, without single frames that differ from those around them."""
    voiced: np.ndarray = signal.medfilt(((talk.f0[rows] > 0) & (rows != SILENT)).astype(np.float32), 5) > 0.5
    return voiced


def _own_pitch(talk: Talk, rows: np.ndarray, accents: float) -> np.ndarray:
    """Return the pitch of the speech itself in MIDI semitones, with smaller or larger accents."""
    hertz = talk.f0[rows]
    there = np.flatnonzero((hertz > 0) & (rows != SILENT))
    if not len(there):
        return np.full(len(rows), talk.pitch)
    semitones = 69 + 12 * np.log2(np.interp(np.arange(len(rows)), there, hertz[there]) / 440)
    window = np.hanning(9)
    smooth = np.convolve(np.pad(semitones - talk.pitch, 4, mode="edge"), window / window.sum(), mode="valid")
    own: np.ndarray = talk.pitch + accents * np.clip(smooth, -9, 9)
    return own


def _synthesize(talk: Talk, rows: np.ndarray, logs: np.ndarray, f0: np.ndarray, breath: float) -> np.ndarray:
    """Return the sound (samples,) of frames at 16 kHz."""
    sound = np.zeros(len(rows) * FRAME_SAMPLES)
    height = np.minimum(1.0, HERTZ / 5000)  # breath is heard above the vowels
    for first, last in phrases(rows != SILENT):
        coded = np.ascontiguousarray(talk.rough[rows[first:last], None], np.float64)
        rough = world().decode_aperiodicity(coded, speech.RATE, speech.FFT_SIZE)
        rough = 1 - (1 - np.clip(rough, 0, 1)) * (1 - breath * height)
        power = np.exp(np.ascontiguousarray(logs[first:last], np.float64))
        part = world().synthesize(np.ascontiguousarray(f0[first:last]), power, rough, speech.RATE, FRAME_SECONDS * 1000)
        start = first * FRAME_SAMPLES
        part = part[: len(sound) - start]
        sound[start : start + len(part)] += part
    return sound
