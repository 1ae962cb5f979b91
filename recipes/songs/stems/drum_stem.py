"""The drum stem: what is struck, and by what.

Strokes are played with samples of single strokes, a kit of a soundfont, or a drum machine.
"""

from __future__ import annotations

import numpy as np

from songs.draft import Draft, Kit
from songs.instruments import drums
from songs.instruments.machine_drums import machine_voice
from songs.instruments.soundfont import Playable
from songs.mix import effects

_LAYERED = (("kick", "snare", "clap", "hat_closed"), ("kick", "snare"))
"""The classes of strokes that a machine may double."""


def drum_hits(draft: Draft) -> list[drums.Hit]:
    """Return the strokes of the song: a machine's pattern, or a human take with now and then some percussion."""
    if draft.chance(draft.style.machine) or not draft.sources.takes:
        draft.meta["groove"] = ["programmed"]
        return drums.programmed(draft.rng, draft.form)
    hits, draft.meta["groove"] = drums.perform(draft.rng, draft.form, draft.sources.takes, draft.style.takes)
    return drums.with_percussion(draft.rng, draft.form, hits) if draft.chance(0.25) else hits


def drum_stem(draft: Draft, hits: list[drums.Hit]) -> np.ndarray:
    """Return the drums after tone, dynamics and room, (2, samples)."""
    if not hits:
        return draft.silence()
    if draft.sources.various:
        return draft.treat(_various_drums(draft, hits), wet=(0.0, 0.35), drive=0.3)
    return draft.treat(_plain_drums(draft, hits), wet=(0.0, 0.25), drive=0.3)


def _plain_drums(draft: Draft, hits: list[drums.Hit]) -> np.ndarray:
    """Play the strokes with a kit or with samples; programmed ones mostly with samples."""
    programmed = draft.meta["groove"] == ["programmed"]
    if draft.sources.kits and draft.rng.random() > (0.85 if programmed else 0.35):
        return _kit(draft, hits, 1.0)
    return _struck(draft, hits, drums.sample_voice)


def _various_drums(draft: Draft, hits: list[drums.Hit]) -> np.ndarray:
    """Play the strokes with samples, a kit, a machine, or a machine under one of the others."""
    programmed = draft.meta["groove"] == ["programmed"]
    odds = [0.4, 0.15, 0.45] if programmed else [0.4, 0.45, 0.15]
    kind = str(draft.rng.choice(["samples", "kit", "machine"], p=odds))
    if kind == "kit" and draft.sources.kits:
        audio = _kit(draft, hits, 1.2)
    else:
        audio = _struck(draft, hits, machine_voice if kind == "machine" else drums.sample_voice)
    if draft.chance(0.25) and kind != "machine":
        audio = audio + _layer(draft, hits)
    return _squashed(draft, audio)


def _struck(draft: Draft, hits: list[drums.Hit], voice: drums.Voice) -> np.ndarray:
    """Play the strokes with what `voice` makes."""
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
    layer, _ = drums.strike(draft.rng, draft.form, few, draft.sources.shots, draft.seconds, machine_voice)
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
