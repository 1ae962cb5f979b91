"""Singing: a line becomes a contour of pitch and a stream of joined syllables, which WORLD turns into sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from songs.mix.effects import RATE
from songs.voices.line import REST, Manner, Sung
from songs.voices.speech import speech_contour
from songs.voices.voicebank import FFT_SIZE, FRAME_SECONDS, AnalysisStore, Frames, world


def pitch_contour(rng: np.random.Generator, sung: Sequence[Sung], manner: Manner, frames: int) -> np.ndarray:
    """Return f0 (frames,) in MIDI semitones every 5 ms.

    Notes are joined by glides, and begin below their pitch after rests. Long ones have vibrato, and all drift a little.
    """
    time = np.arange(frames) * FRAME_SECONDS
    contour = np.full(frames, float(sung[0].pitch) if sung else 60.0)
    previous: Sung | None = None
    for note in sung:
        after = time >= note.start - manner.glide / 2
        rested = previous is None or note.start - previous.end > REST
        before = note.pitch - manner.scoop if rested or previous is None else previous.pitch
        width = manner.glide * (1.5 if rested else 1.0)
        ease = 0.5 - 0.5 * np.cos(np.pi * np.clip((time[after] - note.start + manner.glide / 2) / width, 0, 1))
        contour[after] = before + (note.pitch - before) * ease
        previous = note
    contour += _vibrato(rng, sung, manner, time)
    knots = np.arange(0, frames * FRAME_SECONDS + 0.15, 0.15)
    wander = np.interp(time, knots, rng.normal(0, 1, len(knots)))
    drifting: np.ndarray = contour + manner.drift * wander
    return drifting


def _vibrato(rng: np.random.Generator, sung: Sequence[Sung], manner: Manner, time: np.ndarray) -> np.ndarray:
    """Return a swing in semitones at times in seconds, which grows on notes longer than 0.35 s."""
    wave = np.sin(2 * np.pi * manner.rate * time + rng.uniform(0, 6.28))
    depth = np.zeros_like(time)
    for note in sung:
        if note.end - note.start > 0.35:
            inside = (time >= note.start) & (time < note.end)
            depth[inside] = np.clip((time[inside] - note.start - 0.2) / 0.25, 0, 1)
    return manner.vibrato * depth * wave


def stretch(available: int, fixed: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Return the source frame of each wanted frame, (wanted,).

    The first `fixed` frames come once. The rest of the `available` ones is gone through to and fro, at a random speed.
    """
    index = np.arange(wanted)
    fixed = min(fixed, available - 1)
    room = max(available - fixed - 1, 1)
    beyond = np.maximum(index - fixed, 0) * rng.uniform(0.6, 1.0)
    folded = np.abs((beyond + room) % (2 * room) - room)  # triangle wave 0 … room … 0
    return np.minimum(np.where(index < fixed, index, fixed + folded), available - 1).astype(int)


def join(rng: np.random.Generator, sung: Sequence[Sung], store: AnalysisStore, frames: int) -> Frames:
    """Return one stream of frames, with the syllables laid at their notes and cross-faded where they overlap."""
    bins = FFT_SIZE // 2 + 1
    stream = Frames(
        np.full((frames, bins), -25.0, np.float32), np.ones((frames, bins), np.float32), np.zeros(frames, bool)
    )
    heads = [i for i, note in enumerate(sung) if note.syllable is not None]
    for at, index in enumerate(heads):
        following = sung[heads[at + 1]] if at + 1 < len(heads) else None
        tail = sung[(heads[at + 1] if at + 1 < len(heads) else len(sung)) - 1]
        _lay(rng, stream, sung[index], tail.end, following, store)
    return stream


def _lay(
    rng: np.random.Generator, stream: Frames, note: Sung, end: float, following: Sung | None, store: AnalysisStore
) -> None:
    """Lay one syllable from before its note to `end`, or into the syllable that follows without a rest."""
    assert note.syllable is not None
    syllable, source = note.syllable, store.get(note.syllable)
    first = round((note.start - syllable.preutterance) / FRAME_SECONDS)
    joined = following is not None and following.start - end < REST
    if joined and following is not None and following.syllable is not None:
        end = following.start - following.syllable.preutterance + following.syllable.overlap
    last = min(round(end / FRAME_SECONDS), len(stream.voiced))
    skip = max(0, -first)
    if last - first - skip < 3:
        return
    rows = stretch(len(source.voiced), round(syllable.fixed / FRAME_SECONDS), last - first, rng)[skip:]
    first += skip
    gain = _loudness(source, round(syllable.preutterance / FRAME_SECONDS))
    envelope = source.log_envelope[rows].astype(np.float32) + 2 * np.log(note.level) - gain
    if not joined:
        envelope += _release(len(rows))[:, None]
    _crossfade(stream, first, rows, envelope, source, round(max(syllable.overlap, 0.02) / FRAME_SECONDS))


