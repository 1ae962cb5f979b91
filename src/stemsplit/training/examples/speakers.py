"""Talk of two people to train on, mixed on the fly from recordings of one person each.

A folder with recordings is a speaker, and its name is who that is, wherever it lies: ROOT/SOURCE/SPEAKER/*.opus. A list
names those who are held out. Nobody is mixed with himself.

An example is a mixture and both speakers as they are heard in it: in their rooms, at their levels, without the noise.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stemsplit.errors import UsageError

SUFFIXES = (".wav", ".flac", ".opus", ".ogg", ".mp3")
LOUD = 0.1
"""RMS of a speaker while he speaks, before the levels of an example."""
PAUSE = 0.05
"""Share of the loudest frames' RMS below which nobody speaks."""
FADE_SECONDS = 0.01
FRAME_SECONDS = 0.02
SHORTEST_TURN = 0.25
"""Of an example, that each speaker speaks where talk overlaps only in part."""
TURN_SECONDS = (0.5, 4.0)
WHO = ((1, 0), (0, 1), (1, 1), (0, 0))
"""Who is heard in a turn of a talk,"""
OFTEN = (0.25, 0.25, 0.35, 0.15)
"""and how often."""
TAIL_SECONDS = 0.6
"""How much of a room's answer is used."""
SHORTEST_SECONDS = 0.5
"""Recordings that are shorter are left out."""


@dataclass(frozen=True)
class SpeakerMixing:
    """How examples are drawn. Shares are probabilities."""

    crop_seconds: float = 3.0
    level_db: float = 2.5
    """Speakers differ by at most so much,"""
    wide: float = 0.2
    """but in this share"""
    wide_db: float = 10.0
    """by at most so much."""
    speed: float = 0.1
    """Largest change of a recording's speed, and with it of its pitch."""
    turns: float = 0.3
    """Share in which one begins later and the other ends earlier, so that they overlap in part."""
    talks: float = 0.0
    """Share in which one speaks, the other, both or nobody, by turns: then a network learns to know a voice again."""
    single: float = 0.1
    """Share in which one of them says nothing."""
    room: float = 0.4
    """Share of the speakers that stand in a room."""
    noise: float = 0.4
    """Share with noise,"""
    noise_db: tuple[float, float] = (10.0, 35.0)
    """which is so far below the speakers."""


class Speaker(NamedTuple):
    """One person's recordings, int16 (samples,) each."""

    name: str
    recordings: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Voices:
    """What examples are drawn from."""

    speakers: tuple[Speaker, ...]
    rate: int
    """Of the recordings, Hz."""
    rooms: tuple[np.ndarray, ...] = ()
    """Answers to an impulse, float32 (samples,), from the direct sound on. Without any they are made of noise."""


class Example(NamedTuple):
    """Speakers (K, 1, samples) and their mixture (1, samples), float32."""

    speakers: np.ndarray
    mixture: np.ndarray


def find_speakers(roots: Sequence[Path], without: Collection[str] = ()) -> dict[str, list[Path]]:
    """Return the recordings of every speaker in some folders, by name, but for those who are held out.

    Raises:
        UsageError: There are fewer than two.
    """
    found: dict[str, list[Path]] = {}
    for folder, _, files in chain.from_iterable(sorted(os.walk(root, followlinks=True)) for root in roots):
        paths = [Path(folder, name) for name in sorted(files) if name.lower().endswith(SUFFIXES)]
        if paths and (name := Path(folder).name) not in without:
            found.setdefault(name, []).extend(paths)
    if len(found) < 2:
        folders = ", ".join(map(str, roots))
        raise UsageError(f"{len(found)} speakers in {folders}: two are needed, a folder with recordings each")
    return found


