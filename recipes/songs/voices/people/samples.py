"""Speech as it was recorded: words and lines that are cut out, put on beats, and chopped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import soxr

from songs.composition.score import Form, Section
from songs.mix import mixdown
from songs.mix.effects import RATE
from songs.voices.people import talk as speech
from songs.voices.people.singer import Singer
from songs.voices.people.syllables import Syllable
from songs.voices.people.talk import FRAME_SAMPLES
from songs.voices.people.upper_band import upper_band
from songs.voices.voicebank import FRAME_SECONDS

_LEVEL_DB = -20.0
_FADE = round(0.012 * RATE)  # samples


def cut(rng: np.random.Generator, singer: Singer, first: int, last: int) -> np.ndarray:
    """Return a person's recording from one frame to another, (samples,) at 44.1 kHz, at a common level."""
    last = max(last, first + 8)
    known = singer.talk.sound[first * FRAME_SAMPLES : last * FRAME_SAMPLES].astype(np.float32) / 32768
    sound = np.asarray(soxr.resample(known, speech.RATE, RATE), np.float32)
    rows = np.arange(first, last)
    sound += upper_band(rng, singer.talk.logs(rows), singer.talk.f0[rows], len(sound))
    level: np.ndarray = mixdown.at_level(faded(sound)[None], _LEVEL_DB)[0]
    return level


def faded(sound: np.ndarray) -> np.ndarray:
    """Return a sound (samples,) that begins and ends softly."""
    fade = min(_FADE, len(sound) // 2)
    gains = np.ones(len(sound), np.float32)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    gains[:fade], gains[len(sound) - fade :] = ramp, ramp[::-1]
    gains *= sound
    return gains


def put(audio: np.ndarray, sound: np.ndarray, seconds: float) -> None:
    """Add a sound (samples,) to `audio` (samples,) at a time, as far as it fits."""
    first = round(seconds * RATE)
    sound = sound[max(-first, 0) :]
    first = max(first, 0)
    sound = sound[: max(len(audio) - first, 0)]
    audio[first : first + len(sound)] += sound


def say(
    rng: np.random.Generator, singer: Singer, words: Sequence[Syllable], audio: np.ndarray, seconds: float
) -> float:
    """Add words to `audio` (samples,), whose first vowel begins at a time; return how long they last after it."""
    sound = cut(rng, singer, words[0].onset, words[-1].end)
    before = (words[0].vowel - words[0].onset) * FRAME_SECONDS
    put(audio, sound, seconds - before)
    return len(sound) / RATE - before


def spoken_lines(
    rng: np.random.Generator, form: Form, sections: Sequence[Section], singer: Singer, samples: int
) -> np.ndarray:
    """Say one line after another in some sections, each from a beat on: (samples,)."""
    audio, runs = np.zeros(samples, np.float32), singer.runs()
    at = int(rng.integers(len(runs)))
    for section in sections:
        beat, last = section.start, section.start + section.beats
        while beat < last - 1:
            length = say(rng, singer, runs[at % len(runs)], audio, form.seconds(beat))
            at += 1
            beat = np.ceil(beat + length * form.tempo / 60 + float(rng.choice([0.0, 0.25, 1.0, 2.0])))
    return audio


def few_words(rng: np.random.Generator, singer: Singer, most: int) -> tuple[Syllable, ...]:
    """Draw the first or the last syllables of what was said between two pauses: at most so many."""
    runs = singer.runs()
    run = runs[int(rng.integers(len(runs)))]
    count = int(rng.integers(1, most + 1))
    return run[:count] if rng.random() < 0.5 else run[-count:]


def adlibs(rng: np.random.Generator, form: Form, singer: Singer, samples: int) -> np.ndarray:
    """Say a word now and then, anywhere in a song: (samples,)."""
    audio = np.zeros(samples, np.float32)
    words = [few_words(rng, singer, 3) for _ in range(int(rng.integers(1, 4)))]
    every = float(rng.choice([4, 8, 8, 16]))
    beats = np.arange(float(rng.choice([0.0, 1.0, 2.0, 3.0, 3.5])), form.beats, every).tolist()
    for beat in [beat for beat in beats if rng.random() < 0.6] or beats[:1]:
        say(rng, singer, words[int(rng.integers(len(words)))], audio, form.seconds(beat))
    return audio


def chops(
    rng: np.random.Generator, form: Form, sections: Sequence[Section], sample: np.ndarray, pitch: float, samples: int
) -> np.ndarray:
    """Play a sample of a voice as an instrument: (samples,).

    Args:
        rng: The source of all choices.
        form: The chords whose tones it plays.
        sections: Where it plays.
        sample: The voice, (samples,) at 44.1 kHz.
        pitch: The pitch that it has, in MIDI semitones.
        samples: The length.
    """
    audio = np.zeros(samples, np.float32)
    bars = [_bar(rng) for _ in range(2)]
    backwards = rng.random() < 0.2
    reach = float(rng.choice([3.0, 7.0, 12.0]))
    for section in sections:
        for bar in range(int(section.beats // 4)):
            for sixteenth, length in bars[bar % 2]:
                beat = section.start + 4 * bar + sixteenth / 4
                tones = [k for k in range(-12, 13) if round(pitch + k) % 12 in form.chord_at(beat).classes]
                near = [k for k in tones if abs(k) <= reach] or tones or [0]
                played = _resampled(sample[::-1] if backwards else sample, near[int(rng.integers(len(near)))])
                put(audio, faded(played[: round(form.seconds(length / 4) * RATE)]), form.seconds(beat))
    return audio


def _bar(rng: np.random.Generator) -> list[tuple[int, float]]:
    """Draw the sixteenths of a bar at which a chop begins, and how many sixteenths each lasts."""
    onsets = sorted({int(k) for k in rng.choice(16, int(rng.integers(3, 9)), replace=False)})
    gaps = np.diff([*onsets, 16])
    return [(onset, float(gap) * float(rng.choice([0.5, 0.9, 1.0]))) for onset, gap in zip(onsets, gaps, strict=True)]


def _resampled(sound: np.ndarray, semitones: float) -> np.ndarray:
    """Play a sound faster and so higher, or slower and lower."""
    step = 2 ** (semitones / 12)
    at = np.arange(0, len(sound) - 1, step)
    return np.asarray(np.interp(at, np.arange(len(sound)), sound), np.float32)
