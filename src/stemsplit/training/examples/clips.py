"""Examples for the melody network: singing with known pitch, in another key, over music, in a room, at any level.

A clip is one .npz of 16 kHz mono int16 arrays, as recipes/melody_data.py packs them: `voice`, `accompaniment`, and
`separated` (a separator's vocals of the two). Its `f0` is in Hz every 10 ms: 0 where nobody sings, NaN where it is not
known. Clips without a voice give accompaniments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stemsplit.errors import UsageError

RATE = 16000
"""Sample rate of clips in Hz."""
HOP = 160
"""Samples from one value of f0 to the next."""
LOUD = 0.1
"""RMS that voices are brought to before the final gain."""


@dataclass(frozen=True)
class MelodyMixing:
    """How an example is put together.

    Shares and probabilities are from 0 to 1, levels in dB, lengths in seconds.
    """

    crop_seconds: float = 3.0
    semitones: float = 5.0
    """Voice and music are each played faster or slower by up to this."""
    sung: float = 0.2
    """Share of rendered singing, whose f0 is exact, among the voices; the others are recorded."""
    separated: float = 0.15
    """Share of examples that are what a separator made of a mixture."""
    alone: float = 0.2
    """Share of examples without accompaniment."""
    loud: float = 0.6
    """Share of the accompanied examples with a voice only ±5 dB above the music; 5 to 30 dB for the others."""
    own: float = 0.5
    """Probability that the accompaniment is the clip's own and in time with it; another clip's otherwise."""
    unsung: float = 0.05
    """Share of examples that are accompaniment alone."""
    equalizer: float = 0.5
    """Probability that a sound gets another tone."""
    equalizer_db: float = 8.0
    """Largest gain of that tone's filter, up or down."""
    reverberation: float = 0.3
    """Probability that a voice is in a room."""
    noise: float = 0.3
    """Probability that there is white noise."""
    noise_db: tuple[float, float] = (20.0, 50.0)
    """Level of the voice above the noise."""
    gain_db: tuple[float, float] = (-25.0, 10.0)
    """The final gain, relative to `LOUD`."""


class Clip(NamedTuple):
    """What a clip's file holds."""

    path: Path
    frames: int
    """Length in frames of 10 ms."""
    singer: str
    """The file's name up to the first '_'; "song" for rendered singing."""
    sung: bool
    """Whether there is a voice with its f0."""
    separated: bool
    """Whether there is a separator's estimate of the voice."""


def find_clips(folder: Path) -> list[Clip]:
    """Return every clip in `folder`, sorted by name.

    Raises:
        UsageError: No clip in the folder has a voice.
    """
    clips = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            frames = len(arrays["accompaniment"]) // HOP
            clips.append(Clip(path, frames, path.stem.split("_")[0], "f0" in arrays, "separated" in arrays))
    if not any(clip.sung for clip in clips):
        raise UsageError(f"no clips with a voice in {folder}; pack some: recipes/melody_data.py --help")
    return clips


class Clips:
    """Clips to draw from, by what they hold; longer ones are drawn more often."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        """Sort `clips` by what they hold. Where there are none of a kind, recorded voices take their place."""
        recorded = [clip for clip in clips if clip.sung and clip.singer != "song"]
        self.recorded = _Urn(recorded)
        self.sung = _Urn([clip for clip in clips if clip.sung and clip.singer == "song"] or recorded)
        self.separated = _Urn([clip for clip in clips if clip.separated] or recorded)
        self.music = _Urn(clips)


class _Urn:
    def __init__(self, clips: Sequence[Clip]) -> None:
        self.clips = clips
        self.upto = np.cumsum([clip.frames for clip in clips])

    def draw(self, rng: np.random.Generator) -> Clip:
        """Return a clip, with a probability in proportion to its length."""
        return self.clips[int(np.searchsorted(self.upto, rng.random() * self.upto[-1], side="right"))]


def draw_examples(
    clips: Clips, size: int, mixing: MelodyMixing, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `size` examples.

    Returns:
        Waveforms (size, samples) at 16 kHz and f0 (size, 1 + samples // 160) in Hz, both float32.
    """
    pairs = [draw_example(clips, mixing, rng) for _ in range(size)]
    return np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])