def read_names(path: Path) -> tuple[str, ...]:
    """Return the speakers that a list names, one SPEAKER or SOURCE/SPEAKER a line; `#` begins a remark.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; it lists the speakers that are held out") from error
    return tuple(line.rpartition("/")[2] for line in lines if line)


def sexes_of(roots: Sequence[Path]) -> dict[str, str]:
    """Return the sex of every speaker of whom a `*speakers.csv` in a folder says it, in the columns speaker and sex."""
    rows = []
    for path in (path for root in roots for path in sorted(root.glob("*speakers.csv"))):
        with path.open(encoding="utf-8", newline="") as file:
            rows += list(csv.DictReader(file))
    return {row["speaker"]: row["sex"] for row in rows if row.get("speaker") and row.get("sex")}


def load_voices(files: Mapping[str, Sequence[Path]], rate: int, rooms: Path | None = None) -> Voices:
    """Read recordings at a rate (Hz), and a folder of rooms' impulse responses. They all stay in memory.

    Raises:
        UsageError: Fewer than two speakers have said anything.
    """
    read = {name: [_read(path, rate) for path in paths] for name, paths in files.items()}
    long_enough = {
        name: tuple(sound for sound in sounds if len(sound) >= SHORTEST_SECONDS * rate and np.any(sound))
        for name, sounds in read.items()
    }
    speakers = tuple(Speaker(name, sounds) for name, sounds in sorted(long_enough.items()) if sounds)
    if len(speakers) < 2:
        raise UsageError(f"of {len(read)} speakers {len(speakers)} say anything: two are needed")
    paths = sorted(path for path in rooms.rglob("*") if path.suffix.lower() in SUFFIXES) if rooms else []
    return Voices(speakers, rate, tuple(_answer(_read(path, rate), rate) for path in paths))


def draw_speakers(
    voices: Voices, size: int, mixing: SpeakerMixing, sample_rate: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw speakers (size, 2, 1, samples) and mixtures (size, 1, samples) at a rate (Hz)."""
    samples = round(mixing.crop_seconds * sample_rate)
    drawn = [draw_example(voices, samples, mixing, sample_rate, rng) for _ in range(size)]
    return np.stack([one.speakers for one in drawn]), np.stack([one.mixture for one in drawn])


def draw_example(
    voices: Voices, samples: int, mixing: SpeakerMixing, sample_rate: int, rng: np.random.Generator
) -> Example:
    """Draw one example of two different people."""
    pair = rng.choice(len(voices.speakers), 2, replace=False)
    sounds = np.stack([_crop(voices, voices.speakers[index], samples, mixing, sample_rate, rng) for index in pair])
    kind = rng.random()
    if kind < mixing.turns:
        _take_turns(sounds, sample_rate, rng)
    elif kind < mixing.turns + mixing.talks:
        _talk(sounds, sample_rate, rng)
    if rng.random() < mixing.single:
        sounds[rng.integers(2)] = 0
    for sound in sounds:
        if rng.random() < mixing.room:
            sound[:] = _in_room(sound, voices.rooms, sample_rate, rng)
    return finished(sounds, mixing, sample_rate, rng)


def finished(sounds: np.ndarray, mixing: SpeakerMixing, sample_rate: int, rng: np.random.Generator) -> Example:
    """Bring two sounds (2, samples) to the levels of an example, which may have noise."""
    most = mixing.wide_db if rng.random() < mixing.wide else mixing.level_db
    difference = rng.uniform(-most, most)
    gains = 10 ** (np.array([difference, -difference]) / 40)
    speakers = np.stack([gain * levelled(sound, sample_rate) for gain, sound in zip(gains, sounds, strict=True)])
    mixture = speakers.sum(0)
    if rng.random() < mixing.noise:
        mixture = mixture + LOUD * 10 ** (-rng.uniform(*mixing.noise_db) / 20) * _noise(mixture.shape[-1], rng)
    return Example(speakers[:, None].astype(np.float32), mixture[None].astype(np.float32))


