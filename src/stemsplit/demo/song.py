"""A short pop song as a score: chords, a sung melody, a bass line, accompaniment and drum hits.

All choices come from one random generator, so a seed determines a song. Times are in seconds. Pitches are MIDI note
numbers (69 = 440 Hz). A degree counts steps of the scale from the tonic, which is degree 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stemsplit.demo.patterns import (
    ARPEGGIOS,
    BASS_LINES,
    CHORUS_RHYTHMS,
    CONSONANT_ODDS,
    CONSONANTS,
    FILLS,
    GROOVES,
    KEYS_RHYTHMS,
    MAJOR_PROGRESSIONS,
    MINOR_PROGRESSIONS,
    STRUM_BEATS,
    VERSE_RHYTHMS,
    VOWEL_ODDS,
    VOWELS,
)

BEATS_PER_BAR = 4
BARS_PER_SECTION = 4
MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)


@dataclass(frozen=True)
class Note:
    """One note."""

    start: float  # s
    seconds: float  # length
    pitch: int
    velocity: float  # from 0 to 1


@dataclass(frozen=True)
class SungNote(Note):
    """A note with its syllable."""

    consonant: str  # empty for a slur, which continues the vowel
    vowels: str  # one letter, or two for a diphthong


@dataclass(frozen=True)
class Hit:
    """One stroke on the drum kit."""

    start: float  # s
    drum: str
    velocity: float  # from 0 to 1


@dataclass(frozen=True)
class Plan:
    """What all parts of a song have in common: tempo, key, chords and form."""

    seconds: float
    tempo_bpm: float
    bars: int
    tonic: int  # pitch from 0 to 11
    scale: tuple[int, ...]  # semitones of the degrees above the tonic
    progressions: tuple[tuple[int, ...], tuple[int, ...]]  # degrees of the chords of verse and chorus
    swing: float  # delay of every second sixteenth, as a fraction of a sixteenth

    @property
    def end_beat(self) -> float:
        """The beat of the last chord, after all bars."""
        return float(self.bars * BEATS_PER_BAR)

    def chord(self, bar: int) -> int:
        """Return the degree of the chord's root in a bar. After the last bar it is the tonic."""
        if bar >= self.bars:
            return 0
        return self.progressions[section(bar)][bar % BARS_PER_SECTION]

    def pitch(self, degree: int) -> int:
        """Return the pitch of a degree. Degrees from 7 on are in higher octaves."""
        octave, step = divmod(degree, 7)
        return self.tonic + 12 * octave + self.scale[step]

    def time(self, beat: float) -> float:
        """Return the time of a beat in seconds. Every second sixteenth is late by `swing`."""
        late = self.swing / 4 if round(beat * 4) % 2 else 0.0
        return (beat + late) * 60 / self.tempo_bpm


@dataclass(frozen=True)
class Score:
    """All parts of one song."""

    plan: Plan
    melody: tuple[SungNote, ...]
    bass: tuple[Note, ...]
    keys: tuple[Note, ...]
    guitar: tuple[Note, ...]
    pad: tuple[Note, ...]
    drums: tuple[Hit, ...]


def compose(seconds: float, voice_centre: int, rng: np.random.Generator) -> Score:
    """Compose a song of `seconds` for a singer whose range has its middle at the pitch `voice_centre`."""
    plan = draw_plan(seconds, rng)
    return Score(
        plan=plan,
        melody=melody(plan, voice_centre, rng),
        bass=bass_line(plan, rng),
        keys=keys(plan, rng),
        guitar=guitar(plan, rng),
        pad=pad(plan),
        drums=drum_hits(plan, rng),
    )