def draw_example(clips: Clips, mixing: MelodyMixing, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return one waveform (samples,) and its f0 (1 + samples // 160,) in Hz."""
    samples = round(mixing.crop_seconds * RATE)
    if rng.random() < mixing.unsung:
        music = _music(clips, None, samples, mixing, rng)
        return _finish(_level(music, LOUD), mixing, rng), np.zeros(1 + samples // HOP, np.float32)
    if rng.random() < mixing.separated and (clip := clips.separated.draw(rng)).separated:
        crop = _crop(clip, ("separated",), samples, mixing, rng)
        return _finish(_level(crop.sounds[0], LOUD), mixing, rng), crop.f0
    clip = (clips.sung if rng.random() < mixing.sung else clips.recorded).draw(rng)
    own = rng.random() < mixing.own
    crop = _crop(clip, ("voice", "accompaniment"), samples, mixing, rng)
    voice = _level(_room(_equalize(crop.sounds[0], mixing, rng), mixing, rng), LOUD)
    if rng.random() < mixing.alone:
        return _finish(voice, mixing, rng), crop.f0
    music = _music(clips, crop.sounds[1] if own else None, samples, mixing, rng)
    above = rng.uniform(-5, 5) if rng.random() < mixing.loud else rng.uniform(5, 30)
    return _finish(voice + _level(music, LOUD * 10 ** (-above / 20)), mixing, rng), crop.f0


class _Crop(NamedTuple):
    """Arrays (samples,) from one place of a clip, and the f0 there."""

    sounds: list[np.ndarray]
    f0: np.ndarray


def _crop(clip: Clip, names: Sequence[str], samples: int, mixing: MelodyMixing, rng: np.random.Generator) -> _Crop:
    """Read arrays of a clip from a random place, and play them at a random speed. Past its end is silence."""
    speed = 2 ** (rng.uniform(-mixing.semitones, mixing.semitones) / 12)
    frames = int(np.ceil(samples / HOP * speed)) + 1
    begin = int(rng.integers(max(1, clip.frames - frames + 1)))
    with np.load(clip.path) as arrays:
        parts = [arrays[name][begin * HOP : (begin + frames) * HOP] for name in names]
        f0 = arrays["f0"][begin : begin + frames + 1] if "f0" in arrays else np.full(frames, np.nan)
    sounds = [_play(part.astype(np.float32) / 32768, speed, samples) for part in parts]
    return _Crop(sounds, play_f0(f0, speed, 1 + samples // HOP))


def _play(sound: np.ndarray, speed: float, samples: int) -> np.ndarray:
    """Play `sound` `speed` times as fast, cut or padded to `samples`."""
    import soxr  # here, because the other tasks train without it

    played = soxr.resample(sound, RATE * speed, RATE, quality="MQ")[:samples]
    return np.pad(played, (0, samples - len(played)))


def play_f0(f0: np.ndarray, speed: float, frames: int) -> np.ndarray:
    """Return the pitch (frames,) in Hz every 10 ms of what is played `speed` times as fast.

    Between two voiced frames the pitch is interpolated in Hz. Next to an unvoiced or unknown frame the nearer of the
    two is taken. Past the end is silence.
    """
    place = np.arange(frames) * speed
    inside = place <= len(f0) - 1
    place = np.minimum(place, len(f0) - 1)
    before, after = np.floor(place).astype(int), np.ceil(place).astype(int)
    near = f0[np.round(place).astype(int)]
    between = f0[before] + (place - before) * (f0[after] - f0[before])
    played = np.where((f0[before] > 0) & (f0[after] > 0), between, near) * speed
    return np.where(inside, played, 0.0).astype(np.float32)


def _music(
    clips: Clips, own: np.ndarray | None, samples: int, mixing: MelodyMixing, rng: np.random.Generator
) -> np.ndarray:
    """Return accompaniment (samples,): a clip's own, or if that is None another clip's."""
    if own is None:
        own = _crop(clips.music.draw(rng), ("accompaniment",), samples, mixing, rng).sounds[0]
    return _equalize(own, mixing, rng)


def _equalize(sound: np.ndarray, mixing: MelodyMixing, rng: np.random.Generator) -> np.ndarray:
    """Give a sound another tone in some examples: a gain that is a random curve over the logarithm of frequency."""
    if rng.random() >= mixing.equalizer:
        return sound
    spectrum = np.fft.rfft(sound)
    octaves = np.log2(np.maximum(np.arange(len(spectrum)) / len(spectrum) * RATE / 2, 30) / 30)
    knots = rng.uniform(-mixing.equalizer_db, mixing.equalizer_db, 7)
    gain = np.interp(octaves, np.linspace(0, octaves[-1], len(knots)), knots)
    return np.fft.irfft(spectrum * 10 ** (gain / 20), len(sound)).astype(np.float32)


def _room(sound: np.ndarray, mixing: MelodyMixing, rng: np.random.Generator) -> np.ndarray:
    """Put a sound into a room in some examples.

    The room is noise that falls by 60 dB in 0.1 to 0.8 s, and is 6 to 25 dB weaker than the direct sound.
    """
    if rng.random() >= mixing.reverberation:
        return sound
    decay = rng.uniform(0.1, 0.8)
    time = np.arange(round(decay * RATE)) / RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay)
    tail *= 10 ** (-rng.uniform(6, 25) / 20) / np.sqrt(np.square(tail).sum())
    size = len(sound) + len(tail)
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)]
    return (sound + wet).astype(np.float32)


def _level(sound: np.ndarray, rms: float) -> np.ndarray:
    """Bring a sound to an RMS; silence stays silence."""
    own = float(np.sqrt(np.square(sound).mean()))
    return sound * (rms / own) if own > 1e-5 else sound


def _finish(sound: np.ndarray, mixing: MelodyMixing, rng: np.random.Generator) -> np.ndarray:
    """Add noise in some examples, and the final gain."""
    if rng.random() < mixing.noise:
        sound = sound + rng.standard_normal(len(sound)) * LOUD * 10 ** (-rng.uniform(*mixing.noise_db) / 20)
    return (sound * 10 ** (rng.uniform(*mixing.gain_db) / 20)).astype(np.float32)
