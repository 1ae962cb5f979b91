"""What the voices of various songs sing and how, and where between left and right the first of them stands."""

from __future__ import annotations

from dataclasses import replace

from songs.composition import compose
from songs.composition.score import Note
from songs.draft import Draft
from songs.voices.line import Manner


def lead_place(draft: Draft) -> float:
    """Draw a lead's place between left and right: nearly always the middle."""
    return float(draft.rng.normal(0, 0.05)) if draft.chance(0.92) else draft.between(-0.6, 0.6)


def vocal_melody(draft: Draft, centre: float, kind: str) -> list[Note]:
    """Compose a melody around `centre` (MIDI) for a kind of manner, in all vocal sections."""
    sung = draft.between(0.5, 1.6), draft.between(4, 9)
    density, span = {"rapped": (3.0, 2.0), "spoken": (2.2, 2.0)}.get(kind, sung)
    if draft.chance(0.1):
        density *= 2
    return [note for section in draft.form.active("vocals")
            for note in compose.melody(draft.rng, draft.form, section, centre, density, span)]  # fmt: skip


def varied(draft: Draft, manner: Manner) -> tuple[Manner, str]:
    """Return a manner as it is, or corrected by a machine, breathy or with a wide vibrato; and which of these."""
    kind = draft.rng.random()
    if kind < 0.12:
        return replace(manner, vibrato=0.0, glide=0.012, scoop=0.0, drift=0.0), "tuned"
    if kind < 0.24:
        return replace(manner, breath=draft.between(0.3, 0.7)), "breathy"
    if kind < 0.34:
        return replace(manner, vibrato=draft.between(0.5, 1.2), glide=draft.between(0.06, 0.2)), "wide"
    return manner, "sung"
