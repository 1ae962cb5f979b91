"""A short pop song as a score: a progression, a sung melody, a bass line, accompaniment and drum hits.

Everything is drawn from one random generator, so a seed is a song. Times are in seconds, pitches are MIDI
note numbers (69 = 440 Hz); a degree counts the steps of the scale from the tonic.
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
    """One note: onset and length in seconds, MIDI pitch, velocity 0..1."""

    start: float
    seconds: float
    pitch: int
    velocity: float


@dataclass(frozen=True)
class SungNote(Note):
    """A note with its syllable; `vowels` of two letters is a diphthong, an empty consonant a slur."""

    consonant: str
    vowels: str


@dataclass(frozen=True)
class Hit:
    """One stroke of the drum kit: onset in seconds, which drum, velocity 0..1."""

    start: float
    drum: str
    velocity: float


@dataclass(frozen=True)
class Plan:
    """What is decided before the first note: metre, key, form."""

    seconds: float
    tempo_bpm: float
    bars: int
    tonic: int
    scale: tuple[int, ...]
    progressions: tuple[tuple[int, ...], tuple[int, ...]]
    swing: float

    @property
    def end_beat(self) -> float:
        """The downbeat on which everybody lands."""
        return float(self.bars * BEATS_PER_BAR)

    def chord(self, bar: int) -> int:
        """Degree of the chord's root in `bar`; the song ends at home."""
        if bar >= self.bars:
            return 0
        return self.progressions[section(bar)][bar % BARS_PER_SECTION]

    def pitch(self, degree: int) -> int:
        """MIDI pitch of a scale degree, octaves included."""
        octave, step = divmod(degree, 7)
        return self.tonic + 12 * octave + self.scale[step]

    def time(self, beat: float) -> float:
        """Seconds of a beat; the off-beat sixteenths come `swing` of a sixteenth late."""
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
    """A song of `seconds` for a singer whose range lies around MIDI pitch `voice_centre`."""
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
    """Key, tempo and progression; the tempo gives way so that whole bars and a last chord fill the time."""
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
    """0 in a verse, 1 in a chorus."""
    return bar // BARS_PER_SECTION % 2


def chord_degrees(root: int) -> tuple[int, ...]:
    """Root, third, fifth and the root above."""
    return (root, root + 2, root + 4, root + 7)


# --- melody


@dataclass(frozen=True)
class Motif:
    """Two bars of a section's tune, before the chords bend it: rhythm, contour in degrees, syllables."""

    rhythm: tuple[float, ...]
    contour: tuple[int, ...]
    syllables: tuple[tuple[str, str], ...]


def melody(plan: Plan, voice_centre: int, rng: np.random.Generator) -> tuple[SungNote, ...]:
    """Two-bar phrases, one motif per section, chord notes on the strong beats, the tonic at the end."""
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
    """A rhythm with a contour that wanders at most three degrees from its middle, `lift` degrees up."""
    rhythm = rhythms[rng.integers(len(rhythms))]
    count = sum(length > 0 for length in rhythm)
    contour, degree = [], int(rng.integers(-1, 3))
    for _ in range(count):
        contour.append(degree + lift)
        step = int(rng.choice([-2, -1, -1, 0, 1, 1, 2]))
        degree += -step if abs(degree + step) > 3 else step
    return Motif(rhythm, tuple(contour), tuple(draw_syllable(rng) for _ in range(count)))


def draw_syllable(rng: np.random.Generator) -> tuple[str, str]:
    """(consonant, vowels); one in eight is a slur on the vowel."""
    consonant = "" if rng.random() < 0.12 else str(rng.choice(CONSONANTS, p=CONSONANT_ODDS))
    return consonant, str(rng.choice(VOWELS, p=VOWEL_ODDS))


