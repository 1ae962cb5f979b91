"""A part: what an instrument plays, and which instrument it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from songs.composition.score import Note
from songs.composition.styles import DRIVEN_GUITARS
from songs.draft import Draft
from songs.instruments import synths

DRIVEN = DRIVEN_GUITARS
"""Programs of distorted guitars."""
_ELECTRIC_GUITARS = (26, 27, 28, *DRIVEN_GUITARS)


@dataclass(frozen=True)
class Part:
    """A part that plays notes."""

    stem: str
    role: str
    events: tuple[synths.Event, ...]
    program: int | None
    """The General MIDI program; None: one of our synthesizers, or a recording."""
    doubled: bool = False
    """Whether it is played twice, once on each side."""
    sound: str = ""
    """A key of `basses.BASSES` or `polysynths.SYNTHS`, or "bank: " and the name of a recording; or any synthesizer."""
    amplified: bool = False
    """Whether a recorded guitar goes through an amplifier in any case."""

    @property
    def electric(self) -> bool:
        """Whether an electric guitar plays it."""
        return self.program in _ELECTRIC_GUITARS or "emilyguitar" in self.sound or "guitar_electric" in self.sound


def timed(draft: Draft, notes: Sequence[Note]) -> tuple[synths.Event, ...]:
    """Return notes in seconds: players are a few milliseconds early or late, machines are not."""
    spread = 0.0005 if draft.style.by_machines else 0.007
    late = draft.rng.normal(0, spread, len(notes))
    return tuple((max(0.0, round(draft.form.seconds(n.start) + float(d), 4)), round(draft.form.seconds(n.beats), 4),
                  int(np.clip(n.pitch, 0, 127)), n.velocity) for n, d in zip(notes, late, strict=True))  # fmt: skip


def loosened(draft: Draft, events: Sequence[synths.Event]) -> tuple[synths.Event, ...]:
    """Return the events of a second take, some milliseconds earlier or later."""
    late = draft.rng.normal(0, 0.01, len(events))
    return tuple(
        (max(0.0, start + float(d)), duration, key, velocity)
        for (start, duration, key, velocity), d in zip(events, late, strict=True)
    )