def draw_plan(seconds: float, rng: np.random.Generator) -> Plan:
    """Draw key, tempo and chords. The tempo is adjusted so that whole bars and a last chord fill the time."""
    tempo = rng.uniform(86, 126)
    last_chord = min(rng.uniform(1.4, 2.4), 0.12 * seconds)
    bars = max(1, round((seconds - last_chord) * tempo / (60 * BEATS_PER_BAR)))
    fitted = bars * 60 * BEATS_PER_BAR / (seconds - last_chord)
    major = rng.random() < 0.65
    progressions = MAJOR_PROGRESSIONS if major else MINOR_PROGRESSIONS
    verse, chorus = rng.choice(len(progressions), size=2, replace=False)
    return Plan(
        seconds=seconds,
        tempo_bpm=fitted if 70 <= fitted <= 150 else tempo,
        bars=bars,
        tonic=int(rng.integers(0, 12)),
        scale=MAJOR if major else MINOR,
        progressions=(progressions[verse], progressions[chorus]),
        swing=float(rng.choice([0.0, 0.0, 0.12, 0.25])),
    )


def section(bar: int) -> int:
    """Return 0 for a bar of a verse, 1 for a bar of a chorus."""
    return bar // BARS_PER_SECTION % 2


def chord_degrees(root: int) -> tuple[int, ...]:
    """Return the degrees of a chord: root, third, fifth, and the root an octave above."""
    return (root, root + 2, root + 4, root + 7)


# --- melody


@dataclass(frozen=True)
class Motif:
    """Two bars of melody, which `phrase` then adapts to the chords."""

    rhythm: tuple[float, ...]  # beats; below 0 a rest
    contour: tuple[int, ...]  # degrees above the middle of the voice, one per note
    syllables: tuple[tuple[str, str], ...]  # (consonant, vowels), one per note


def melody(plan: Plan, voice_centre: int, rng: np.random.Generator) -> tuple[SungNote, ...]:
    """Compose the melody: phrases of two bars with one motif per kind of section, and the tonic at the end."""
    motifs = (draw_motif(VERSE_RHYTHMS, 0, rng), draw_motif(CHORUS_RHYTHMS, 2, rng))
    home = nearest_degree(plan, voice_centre)
    first_beat = BEATS_PER_BAR if plan.bars >= 6 else 0
    notes = []
    for bar in range(0, plan.bars, 2):
        for note in phrase(plan, motifs[section(bar)], bar, home, rng):
            if first_beat <= note[0] and note[0] + note[1] <= plan.end_beat:
                notes.append(sung(plan, *note, rng))
    tonic = home - home % 7 if home % 7 < 4 else home - home % 7 + 7
    hold = 0.75 * (plan.seconds - plan.time(plan.end_beat)) * plan.tempo_bpm / 60
    if hold > 0.5:
        notes.append(sung(plan, plan.end_beat, hold, tonic, ("", "a"), rng))
    return tuple(notes)


def draw_motif(rhythms: tuple[tuple[float, ...], ...], lift: int, rng: np.random.Generator) -> Motif:
    """Draw a rhythm, and a contour that moves at most three degrees away from its middle, which is at `lift`."""
    rhythm = rhythms[rng.integers(len(rhythms))]
    count = sum(length > 0 for length in rhythm)
    contour, degree = [], int(rng.integers(-1, 3))
    for _ in range(count):
        contour.append(degree + lift)
        step = int(rng.choice([-2, -1, -1, 0, 1, 1, 2]))
        degree += -step if abs(degree + step) > 3 else step
    return Motif(rhythm, tuple(contour), tuple(draw_syllable(rng) for _ in range(count)))


def draw_syllable(rng: np.random.Generator) -> tuple[str, str]:
    """Draw a syllable, as (consonant, vowels). In one of eight the consonant is empty, which is a slur."""
    consonant = "" if rng.random() < 0.12 else str(rng.choice(CONSONANTS, p=CONSONANT_ODDS))
    return consonant, str(rng.choice(VOWELS, p=VOWEL_ODDS))


