"""The vocal stem of various songs: few recorded voices made into many, with the effects of records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from songs.composition.score import Note
from songs.draft import Draft
from songs.mix import effects
from songs.stems.people_vocals import called_out_alone, people_vocals
from songs.stems.vocal_melody import lead_place, varied, vocal_melody
from songs.voices import recorded, sing, vocal_chain
from songs.voices.characters import choose_character
from songs.voices.line import Backing, Manner, Sung, choose_manner, set_text, sung_again
from songs.voices.recast import recast
from songs.voices.voicebank import Bank

_SPOKEN = {"hiphop": 0.6, "funk": 0.15, "house": 0.15, "pop": 0.1, "metal": 0.1, "rock": 0.06}  # probabilities
_CALLED_OUT = 0.3  # how often words are called out in a song in which nobody sings
_CUT = 0.08  # how often a voice is cut up, where people sing who were recorded speaking
_BACKINGS = {"none": 0.45, "doubles": 0.17, "harmony": 0.16, "octave": 0.08, "choir": 0.09, "whisper": 0.05}


def various_vocals(draft: Draft) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the vocal stem (2, samples), and f0 (frames,) of a synthetic lead in Hz every 5 ms."""
    if not draft.form.active("vocals"):
        called = bool(draft.sources.people) and draft.chance(_CALLED_OUT)
        return (called_out_alone(draft) if called else draft.silence()), None
    if draft.sources.people and draft.chance(draft.sources.people_share):
        audio, f0 = people_vocals(draft)
    elif draft.sources.clips.songs and (draft.chance(draft.sources.clip_share) or not draft.sources.banks):
        audio, f0 = _recorded(draft), None
    else:
        audio, f0 = _sung(draft)
    beat, cut = draft.form.seconds(1.0), bool(draft.sources.people) and draft.chance(_CUT)
    if cut:
        cutting = draft.pick(vocal_chain.CUTTING)
        audio, f0 = cutting(draft.rng, audio, beat), None
    audio, used = vocal_chain.treat_voice(draft.rng, audio, beat)
    draft.meta["vocals"]["treatments"] = [cutting.__name__, *used] if cut else used
    return draft.treat(audio, wet=(0.0, 0.6), drive=0.3), f0


def _recorded(draft: Draft) -> np.ndarray:
    """Return recorded clips, as they are or as another singer's, alone or as several voices: (2, samples)."""
    rng = draft.rng
    song = recorded.choose_song(rng, draft.sources.clips)
    shift = recorded.best_shift(recorded.melody_of(draft.sources.clips, song), draft.form.scale)
    shift = int(np.clip(shift + draft.pick((-2, -1, 0, 0, 0, 0, 1, 2)), -4, 4))
    semitones, formant = _recasting(draft)
    change = None if semitones is None else lambda voice, rate: recast(voice, rate, semitones, formant)
    placed = recorded.plan_clips(rng, draft.form, song, lambda path: recorded.read_clip(path, shift, change))
    audio = effects.pan(recorded.extend(rng, recorded.lay_clips(placed, draft.seconds)), lead_place(draft))
    voices = draft.pick((0, 0, 0, 0, 2, 2, 3, 5))
    for index in range(voices):
        more = recorded.lay_clips(placed, draft.seconds, draft.between(0.008, 0.045), float(rng.normal(0, 14)))
        gain = draft.between(0.25, 0.7)
        audio += gain * effects.pan(recorded.extend(rng, more), (-1) ** index * draft.between(0.2, 1))
    about = {"clips": recorded.used_names(placed), "shift": shift, "voices": voices + 1}
    draft.meta["vocals"] = about if semitones is None else about | {"recast": [round(semitones, 1), round(formant, 2)]}
    return audio


def _recasting(draft: Draft) -> tuple[float | None, float]:
    """Draw how another singer differs from the recorded one: in pitch in semitones, and by a ratio of formants.

    The pitch is None in most songs, in which the recording stays as it is.
    """
    kind = draft.rng.random()
    if kind < 0.6:
        return None, 1.0
    if kind < 0.8:  # deeper, larger
        return draft.pick((-12.0, -7.0, -5.0, -4.0, -3.0)), draft.between(0.76, 0.92)
    if kind < 0.9:  # higher, smaller
        return draft.pick((3.0, 4.0, 5.0, 7.0, 12.0)), draft.between(1.06, 1.28)
    return 0.0, draft.between(0.8, 1.22)


