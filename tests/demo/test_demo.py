"""The demo song: exact stems, an exact melody, a level that can be played."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemsplit.demo import stems as demo
from stemsplit.demo.instruments import RATE, plucked_string
from stemsplit.demo.song import SungNote, compose
from stemsplit.demo.voice import draw_singer, sing
from stemsplit.errors import OutputError

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def songs() -> dict[int, demo.DemoSong]:
    return {seed: demo.synthesize_demo_song(8, seed) for seed in SEEDS}


def level_db(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(sound.astype(float) ** 2) + 1e-20))


def test_stems_have_the_asked_length_and_sum_to_the_mixture(songs: dict[int, demo.DemoSong]) -> None:
    for song in songs.values():
        assert tuple(song.stems) == ("drums", "bass", "other", "vocals")
        assert {stem.shape for stem in song.stems.values()} == {(2, 8 * 44100)}
        assert {stem.dtype for stem in song.stems.values()} == {np.dtype("float32")}
        total = sum(stem.astype(np.float64) for stem in song.stems.values())
        np.testing.assert_allclose(song.mixture, total, atol=1e-6)


def test_a_song_is_balanced_and_never_clips(songs: dict[int, demo.DemoSong]) -> None:
    for song in songs.values():
        assert 0.7 < np.abs(song.mixture).max() < 0.9
        levels = {name: level_db(stem) for name, stem in song.stems.items()}
        assert all(-35 < level < -15 for level in levels.values()), levels
        assert levels["vocals"] > levels["other"] + 2
        assert np.abs(song.mixture[:, -1]).max() < 1e-3  # faded out


def test_bass_is_low_and_voice_and_drums_reach_up(songs: dict[int, demo.DemoSong]) -> None:
    def share_above(sound: np.ndarray, hertz: float) -> float:
        power = np.abs(np.fft.rfft(sound[0])) ** 2
        return float(power[np.fft.rfftfreq(sound.shape[1], 1 / RATE) > hertz].sum() / power.sum())

    for song in songs.values():
        assert share_above(song.stems["bass"], 1000) < 0.05
        assert share_above(song.stems["drums"], 5000) > 0.03
        assert 0.003 < share_above(song.stems["vocals"], 2500) < 0.3


def test_a_seed_is_a_song(songs: dict[int, demo.DemoSong]) -> None:
    again = demo.synthesize_demo_song(8, 1)
    for name, stem in again.stems.items():
        np.testing.assert_array_equal(stem, songs[1].stems[name])
        assert abs(np.corrcoef(stem[0], songs[2].stems[name][0])[0, 1]) < 0.5
    assert len({song.tempo_bpm for song in songs.values()}) > 1


def test_f0_is_the_pitch_that_is_sung() -> None:
    """An autocorrelation of every well-voiced frame agrees with the curve that the singer followed."""
    rng = np.random.default_rng(5)
    singer = draw_singer(rng)
    melody = tuple(SungNote(0.4 + 0.7 * i, 0.65, singer.centre + i, 0.9, "n", "a") for i in range(4))
    vocal = sing(melody, 4 * RATE, singer, rng)
    cents = []
    for frame in range(0, len(vocal.f0_hz) - 30, 15):
        around = slice(frame * 147 - 1100, frame * 147 + 1100)
        if vocal.f0_hz[max(frame - 8, 0) : frame + 8].min() > 0 and around.start >= 0:
            cents.append(1200 * np.log2(autocorrelation_pitch(vocal.sound[around]) / vocal.f0_hz[frame]))
    assert len(cents) > 30
    assert np.mean(np.abs(cents) < 40) > 0.9
    assert abs(np.median(cents)) < 5


def autocorrelation_pitch(sound: np.ndarray) -> float:
    """Pitch in Hz between 90 and 900 Hz, the peak refined by a parabola."""
    size = 1 << 14
    windowed = sound * np.hanning(len(sound))
    correlation = np.fft.irfft(np.abs(np.fft.rfft(windowed, size)) ** 2)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(len(sound)), size)) ** 2)
    normal = correlation[:500] / window[:500]
    first = int(RATE / 900)
    lags = np.arange(first, 490)
    peaks = [lag for lag in lags if normal[lag] >= max(normal[lag - 1], normal[lag + 1])]
    best = max(normal[lag] for lag in peaks)
    lag = next(lag for lag in peaks if normal[lag] > 0.9 * best)
    left, middle, right = normal[lag - 1 : lag + 2]
    return RATE / (lag + 0.5 * (left - right) / (left - 2 * middle + right))


def test_f0_has_a_value_every_ten_milliseconds(songs: dict[int, demo.DemoSong]) -> None:
    for song in songs.values():
        assert song.f0_hz.shape == (801,)
        voiced = song.f0_hz[song.f0_hz > 0]
        assert 0.3 < len(voiced) / 801 < 0.95
        assert 70 < voiced.min() < voiced.max() < 900


def test_nothing_is_sung_in_the_first_bar_of_a_whole_song() -> None:
    song = demo.synthesize_demo_song(20, 0)
    bar = int(0.8 * 240 / song.tempo_bpm * RATE)
    assert level_db(song.stems["vocals"][:, :bar]) < -60
    assert level_db(song.stems["drums"][:, :bar]) > -35


@pytest.mark.parametrize("seconds", [1 / 44100, 0.01, 0.3333, 1.0, 3.7])
def test_any_length_renders(seconds: float) -> None:
    song = demo.synthesize_demo_song(seconds, 4)
    assert song.mixture.shape == (2, round(seconds * 44100))
    assert np.isfinite(song.mixture).all()
    assert np.isfinite(song.f0_hz).all()
    assert len(song.f0_hz) == round(seconds * 44100) // 441 + 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_length_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="positive length"):
        demo.synthesize_demo_song(seconds)


def test_the_written_song_is_24_bit_and_unicode_paths_work(tmp_path: Path) -> None:
    path = tmp_path / "новая папка" / "söng 🎵.wav"
    song = demo.write_demo_song(path, seconds=1.5, seed=3)
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.frames) == (44100, 2, 66150)
    assert info.subtype == "PCM_24"
    written, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(written.T, song.mixture, atol=2**-22)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"song\.wav"):
        demo.write_demo_song(tmp_path / "file" / "song.wav", seconds=0.1)


def test_notes_belong_to_the_key_and_to_the_song() -> None:
    for seed in range(20):
        score = compose(20, 60, np.random.default_rng(seed))
        scale = {(score.plan.tonic + step) % 12 for step in score.plan.scale}
        assert {note.pitch % 12 for note in (*score.melody, *score.keys, *score.guitar)} <= scale
        assert all(-14 <= note.pitch - 60 <= 14 for note in score.melody)
        assert all(0 <= note.start < 20 for note in (*score.melody, *score.bass, *score.pad))
        ends = [note.start + note.seconds for note in score.melody[:-1]]
        assert all(end < later.start + 0.06 for end, later in zip(ends, score.melody[1:], strict=True))


@pytest.mark.parametrize("frequency", [41.2, 110.0, 196.7, 523.25])
def test_a_string_is_in_tune(frequency: float) -> None:
    string = plucked_string(frequency, 2.5, 0.5, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(string * np.hanning(len(string)), 1 << 20))
    near = slice(*(round(f * (1 << 20) / RATE) for f in (0.94 * frequency, 1.06 * frequency)))
    found = (near.start + np.argmax(spectrum[near])) * RATE / (1 << 20)
    assert abs(1200 * np.log2(found / frequency)) < 5


def test_importing_the_demo_imports_no_torch_and_no_soundfile() -> None:
    code = "import sys, stemsplit.demo.stems; print({'torch', 'soundfile', 'scipy'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
