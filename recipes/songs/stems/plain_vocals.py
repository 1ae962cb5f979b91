"""The vocal stem: recorded clips or synthetic singing, with doubles or a harmony in some songs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from songs.composition import compose
from songs.composition.score import Note
from songs.draft import Draft
from songs.mix import effects
from songs.voices import recorded, sing
from songs.voices.line import Backing, Manner, choose_manner, set_text, sung_again


def plain_vocals(draft: Draft) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the vocal stem (2, samples), and f0 (frames,) of a synthetic lead in Hz every 5 ms."""
    rng, sources = draft.rng, draft.sources
    if not draft.form.active("vocals"):
        return draft.silence(), None
    if sources.clips.songs and (rng.random() < sources.clip_share or not sources.banks):
        mono, names = recorded.place_clips(rng, draft.form, sources.clips, draft.seconds)
        audio, f0 = effects.pan(mono, float(rng.normal(0, 0.05))), None
        draft.meta["vocals"] = {"clips": names}
    else:
        audio, f0 = _sung(draft)
    if rng.random() < 0.15:
        audio = effects.echo(audio, draft.form.seconds(draft.pick((0.5, 0.75, 1.0))), float(rng.uniform(0.1, 0.35)))
    return draft.treat(audio, wet=(0.0, 0.5), drive=0.25), f0


def _sung(draft: Draft) -> tuple[np.ndarray, np.ndarray]:
    """Sing a lead, and in some songs doubles to the sides or a harmony; return (2, samples) and the lead's f0."""
    rng, sources = draft.rng, draft.sources
    weights = np.array([weight for _, weight in sources.banks])
    bank = sources.banks[int(rng.choice(len(weights), p=weights / weights.sum()))][0]
    manner = choose_manner(rng)
    notes = _vocal_melody(draft, bank.centre)
    sung = set_text(rng, draft.form, notes, bank, manner)
    lead, f0 = sing.voice(rng, sung, sources.store, manner, draft.seconds)
    audio = effects.pan(lead, float(rng.normal(0, 0.05)))
    backing = str(rng.choice(["none", "doubles", "harmony"], p=[0.76, 0.1, 0.14]))
    for behind in _backing(draft, backing, notes, manner):
        more = sing.voice(rng, sung_again(rng, sung, behind.shift), sources.store, manner, draft.seconds)[0]
        audio += behind.gain * effects.pan(more, behind.place)
    # studio voices have more treble than these recordings
    audio = effects.shelf(audio, float(rng.uniform(2500, 5000)), float(rng.uniform(0, 10)), high=True)
    draft.meta["vocals"] = {"bank": bank.name, "formant": round(manner.formant, 3), "backing": backing}
    return effects.highpass(audio, 80.0), f0


def _vocal_melody(draft: Draft, recorded_at: float) -> list[Note]:
    """Compose a melody for a voice that was recorded at this MIDI pitch; hip-hop is rapped in some songs."""
    rng, rap = draft.rng, draft.style.name == "hiphop" and draft.rng.random() < 0.5
    centre = float(np.clip(recorded_at + rng.uniform(-6, 4), 46.0, 72.0))
    density, span = (2.5, 3.0) if rap else (float(rng.uniform(0.6, 1.4)), 7.0)
    return [n for s in draft.form.active("vocals") for n in compose.melody(rng, draft.form, s, centre, density, span)]


def _backing(draft: Draft, kind: str, notes: Sequence[Note], manner: Manner) -> list[Backing]:
    """Return the voices behind a lead that sings `notes`."""
    if kind == "doubles":
        return [Backing(side, 0.4, [0.0] * len(notes), manner) for side in (-0.7, 0.7)]
    if kind == "harmony":
        third = [float(draft.form.third_above(n.pitch) - n.pitch) for n in notes]
        return [Backing(draft.between(-0.8, 0.8), 0.5, third, manner)]
    return []
