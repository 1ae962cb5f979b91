"""Render whole songs with exact stems, for training a separator where no multitrack recordings can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from songs.composition import accompany, compose
from songs.composition.score import Form, Note
from songs.composition.styles import DRIVEN_GUITARS
from songs.draft import Draft, Kit, Sources, Synth
from songs.instruments import drums, many_sounds, synths
from songs.instruments.amp import amplify
from songs.instruments.soundfont import Playable
from songs.mix import bus, effects, mixdown
from songs.mix.mixdown import STEMS
from songs.voices.many_voices import various_vocals
from songs.voices.vocals import plain_vocals

__all__ = ["STEMS", "Kit", "Song", "Sources", "Synth", "render_song", "render_vocals"]

_TAIL = 1.5  # seconds left after the last bar
_ELECTRIC_GUITARS = (26, 27, 28, *DRIVEN_GUITARS)
_MACHINE_STYLES = ("house", "synthpop", "hiphop")


@dataclass(frozen=True)
class Song:
    """Stems (2, samples) float32 at 44.1 kHz whose sum is the mixture; `f0` of a synthetic lead in Hz per 5 ms."""

    stems: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]
    f0: np.ndarray | None = None

    @property
    def mixture(self) -> np.ndarray:
        """Sum of the stems, (2, samples)."""
        return np.sum([self.stems[name] for name in STEMS], axis=0)


@dataclass(frozen=True)
class _Part:
    """A pitched part: its stem, role, notes in seconds, and a GM program (None: a synthesizer of ours)."""

    stem: str
    role: str
    events: tuple[synths.Event, ...]
    program: int | None
    doubled: bool = False


def render_song(rng: np.random.Generator, sources: Sources) -> Song:
    """Compose, play and mix one song; the same generator state and sources give the same song."""
    if sources.various and sources.soundfonts:
        fonts = (sources.soundfont, *sources.soundfonts)
        sources = replace(sources, soundfont=fonts[int(rng.integers(len(fonts)))])
    draft = _draft(rng, sources)
    hits = _drum_hits(draft)
    parts = _parts(draft, hits)
    played = _play(draft, parts)
    vocals, f0 = various_vocals(draft) if sources.various else plain_vocals(draft)
    stems = {
        "drums": _drums(draft, hits),
        "bass": _bass(draft, parts, played),
        "other": _other(draft, parts, played),
        "vocals": vocals,
    }
    mixed, draft.meta["gains_db"] = mixdown.balance_stems(rng, _pump(draft, stems, hits))
    if sources.various and draft.chance(0.8):
        mixed, draft.meta["master"] = bus.master(rng, mixed)
    return Song(mixed, draft.meta, f0)


def render_vocals(rng: np.random.Generator, sources: Sources) -> Song:
    """Compose a song and sing it, with nobody playing: vocals for training that hold no accompaniment."""
    draft = _draft(rng, sources)
    vocals, f0 = various_vocals(draft)
    peak = float(np.abs(vocals).max())
    return Song({"vocals": vocals * (0.7 / peak) if peak else vocals}, draft.meta, f0)


def _draft(rng: np.random.Generator, sources: Sources) -> Draft:
    style = sources.styles[int(rng.integers(len(sources.styles)))]
    absent = _absent(rng)
    count = int(rng.integers(2, min(4, len(style.roles)) + 1))
    order = sorted(map(int, rng.permutation(len(style.roles))[:count]))
    roles = [] if "other" in absent else [style.roles[i] for i in order]
    form = compose.compose_form(rng, style, float(rng.uniform(*sources.seconds)) - _TAIL, absent, max(len(roles), 1))
    form = _without(form, "other0") if "other" in absent else form
    seconds = form.seconds(form.beats) + _TAIL
    sections = [
        [round(form.seconds(s.start), 3), round(form.seconds(s.beats), 3), sorted(s.active)] for s in form.sections
    ]
    meta = {"style": style.name, "tempo": round(form.tempo, 3), "key": form.key, "mode": form.mode,
            "seconds": round(seconds, 3), "absent": sorted(absent), "sections": sections}  # fmt: skip
    return Draft(rng, sources, style, form, roles, seconds, meta)


def _absent(rng: np.random.Generator) -> frozenset[str]:
    missing = {name for name in STEMS if rng.random() < 0.05}
    return frozenset(missing) if len(missing) < 3 else frozenset()


def _without(form: Form, part: str) -> Form:
    return replace(form, sections=tuple(s._replace(active=s.active - {part}) for s in form.sections))


def _drum_hits(draft: Draft) -> list[drums.Hit]:
    if draft.rng.random() < draft.style.machine or not draft.sources.takes:
        draft.meta["groove"] = ["programmed"]
        return drums.programmed(draft.rng, draft.form)
    hits, draft.meta["groove"] = drums.perform(draft.rng, draft.form, draft.sources.takes, draft.style.takes)
    return drums.with_percussion(draft.rng, draft.form, hits) if draft.rng.random() < 0.25 else hits


def _drums(draft: Draft, hits: list[drums.Hit]) -> np.ndarray:
    rng, sources = draft.rng, draft.sources
    if not hits:
        return draft.silence()
    if sources.various:
        return draft.treat(many_sounds.various_drums(draft, hits), wet=(0.0, 0.35), drive=0.3)
    programmed = draft.meta["groove"] == ["programmed"]
    if sources.kits and rng.random() > (0.85 if programmed else 0.35):
        kit: Kit = draft.pick(sources.kits)
        events = tuple((draft.form.seconds(h.beat), 0.4, drums.GM_KEY.get(h.key, h.key), h.velocity) for h in hits)
        audio = sources.synth([Playable(events, kit.program, kit.channel)], kit.soundfont, draft.seconds)[0]
        audio = effects.narrow(audio, float(rng.uniform(0.2, 1.0)))
        draft.meta["drums"] = {"kit": kit.soundfont.name, "program": kit.program}
    else:
        audio, names = drums.strike(rng, draft.form, hits, sources.shots, draft.seconds)
        draft.meta["drums"] = {"samples": names}
    return draft.treat(audio, wet=(0.0, 0.25), drive=0.3)


def _parts(draft: Draft, hits: list[drums.Hit]) -> list[_Part]:
    """The bass and the accompaniment, as notes."""
    parts = [_bass_part(draft, hits)]
    for index, (role, programs) in enumerate(draft.roles):
        lowest = 50 if draft.sources.various else 64
        centre = float(draft.rng.uniform(lowest, 78) if role == "melody" else draft.rng.uniform(54, 68))
        notes = accompany.accompany(draft.rng, draft.form, f"other{index}", role, centre)
        ours = role in ("pad", "arp", "stab", "melody") and draft.rng.random() < _synthetic_share(draft)
        program = None if ours else int(draft.pick(programs))
        if draft.sources.various and program is not None:
            program = many_sounds.wide_program(draft, role, program)
        doubled = program in DRIVEN_GUITARS and role in ("power", "riff", "comp") and draft.rng.random() < 0.6
        parts.append(_Part("other", role, _events(draft, notes), program, doubled))
    about = [{"role": p.role, "program": p.program, "doubled": p.doubled} for p in parts[1:]]
    draft.meta |= {"soundfont": draft.sources.soundfont.name, "bass": {"program": parts[0].program}, "other": about}
    return parts


def _synthetic_share(draft: Draft) -> float:
    return draft.style.synth_bass * 0.5 + (0.12 if draft.sources.various else 0.0)


def _bass_part(draft: Draft, hits: list[drums.Hit]) -> _Part:
    low = 24 if draft.style.synth_bass > 0.5 and draft.rng.random() < 0.4 else 28
    line = compose.bass_line(draft.rng, draft.form, draft.pick(draft.style.bass_patterns), drums.kick_beats(hits), low)
    program = None if draft.rng.random() < draft.style.synth_bass else int(draft.pick(draft.style.basses))
    if draft.sources.various and program is not None:
        program = many_sounds.bass_program(draft, program)
    return _Part("bass", "bass", _events(draft, line), program)


def _events(draft: Draft, notes: Sequence[Note]) -> tuple[synths.Event, ...]:
    """Notes in seconds; players are a few milliseconds early or late, machines are not."""
    spread = 0.0005 if draft.style.name in _MACHINE_STYLES else 0.007
    late = draft.rng.normal(0, spread, len(notes))
    return tuple((max(0.0, round(draft.form.seconds(n.start) + float(d), 4)), round(draft.form.seconds(n.beats), 4),
                  int(np.clip(n.pitch, 0, 127)), n.velocity) for n, d in zip(notes, late, strict=True))  # fmt: skip


def _play(draft: Draft, parts: Sequence[_Part]) -> list[np.ndarray]:
    """Every part as (2, samples): soundfont parts in one call of the synth, doubled ones twice and to the sides."""
    wanted = [(i, again) for i, p in enumerate(parts) if p.program is not None for again in range(1 + p.doubled)]
    playables = [Playable(_loosened(draft, parts[i].events) if again else parts[i].events, parts[i].program or 0)
                 for i, again in wanted]  # fmt: skip
    takes = dict(zip(wanted, draft.sources.synth(playables, draft.sources.soundfont, draft.seconds), strict=True))
    return [_played(draft, part, takes.get((i, 0)), takes.get((i, 1))) for i, part in enumerate(parts)]


def _played(draft: Draft, part: _Part, take: np.ndarray | None, double: np.ndarray | None) -> np.ndarray:
    if take is None and draft.sources.various:
        return many_sounds.synthesised(draft, part.stem, part.role, part.events)
    if take is None:
        synth = synths.synth_bass if part.stem == "bass" else synths.synth_pad
        return synth(draft.rng, part.events, draft.seconds)
    if double is None:
        return take
    return effects.pan(take.mean(0), -0.9) + effects.pan(double.mean(0), 0.9)


def _loosened(draft: Draft, events: Sequence[synths.Event]) -> tuple[synths.Event, ...]:
    late = draft.rng.normal(0, 0.01, len(events))
    return tuple((max(0.0, start + float(d)), *rest) for (start, *rest), d in zip(events, late, strict=True))  # type: ignore[misc]


def _bass(draft: Draft, parts: Sequence[_Part], played: Sequence[np.ndarray]) -> np.ndarray:
    if not parts[0].events:
        return draft.silence()
    audio = effects.narrow(played[0], 0.2)
    if draft.sources.various:
        audio = many_sounds.colour_bass(draft, audio)
    elif draft.rng.random() < 0.3:
        audio = effects.saturate(audio, float(draft.rng.uniform(1, 4)))
    return draft.treat(audio, wet=(0.0, 0.03), drive=0.2)


def _other(draft: Draft, parts: Sequence[_Part], played: Sequence[np.ndarray]) -> np.ndarray:
    mix = draft.silence()
    if "other" in draft.meta["absent"]:
        return mix
    for part, audio in zip(parts, played, strict=True):
        if part.stem == "other" and part.events:
            mix += _instrument(draft, part, audio)
    if draft.style.name in _MACHINE_STYLES and draft.rng.random() < 0.25:
        mix += synths.risers(draft.rng, [draft.form.seconds(s.start) for s in draft.form.sections[1:]], draft.seconds)
    return draft.treat(mix, wet=(0.0, 0.15), drive=0.1)


def _instrument(draft: Draft, part: _Part, audio: np.ndarray) -> np.ndarray:
    """One accompanying part, treated and placed, at a random level."""
    rng = draft.rng
    if part.program in _ELECTRIC_GUITARS and rng.random() < draft.style.drive:
        audio = _driven(draft, audio)
    if draft.sources.various:
        audio = many_sounds.colour_other(draft, audio)
    audio = effects.highpass(audio, float(rng.uniform(60, 180)), 1)
    if rng.random() < 0.15:
        audio = effects.chorus(audio, float(rng.uniform(0.3, 1.5)), float(rng.uniform(0.001, 0.004)))
    if not part.doubled:
        audio = effects.balance(effects.narrow(audio, float(rng.uniform(0, 1.3))), float(rng.uniform(-0.8, 0.8)))
    if rng.random() < 0.15:
        audio = effects.echo(audio, draft.form.seconds(draft.pick((0.5, 0.75, 1.0))), float(rng.uniform(0.1, 0.4)))
    audio = mixdown.reverberate(rng, audio, draft.sources.impulses, (0.0, 0.5), draft.synthetic)
    level = {"melody": -17.0, "pad": -24.0}.get(part.role, -20.0) + float(rng.normal(0, 2.5))
    return mixdown.at_level(audio, level)


def _driven(draft: Draft, audio: np.ndarray) -> np.ndarray:
    if draft.sources.various:
        return amplify(draft.rng, audio)
    audio = effects.saturate(audio, float(draft.rng.uniform(2, 14)))
    return effects.lowpass(audio, float(draft.rng.uniform(3500, 8000)))


def _pump(draft: Draft, stems: dict[str, np.ndarray], hits: list[drums.Hit]) -> dict[str, np.ndarray]:
    """In some machine styles bass and accompaniment duck under the kick drum."""
    if draft.style.name not in _MACHINE_STYLES or draft.rng.random() > 0.4:
        return stems
    kicks = [draft.form.seconds(beat) for beat in drums.kick_beats(hits)]
    gain = effects.ducking(kicks, stems["bass"].shape[1], float(draft.rng.uniform(0.3, 0.8)))
    draft.meta["pump"] = True
    return {name: stem * gain if name in ("bass", "other") else stem for name, stem in stems.items()}
