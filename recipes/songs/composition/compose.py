"""Compose: form, harmony, bass lines and melodies, all from one random generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from songs.composition.score import BEATS_PER_BAR, QUALITIES, Chord, Form, Note, Section
from songs.composition.styles import Style

PARTS = ("drums", "bass", "vocals")
"""The parts of every song; other0, other1 and so on accompany."""
_LINES = {  # one bar in sixteenths: (onset, length, chord degree: 0 root, 1 fifth, 2 octave, 3 approach)
    "roots": ((0, 16, 0),),
    "halves": ((0, 8, 0), (8, 8, 0)),
    "eighths": tuple((i, 2, 0) for i in range(0, 16, 2)),
    "fifths": ((0, 6, 0), (8, 6, 1)),
    "octaves": tuple((i, 2, 2 if i % 4 else 0) for i in range(0, 16, 2)),
    "offbeat": tuple((i, 2, 0) for i in range(2, 16, 4)),
    "gallop": tuple((i + j, 1, 0) for i in range(0, 16, 4) for j in (0, 2, 3)),
    "shuffle": ((0, 3, 0), (4, 3, 1), (8, 3, 2), (12, 3, 1)),
    "sub": ((0, 7, 0), (10, 5, 0)),
    "walking": ((0, 4, 0), (4, 4, 1), (8, 4, 2), (12, 4, 3)),
    "rolling": tuple((i, 1, 0) for i in range(16) if i % 4),
    "sixteenths": tuple((i, 1, 2 if i in (3, 10) else 0) for i in range(16)),
    "tresillo": ((0, 3, 0), (3, 3, 0), (6, 2, 1), (8, 3, 0), (11, 3, 0), (14, 2, 1)),
    "surdo": ((0, 3, 0), (3, 1, 1), (4, 4, 1), (8, 3, 0), (11, 1, 0), (12, 4, 1)),
    "long": ((0, 10, 0), (10, 6, 2)),
    "drops": ((0, 6, 0), (6, 4, 0), (10, 3, 2), (13, 3, 3)),
}


def compose_form(rng: np.random.Generator, style: Style, seconds: float, absent: frozenset[str], parts: int) -> Form:
    """Draw the tempo, key, sections and chords of a song of about `seconds`, at least four bars.

    Args:
        rng: The source of all choices.
        style: The kind of music.
        seconds: How long the song is to be.
        absent: Parts that do not play at all.
        parts: The number of accompanying parts.
    """
    tempo = float(rng.uniform(*style.tempo))
    mode = str(rng.choice(style.modes))
    bars = max(4, 2 * round(seconds * tempo / 60 / BEATS_PER_BAR / 2))
    sections = _sections(rng, bars, absent, parts)
    key = int(rng.integers(12))
    return Form(tempo, key, mode, style.swing, _chords(rng, style, mode, key, sections), sections)


def _sections(rng: np.random.Generator, bars: int, absent: frozenset[str], parts: int) -> tuple[Section, ...]:
    lengths = _split_bars(rng, bars, int(rng.integers(2, 5)))
    start, sections = 0, []
    for index, length in enumerate(lengths):
        active = _active(rng, parts, first=index == 0) - absent
        label = "ABCB"[index % 4]
        sections.append(Section(start * BEATS_PER_BAR, length * BEATS_PER_BAR, active, label))
        start += length
    return _ensure_heard(sections, frozenset(PARTS) - absent)


def _split_bars(rng: np.random.Generator, bars: int, pieces: int) -> list[int]:
    """Cut `bars` at random into pieces of an even number of bars, and return their lengths."""
    pieces = max(1, min(pieces, bars // 2))
    cuts = np.sort(rng.choice(np.arange(1, bars // 2), pieces - 1, replace=False)) * 2
    return list(map(int, np.diff(np.concatenate([[0], cuts, [bars]]))))


def _active(rng: np.random.Generator, parts: int, *, first: bool) -> frozenset[str]:
    """Draw the parts that play in a section."""
    quiet = 1.8 if first else 1.0  # songs start thinner than they go on
    active = {name for name, rest in (("drums", 0.12), ("bass", 0.12), ("vocals", 0.18)) if rng.random() > rest * quiet}
    others = {f"other{i}" for i in range(parts) if rng.random() > 0.25 * quiet}
    if not others and rng.random() < 0.7:
        others = {f"other{int(rng.integers(parts))}"}
    return frozenset(active | others)


def _ensure_heard(sections: list[Section], wanted: frozenset[str]) -> tuple[Section, ...]:
    """Make every wanted part play somewhere, and something in every section."""
    heard = frozenset().union(*(section.active for section in sections))
    missing = {name for name in (*wanted, "other0") if name not in heard and (name != "other0" or not heard)}
    longest = max(range(len(sections)), key=lambda i: sections[i].beats)
    sections[longest] = sections[longest]._replace(active=sections[longest].active | missing)
    return tuple(s if s.active else s._replace(active=frozenset({"other0"})) for s in sections)


def _chords(
    rng: np.random.Generator, style: Style, mode: str, key: int, sections: tuple[Section, ...]
) -> tuple[Chord, ...]:
    """Draw a loop of chords for each label, and repeat it through the sections."""
    loops = {label: str(rng.choice(style.progressions[mode])).split() for label in "ABC"}
    chord_beats = BEATS_PER_BAR if rng.random() < 0.8 else BEATS_PER_BAR / 2
    chords = []
    for section in sections:
        loop = loops[section.label]
        for index in range(int(np.ceil(section.beats / chord_beats))):
            step, quality = parse_chord(loop[index % len(loop)])
            start = section.start + index * chord_beats
            chords.append(Chord(start, chord_beats, (key + step) % 12, QUALITIES[quality]))
    return tuple(chords)


def parse_chord(symbol: str) -> tuple[int, str]:
    """Return the semitones above the tonic and the quality of a symbol such as '10M7'.

    Raises:
        ValueError: It is no symbol of a chord.
    """
    for quality in sorted(QUALITIES, key=len, reverse=True):
        step = symbol.removesuffix(quality)
        if step != symbol and step.isdigit() and int(step) < 12:
            return int(step), quality
    raise ValueError(f"no chord: {symbol!r}")


def nearest(pitch_class: int, centre: float) -> int:
    """Return the pitch of a class that lies nearest to `centre` (MIDI)."""
    return round((centre - pitch_class) / 12) * 12 + pitch_class


def swung(beat: float, swing: float) -> float:
    """Return a beat with the second eighth moved towards the last triplet; `swing` 1 moves it all the way."""
    whole, part = np.floor(beat), beat - np.floor(beat)
    late = 0.5 + swing / 6
    return float(whole + (part / 0.5 * late if part < 0.5 else late + (part - 0.5) / 0.5 * (1 - late)))


def bass_line(
    rng: np.random.Generator, form: Form, pattern: str, kicks: Sequence[float] = (), low: int = 28
) -> list[Note]:
    """Compose the bass.

    Args:
        rng: The source of all choices.
        form: The song's chords and sections.
        pattern: A key of `_LINES`, "syncopated", or "kick" for a bass that follows the kick drum.
        kicks: Beats of the kick drum.
        low: The lowest root (MIDI).
    """
    pattern = "halves" if pattern == "kick" and not kicks else pattern
    lines = _LINES | {"syncopated": _syncopated(rng)}
    notes: list[Note] = []
    for section in form.active("bass"):
        for bar in range(int(section.beats // BEATS_PER_BAR)):
            start = section.start + bar * BEATS_PER_BAR
            steps = _kick_steps(kicks, start) if pattern == "kick" else lines[pattern]
            notes += [_bass_note(rng, form, start + on / 4, length / 4, degree, low) for on, length, degree in steps]
    return notes


def _syncopated(rng: np.random.Generator) -> tuple[tuple[int, int, int], ...]:
    """Draw a bar as in `_LINES`, with strokes anywhere in it."""
    onsets = sorted({0, *map(int, rng.choice(np.arange(2, 16), int(rng.integers(3, 7)), replace=False))})
    lengths = np.diff([*onsets, 16])
    return tuple(
        (on, int(max(1, n - rng.integers(2))), int(rng.choice([0, 0, 0, 1, 2])))
        for on, n in zip(onsets, lengths, strict=True)
    )


def _kick_steps(kicks: Sequence[float], start: float) -> tuple[tuple[int, int, int], ...]:
    """Return a bar as in `_LINES` that plays the root with every kick drum in the bar at beat `start`."""
    onsets = sorted({round((k - start) * 4) for k in kicks if start - 0.1 <= k < start + BEATS_PER_BAR - 0.15})
    onsets = [on for on in onsets if 0 <= on < 16] or [0]
    return tuple((on, int(n), 0) for on, n in zip(onsets, np.diff([*onsets, 16]), strict=True))


def _bass_note(rng: np.random.Generator, form: Form, beat: float, beats: float, degree: int, low: int) -> Note:
    """Return one note of a line in the chord at `beat`; `degree` as in `_LINES`."""
    chord = form.chord_at(beat)
    root = low + (chord.root - low) % 12
    fifth = chord.intervals[2] if len(chord.intervals) > 2 and chord.intervals[2] < 12 else 7
    if degree == 3:  # lead into the next chord by a semitone
        following = form.chord_at(beat + beats)
        pitch = low + (following.root - low) % 12 + int(rng.choice([-1, 1]))
    else:
        pitch = root + (0, fifth, 12)[degree]
    length = beats * float(rng.uniform(0.75, 0.98))
    return Note(swung(beat, form.swing), length, pitch, int(rng.integers(80, 118)))


def solo(rng: np.random.Generator, form: Form, part: str, centre: float) -> list[Note]:
    """Compose an instrumental melody around `centre` (MIDI) in the sections of `part`.

    Where there are vocals it has fewer notes.
    """
    notes: list[Note] = []
    for section in form.active(part):
        busy = "vocals" in section.active
        notes += melody(rng, form, section, centre, density=0.4 if busy else float(rng.uniform(0.6, 1.3)))
    return notes


def melody(
    rng: np.random.Generator, form: Form, section: Section, centre: float, density: float = 1.0, span: float = 8.0
) -> list[Note]:
    """Compose phrases of two bars over the chords of a section: two rhythms that come back, steps of the scale, rests.

    On strong beats are notes of the chord. Pitches stay within `span` semitones of `centre` (MIDI). A higher `density`
    makes shorter notes.
    """
    rhythms = [_phrase_rhythm(rng, density) for _ in range(2)]
    notes: list[Note] = []
    pitch = nearest(form.chord_at(section.start).root, centre)
    for index in range(int(np.ceil(section.beats / 8))):
        start = section.start + index * 8
        for on, beats in rhythms[int(rng.random() < 0.35)]:
            if start + on + beats > section.start + section.beats + 1e-6:
                continue
            pitch = _next_pitch(rng, form, start + on, pitch, centre, span)
            notes.append(Note(swung(start + on, form.swing), beats, pitch, int(rng.integers(75, 115))))
    return notes


def _phrase_rhythm(rng: np.random.Generator, density: float) -> list[tuple[float, float]]:
    """Draw the starts and lengths of a phrase's notes, in beats of two bars."""
    beat = float(rng.choice([0.0, 0.0, 0.5, 1.0]))
    end = float(rng.choice([5.0, 6.0, 6.5, 7.0, 7.5]))
    phrase: list[tuple[float, float]] = []
    values, weights = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0]), np.array([0.6, 3.0, 0.8, 2.0, 1.0, 0.7])
    weights = weights * values ** (-np.log2(max(density, 0.1)))
    while beat < end:
        beats = float(min(rng.choice(values, p=weights / weights.sum()), 8 - beat))
        if rng.random() < 0.9:
            phrase.append((beat, beats))
        beat += beats
    if phrase and rng.random() < 0.7:  # the last note of a phrase is held
        on, beats = phrase[-1]
        phrase[-1] = (on, min(beats + float(rng.choice([0.5, 1.0])), 8 - on))
    return phrase


def _next_pitch(rng: np.random.Generator, form: Form, beat: float, pitch: int, centre: float, span: float) -> int:
    """Draw the pitch that follows `pitch`: mostly near to it, and not far from the centre."""
    allowed = form.chord_at(beat).classes if beat % 1 == 0 or rng.random() < 0.3 else form.scale
    candidates = np.array([p for p in range(round(centre - span), round(centre + span) + 1) if p % 12 in allowed])
    distance = np.abs(candidates - pitch)
    weights = (
        np.exp(-distance / 2.5)
        * np.where(distance == 0, 0.6, 1.0)
        * np.exp(-((candidates - centre) ** 2) / (2 * span**2))
    )
    return int(rng.choice(candidates, p=weights / weights.sum()))
