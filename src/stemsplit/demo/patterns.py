"""The patterns that demo songs are made of: chord progressions, rhythms, grooves and syllables."""

from __future__ import annotations

import numpy as np

# Four chords, one per bar, as degrees of the scale of their roots.
MAJOR_PROGRESSIONS = ((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4), (3, 0, 4, 5), (0, 2, 3, 4), (0, 3, 5, 4))
MINOR_PROGRESSIONS = ((0, 5, 2, 6), (0, 3, 5, 6), (0, 6, 5, 6), (5, 6, 0, 2), (0, 2, 6, 3))

# Two bars of singing: lengths of notes in beats; a negative length is a rest. The singer breathes in the last rest.
VERSE_RHYTHMS = (
    (-0.5, 0.5, 0.5, 0.5, 1, 1, 1.5, 0.5, 1, -1),
    (0.5, 0.5, 1, 0.5, 0.5, 1, 0.75, 0.75, 1.5, -1),
    (1, 0.5, 0.5, 0.75, 0.75, 0.5, 1.5, 0.5, 1, -1),
    (-1, 0.5, 0.5, 0.5, 0.5, 1, 0.5, 0.5, 1.5, -1.5),
)
CHORUS_RHYTHMS = (
    (1.5, 0.5, 1, 1, 2, 0.5, 0.5, -1),
    (1, 1, 1.5, 0.5, 3, -1),
    (0.75, 0.75, 1.5, 1, 0.75, 0.75, 1.5, -1),
    (2, 1, 1, 1.5, 1.5, -1),
)

# Sixteen steps per bar: x is a stroke, g a ghost stroke, o an open hi-hat.
GROOVES = (
    {"kick": "x.....x.x.......", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.o."},
    {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "..o...o...o...o."},
    {"kick": "x..x..x...x.....", "snare": "....x..g.g..x..g", "hat": "xgxgxgxgxgxgxgxg"},
    {"kick": "x.......x.x.....", "snare": "....x.......x..g", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x.........x..x..", "snare": "........x.......", "hat": "x.x.x.xgx.x.x.o."},
)
FILLS = (
    {"snare": "........g.x.xxxx"},
    {"snare": "........xx......", "tom_high": "..........xx....", "tom_low": "............xxxx"},
    {"tom_high": "............x...", "tom_low": "..............x.", "snare": ".............x.x"},
)

# (beat, length in beats, note). An "approach" note leads to the root of the next bar.
BASS_LINES = (
    (*((0.5 * i, 0.45, "root") for i in range(7)), (3.5, 0.45, "approach")),
    ((0, 1.4, "root"), (1.5, 0.45, "root"), (2, 1.4, "root"), (3.5, 0.45, "approach")),
    ((0, 0.7, "root"), (0.75, 0.7, "root"), (1.5, 0.45, "octave"), (2, 0.7, "root"), (2.75, 0.45, "fifth"),
     (3.5, 0.4, "approach")),
    tuple((0.5 * i, 0.4, "octave" if i % 2 else "root") for i in range(8)),
    ((0, 1.9, "root"), (2, 0.9, "fifth"), (3, 0.9, "octave")),
)  # fmt: skip
KEYS_RHYTHMS = (
    ((0, 1.9), (2, 1.9)),
    ((0, 0.9), (1.5, 0.9), (2.5, 1.4)),
    ((0.5, 0.4), (1.5, 0.4), (2.5, 0.4), (3.5, 0.4)),
    ((0, 0.45), (0.75, 0.45), (1.5, 0.9), (3, 0.9)),
)
STRUM_BEATS = (0, 1, 1.5, 2.5, 3, 3.5)
ARPEGGIOS = ((0, 1, 2, 3, 2, 1, 2, 1), (0, 2, 1, 3, 0, 2, 1, 3), (3, 2, 1, 0, 1, 2, 3, 2))

CONSONANTS = ("n", "l", "m", "r", "d", "w", "y", "t", "s", "k", "h", "b", "sh")
CONSONANT_ODDS = np.array([11, 11, 8, 8, 8, 5, 6, 11, 11, 7, 6, 4, 4]) / 100
VOWELS = ("a", "e", "i", "o", "u", "ai", "ou")
VOWEL_ODDS = np.array([24, 16, 14, 16, 12, 10, 8]) / 100