def phrase(
    plan: Plan, motif: Motif, bar: int, home: int, rng: np.random.Generator
) -> list[tuple[float, float, int, tuple[str, str]]]:
    """(beat, length in beats, degree, syllable) of one motif over the chords from `bar` on."""
    notes: list[tuple[float, float, int, tuple[str, str]]] = []
    beat, index = float(bar * BEATS_PER_BAR), 0
    for length in motif.rhythm:
        if length > 0:
            degree = home + motif.contour[index]
            if beat % 2 == 0 or length >= 1.5:
                degree = nearest_chord_degree(degree, plan.chord(int(beat) // BEATS_PER_BAR))
            elif bar % BARS_PER_SECTION and rng.random() < 0.3:
                degree += int(rng.choice([-1, 1]))  # the answering phrase varies the tune
            notes.append((beat, length, degree, motif.syllables[index]))
            index += 1
        beat += abs(length)
    return notes


def nearest_degree(plan: Plan, pitch: int) -> int:
    """The degree of the scale that lies closest to a MIDI pitch."""
    return min(range(80), key=lambda degree: abs(plan.pitch(degree) - pitch))


def nearest_chord_degree(degree: int, root: int) -> int:
    """The closest degree that belongs to the triad on `root`."""
    chord = {(root + step) % 7 for step in (0, 2, 4)}
    return min(range(degree - 2, degree + 3), key=lambda d: (d % 7 not in chord, abs(d - degree)))


def sung(
    plan: Plan, beat: float, beats: float, degree: int, syllable: tuple[str, str], rng: np.random.Generator
) -> SungNote:
    """A melody note at its time, a little loose, a little short of the next one."""
    start = plan.time(beat) + loose(rng, 0.012)
    seconds = 0.97 * beats * 60 / plan.tempo_bpm
    velocity = float(rng.uniform(0.8, 1.0)) * (1.0 if beat % 2 == 0 else 0.9)
    return SungNote(start, seconds, plan.pitch(degree), velocity, *syllable)


def loose(rng: np.random.Generator, spread: float) -> float:
    """A human timing error in seconds, at most two spreads."""
    return float(np.clip(rng.normal(0, spread / 2), -2 * spread, 2 * spread))


# --- accompaniment


def voicing(plan: Plan, bar: int, centre: int) -> tuple[int, ...]:
    """Four chord notes near MIDI pitch `centre`, lowest first: neighbouring chords share their register."""
    return tuple(
        sorted(
            pitch + 12 * round((centre + 4 * voice - 6 - pitch) / 12)
            for voice, pitch in enumerate(plan.pitch(degree) for degree in chord_degrees(plan.chord(bar)))
        )
    )


def bass_line(plan: Plan, rng: np.random.Generator) -> tuple[Note, ...]:
    """One pattern per section, with an approach note into the next bar."""
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
    """The chord's root between E1 and D#2 (MIDI 28 to 39)."""
    return (plan.pitch(plan.chord(bar)) - 28) % 12 + 28


def keys(plan: Plan, rng: np.random.Generator) -> tuple[Note, ...]:
    """Chords of the electric piano, one rhythm per section."""
    rhythms = [KEYS_RHYTHMS[i] for i in rng.choice(len(KEYS_RHYTHMS), size=2, replace=False)]
    notes = []
    for bar in range(plan.bars):
        for beat, beats in rhythms[section(bar)]:
            for pitch in voicing(plan, bar, 62):
                notes.append(played(plan, bar * BEATS_PER_BAR + beat, beats, pitch, 0.7, rng))
    notes += [played(plan, plan.end_beat, 4, pitch, 0.7, rng) for pitch in voicing(plan, plan.bars, 62)]
    return tuple(notes)


def guitar(plan: Plan, rng: np.random.Generator) -> tuple[Note, ...]:
    """Arpeggios in one section, strummed chords in the other, and a last chord."""
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
    """A chord string by string, 14 ms apart: down on the beat, up between beats."""
    order = strings if beat % 1 == 0 else strings[::-1]
    notes = [played(plan, beat, beats, pitch, 0.75 if beat % 1 == 0 else 0.55, rng) for pitch in order]
    return [
        Note(note.start + 0.014 * index, note.seconds, note.pitch, note.velocity) for index, note in enumerate(notes)
    ]


def pad(plan: Plan) -> tuple[Note, ...]:
    """One long chord per bar, in the choruses an octave higher."""
    bar_seconds = BEATS_PER_BAR * 60 / plan.tempo_bpm
    return tuple(
        Note(plan.time(bar * BEATS_PER_BAR), bar_seconds, pitch, 0.8)
        for bar in range(plan.bars + 1)
        for pitch in voicing(plan, bar, 60 + 12 * section(bar))
    )


def played(plan: Plan, beat: float, beats: float, pitch: int, velocity: float, rng: np.random.Generator) -> Note:
    """An instrument's note with a human's timing and touch."""
    start = max(0.0, plan.time(beat) + loose(rng, 0.006))
    return Note(start, beats * 60 / plan.tempo_bpm, pitch, velocity * float(rng.uniform(0.85, 1.0)))


# --- drums


def drum_hits(plan: Plan, rng: np.random.Generator) -> tuple[Hit, ...]:
    """One groove per section, a fill into the next section, a crash on its first beat."""
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
    """The strokes of one bar; a fill replaces the groove's second half, the kick excepted."""
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
    """A stroke with a drummer's timing and touch."""
    start = max(0.0, plan.time(beat) + loose(rng, 0.005))
    return Hit(start, drum, velocity * float(rng.uniform(0.88, 1.0)))