def phrase(
    plan: Plan, motif: Motif, bar: int, home: int, rng: np.random.Generator
) -> list[tuple[float, float, int, tuple[str, str]]]:
    """Return the notes of a motif from `bar` on, as (beat, length in beats, degree, syllable).

    Notes on strong beats and long notes are moved to the nearest note of the chord.
    """
    notes: list[tuple[float, float, int, tuple[str, str]]] = []
    beat, index = float(bar * BEATS_PER_BAR), 0
    for length in motif.rhythm:
        if length > 0:
            degree = home + motif.contour[index]
            if beat % 2 == 0 or length >= 1.5:
                degree = nearest_chord_degree(degree, plan.chord(int(beat) // BEATS_PER_BAR))
            elif bar % BARS_PER_SECTION and rng.random() < 0.3:
                degree += int(rng.choice([-1, 1]))  # the second phrase of a section varies the melody
            notes.append((beat, length, degree, motif.syllables[index]))
            index += 1
        beat += abs(length)
    return notes


def nearest_degree(plan: Plan, pitch: int) -> int:
    """Return the degree of the scale that is closest to a pitch."""
    return min(range(80), key=lambda degree: abs(plan.pitch(degree) - pitch))


def nearest_chord_degree(degree: int, root: int) -> int:
    """Return the closest degree that belongs to the triad on `root`."""
    chord = {(root + step) % 7 for step in (0, 2, 4)}
    return min(range(degree - 2, degree + 3), key=lambda d: (d % 7 not in chord, abs(d - degree)))


def sung(
    plan: Plan, beat: float, beats: float, degree: int, syllable: tuple[str, str], rng: np.random.Generator
) -> SungNote:
    """Return a note of the melody, with a human error of timing, and a little shorter than its beats."""
    start = plan.time(beat) + loose(rng, 0.012)
    seconds = 0.97 * beats * 60 / plan.tempo_bpm
    velocity = float(rng.uniform(0.8, 1.0)) * (1.0 if beat % 2 == 0 else 0.9)
    return SungNote(start, seconds, plan.pitch(degree), velocity, *syllable)


def loose(rng: np.random.Generator, spread: float) -> float:
    """Draw a human error of timing, in seconds. It is at most twice the `spread`."""
    return float(np.clip(rng.normal(0, spread / 2), -2 * spread, 2 * spread))


# --- accompaniment


def voicing(plan: Plan, bar: int, centre: int) -> tuple[int, ...]:
    """Return four notes of the chord of a bar, lowest first.

    They are near the pitch `centre`, so that successive chords are in the same range.
    """
    return tuple(
        sorted(
            pitch + 12 * round((centre + 4 * voice - 6 - pitch) / 12)
            for voice, pitch in enumerate(plan.pitch(degree) for degree in chord_degrees(plan.chord(bar)))
        )
    )


def bass_line(plan: Plan, rng: np.random.Generator) -> tuple[Note, ...]:
    """Compose the bass line: one pattern per kind of section, with notes that lead to the next bar."""
    lines = [BASS_LINES[i] for i in rng.choice(len(BASS_LINES), size=2, replace=False)]
    notes = []
    for bar in range(plan.bars):
        root = bass_root(plan, bar)
        following = bass_root(plan, bar + 1)
        choices = {"root": root, "octave": root + 12, "fifth": root + 7, "approach": following - 2}
        if following == root:
            choices["approach"] = root + 7
        for beat, beats, name in lines[section(bar)]:
            notes.append(played(plan, bar * BEATS_PER_BAR + beat, beats, choices[name], 0.9, rng))
    notes.append(played(plan, plan.end_beat, 4, bass_root(plan, plan.bars), 0.9, rng))
    return tuple(notes)


def bass_root(plan: Plan, bar: int) -> int:
    """Return the root of the chord of a bar, between E1 and D#2 (MIDI 28 to 39)."""
    return (plan.pitch(plan.chord(bar)) - 28) % 12 + 28


def keys(plan: Plan, rng: np.random.Generator) -> tuple[Note, ...]:
    """Compose the chords of the electric piano, with one rhythm per kind of section."""
    rhythms = [KEYS_RHYTHMS[i] for i in rng.choice(len(KEYS_RHYTHMS), size=2, replace=False)]
    notes = []
    for bar in range(plan.bars):
        for beat, beats in rhythms[section(bar)]:
            for pitch in voicing(plan, bar, 62):
                notes.append(played(plan, bar * BEATS_PER_BAR + beat, beats, pitch, 0.7, rng))
    notes += [played(plan, plan.end_beat, 4, pitch, 0.7, rng) for pitch in voicing(plan, plan.bars, 62)]
    return tuple(notes)


def guitar(plan: Plan, rng: np.random.Generator) -> tuple[Note, ...]:
    """Compose the guitar: arpeggios in one kind of section, strummed chords in the other, and a last chord."""
    arpeggio = ARPEGGIOS[rng.integers(len(ARPEGGIOS))]
    strummed = int(rng.integers(2))
    notes = []
    for bar in range(plan.bars):
        strings = voicing(plan, bar, 57)
        if section(bar) == strummed:
            for beat in STRUM_BEATS:
                notes += strum(plan, bar * BEATS_PER_BAR + beat, 0.9, strings, rng)
        else:
            for step, string in enumerate(arpeggio):
                beat = bar * BEATS_PER_BAR + 0.5 * step
                notes.append(played(plan, beat, 1.5, strings[string], 0.75, rng))
    return (*notes, *strum(plan, plan.end_beat, 4, voicing(plan, plan.bars, 57), rng))


def strum(plan: Plan, beat: float, beats: float, strings: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Return the notes of a strummed chord, 14 ms apart: downwards on the beat, upwards between beats."""
    order = strings if beat % 1 == 0 else strings[::-1]
    notes = [played(plan, beat, beats, pitch, 0.75 if beat % 1 == 0 else 0.55, rng) for pitch in order]
    return [
        Note(note.start + 0.014 * index, note.seconds, note.pitch, note.velocity) for index, note in enumerate(notes)
    ]


def pad(plan: Plan) -> tuple[Note, ...]:
    """Compose the pad: one long chord per bar, in choruses an octave higher."""
    bar_seconds = BEATS_PER_BAR * 60 / plan.tempo_bpm
    return tuple(
        Note(plan.time(bar * BEATS_PER_BAR), bar_seconds, pitch, 0.8)
        for bar in range(plan.bars + 1)
        for pitch in voicing(plan, bar, 60 + 12 * section(bar))
    )


def played(plan: Plan, beat: float, beats: float, pitch: int, velocity: float, rng: np.random.Generator) -> Note:
    """Return a note of an instrument, with human variation of timing and velocity."""
    start = max(0.0, plan.time(beat) + loose(rng, 0.006))
    return Note(start, beats * 60 / plan.tempo_bpm, pitch, velocity * float(rng.uniform(0.85, 1.0)))


# --- drums


def drum_hits(plan: Plan, rng: np.random.Generator) -> tuple[Hit, ...]:
    """Compose the drums: one groove per kind of section, a fill at the end of each section, and a crash after it."""
    grooves = [GROOVES[i] for i in rng.choice(len(GROOVES), size=2, replace=False)]
    hits = []
    for bar in range(plan.bars):
        if bar % BARS_PER_SECTION == 0:
            hits.append(struck(plan, bar * BEATS_PER_BAR, "crash", 0.8, rng))
        filled = (bar + 1) % BARS_PER_SECTION == 0 or bar == plan.bars - 1
        fill = FILLS[rng.integers(len(FILLS))] if filled else {}
        hits += bar_hits(plan, bar, grooves[section(bar)], fill, rng)
    hits += [struck(plan, plan.end_beat, drum, 1.0, rng) for drum in ("kick", "crash")]
    return tuple(hits)


def bar_hits(plan: Plan, bar: int, groove: dict[str, str], fill: dict[str, str], rng: np.random.Generator) -> list[Hit]:
    """Return the strokes of one bar. A fill replaces the second half of the groove, except for the kick drum."""
    hits = []
    for drum, steps in (*groove.items(), *fill.items()):
        for step, mark in enumerate(steps):
            replaced = fill and steps is groove.get(drum) and drum != "kick" and step >= 8
            if mark == "." or replaced:
                continue
            accent = 1.0 if step % 4 == 0 else 0.8
            velocity = 0.35 if mark == "g" else accent
            name = "hat_open" if mark == "o" else drum
            hits.append(struck(plan, bar * BEATS_PER_BAR + step / 4, name, velocity, rng))
    return hits


def struck(plan: Plan, beat: float, drum: str, velocity: float, rng: np.random.Generator) -> Hit:
    """Return a stroke with human variation of timing and velocity."""
    start = max(0.0, plan.time(beat) + loose(rng, 0.005))
    return Hit(start, drum, velocity * float(rng.uniform(0.88, 1.0)))
