"""Whole songs with exact stems, to train a separator on where there are no multitrack recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from songs.composition import compose
from songs.composition.cast import FULL, Cast, draw_cast
from songs.composition.score import Form
from songs.draft import Draft, Sources
from songs.instruments import drums
from songs.instruments.basses import DEEP
from songs.mix import bus, effects, mixdown
from songs.mix.mixdown import STEMS
from songs.stems.drum_stem import drum_hits, drum_stem
from songs.stems.pitched_stems import bass_stem, compose_parts, other_stem, play_parts
from songs.stems.plain_vocals import plain_vocals
from songs.stems.various_parts import compose_various
from songs.stems.various_vocals import various_vocals

_TAIL = 1.5  # seconds left after the last bar
_ALONE = Cast("vocals alone", frozenset({"drums", "bass", "other"}))


@dataclass(frozen=True)
class Song:
    """A rendered song."""

    stems: Mapping[str, np.ndarray]
    """Name → (2, samples), float32 at 44.1 kHz."""
    meta: Mapping[str, Any]
    """What was drawn, and what each stem is made of."""
    f0: np.ndarray | None = None
    """Pitch (frames,) of a synthetic lead in Hz every 5 ms, 0 where it has none."""


def render_song(rng: np.random.Generator, sources: Sources) -> Song:
    """Compose, play and mix one song. The same generator state and sources give the same song.

    Raises:
        StemsplitError: A source cannot be played.
    """
    if sources.various and sources.soundfonts:
        fonts = (sources.soundfont, *sources.soundfonts)
        sources = replace(sources, soundfont=fonts[int(rng.integers(len(fonts)))])
    draft = _draft(rng, sources, draw_cast(rng) if sources.various and not sources.people_kinds else FULL)
    hits = drum_hits(draft)
    parts = (compose_various if sources.various else compose_parts)(draft, hits)
    played = play_parts(draft, parts)
    vocals, f0 = various_vocals(draft) if sources.various else plain_vocals(draft)
    stems = {
        "drums": drum_stem(draft, hits),
        "bass": bass_stem(draft, parts, played),
        "other": other_stem(draft, parts, played),
        "vocals": vocals,
    }
    # a sub-bass carries most of the energy of club music
    louder = draft.between(0, 9) if draft.meta["bass"].get("sound") in DEEP else 0.0
    mixed, draft.meta["gains_db"] = mixdown.balance_stems(rng, _pump(draft, stems, hits), louder)
    if sources.various and draft.chance(0.8):
        mixed, draft.meta["master"] = bus.master(rng, mixed)
    return Song(mixed, draft.meta, f0)


def render_vocals(rng: np.random.Generator, sources: Sources) -> Song:
    """Compose a song and return only its vocals, which have no accompaniment in them, and are there in any case.

    Raises:
        StemsplitError: The voices cannot be made to sing.
    """
    draft = _draft(rng, sources, _ALONE)
    vocals, f0 = various_vocals(draft)
    peak = float(np.abs(vocals).max())
    return Song({"vocals": vocals * (0.7 / peak) if peak else vocals}, draft.meta, f0)


def _draft(rng: np.random.Generator, sources: Sources, cast: Cast) -> Draft:
    """Draw a song's style, form and accompanying parts."""
    style = sources.styles[int(rng.integers(len(sources.styles)))]
    absent = _absent(rng) if cast == FULL else cast.absent
    absent = absent - {"vocals"} if sources.people_kinds else absent
    count = int(rng.integers(2, min(4, len(style.roles)) + 1))
    order = sorted(map(int, rng.permutation(len(style.roles))[:count]))
    roles = [] if "other" in absent else [style.roles[i] for i in order]
    silent = absent - {"vocals"} if cast.lead else absent
    form = compose.compose_form(rng, style, float(rng.uniform(*sources.seconds)) - _TAIL, silent, max(len(roles), 1))
    form = _led(form) if cast.lead else form
    form = _without(form, "other0") if "other" in absent else form
    seconds = form.seconds(form.beats) + _TAIL
    sections = [
        [round(form.seconds(s.start), 3), round(form.seconds(s.beats), 3), sorted(s.active)] for s in form.sections
    ]
    chords = [
        [round(form.seconds(c.start), 3), round(form.seconds(c.beats), 3), c.root, list(c.intervals)]
        for c in form.chords
    ]
    meta = {"style": style.name, "tempo": round(form.tempo, 3), "key": form.key, "mode": form.mode,
            "seconds": round(seconds, 3), "cast": cast.name, "absent": sorted(absent),
            "sections": sections, "chords": chords}  # fmt: skip
    return Draft(rng, sources, style, form, roles, seconds, cast, meta)


def _absent(rng: np.random.Generator) -> frozenset[str]:
    """Draw the stems that are silent: mostly none, never more than two."""
    missing = {name for name in STEMS if rng.random() < 0.05}
    return frozenset(missing) if len(missing) < 3 else frozenset()


def _without(form: Form, part: str) -> Form:
    """Return a form in which a part does not play."""
    return replace(form, sections=tuple(s._replace(active=s.active - {part}) for s in form.sections))


def _led(form: Form) -> Form:
    """Return a form in which an instrument has the vocals' place."""
    return replace(form, sections=tuple(
        s._replace(active=s.active - {"vocals"} | ({"lead"} if "vocals" in s.active else set())) for s in form.sections
    ))  # fmt: skip


def _pump(draft: Draft, stems: dict[str, np.ndarray], hits: list[drums.Hit]) -> dict[str, np.ndarray]:
    """Turn bass and accompaniment down at every kick drum, in some songs that machines play."""
    chance = draft.style.palette.pump or (0.4 if draft.style.by_machines else 0.0)
    if not chance or draft.rng.random() > chance:
        return stems
    kicks = [draft.form.seconds(beat) for beat in drums.kick_beats(hits)]
    depth = float(draft.rng.uniform(0.3, 0.8))
    recovery = draft.form.seconds(draft.between(0.4, 0.9)) if draft.sources.various else 0.25
    gain = effects.ducking(kicks, stems["bass"].shape[1], depth, recovery)
    draft.meta["pump"] = True
    return {name: stem * gain if name in ("bass", "other") else stem for name, stem in stems.items()}
