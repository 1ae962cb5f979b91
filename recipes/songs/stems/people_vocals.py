"""The vocal stem of songs that people sing, rap or speak who were recorded speaking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from songs.composition.score import Note
from songs.draft import Draft
from songs.mix import effects
from songs.mix.effects import RATE
from songs.stems.vocal_melody import lead_place, varied, vocal_melody
from songs.voices import vocal_chain, vocoder
from songs.voices.line import Manner, Sung, choose_manner, sung_again
from songs.voices.people import samples
from songs.voices.people.rap import choose_delivery, rapped_line
from songs.voices.people.singer import Singer, set_words, singer_of, voiced_as
from songs.voices.people.syllables import Syllable
from songs.voices.sing import pitch_contour
from songs.voices.voicebank import FRAME_SECONDS
from stemsplit.errors import StemsplitError

Words = list[Syllable | None]
Vocals = tuple[np.ndarray, np.ndarray | None]
"""(2, samples), and f0 (frames,) of a lead in Hz every 5 ms, or None where no single voice sings."""
_BACKINGS = {"none": 0.38, "doubles": 0.2, "harmony": 0.14, "octave": 0.07, "choir": 0.13, "whisper": 0.04,
             "gang": 0.04}  # fmt: skip
_RAPS = {"hip-hop": 0.5, "hiphop": 0.5, "trap": 0.45, "reggaeton": 0.25, "drum and bass": 0.15, "funk": 0.12}
_CLUBS = ("house", "techno", "trap", "drum and bass", "dubstep", "synthwave", "lo-fi")
_TRIES = 20


def people_vocals(draft: Draft) -> Vocals:
    """Return the vocal stem before its effects, of a kind that fits the style."""
    kinds = dict.fromkeys(draft.sources.people_kinds, 1.0) or _kinds(draft.style.name)
    kind = str(draft.rng.choice(list(kinds), p=np.array(list(kinds.values())) / sum(kinds.values())))
    draft.meta["vocals"] = {"people": [], "kind": kind}
    audio, f0 = KINDS[kind](draft)
    if draft.chance(0.5 if kind == "rapped" else 0.15):
        audio = audio + draft.between(0.2, 0.7) * called_out(draft)
    audio = effects.shelf(audio, draft.between(2500, 6000), draft.between(-2, 12), high=True)
    return effects.highpass(audio, draft.between(50, 120)), f0


def called_out(draft: Draft) -> np.ndarray:
    """Return words called out anywhere in a song, at a side and with echoes in some songs: (2, samples)."""
    singer = draw_singer(draft)
    words = samples.adlibs(draft.rng, draft.form, singer, round(draft.seconds * RATE))
    sound = effects.pan(words, draft.between(-0.8, 0.8))
    draft.meta["vocals"]["called out"] = True
    return effects.echo(sound, draft.form.seconds(0.75), draft.between(0.1, 0.5)) if draft.chance(0.4) else sound


def called_out_alone(draft: Draft) -> np.ndarray:
    """Return words called out in a song in which nobody sings, which then has vocals after all: (2, samples)."""
    draft.meta["vocals"] = {"people": [], "kind": "called out"}
    draft.meta["absent"] = [stem for stem in draft.meta["absent"] if stem != "vocals"]
    audio, draft.meta["vocals"]["treatments"] = vocal_chain.treat_voice(
        draft.rng, called_out(draft), draft.form.seconds(1.0)
    )
    return draft.treat(audio, wet=(0.0, 0.6), drive=0.3)


def draw_singer(draft: Draft) -> Singer:
    """Draw a person who can sing, and note the name.

    Raises:
        StemsplitError: Nobody of many can.
    """
    for _ in range(_TRIES):
        person = draft.pick(draft.sources.people)
        if singer := singer_of(person, draft.sources.store):
            if person.name not in draft.meta["vocals"]["people"]:
                draft.meta["vocals"]["people"].append(person.name)
            return singer
    raise StemsplitError("none of the recorded speakers says enough to be sung")


def _kinds(style: str) -> dict[str, float]:
    """Return how often each kind is drawn in a style."""
    club = style in _CLUBS
    return {"sung": 0.5, "rapped": _RAPS.get(style, 0.05), "spoken": 0.07, "few words": 0.2 if club else 0.08,
            "chopped": 0.2 if club else 0.04, "choir": 0.08, "vocoded": 0.08 if club else 0.03,
            "whispered": 0.03}  # fmt: skip


def _sung(draft: Draft, few: int = 0) -> Vocals:
    """Sing a lead with voices behind it; `few` leaves so many syllables at most, and rests."""
    singer = draw_singer(draft)
    manner, how = varied(draft, replace(choose_manner(draft.rng), formant=1.0))
    manner, moved = _pitched(draft, manner) if draft.chance(0.3 if few else 0.04) else (manner, 0.0)
    syllables = samples.few_words(draft.rng, singer, few) if few else singer.syllables
    notes = vocal_melody(draft, float(np.clip(_centre(draft, singer) + moved, 38, 78)), "sung")
    if few:
        kept = {bar for bar in {int(note.start // 8) for note in notes} if draft.chance(0.6)}
        notes = [note for note in notes if int(note.start // 8) in kept] or notes
    line, words = set_words(draft.rng, draft.form, notes, syllables, manner.melisma)
    lead, f0 = _sing(draft, singer, line, words, manner)
    audio = effects.pan(lead, lead_place(draft))
    backing = str(draft.rng.choice(list(_BACKINGS), p=list(_BACKINGS.values())))
    draft.meta["vocals"] |= {"backing": backing, "manner": how, "formant": round(manner.formant, 2)}
    return audio + _behind(draft, backing, singer, notes, (line, words), manner), f0


def _pitched(draft: Draft, manner: Manner) -> tuple[Manner, float]:
    """Return the manner of a sample that is played too fast or too slowly, and by how many semitones it is moved."""
    semitones = draft.pick((-5.0, -4.0, -3.0, 3.0, 4.0, 5.0, 7.0))
    return replace(manner, formant=float(2 ** (semitones / 12))), semitones


def _few_words(draft: Draft) -> Vocals:
    return _sung(draft, few=5)


def _whispered(draft: Draft) -> Vocals:
    singer = draw_singer(draft)
    manner = replace(choose_manner(draft.rng), formant=1.0, whisper=True)
    line, words = rapped_line(draft.rng, draft.form, draft.form.active("vocals"), singer)
    sound = voiced_as(draft.rng, singer, line, words, 0.0, manner, draft.seconds)[0]
    return effects.pan(sound, lead_place(draft)), None


def _rapped(draft: Draft) -> Vocals:
    """Rap, with the ends of lines said again to the sides in some songs."""
    singer = draw_singer(draft)
    manner, shift = choose_delivery(draft.rng)
    line, words = rapped_line(draft.rng, draft.form, draft.form.active("vocals"), singer)
    lead = voiced_as(draft.rng, singer, line, words, shift, manner, draft.seconds)[0]
    audio = effects.pan(lead, lead_place(draft))
    if draft.chance(0.45):
        kept = [index for index, note in enumerate(line) if note.start % draft.form.seconds(8) > draft.form.seconds(6)]
        again = sung_again(draft.rng, [line[index] for index in kept], [0.0] * len(kept))
        some: Words = [words[index] for index in kept]
        for place in (-0.9, 0.9) if draft.chance(0.6) else (0.0,):
            double = voiced_as(draft.rng, singer, again, some, shift, manner, draft.seconds)[0]
            audio = audio + draft.between(0.3, 0.8) * effects.pan(double, place)
    return audio, None


def _spoken(draft: Draft) -> Vocals:
    """Speak as it was recorded."""
    singer, sections = draw_singer(draft), draft.form.active("vocals")
    sound = samples.spoken_lines(draft.rng, draft.form, sections, singer, round(draft.seconds * RATE))
    return effects.pan(sound, lead_place(draft)), None


def _vocoded(draft: Draft) -> Vocals:
    """Let the song's chords speak."""
    audio, _ = draft.pick((_spoken, _rapped))(draft)
    robot = vocoder.vocode(draft.rng, draft.form, audio.mean(0), draft.between(46, 64))
    return effects.widen(effects.pan(robot, 0.0), 0.012, draft.between(0, 0.6)), None