def _loudness(source: Frames, vowel_from: int) -> float:
    """Return the logarithm of a vowel's power, which is taken off so that all syllables are equally loud."""
    vowel = source.log_envelope[min(vowel_from, len(source.voiced) - 2) :].astype(np.float32)
    power = np.exp(vowel).mean(axis=1)
    return float(np.log(np.percentile(power, 75) + 1e-9))


def _release(rows: int) -> np.ndarray:
    """Return the logarithm of a fade to zero over the last 20 rows."""
    out = np.arange(rows, 0, -1) / min(rows, 20)
    return 2 * np.log(np.clip(out, 1e-3, 1.0))


def _crossfade(stream: Frames, first: int, rows: np.ndarray, envelope: np.ndarray, source: Frames, fade: int) -> None:
    """Write a source's rows to the stream from frame `first` on, faded in over `fade` frames; end the stream there."""
    last, fade = first + len(rows), min(fade, len(rows))
    weight = np.ones((len(rows), 1), np.float32)
    weight[:fade, 0] = np.linspace(0, 1, fade, endpoint=False)
    old = np.exp(stream.log_envelope[first:last])
    stream.log_envelope[first:last] = np.log(old * (1 - weight) + np.exp(envelope) * weight + 1e-11)
    stream.aperiodicity[first:last] *= 1 - weight
    stream.aperiodicity[first:last] += source.aperiodicity[rows].astype(np.float32) * weight
    late = np.arange(len(rows)) >= fade // 2
    stream.voiced[first:last][late] = source.voiced[rows][late]
    stream.log_envelope[last:], stream.aperiodicity[last:], stream.voiced[last:] = -25.0, 1.0, False


def voice(
    rng: np.random.Generator, sung: Sequence[Sung], store: AnalysisStore, manner: Manner, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sing a line.

    Returns:
        Float32 (samples,) at 44.1 kHz, and f0 (frames,) in Hz every 5 ms, 0 where the voice has no pitch.
    """
    frames = int(seconds / FRAME_SECONDS) + 1
    if not sung:
        return np.zeros(round(seconds * RATE), np.float32), np.zeros(frames)
    stream = join(rng, sung, store, frames)
    draw = (
        speech_contour(rng, sung, frames, manner.spoken) if manner.spoken else pitch_contour(rng, sung, manner, frames)
    )
    f0 = np.where(stream.voiced & (not manner.whisper), 440 * 2 ** ((draw - 69) / 12), 0.0)
    sound = np.zeros(round(seconds * RATE), np.float32)
    for first, last in phrases(stream.log_envelope[:, 20] > -24.9):
        spoken = _synthesize(f0[first:last], Frames(*(field[first:last] for field in stream)), manner)
        start = round(first * FRAME_SECONDS * RATE)
        spoken = spoken[: len(sound) - start]
        sound[start : start + len(spoken)] += spoken
    return sound, f0


def phrases(sounding: np.ndarray, pad: int = 4, apart: int = 20) -> list[tuple[int, int]]:
    """Return the first and last frame (exclusive) of every stretch that sounds, with `pad` frames on both sides.

    Stretches nearer than `apart` frames are joined.
    """
    frames = np.flatnonzero(sounding)
    if not len(frames):
        return []
    cuts = np.flatnonzero(np.diff(frames) > apart)
    starts, ends = np.r_[frames[0], frames[cuts + 1]], np.r_[frames[cuts], frames[-1]]
    return [(max(0, int(s) - pad), min(len(sounding), int(e) + 1 + pad)) for s, e in zip(starts, ends, strict=True)]


def _synthesize(f0: np.ndarray, frames: Frames, manner: Manner) -> np.ndarray:
    """Return the sound (samples,) of frames at f0 (frames,) in Hz."""
    height = np.minimum(1.0, np.arange(FFT_SIZE // 2 + 1) * RATE / FFT_SIZE / 5000)  # breath is heard above the vowels
    rough = 1 - (1 - np.clip(frames.aperiodicity, 0, 1)) * (1 - manner.breath * height)
    power = np.exp(warp(frames.log_envelope, manner.formant))
    arrays = (np.ascontiguousarray(a, dtype=np.float64) for a in (f0, power, rough))
    sound: np.ndarray = world().synthesize(*arrays, RATE, FRAME_SECONDS * 1000).astype(np.float32)
    return sound


def warp(log_envelope: np.ndarray, scale: float) -> np.ndarray:
    """Scale the frequency axis of logarithmic envelopes (frames, bins): a scale above 1 moves resonances up."""
    bins = np.minimum(np.arange(log_envelope.shape[1]) / scale, log_envelope.shape[1] - 1)
    low = np.floor(bins).astype(int)
    part = (bins - low).astype(np.float32)
    high = np.minimum(low + 1, log_envelope.shape[1] - 1)
    warped: np.ndarray = log_envelope[:, low] * (1 - part) + log_envelope[:, high] * part
    return warped