def levelled(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a sound whose RMS is `LOUD` where somebody speaks; silence stays silence."""
    frame = max(1, round(FRAME_SECONDS * sample_rate))
    whole = len(sound) // frame * frame
    power = np.square(sound[:whole].reshape(-1, frame)).mean(1) if whole else np.square(sound)
    spoken = power[power > PAUSE**2 * power.max(initial=0)]
    return sound * (LOUD / np.sqrt(spoken.mean())) if len(spoken) else sound


def _read(path: Path, rate: int) -> np.ndarray:
    """Return a recording's mean over its channels, int16 (samples,), at a rate in Hz."""
    import soundfile  # here, because trainings on shards do without them
    import soxr

    sound, own = soundfile.read(path, dtype="float32", always_2d=True)
    mono = sound.mean(1)
    if own != rate:
        mono = soxr.resample(mono, own, rate, quality="MQ")
    rounded: np.ndarray = np.clip(np.round(mono * 32767), -32768, 32767).astype(np.int16)
    return rounded


def _crop(
    voices: Voices,
    speaker: Speaker,
    samples: int,
    mixing: SpeakerMixing,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return a random part (samples,) of a speaker's recordings at a random speed. A short one is put anywhere."""
    import soxr

    lengths = np.array([len(sound) for sound in speaker.recordings], float)
    recording = speaker.recordings[rng.choice(len(lengths), p=lengths / lengths.sum())]
    speed = 1 + rng.uniform(-mixing.speed, mixing.speed)
    needed = int(np.ceil(samples * voices.rate * speed / sample_rate)) + 1
    begin = int(rng.integers(max(1, len(recording) - needed + 1)))
    part = recording[begin : begin + needed].astype(np.float32) / 32768
    played = soxr.resample(part, voices.rate * speed, sample_rate, quality="MQ")[:samples]
    before = int(rng.integers(samples - len(played) + 1))
    return np.pad(played, (before, samples - len(played) - before)).astype(np.float32)


def _take_turns(sounds: np.ndarray, sample_rate: int, rng: np.random.Generator) -> None:
    """Let one of two sounds (2, samples) end early and the other begin late, in place."""
    samples = sounds.shape[1]
    shortest = int(SHORTEST_TURN * samples)
    end, begin = int(rng.integers(shortest, samples)), int(rng.integers(0, samples - shortest))
    first = int(rng.integers(2))
    _gate(sounds[first], np.arange(samples) < end, sample_rate)
    _gate(sounds[1 - first], np.arange(samples) >= begin, sample_rate)


def _talk(sounds: np.ndarray, sample_rate: int, rng: np.random.Generator) -> None:
    """Let two sounds (2, samples) be heard by turns, for a few seconds each, in place."""
    heard, at = np.zeros(sounds.shape, bool), 0
    while at < sounds.shape[1]:
        end = at + max(1, round(rng.uniform(*TURN_SECONDS) * sample_rate))
        heard[:, at:end] = np.array(WHO[rng.choice(len(WHO), p=OFTEN)])[:, None]
        at = end
    for sound, gate in zip(sounds, heard, strict=True):
        _gate(sound, gate, sample_rate)


def _gate(sound: np.ndarray, heard: np.ndarray, sample_rate: int) -> None:
    """Silence a sound (samples,) where it is not heard, with soft edges, in place."""
    fade = max(1, round(FADE_SECONDS * sample_rate))
    sound *= np.convolve(heard, np.full(fade, 1 / fade), mode="same")[: len(sound)].astype(np.float32)


def _answer(sound: np.ndarray, rate: int) -> np.ndarray:
    """Return a room's answer from the direct sound on, faded out, with the direct sound's level 1."""
    direct = int(np.abs(sound.astype(np.float32)).argmax())
    tail = sound[direct : direct + int(TAIL_SECONDS * rate)].astype(np.float32)
    return tail / max(float(np.abs(tail[0])), 1.0) * np.linspace(1, 0, len(tail), dtype=np.float32) ** 2


def _in_room(
    sound: np.ndarray, rooms: tuple[np.ndarray, ...], sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a sound with what a room answers, which is 3 to 20 dB weaker."""
    length = round(TAIL_SECONDS * sample_rate)
    if rooms:
        tail = rooms[rng.integers(len(rooms))][:length].copy()
        tail[: max(1, round(0.002 * sample_rate))] = 0
    else:
        decay = rng.uniform(0.1, 0.6)
        tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / sample_rate / decay)
    size = len(sound) + len(tail)
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)]
    power, own = np.square(wet).mean(), np.square(sound).mean()
    if power == 0:
        return sound
    heard: np.ndarray = sound + wet * np.sqrt(own / power) * 10 ** (-rng.uniform(3, 20) / 20)
    return heard


def _noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise (samples,) with an RMS of 1, somewhere between white and brown."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** -rng.uniform(0, 1)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, samples)
    return np.asarray(noise / max(np.sqrt(np.square(noise).mean()), 1e-12))
