"""What the voices of various songs sing, and where between left and right the first of them stands."""

from __future__ import annotations

from songs.composition import compose
from songs.composition.score import Note
from songs.draft import Draft


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
