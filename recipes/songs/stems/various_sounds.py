"""The pitched instruments of various songs: more programs, gliding leads, amplifiers and effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from songs.draft import Draft
from songs.instruments import leads, synths
from songs.instruments.amp import amplify
from songs.instruments.basses import BASSES
from songs.instruments.ornaments import ORNAMENTS
from songs.instruments.polysynths import SYNTHS
from songs.instruments.samplebanks import SampleBank, play_bank
from songs.mix import effects
from songs.stems.parts import Part, loosened

_BASSES = (*range(32, 40), *range(32, 40), 43, 58, 87)
_KEYS, _GUITARS = tuple(range(8)), tuple(range(24, 32))
_VOICES = (52, 53, 54, 85, 91)  # choirs and voices are vocals, also where a soundfont has them
_WIDE = {  # General MIDI programs of a role
    "pad": (*range(16, 24), *range(48, 52), 55, *range(48, 52), *range(88, 91), *range(92, 104)),
    "comp": (*_KEYS, *range(8, 24), *_GUITARS, 45, *range(104, 108)),
    "stab": (*_KEYS, *_GUITARS, 48, 50, 55, *range(56, 64), 80, 81, 87),
    "offbeat": (*_KEYS, *range(16, 20), *_GUITARS),
    "arp": (*range(16), *_GUITARS, 45, 46, *range(80, 88), *range(96, 100), *range(104, 109)),
    "riff": (*_GUITARS, 7, 38, 39, 62, 80, 81, 87),
    "power": (29, 30),
    "melody": (*range(8), 11, 12, *range(21, 32), *range(40, 44), *range(56, 85), 86, 87, *range(104, 112)),
}  # fmt: skip


def wide_program(draft: Draft, role: str, program: int) -> int:
    """Return the style's program, or in three of ten cases another of those that can play the role."""
    return int(draft.pick(_WIDE[role])) if draft.chance(0.3) else program


def bass_program(draft: Draft, program: int) -> int:
    """Return the style's program, or in a third of the cases another bass."""
    return int(draft.pick(_BASSES)) if draft.chance(0.35) else program


def played(draft: Draft, part: Part) -> np.ndarray:
    """Play a part with its synthesizer or recording, or if it names none, with one of our oldest: (2, samples)."""
    in_order = sorted(part.events)
    if part.sound.startswith("bank: "):
        return _recorded(draft, part)
    if part.sound in BASSES:
        return BASSES[part.sound](draft.rng, cut_at_next(in_order), draft.seconds, draft.form.seconds(1.0))
    if part.sound in SYNTHS:
        return SYNTHS[part.sound](draft.rng, in_order, draft.seconds)
    if part.stem == "bass":
        return (leads.sub_bass if draft.chance(0.45) else synths.synth_bass)(draft.rng, in_order, draft.seconds)
    if part.role in ("melody", "lead") and draft.chance(0.7):
        return leads.synth_lead(draft.rng, in_order, draft.seconds)
    return synths.synth_pad(draft.rng, in_order, draft.seconds)


def cut_at_next(line: Sequence[synths.Event]) -> list[synths.Event]:
    """Return notes in order, each ended where the next begins: what one voice can play."""
    ends = [*(event[0] for event in line[1:]), np.inf][: len(line)]
    return [(start, float(min(length, max(end - start, 0.02))), key, velocity)
            for (start, length, key, velocity), end in zip(line, ends, strict=True)]  # fmt: skip


def _recorded(draft: Draft, part: Part) -> np.ndarray:
    """Play a part with a recorded instrument, twice to the sides if it is doubled: (2, samples)."""
    name = part.sound.removeprefix("bank: ")
    bank: SampleBank = next(bank for banks in draft.sources.recorded.values() for bank in banks if bank.name == name)
    take = play_bank(draft.rng, bank, part.events, draft.seconds)
    if not part.doubled:
        return take
    double = play_bank(draft.rng, bank, loosened(draft, part.events), draft.seconds)
    both: np.ndarray = effects.pan(take.mean(0), -0.9) + effects.pan(double.mean(0), 0.9)
    return both


def ornaments(draft: Draft) -> np.ndarray:
    """Return the sounds between sections, and that of an old record: (2, samples)."""
    mix, used = draft.silence(), []
    starts = [draft.form.seconds(section.start) for section in draft.form.sections[1:]]
    for name, probability in draft.style.palette.ornaments.items():
        if draft.chance(probability):
            kept = [start for start in starts if draft.chance(0.7)]
            mix += ORNAMENTS[name](draft.rng, kept, draft.seconds, draft.form.seconds(1.0))
            used.append(name)
    draft.meta["ornaments"] = used
    return np.asarray(mix * draft.between(0.3, 1.0), np.float32)


def colour_bass(draft: Draft, audio: np.ndarray) -> np.ndarray:
    """Leave a bass (2, samples) clean, or distort it, mix it with an amplifier's sound, or add a chorus."""
    kind = draft.rng.random()
    if kind < 0.25:
        return effects.saturate(audio, draft.between(1, 8))
    if kind < 0.4:
        return audio * 0.7 + draft.between(0.3, 1.0) * amplify(draft.rng, audio)
    if kind < 0.5:
        return effects.chorus(audio, draft.between(0.3, 1.2), 0.003)
    return audio


def colour_other(draft: Draft, audio: np.ndarray) -> np.ndarray:
    """Give a part (2, samples) movement, width, a filter or distortion, each only sometimes."""
    if draft.chance(0.12):
        audio = effects.chorus(audio, draft.between(0.2, 5.0), draft.between(0.001, 0.004))
    if draft.chance(0.2):
        audio = effects.widen(audio, draft.between(0.004, 0.03), draft.between(0.3, 1.0))
    if draft.chance(0.15):
        audio = effects.lowpass(audio, float(np.exp(draft.between(np.log(700), np.log(6000)))))
    if draft.chance(0.08):  # tremolo
        time = np.arange(audio.shape[1]) / effects.RATE
        audio = audio * (1 - draft.between(0.2, 0.6) * (0.5 + 0.5 * np.sin(2 * np.pi * draft.between(2, 8) * time)))
    if draft.chance(0.08):
        audio = effects.saturate(audio, draft.between(1, 10))
    return audio.astype(np.float32)
