"""Accompaniments: chords and riffs in the manner of a role, such as a pad, an arpeggio or power chords."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from songs.composition.compose import nearest, solo, swung
from songs.composition.score import Chord, Form, Note

_RHYTHMS = (  # strokes in a bar, in sixteenths
    (0, 4, 8, 12), (0, 3, 6, 8, 11, 14), (0, 6, 8, 14), (0, 2, 4, 6, 8, 10, 12, 14), (0, 3, 6, 10, 12), (4, 12),
    (0, 8), (0, 4, 6, 8, 12, 14), (0, 6, 12), (0, 2, 3, 6, 8, 10, 11, 14),
)  # fmt: skip


def voicing(chord: Chord, centre: float) -> list[int]:
    """Return the pitches of a chord near `centre` (MIDI), as close together as they can be."""
    return sorted({nearest((chord.root + i) % 12, centre) for i in chord.intervals})


def accompany(rng: np.random.Generator, form: Form, part: str, role: str, centre: float) -> list[Note]:
    """Compose an accompanying part around `centre` (MIDI), in its sections.

    `role` is a key of `PLAYERS`, or "melody".
    """
    if role == "melody":
        return solo(rng, form, part, centre)
    player = PLAYERS[role](rng)
    notes: list[Note] = []
    for section in form.active(part):
        for chord in form.chords:
            if section.start <= chord.start < section.start + section.beats:
                notes += player(form, chord, centre)
    return notes


Player = Callable[[Form, Chord, float], list[Note]]
"""Plays a chord around a centre (MIDI)."""


def _pad(rng: np.random.Generator) -> Player:
    """Return a player that holds the chords."""
    level = int(rng.integers(60, 95))
    return lambda form, chord, centre: [Note(chord.start, chord.beats, p, level) for p in voicing(chord, centre)]


def _comp(rng: np.random.Generator, lengths: tuple[float, float] = (0.6, 1.0)) -> Player:
    """Return a player that strikes the chords in a rhythm; `lengths` is the range of a note's part of its stroke."""
    rhythm = _RHYTHMS[int(rng.integers(len(_RHYTHMS)))]
    strum, gate = float(rng.choice([0, 0, 0.02, 0.05])), float(rng.uniform(*lengths))

    def play(form: Form, chord: Chord, centre: float) -> list[Note]:
        onsets = [on / 4 for on in rhythm if on / 4 < chord.beats] or [0.0]
        spans = np.diff([*onsets, chord.beats]) * gate
        return [
            Note(swung(chord.start + on, form.swing) + i * strum, float(n), p, int(rng.integers(65, 110)))
            for on, n in zip(onsets, spans, strict=True)
            for i, p in enumerate(voicing(chord, centre))
        ]

    return play


def _stab(rng: np.random.Generator) -> Player:
    """Return a player that strikes the chords in a rhythm, and lets go of them soon."""
    return _comp(rng, (0.15, 0.45))


def _offbeat(rng: np.random.Generator) -> Player:
    """Return a player of short chords between the beats; in fast songs, on all of a chord's beats but the first."""
    gate = float(rng.uniform(0.15, 0.35))
    return lambda form, chord, centre: [
        Note(chord.start + on, gate, p, int(rng.integers(75, 105)))
        for on in np.arange(0.5 if form.tempo < 110 else 1.0, chord.beats, 1.0)
        for p in voicing(chord, centre)
    ]


def _arp(rng: np.random.Generator) -> Player:
    """Return a player of the chords' notes one after another."""
    step = float(rng.choice([0.25, 0.5, 0.5]))
    order = rng.permutation(4) if rng.random() < 0.5 else np.array([0, 1, 2, 3, 2, 1])
    ring = float(rng.uniform(0.8, 3.0))

    def play(form: Form, chord: Chord, centre: float) -> list[Note]:
        tones = voicing(chord, centre)
        tones = [*tones, tones[0] + 12, tones[-1] + 12][:4]
        count = int(chord.beats / step)
        return [
            Note(
                swung(chord.start + k * step, form.swing),
                step * ring,
                tones[order[k % len(order)] % len(tones)],
                int(rng.integers(65, 105)),
            )
            for k in range(count)
        ]

    return play


def _riff(rng: np.random.Generator) -> Player:
    """Return a player of one figure, moved to each chord's root."""
    onsets = sorted({0, *map(int, rng.choice(16, int(rng.integers(4, 9)), replace=False))})
    degrees = [int(d) for d in rng.choice([0, 0, 0, 3, 5, 7, 10, 12], len(onsets))]

    def play(form: Form, chord: Chord, centre: float) -> list[Note]:
        root = nearest(chord.root, centre - 14)
        inside = [(on / 4, d) for on, d in zip(onsets, degrees, strict=True) if on / 4 < chord.beats]
        ends = [on for on, _ in inside[1:]] + [chord.beats]
        return [
            Note(chord.start + on, (end - on) * 0.9, root + d, int(rng.integers(85, 115)))
            for (on, d), end in zip(inside, ends, strict=True)
        ]

    return play


def _power(rng: np.random.Generator) -> Player:
    """Return a player of roots, fifths and octaves in an even rhythm."""
    step, gate = float(rng.choice([0.5, 0.5, 0.25, 1.0, 4.0])), float(rng.choice([0.5, 0.95]))

    def play(form: Form, chord: Chord, centre: float) -> list[Note]:
        root = nearest(chord.root, centre - 14)
        onsets = np.arange(0, chord.beats, min(step, chord.beats))
        return [
            Note(chord.start + on, min(step, chord.beats) * gate, root + i, int(rng.integers(85, 118)))
            for on in onsets
            for i in (0, 7, 12)
        ]

    return play


PLAYERS: dict[str, Callable[[np.random.Generator], Player]] = {
    "pad": _pad, "comp": _comp, "stab": _stab, "offbeat": _offbeat, "arp": _arp, "riff": _riff, "power": _power,
}  # fmt: skip
"""Role → maker of a player that keeps its manner for the whole song."""
