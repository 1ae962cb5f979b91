"""The pitched stems: bass and accompaniment, composed as notes, played, and treated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from songs.composition import accompany, compose
from songs.draft import Draft
from songs.instruments import drums, synths
from songs.instruments.amp import amplify
from songs.instruments.basses import BASSES
from songs.instruments.soundfont import Playable
from songs.mix import effects, mixdown
from songs.stems import various_sounds
from songs.stems.parts import DRIVEN, Part, loosened, timed

_LEVELS = {"melody": -17.0, "lead": -15.0, "pad": -24.0}
"""Active levels of roles in dB; that of the others is -20."""


def compose_parts(draft: Draft, hits: list[drums.Hit]) -> list[Part]:
    """Compose the bass, which comes first, and the accompanying parts of a plain song."""
    parts = [_bass_part(draft, hits)]
    for index, (role, programs) in enumerate(draft.roles):
        centre = float(draft.rng.uniform(64, 78) if role == "melody" else draft.rng.uniform(54, 68))
        notes = accompany.accompany(draft.rng, draft.form, f"other{index}", role, centre)
        ours = role in ("pad", "arp", "stab", "melody") and draft.rng.random() < draft.style.synth_bass * 0.5
        program = None if ours else int(draft.pick(programs))
        doubled = program in DRIVEN and role in ("power", "riff", "comp") and draft.rng.random() < 0.6
        parts.append(Part("other", role, timed(draft, notes), program, doubled))
    about = [{"role": p.role, "program": p.program, "doubled": p.doubled} for p in parts[1:]]
    draft.meta |= {"soundfont": draft.sources.soundfont.name, "bass": {"program": parts[0].program}, "other": about}
    return parts


def _bass_part(draft: Draft, hits: list[drums.Hit]) -> Part:
    """Compose the bass, in some songs with the strokes of the kick drum."""
    low = 24 if draft.style.synth_bass > 0.5 and draft.rng.random() < 0.4 else 28
    line = compose.bass_line(draft.rng, draft.form, draft.pick(draft.style.bass_patterns), drums.kick_beats(hits), low)
    program = None if draft.rng.random() < draft.style.synth_bass else int(draft.pick(draft.style.basses))
    return Part("bass", "bass", timed(draft, line), program)


def play_parts(draft: Draft, parts: Sequence[Part]) -> list[np.ndarray]:
    """Play every part as (2, samples), those with a program in one call of the soundfont synthesizer."""
    wanted = [(i, again) for i, p in enumerate(parts) if p.program is not None for again in range(1 + p.doubled)]
    playables = [Playable(loosened(draft, parts[i].events) if again else parts[i].events, parts[i].program or 0)
                 for i, again in wanted]  # fmt: skip
    takes = dict(zip(wanted, draft.sources.synth(playables, draft.sources.soundfont, draft.seconds), strict=True))
    return [_played(draft, part, takes.get((i, 0)), takes.get((i, 1))) for i, part in enumerate(parts)]


def _played(draft: Draft, part: Part, take: np.ndarray | None, double: np.ndarray | None) -> np.ndarray:
    """Return a part's take, or two takes to the sides, or what a synthesizer plays if there is none."""
    if take is None and draft.sources.various:
        return various_sounds.played(draft, part)
    if take is None:
        synth = synths.synth_bass if part.stem == "bass" else synths.synth_pad
        return synth(draft.rng, part.events, draft.seconds)
    if double is None:
        return take
    both: np.ndarray = effects.pan(take.mean(0), -0.9) + effects.pan(double.mean(0), 0.9)
    return both


def bass_stem(draft: Draft, parts: Sequence[Part], played: Sequence[np.ndarray]) -> np.ndarray:
    """Return the bass, the first of the parts, after tone, dynamics and room: (2, samples)."""
    if not parts[0].events:
        return draft.silence()
    wide = draft.between(0.2, 1.0) if parts[0].sound in BASSES else 0.2
    audio = effects.narrow(played[0], wide)
    if draft.sources.various:
        audio = various_sounds.colour_bass(draft, audio)
    elif draft.rng.random() < 0.3:
        audio = effects.saturate(audio, float(draft.rng.uniform(1, 4)))
    return draft.treat(audio, wet=(0.0, 0.03), drive=0.2)


def other_stem(draft: Draft, parts: Sequence[Part], played: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum of the accompanying parts after tone, dynamics and room: (2, samples)."""
    mix = draft.silence()
    if "other" in draft.meta["absent"]:
        return mix
    for part, audio in zip(parts, played, strict=True):
        if part.stem == "other" and part.events:
            mix += _instrument(draft, part, audio)
    if draft.sources.various:
        mix += various_sounds.ornaments(draft)
    elif draft.style.by_machines and draft.rng.random() < 0.25:
        mix += synths.risers(draft.rng, [draft.form.seconds(s.start) for s in draft.form.sections[1:]], draft.seconds)
    return draft.treat(mix, wet=(0.0, 0.15), drive=0.1)


def _instrument(draft: Draft, part: Part, audio: np.ndarray) -> np.ndarray:
    """Treat and place one accompanying part (2, samples), at a random level."""
    rng = draft.rng
    if part.electric and (part.amplified or rng.random() < draft.style.drive):
        audio = _driven(draft, audio)
    if draft.sources.various:
        audio = various_sounds.colour_other(draft, audio)
    audio = effects.highpass(audio, float(rng.uniform(60, 180)), 1)
    if rng.random() < 0.15:
        audio = effects.chorus(audio, float(rng.uniform(0.3, 1.5)), float(rng.uniform(0.001, 0.004)))
    if not part.doubled:
        audio = effects.balance(effects.narrow(audio, float(rng.uniform(0, 1.3))), float(rng.uniform(-0.8, 0.8)))
    if rng.random() < 0.15:
        audio = effects.echo(audio, draft.form.seconds(draft.pick((0.5, 0.75, 1.0))), float(rng.uniform(0.1, 0.4)))
    audio = mixdown.reverberate(rng, audio, draft.sources.impulses, (0.0, 0.5), draft.synthetic)
    level = _LEVELS.get(part.role, -20.0) + float(rng.normal(0, 2.5))
    return mixdown.at_level(audio, level)


def _driven(draft: Draft, audio: np.ndarray) -> np.ndarray:
    """Distort an electric guitar (2, samples)."""
    if draft.sources.various:
        return amplify(draft.rng, audio)
    audio = effects.saturate(audio, float(draft.rng.uniform(2, 14)))
    return effects.lowpass(audio, float(draft.rng.uniform(3500, 8000)))
