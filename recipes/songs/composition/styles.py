"""Styles: the tempo, harmony, instruments and drum takes of a kind of music.

Instruments are General MIDI programs, counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PIANOS, ORGANS, CLEAN_GUITARS, DRIVEN_GUITARS = (0, 1, 2, 3), (16, 17, 18, 19), (24, 25, 26, 27, 28), (29, 30)
ELECTRIC_PIANOS, MALLETS = (4, 5), (8, 9, 11, 12, 13, 14)
STRINGS, BRASS, REEDS = (48, 49, 50, 51, 44, 45), (56, 57, 58, 60, 61, 62, 63), (64, 65, 66, 67, 68, 71)
SOLO_STRINGS, PIPES, PLUCKS = (40, 41, 42), (73, 74, 75, 79), (6, 7, 15, 46, 104, 105, 106, 107, 108)
LEADS, PADS = (80, 81, 82, 83, 84, 86, 87), (88, 89, 90, 92, 93, 94, 95)
ACOUSTIC_BASS, ELECTRIC_BASS, SYNTH_BASS = (32,), (33, 34, 35, 36, 37), (38, 39)

MACHINE_STYLES = ("house", "synthpop", "hiphop")
"""Styles that machines play, exactly in time."""


@dataclass(frozen=True)
class Palette:
    """What a style sounds like beyond its programs. Probabilities are from 0 to 1."""

    patterns: str = ""
    """The machine's bars: a key of `patterns.PATTERNS`; the empty one stands for rows for any music."""
    machines: tuple[str, ...] = ()
    """Characters of its drum machines: keys of `machine_drums.CHARACTERS`; none: any."""
    loops: tuple[str, ...] = ()
    """Words in the names of the drum loops that fit."""
    looped: float = 0.0
    """Probability that a loop plays the drums, alone or under strokes."""
    basses: tuple[str, ...] = ()
    """Synthesised basses: keys of `basses.BASSES`."""
    synths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Role → the synthesizers that may play it: keys of `polysynths.SYNTHS`."""
    pump: float = 0.0
    """Probability that the kick turns bass and accompaniment down."""
    ornaments: Mapping[str, float] = field(default_factory=dict)
    """Key of `ornaments.ORNAMENTS` → its probability."""


@dataclass(frozen=True)
class Style:
    """One kind of music. Ranges are (lowest, highest), probabilities from 0 to 1."""

    name: str
    tempo: tuple[float, float]
    """Quarter notes per minute."""
    modes: tuple[str, ...]
    progressions: Mapping[str, tuple[str, ...]]
    """Mode → loops of chords, each a string such as "0M 9m7": semitones above the tonic, and a quality."""
    takes: tuple[str, ...]
    """Styles of the drum takes that fit."""
    machine: float
    """Probability of programmed drums."""
    basses: tuple[int, ...]
    bass_patterns: tuple[str, ...]
    synth_bass: float
    """Probability that a synthesizer plays the bass."""
    roles: tuple[tuple[str, tuple[int, ...]], ...]
    """Roles of accompanying parts, and the programs that may play each."""
    drive: float = 0.1
    """Probability that an electric guitar is distorted."""
    swing: float = 0.0
    palette: Palette = Palette()

    @property
    def by_machines(self) -> bool:
        """Whether machines play it, exactly in time."""
        return self.name in MACHINE_STYLES or bool(self.palette.machines)


POP: dict[str, tuple[str, ...]] = {
    "major": (
        "0M 7M 9m 5M", "9m 5M 0M 7M", "0M 9m 5M 7M", "0M 5M 9m 7M", "5M 0M 7M 9m", "0a9 7s 9m7 5M7",
        "0M 4m 5M 5m", "0M 2m 5M 7M", "0M 7M 2m 5M", "9m 7M 5M 7M", "5M7 4m7 9m7 0M", "0M 0M 5M 7M",
        "0M 7M 9m 4m 5M 0M 5M 7M", "2m7 7s 0M 9m", "0M 11h 9m 7M",
    ),
    "minor": (
        "0m 8M 3M 10M", "0m 10M 8M 10M", "0m 5m 8M 7M", "0m 3M 10M 5m", "0m 8M 5m 7M", "8M 10M 0m 0m",
        "0m7 5m7 10M 3M7", "0m 10M 8M 7M", "0m 7m 8M 3M", "8M 3M 10M 0m", "0m 0m 5m 0m",
    ),
}  # fmt: skip
ROCK: dict[str, tuple[str, ...]] = {
    "major": ("0M 10M 5M 0M", "0M 5M 7M 5M", "0M 7M 5M 5M", "0M 3M 5M 0M", "0M 0M 10M 5M", "9m 5M 0M 7M"),
    "minor": ("0m 10M 8M 10M", "0m 3M 5M 8M", "0m 8M 10M 0m", "0m 0m 3M 10M", "0m 1M 0m 10M", "0m 6M 5m 3M"),
}
BLUES: dict[str, tuple[str, ...]] = {
    "major": ("07 07 07 07 57 57 07 07 77 57 07 77", "07 57 07 07 57 57 07 07 77 57 07 07"),
    "minor": ("0m7 0m7 0m7 0m7 5m7 5m7 0m7 0m7 87 77 0m7 77",),
}
JAZZ: dict[str, tuple[str, ...]] = {
    "major": (
        "2m7 77 0M7 97", "0M7 9m7 2m7 77", "0M7 0M7 57 5m7 4m7 97 2m7 77", "0M7 27 2m7 77", "4m7 97 2m7 77",
        "0M7 5M7 11h 47 9m7 27 2m7 77",
    ),
    "minor": ("2h 77 0m7 0m7", "0m7 5m7 2h 77", "0m7 8M7 2h 77", "5m7 107 3M7 8M7 2h 77 0m7 0m7"),
}  # fmt: skip
FUNK: dict[str, tuple[str, ...]] = {
    "major": ("09 09 57 09", "2m7 79 2m7 79", "0M7 9m7 2m7 79", "09 109 57 09"),
    "minor": ("0m7 0m7 5m7 0m7", "0m7 59 0m7 59", "0m7 3M7 8M7 7m7", "0m7 10M 8M7 77"),
}

STYLES = (
    Style("pop", (80, 130), ("major", "minor"), POP, ("pop", "rock", "soul", "dance"), 0.35,
          ELECTRIC_BASS + SYNTH_BASS, ("roots", "eighths", "kick", "syncopated"), 0.2,
          (("comp", PIANOS + ELECTRIC_PIANOS + CLEAN_GUITARS), ("pad", STRINGS + PADS), ("arp", CLEAN_GUITARS + PLUCKS),
           ("comp", CLEAN_GUITARS), ("melody", LEADS + REEDS + SOLO_STRINGS))),
    Style("ballad", (70, 92), ("major", "minor"), POP, ("pop", "soul", "rock"), 0.15,
          ACOUSTIC_BASS + ELECTRIC_BASS, ("roots", "kick", "fifths"), 0.1,
          (("arp", PIANOS + CLEAN_GUITARS + ELECTRIC_PIANOS), ("pad", STRINGS + PADS), ("comp", PIANOS + ORGANS),
           ("melody", SOLO_STRINGS + PIPES + REEDS))),
    Style("rock", (95, 160), ("major", "minor"), ROCK, ("rock", "punk"), 0.05,
          (33, 34), ("eighths", "kick", "fifths", "roots"), 0.05,
          (("power", DRIVEN_GUITARS), ("comp", DRIVEN_GUITARS + CLEAN_GUITARS + ORGANS), ("riff", DRIVEN_GUITARS),
           ("melody", DRIVEN_GUITARS + ORGANS)), 0.8),
    Style("punk", (145, 160), ("major", "minor"), ROCK, ("punk", "rock"), 0.0,
          (34, 33), ("eighths",), 0.0,
          (("power", DRIVEN_GUITARS), ("power", DRIVEN_GUITARS), ("melody", DRIVEN_GUITARS)), 1.0),
    Style("metal", (100, 160), ("minor",), ROCK, ("rock", "punk"), 0.0,
          (34, 33), ("eighths", "gallop", "kick"), 0.1,
          (("power", DRIVEN_GUITARS), ("riff", DRIVEN_GUITARS), ("melody", DRIVEN_GUITARS + LEADS),
           ("pad", STRINGS)), 1.0),
    Style("jazz", (90, 160), ("major", "minor"), JAZZ, ("jazz",), 0.0,
          (*ACOUSTIC_BASS, 33, 35), ("walking", "walking", "fifths"), 0.0,
          (("comp", (*PIANOS, 26, *ELECTRIC_PIANOS)), ("melody", REEDS + BRASS + (11,)), ("comp", (26, 16, 17)),
           ("melody", BRASS + REEDS)), 0.0, 0.6),
    Style("bossa", (100, 140), ("major", "minor"), JAZZ, ("latin", "afrocuban", "bossa"), 0.05,
          (*ACOUSTIC_BASS, 35), ("fifths", "syncopated"), 0.0,
          (("comp", (24, 25)), ("pad", STRINGS), ("melody", PIPES + REEDS), ("comp", PIANOS + ELECTRIC_PIANOS)), 0.0),
    Style("blues", (70, 130), ("major", "minor"), BLUES, ("rock", "blues", "soul", "gospel"), 0.0,
          (32, 33, 34), ("walking", "shuffle", "roots"), 0.0,
          (("comp", PIANOS + ORGANS), ("comp", (*CLEAN_GUITARS, 29)), ("melody", (27, 29, 22, 66))), 0.3, 0.6),
    Style("funk", (90, 120), ("minor", "major"), FUNK, ("funk", "soul", "neworleans", "hiphop"), 0.05,
          (33, 36, 37, 34), ("syncopated", "kick", "octaves"), 0.15,
          (("stab", (*CLEAN_GUITARS, 7)), ("stab", BRASS), ("comp", ELECTRIC_PIANOS + ORGANS + (7,)),
           ("melody", REEDS + LEADS))),
    Style("soul", (70, 115), ("major", "minor"), FUNK | {"major": POP["major"] + FUNK["major"]},
          ("soul", "gospel", "funk"), 0.1,
          (33, 34, 35), ("syncopated", "kick", "roots"), 0.1,
          (("comp", ELECTRIC_PIANOS + ORGANS), ("stab", BRASS + CLEAN_GUITARS), ("pad", STRINGS + ORGANS),
           ("melody", (*REEDS, 27)))),
    Style("reggae", (70, 95), ("major", "minor"), POP, ("reggae", "rock", "latin"), 0.05,
          (33, 32, 34), ("syncopated", "roots"), 0.2,
          (("offbeat", CLEAN_GUITARS + PIANOS), ("offbeat", ORGANS), ("melody", BRASS + LEADS), ("pad", ORGANS))),
    Style("house", (118, 130), ("minor", "major"), POP, ("dance",), 0.95,
          SYNTH_BASS, ("offbeat", "octaves", "eighths"), 0.7,
          (("stab", PIANOS + LEADS + ELECTRIC_PIANOS), ("pad", PADS + STRINGS), ("arp", LEADS + PLUCKS + MALLETS),
           ("melody", LEADS))),
    Style("synthpop", (98, 136), ("major", "minor"), POP, ("dance", "pop", "rock"), 0.8,
          SYNTH_BASS, ("octaves", "eighths", "kick"), 0.6,
          (("arp", LEADS + PADS + PLUCKS), ("pad", PADS + STRINGS), ("stab", LEADS + BRASS),
           ("melody", LEADS + MALLETS))),
    Style("hiphop", (72, 102), ("minor",), POP, ("hiphop", "funk", "soul"), 0.6,
          (*SYNTH_BASS, 33, 35), ("sub", "kick", "roots"), 0.7,
          (("comp", ELECTRIC_PIANOS + PIANOS), ("arp", MALLETS + PLUCKS + PIPES), ("pad", STRINGS + PADS),
           ("melody", PIPES + SOLO_STRINGS + LEADS)), 0.05, 0.15),
    Style("folk", (75, 135), ("major", "minor"), POP, ("country", "rock", "highlife", "pop"), 0.0,
          (*ACOUSTIC_BASS, 33), ("fifths", "roots"), 0.0,
          (("comp", (24, 25)), ("arp", (24, 25, 105, 46)), ("melody", SOLO_STRINGS + PIPES + (22, 21)),
           ("pad", (21, 20, 48)))),
    Style("country", (85, 150), ("major",), POP, ("country", "rock"), 0.0,
          (*ACOUSTIC_BASS, 33, 34), ("fifths", "walking"), 0.0,
          (("comp", (25, 26, 27)), ("arp", (25, 105, 27)), ("melody", (27, 40, 22)), ("comp", PIANOS)), 0.2),
    Style("orchestral", (70, 120), ("minor", "major"), POP, ("rock", "pop", "latin"), 0.1,
          (32, 43, 38), ("roots", "fifths"), 0.2,
          (("pad", STRINGS), ("arp", PLUCKS + PIANOS), ("melody", SOLO_STRINGS + PIPES + BRASS),
           ("stab", BRASS + STRINGS)), 0.0),
)  # fmt: skip
