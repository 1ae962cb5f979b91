"""The parts of various songs: what is composed, and which of the many sounds plays it."""

from __future__ import annotations

from collections.abc import Sequence

from songs.composition import accompany, compose
from songs.composition.score import Note
from songs.draft import Draft
from songs.instruments import drums
from songs.instruments.basses import DEEP
from songs.instruments.samplebanks import PLAYED_BY
from songs.stems.parts import DRIVEN, Part, timed
from songs.stems.various_sounds import bass_program, wide_program

_LEADS = (26, 27, 29, 30, 22, 40, 41, 42, 56, 57, 60, 64, 65, 65, 66, 66, 67, 68, 71, 73, 74, 75, 77, 78, 79, 80, 81)
"""Programs in a voice's range that can lead."""
_RECORDED = 0.5  # probability that a recording plays instead of a soundfont, where there is one


def compose_various(draft: Draft, hits: Sequence[drums.Hit]) -> list[Part]:
    """Compose the bass, which comes first, the accompanying parts, and in some songs a lead in place of a voice."""
    parts = [_bass(draft, hits)]
    for index, (role, programs) in enumerate(draft.roles):
        low, high = (50, 78) if role == "melody" else (54, 68)
        notes = accompany.accompany(draft.rng, draft.form, f"other{index}", role, draft.between(low, high))
        parts.append(_voiced(draft, role, wide_program(draft, role, int(draft.pick(programs))), notes))
    if draft.cast.lead:
        notes = _lead(draft)
        parts.append(_voiced(draft, "lead", int(draft.pick(_LEADS)), notes))
    about = [{"role": p.role, "program": p.program, "sound": p.sound, "doubled": p.doubled} for p in parts[1:]]
    bass = {"program": parts[0].program, "sound": parts[0].sound}
    draft.meta |= {"soundfont": draft.sources.soundfont.name, "bass": bass, "other": about}
    return parts


def _lead(draft: Draft) -> list[Note]:
    """Compose a melody where a voice would have sung."""
    centre, density, span = draft.between(52, 76), draft.between(0.5, 1.5), draft.between(4, 10)
    return [note for section in draft.form.active("lead")
            for note in compose.melody(draft.rng, draft.form, section, centre, density, span)]  # fmt: skip


def _voiced(draft: Draft, role: str, program: int, notes: Sequence[Note]) -> Part:
    """Choose what plays a part: one of the style's synthesizers, a recording of the instrument, or the soundfont."""
    events, synths = timed(draft, notes), draft.style.palette.synths.get(role, ())
    share = draft.style.synth_bass * 0.75 if synths else draft.style.synth_bass * 0.5 + 0.12
    if role in ("pad", "arp", "stab", "comp", "melody", "lead") and draft.chance(share):
        return Part("other", role, events, None, sound=draft.pick(synths) if synths else "")
    doubled = program in DRIVEN and role in ("power", "riff", "comp") and draft.chance(0.6)
    if bank := _bank(draft, program):
        return Part("other", role, events, None, doubled, f"bank: {bank}", program in DRIVEN)
    return Part("other", role, events, program, doubled)


def _bank(draft: Draft, program: int) -> str:
    """Return the name of a recording that plays in a program's place, or nothing."""
    banks = draft.sources.recorded.get(PLAYED_BY.get(program, ""), ())
    return str(draft.pick(banks).name) if banks and draft.chance(_RECORDED) else ""


def _bass(draft: Draft, hits: Sequence[drums.Hit]) -> Part:
    """Compose the bass, in some songs with the strokes of the kick drum, and choose what plays it."""
    sound, program = "", None
    if draft.cast.kick_only:
        sound = draft.pick(DEEP)
    elif draft.chance(draft.style.synth_bass):
        sound = draft.pick(draft.style.palette.basses or ("",))
    else:
        program = bass_program(draft, int(draft.pick(draft.style.basses)))
        bank = _bank(draft, program)
        sound, program = (f"bank: {bank}", None) if bank else ("", program)
    low = 24 if sound in DEEP or (program is None and draft.chance(0.3)) else 28
    pattern = draft.pick(draft.style.bass_patterns)
    line = compose.bass_line(draft.rng, draft.form, pattern, drums.kick_beats(hits), low)
    return Part("bass", "bass", timed(draft, line), program, sound=sound)
