"""Songs: exact stems, levels, absent stems, determinism; on sources made up here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import small_sources, vowel_bank, vowel_frames

from songs import render as songs
from songs.composition.score import Form, Section
from songs.composition.styles import STYLES
from songs.mix import mixdown
from songs.voices import sing
from songs.voices.voicebank import AnalysisStore


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> songs.Sources:
    return small_sources(tmp_path_factory.mktemp("sources"))


def render(sources: songs.Sources, seed: int) -> songs.Song:
    return songs.render_song(np.random.default_rng(seed), sources)


@pytest.mark.parametrize("seed", range(6))
def test_stems_are_stereo_equally_long_finite_and_unclipped(sources: songs.Sources, seed: int) -> None:
    song = render(sources, seed)
    assert set(song.stems) == {"drums", "bass", "other", "vocals"}
    shapes = {stem.shape for stem in song.stems.values()}
    assert len(shapes) == 1
    assert song.mixture.shape == (2, pytest.approx(song.meta["seconds"] * 44100, abs=50))
    for stem in song.stems.values():
        assert stem.dtype == np.float32
        assert np.isfinite(stem).all()
        assert np.abs(stem).max() <= 0.99 + 1e-4
    assert 0.05 < np.abs(song.mixture).max() <= 0.9 + 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_a_stem_is_silent_only_where_the_song_says_so(sources: songs.Sources, seed: int) -> None:
    song = render(sources, seed)
    for name in ("drums", "bass", "vocals"):
        planned = any(name in active for _, _, active in song.meta["sections"])
        assert planned == bool(np.abs(song.stems[name]).max() > 0), name
        assert planned != (name in song.meta["absent"])


def test_same_seed_same_song_other_seed_another(sources: songs.Sources) -> None:
    first, second, other = render(sources, 3), render(sources, 3), render(sources, 4)
    for name in first.stems:
        np.testing.assert_array_equal(first.stems[name], second.stems[name])
    assert first.meta == second.meta
    assert first.meta != other.meta


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_every_style_renders(sources: songs.Sources, style: object) -> None:
    one = songs.Sources(**{**vars(sources), "styles": (style,)})
    song = render(one, 11)
    assert song.meta["style"] == style.name  # type: ignore[attr-defined]
    assert style.tempo[0] <= song.meta["tempo"] <= style.tempo[1]  # type: ignore[attr-defined]


def test_vocals_rest_in_sections_without_them(sources: songs.Sources) -> None:
    for seed in range(20):
        song = render(sources, seed)
        rests = [s for s in song.meta["sections"] if "vocals" not in s[2]]
        if rests and "vocals" not in song.meta["absent"] and rests[0][0] == 0:
            length = int((rests[0][1] - 0.1) * 44100)
            assert np.abs(song.stems["vocals"][:, :length]).max() < 1e-6
            return
    pytest.fail("no song began without vocals")


@pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="pyworld needs pkg_resources")
def test_synthetic_singing_sounds_at_the_pitch_it_reports(sources: songs.Sources) -> None:
    pyworld = pytest.importorskip("pyworld")
    rng = np.random.default_rng(0)
    manner = sing.Manner(0.2, 5.5, 0.05, 0.0, 0.0, 1.0, 0.0, 0.0)
    bank, store = vowel_bank(), AnalysisStore(None, vowel_frames)
    syllable = bank.find("-", "あ")
    line = [sing.Sung(0.3, 1.0, 57.0, 1.0, syllable), sing.Sung(1.0, 1.6, 64.0, 1.0, syllable)]
    audio, f0 = sing.voice(rng, line, store, manner, 2.0)
    assert audio.shape == (88200,)
    heard, times = pyworld.harvest(audio.astype(np.float64), 44100, f0_floor=80, f0_ceil=800, frame_period=5.0)
    both = (f0[: len(heard)] > 0) & (heard[: len(f0)] > 0) & (times[: len(f0)] > 0.35) & (times[: len(f0)] < 1.5)
    cents = 1200 * np.log2(heard[: len(f0)][both] / f0[: len(heard)][both])
    assert both.sum() > 150
    assert np.median(np.abs(cents)) < 10
    assert abs(np.median(f0[80:180]) - 220) < 3
    assert abs(np.median(f0[230:310]) - 329.6) < 4
    assert np.abs(audio[: int(0.2 * 44100)]).max() < 1e-3 * np.abs(audio).max()


def test_a_missing_other_leaves_the_rest(sources: songs.Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(songs, "_absent", lambda rng: frozenset({"other", "drums"}))
    song = render(sources, 1)
    assert not song.stems["other"].any()
    assert not song.stems["drums"].any()
    assert song.stems["bass"].any()
    assert song.stems["vocals"].any()


def test_active_level_ignores_rests_and_silence_is_zero() -> None:
    tone = np.zeros((2, 441000), np.float32)
    tone[:, :44100] = 0.5
    assert mixdown.active_level(tone) == pytest.approx(0.5, rel=1e-3)
    assert mixdown.active_level(np.zeros((2, 10))) == 0.0
    assert mixdown.active_level(np.zeros((2, 0))) == 0.0


def test_limit_rounds_peaks_and_keeps_the_rest() -> None:
    rng = np.random.default_rng(0)
    audio = (0.05 * rng.standard_normal((2, 44100))).astype(np.float32)
    audio[:, 1000] = 0.9
    out = mixdown.limit(audio, 12.0)
    assert np.abs(out).max() <= 0.05 * 10 ** (12 / 20) * 1.05
    quiet = np.abs(audio) < 0.08
    np.testing.assert_array_equal(out[quiet], audio[quiet])


def test_balance_scales_all_stems_alike_and_keeps_the_sum_below_the_ceiling() -> None:
    rng = np.random.default_rng(1)
    stems = {name: rng.standard_normal((2, 44100)).astype(np.float32) * 5 for name in mixdown.STEMS}
    stems["bass"][:] = 0
    mixed, gains = mixdown.balance_stems(rng, stems)
    assert np.abs(sum(mixed.values())).max() <= 0.9 + 1e-5
    assert not mixed["bass"].any()
    for name in ("drums", "other", "vocals"):
        ratio = mixed[name] / stems[name]
        assert ratio.std() < 1e-5 * ratio.mean()
    assert all(-8 <= gain <= 8 for gain in gains.values())


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_impulses_become_stereo(tmp_path: Path, channels: int) -> None:
    path = tmp_path / f"räume {channels}.flac"
    soundfile.write(path, np.eye(500, channels) * 0.5, 48000)
    impulse = mixdown.read_impulse(path)
    assert impulse.shape[0] == 2
    assert impulse.shape[1] == pytest.approx(500 * 44100 / 48000, abs=2)


def test_form_finds_chords_and_times() -> None:
    form = Form("x", 120.0, 0, "major", 0.0, (), (Section(0, 8, frozenset({"bass"}), "A"),))
    assert form.beats == 8
    assert form.seconds(8) == 4.0
    assert form.scale == frozenset({0, 2, 4, 5, 7, 9, 11})
    assert form.active("drums") == ()
