"""A song whose tempo, key and chords are known is heard as what it is."""

from __future__ import annotations

import numpy as np
import pytest

from stemsplit.analysis.song import Analysis, Listener

RATE = 44100
BPM = 112.0
STEMS = ("drums", "bass", "other", "vocals")
CHORDS = (("Am", 9, (0, 3, 7)), ("F", 5, (0, 4, 7)), ("C", 0, (0, 4, 7)), ("G", 7, (0, 4, 7)))


def tone(pitch: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    return np.exp(-time) * sum(np.sin(2 * np.pi * k * hertz * time) / k**2 for k in (1, 2, 3))


def song(bars: int = 8, cents: float = 0.0) -> np.ndarray:
    """A minor: a chord a bar, its root in the bass, a drum on every beat; (stems, channels, samples)."""
    beat = 60 / BPM
    stems = np.zeros((4, 2, round(bars * 4 * beat * RATE)), np.float32)
    hit = np.random.default_rng(0).normal(0, 0.3, 2000) * np.exp(-np.arange(2000) / 300)
    for bar in range(bars):
        _, root, steps = CHORDS[bar % 4]
        parts = [(1, 36 + root, 0.3), *((2, 60 + (root + step) % 12, 0.1) for step in steps)]
        start = round(bar * 4 * beat * RATE)
        for stem, pitch, level in parts:
            sound = level * tone(pitch + cents / 100, 4 * beat)
            end = min(start + len(sound), stems.shape[2])
            stems[stem, :, start:end] += sound[: end - start]
        for count in range(4):
            at = round((4 * bar + count) * beat * RATE)
            stems[0, :, at : at + len(hit)] += hit[: stems.shape[2] - at]
    return stems


def analysed(stems: np.ndarray, block: int = 30011) -> Analysis:
    listener = Listener(STEMS, RATE)
    for start in range(0, stems.shape[2], block):
        listener.add(stems[..., start : start + block])
    return listener.analysis()


@pytest.fixture(scope="module")
def found() -> Analysis:
    return analysed(song())


def test_tempo_and_beats(found: Analysis) -> None:
    assert found.beat.tempo.bpm == pytest.approx(BPM, abs=0.5)
    assert found.beat.confidence > 0.9
    places = found.beats / (60 / BPM)
    assert np.abs(places - np.round(places)).max() < 0.08
    assert len(found.beats) == pytest.approx(32, abs=1)


def test_key_and_tuning(found: Analysis) -> None:
    assert found.key.name in ("A minor", "C major")
    assert 0 < found.key.confidence <= 1
    assert found.tuning_hz == pytest.approx(440, abs=1)
    sharp = analysed(song(4, cents=30))
    assert sharp.tuning_hz == pytest.approx(440 * 2 ** (0.3 / 12), abs=1.5)
    assert sharp.key.name in ("A minor", "C major")


def test_chords_change_with_the_bars(found: Analysis) -> None:
    bar = 240 / BPM
    for number in range(8):
        (chord,) = [one for one in found.chords if one.start <= (number + 0.5) * bar < one.end]
        assert chord.name(found.key) == CHORDS[number % 4][0]
        assert chord.start == pytest.approx(number * bar, abs=0.15)
        assert 0.5 < chord.confidence <= 1
    assert found.chords[0].start == 0
    assert found.chords[-1].end == pytest.approx(found.seconds)


def test_blocks_of_any_size_give_the_same(found: Analysis) -> None:
    other = analysed(song(), 77777)
    assert other.as_json() == found.as_json()


@pytest.mark.parametrize("samples", [1, 5000, 60000])
def test_silence_and_short_songs_are_nothing_in_particular(samples: int) -> None:
    found = analysed(np.zeros((4, 2, samples), np.float32))
    assert found.key.confidence == found.beat.confidence == 0
    assert len(found.beats) == 0
    assert {chord.name(found.key) for chord in found.chords} == {"N"}


def test_a_song_without_some_stems_is_heard() -> None:
    listener = Listener(("other", "vocals"), RATE)
    listener.add(song(4)[2:])
    assert listener.analysis().key.name in ("A minor", "C major")