def _chopped(draft: Draft) -> Vocals:
    """Play a syllable or two as an instrument, alone or under a lead."""
    singer = draw_singer(draft)
    words = samples.few_words(draft.rng, singer, 2)
    pitch, beat = round(_centre(draft, singer)), draft.form.seconds(1.0)
    line = [Sung(0.3 + beat * at, 0.3 + beat * (at + 1), float(pitch), 1.0, None) for at in range(len(words))]
    manner = replace(choose_manner(draft.rng), formant=1.0)
    length = 0.3 + beat * len(words) + 0.3
    sample = voiced_as(draft.rng, singer, line, words, np.full(int(length / FRAME_SECONDS) + 1, float(pitch)), manner,
                       length)[0]  # fmt: skip
    sample = sample[int(np.argmax(np.abs(sample) > 0.1 * np.abs(sample).max(initial=1e-9))) :]
    total = round(draft.seconds * RATE)
    played = samples.chops(draft.rng, draft.form, draft.form.active("vocals"), sample, float(pitch), total)
    audio = effects.pan(played, draft.between(-0.3, 0.3))
    if draft.chance(0.5):
        audio = effects.echo(audio, draft.form.seconds(0.75), draft.between(0.1, 0.4))
    if draft.chance(0.4):
        audio = _sung(draft)[0] + draft.between(0.3, 0.8) * audio
    return audio, None


