"""The drum stem: what is struck, and by what.

Strokes are played with samples of single strokes, a kit of a soundfont, or a drum machine.
"""

from __future__ import annotations

import numpy as np

from songs.composition.patterns import PATTERNS, PLAIN
from songs.draft import Draft, Kit
from songs.instruments import drums
from songs.instruments.basses import DEEP
from songs.instruments.loops import choose_loop, lay_loop
from songs.instruments.machine_drums import machine_of, machine_voice
from songs.instruments.soundfont import Playable
from songs.mix import effects, mixdown

_LAYERED = (("kick", "snare", "clap", "hat_closed"), ("kick", "snare"))
"""The classes of strokes that a machine may double."""


def drum_hits(draft: Draft) -> list[drums.Hit]:
    """Return the strokes of the song: a machine's pattern, or a human take with now and then some percussion."""
    if draft.chance(1.0 if draft.cast.kick_only else draft.style.machine) or not draft.sources.takes:
        draft.meta["groove"] = ["programmed"]
        rows = PATTERNS[draft.style.palette.patterns] if draft.style.palette.patterns else PLAIN
        hits = drums.programmed(draft.rng, draft.form, rows)
        return [hit for hit in hits if not draft.cast.kick_only or drums.CLASS_OF_KEY[hit.key] == "kick"]
    hits, draft.meta["groove"] = drums.perform(draft.rng, draft.form, draft.sources.takes, draft.style.takes)
    return drums.with_percussion(draft.rng, draft.form, hits) if draft.chance(0.25) else hits


def drum_stem(draft: Draft, hits: list[drums.Hit]) -> np.ndarray:
    """Return the drums after tone, dynamics and room, (2, samples)."""
    if not hits:
        return draft.silence()
    if draft.sources.various:
        audio = draft.treat(_various_drums(draft, hits), wet=(0.0, 0.35), drive=0.3)
        return effects.highpass(audio, draft.between(35, 60), 3) if _over_deep_bass(draft) else audio
    return draft.treat(_plain_drums(draft, hits), wet=(0.0, 0.25), drive=0.3)


def _over_deep_bass(draft: Draft) -> bool:
    """Return whether the bass is a sub-bass: engineers cut that of the drums then."""
    return draft.meta["bass"].get("sound") in DEEP and "bass" not in draft.meta["absent"]


def _plain_drums(draft: Draft, hits: list[drums.Hit]) -> np.ndarray:
    """Play the strokes with a kit or with samples; programmed ones mostly with samples."""
    programmed = draft.meta["groove"] == ["programmed"]
    if draft.sources.kits and draft.rng.random() > (0.85 if programmed else 0.35):
        return _kit(draft, hits, 1.0)
    return _struck(draft, hits, drums.sample_voice)


def _various_drums(draft: Draft, hits: list[drums.Hit]) -> np.ndarray:
    """Play the strokes with samples, a kit, a machine, or a machine under one of the others; or lay a loop."""
    palette = draft.style.palette
    loop = None
    if not draft.cast.kick_only and draft.chance(palette.looped):
        loop = choose_loop(draft.rng, draft.sources.loops, palette.loops, draft.form.tempo)
    if loop is None:
        return _squashed(draft, _various_strokes(draft, hits))
    audio = lay_loop(draft.rng, draft.form, loop, draft.seconds)
    draft.meta["drums"] = {"samples": [f"{loop.path.parent.name}/{loop.path.name}"]}
    draft.meta["groove"] = ["loop"]
    if draft.chance(0.6):  # strokes over a loop whose low end is cut
        few = [hit for hit in hits if drums.CLASS_OF_KEY.get(hit.key) in ("kick", "snare", "clap")]
        audio = effects.highpass(mixdown.at_level(audio, -20.0), draft.between(120, 400))
        loops = draft.meta["drums"]["samples"]
        audio = audio + draft.between(0.4, 1.2) * _various_strokes(draft, few or hits)
        draft.meta["drums"]["samples"] = [*draft.meta["drums"].get("samples", []), *loops]
    return _squashed(draft, audio)


def _various_strokes(draft: Draft, hits: list[drums.Hit]) -> np.ndarray:
    """Play the strokes with samples, a kit, a machine, or a machine under one of the others."""
    human, machines = draft.meta["groove"] not in (["programmed"], ["loop"]), draft.style.palette.machines
    odds = [0.4, 0.45, 0.15] if human else [0.25, 0.05, 0.7] if machines else [0.4, 0.15, 0.45]
    kind = str(draft.rng.choice(["samples", "kit", "machine"], p=odds))
    if kind == "kit" and draft.sources.kits:
        audio = _kit(draft, hits, 1.2)
    elif kind == "machine":
        audio = _struck(draft, hits, machine_of(draft.pick(machines or ("any",))))
    else:
        audio = _struck(draft, hits, drums.sample_voice)
    if draft.chance(0.25) and kind != "machine":
        audio = audio + _layer(draft, hits)
    return audio


def _struck(draft: Draft, hits: list[drums.Hit], voice: drums.Voice) -> np.ndarray:
    """Play the strokes with what `voice` makes."""
    voice = drums.short_kicks(voice) if _over_deep_bass(draft) else voice
    audio, names = drums.strike(draft.rng, draft.form, hits, draft.sources.shots, draft.seconds, voice)
    draft.meta["drums"] = {"samples": names}
    return audio


def _kit(draft: Draft, hits: list[drums.Hit], widest: float) -> np.ndarray:
    """Play the strokes with a kit, from narrow to `widest` (1: as wide as it was recorded)."""
    kit: Kit = draft.pick(draft.sources.kits)
    events = tuple((draft.form.seconds(h.beat), 0.4, drums.GM_KEY.get(h.key, h.key), h.velocity) for h in hits)
    audio = draft.sources.synth([Playable(events, kit.program, kit.channel)], kit.soundfont, draft.seconds)[0]
    draft.meta["drums"] = {"kit": kit.soundfont.name, "program": kit.program}
    return effects.narrow(audio, draft.between(0.2, widest))


def _layer(draft: Draft, hits: list[drums.Hit]) -> np.ndarray:
    """Play some of the strokes with a machine."""
    # The classes are drawn anew for every stroke: the songs of a seed depend on it.
    few = [hit for hit in hits if drums.CLASS_OF_KEY.get(hit.key) in draft.pick(_LAYERED)]
    voice = drums.short_kicks(machine_voice) if _over_deep_bass(draft) else machine_voice
    layer, _ = drums.strike(draft.rng, draft.form, few, draft.sources.shots, draft.seconds, voice)
    draft.meta["drums"]["layered"] = True
    return draft.between(0.2, 0.9) * layer


def _squashed(draft: Draft, audio: np.ndarray) -> np.ndarray:
    """Compress, distort or dull the drums (2, samples), each only in some songs."""
    if draft.chance(0.3):
        audio = audio + draft.between(0.3, 1.0) * effects.compress(audio, draft.between(4, 12), draft.between(-34, -20))
    if draft.chance(0.1):
        audio = effects.saturate(audio, draft.between(1, 6))
    if draft.chance(0.06):  # from an old record
        audio = effects.lowpass(effects.highpass(audio, draft.between(60, 200)), draft.between(3000, 7000))
    return audio.astype(np.float32)