def _sung(draft: Draft) -> tuple[np.ndarray, np.ndarray]:
    """Sing a lead with a character, voices behind it, and a second voice's calls.

    Return (2, samples) and the lead's f0.
    """
    rng, sources = draft.rng, draft.sources
    weights = np.array([weight for _, weight in sources.banks])
    bank: Bank = sources.banks[int(rng.choice(len(weights), p=weights / weights.sum()))][0]
    name, formant, centre = choose_character(rng, bank.tract, bank.centre)
    manner, kind = _manner(draft, formant)
    notes = vocal_melody(draft, float(np.clip(centre, 38.0, 74.0)), kind)
    sung = set_text(rng, draft.form, notes, bank, manner)
    lead, f0 = sing.voice(rng, sung, sources.store, manner, draft.seconds)
    audio = effects.pan(lead, lead_place(draft))
    backing = str(rng.choice(list(_BACKINGS), p=list(_BACKINGS.values())))
    for behind in _backing(draft, backing, notes, manner):
        again = sung_again(rng, sung, behind.shift)
        audio += behind.gain * effects.pan(_voice(draft, again, behind.manner), behind.place)
    if draft.chance(0.25):
        audio += _calls(draft, bank, centre, manner)
    audio = effects.shelf(audio, draft.between(2500, 5000), draft.between(0, 10), high=True)
    draft.meta["vocals"] = {"bank": bank.name, "character": name, "formant": round(formant, 3), "backing": backing,
                            "kind": kind}  # fmt: skip
    return effects.highpass(audio, draft.between(50, 100)), f0


def _manner(draft: Draft, formant: float) -> tuple[Manner, str]:
    """Draw a manner with this ratio of formants, and name its kind."""
    manner = replace(choose_manner(draft.rng), formant=formant)
    if draft.chance(_SPOKEN.get(draft.style.name, 0.04)):
        flat = draft.chance(0.5)
        spoken = draft.between(0.4, 1.2) if flat else draft.between(1.5, 4.0)
        return replace(manner, spoken=spoken, vibrato=0.0, melisma=0.0), "rapped" if flat else "spoken"
    return varied(draft, manner)


def _voice(draft: Draft, sung: list[Sung], manner: Manner) -> np.ndarray:
    """Sing a line, (samples,)."""
    return sing.voice(draft.rng, sung, draft.sources.store, manner, draft.seconds)[0]


def _backing(draft: Draft, kind: str, notes: list[Note], manner: Manner) -> list[Backing]:
    """Return the voices behind a lead that sings `notes`."""
    same = [0.0] * len(notes)
    third = [float(draft.form.third_above(note.pitch) - note.pitch) for note in notes]
    side = float(draft.pick((-1, 1))) * draft.between(0.2, 0.9)
    other = replace(manner, formant=float(np.clip(manner.formant * draft.between(0.9, 1.1), 0.72, 1.35)))
    if kind == "doubles":
        return [Backing(place, draft.between(0.25, 0.7), same, manner) for place in (-0.8, 0.8)]
    if kind == "harmony":
        return [Backing(side, draft.between(0.3, 0.8), third, other)]
    if kind == "octave":
        shift = [12.0 if np.mean([note.pitch for note in notes] or [60]) < 56 else -12.0] * len(notes)
        return [Backing(side, draft.between(0.2, 0.6), shift, other)]
    if kind == "choir":
        lower = [value - 12.0 for value in third]
        return [Backing(-0.7, 0.5, third, other), Backing(0.7, 0.5, lower, manner), Backing(0.3, 0.4, same, other)]
    if kind == "whisper":
        return [Backing(0.0, draft.between(0.3, 1.0), same, replace(manner, whisper=True))]
    return []


def _calls(draft: Draft, bank: Bank, centre: float, manner: Manner) -> np.ndarray:
    """Sing a few short phrases with a second voice, to a side and with echoes: (2, samples)."""
    high = float(np.clip(centre + draft.between(3, 9), 40.0, 76.0))
    notes = vocal_melody(draft, high, "sung")
    starts = sorted({int(note.start // 4) for note in notes})
    kept = {start for start in starts if draft.chance(0.25)}
    few = [note for note in notes if int(note.start // 4) in kept]
    if not few:
        return draft.silence()
    sung = set_text(draft.rng, draft.form, few, bank, manner)
    sound = effects.pan(_voice(draft, sung, manner), draft.between(-0.9, 0.9))
    return draft.between(0.2, 0.6) * effects.echo(sound, draft.form.seconds(0.75), draft.between(0, 0.5))