def _choir(draft: Draft) -> Vocals:
    """Let several people sing the chords, on vowels of their own."""
    return _chords(draft, int(draft.rng.integers(4, 8))), None


def _chords(draft: Draft, voices: int) -> np.ndarray:
    """Return several people who sing a tone of every chord in the vocal sections: (2, samples)."""
    audio, legato = draft.silence(), draft.between(0.1, 0.7)
    for index in range(voices):
        singer = draw_singer(draft)
        vowel = _long_vowel(draft, singer)
        manner = replace(choose_manner(draft.rng), formant=1.0, breath=draft.between(0.0, 0.3))
        notes = _chord_tones(draft, _centre(draft, singer), index)
        line, words = set_words(draft.rng, draft.form, notes, [vowel], legato)
        sound, _ = _sing(draft, singer, line, words, manner)
        audio += draft.between(0.5, 1.0) * effects.pan(sound, draft.between(-1, 1))
    audio *= np.float32(voices**-0.5)
    return audio


def _chord_tones(draft: Draft, centre: float, index: int) -> list[Note]:
    """Return one tone of every chord in the vocal sections, as near to `centre` (MIDI) as the voice's number allows."""
    sections, notes = draft.form.active("vocals"), []
    for chord in draft.form.chords:
        if any(s.start <= chord.start < s.start + s.beats for s in sections):
            tone = (chord.root + chord.intervals[index % len(chord.intervals)]) % 12
            pitch = round((centre - tone) / 12) * 12 + tone
            notes.append(Note(chord.start, chord.beats, pitch, int(draft.rng.integers(80, 110))))
    return notes


def _long_vowel(draft: Draft, singer: Singer) -> Syllable:
    """Draw one of the longest vowels."""
    by_length = sorted(singer.syllables, key=lambda syllable: syllable.hold_from - syllable.vowel)
    vowel: Syllable = draft.pick(by_length[-max(len(by_length) // 4, 1) :])
    return vowel._replace(end=vowel.hold_to)


def _centre(draft: Draft, singer: Singer) -> float:
    """Draw the middle of what somebody sings in MIDI semitones: higher than the voice speaks."""
    return float(np.clip(singer.talk.pitch + draft.rng.triangular(0, 5, 14), 40, 74))


def _sing(
    draft: Draft, singer: Singer, line: list[Sung], words: Words, manner: Manner
) -> tuple[np.ndarray, np.ndarray]:
    """Sing a line: (samples,), and f0 (frames,)."""
    pitch = pitch_contour(draft.rng, line, manner, int(draft.seconds / FRAME_SECONDS) + 1)
    return voiced_as(draft.rng, singer, line, words, pitch, manner, draft.seconds)


def _behind(
    draft: Draft, kind: str, singer: Singer, notes: list[Note], lead: tuple[list[Sung], Words], manner: Manner
) -> np.ndarray:
    """Return the voices behind a lead: (2, samples)."""
    line, words = lead
    third = [float(draft.form.third_above(note.pitch) - note.pitch) for note in notes]
    side = float(draft.pick((-1, 1))) * draft.between(0.3, 1.0)
    other = replace(choose_manner(draft.rng), formant=manner.formant * draft.between(0.93, 1.08))
    audio = draft.silence()

    def add(shift: list[float], gain: float, place: float, how: Manner) -> None:
        again = sung_again(draft.rng, line, shift)
        audio[:] += gain * effects.pan(_sing(draft, singer, again, words, how)[0], place)

    same = [0.0] * len(line)
    if kind == "doubles":
        for place in (-1.0, 1.0):
            add(same, draft.between(0.25, 0.7), place * draft.between(0.6, 1.0), manner)
    elif kind == "harmony":
        add(third, draft.between(0.3, 0.8), side, other)
        if draft.chance(0.4):
            add([value - 12 for value in third], draft.between(0.2, 0.6), -side, other)
    elif kind == "octave":
        add([draft.pick((-12.0, 12.0))] * len(line), draft.between(0.2, 0.6), side, other)
    elif kind == "whisper":
        add(same, draft.between(0.3, 1.0), 0.0, replace(manner, whisper=True))
    elif kind == "gang":
        for place in (-0.9, -0.4, 0.5, 1.0):
            one = replace(other, formant=manner.formant * draft.between(0.88, 1.12))
            add(same, draft.between(0.2, 0.5), place, one)
    elif kind == "choir":
        audio += draft.between(0.4, 1.0) * _chords(draft, int(draft.rng.integers(3, 6)))
    return audio


KINDS: dict[str, Callable[[Draft], Vocals]] = {
    "sung": _sung, "rapped": _rapped, "spoken": _spoken, "few words": _few_words, "chopped": _chopped,
    "choir": _choir, "vocoded": _vocoded, "whispered": _whispered,
}  # fmt: skip
"""Kind of vocals → what makes them."""
