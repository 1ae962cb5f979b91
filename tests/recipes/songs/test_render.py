"""Songs: exact stems, levels, absent stems, determinism; on sources made up here."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import small_sources

from songs import render
from songs.composition.styles import STYLES
from songs.draft import Sources
from songs.render import Song, render_song


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return small_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def various(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return small_sources(tmp_path_factory.mktemp("sources"), various=True)


def mixture(song: Song) -> np.ndarray:
    return np.sum(list(song.stems.values()), axis=0)


def made(sources: Sources, seed: int) -> Song:
    return render_song(np.random.default_rng(seed), sources)


@pytest.mark.parametrize("seed", range(6))
def test_stems_are_stereo_equally_long_finite_and_unclipped(sources: Sources, seed: int) -> None:
    song = made(sources, seed)
    assert set(song.stems) == {"drums", "bass", "other", "vocals"}
    shapes = {stem.shape for stem in song.stems.values()}
    assert len(shapes) == 1
    assert mixture(song).shape == (2, pytest.approx(song.meta["seconds"] * 44100, abs=50))
    for stem in song.stems.values():
        assert stem.dtype == np.float32
        assert np.isfinite(stem).all()
        assert np.abs(stem).max() <= 0.99 + 1e-4
    assert 0.05 < np.abs(mixture(song)).max() <= 0.9 + 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_a_stem_is_silent_only_where_the_song_says_so(sources: Sources, seed: int) -> None:
    song = made(sources, seed)
    for name in ("drums", "bass", "vocals"):
        planned = any(name in active for _, _, active in song.meta["sections"])
        assert planned == bool(np.abs(song.stems[name]).max() > 0), name
        assert planned != (name in song.meta["absent"])


def test_same_seed_same_song_other_seed_another(sources: Sources) -> None:
    first, second, other = made(sources, 3), made(sources, 3), made(sources, 4)
    for name in first.stems:
        np.testing.assert_array_equal(first.stems[name], second.stems[name])
    assert first.meta == second.meta
    assert first.meta != other.meta


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_every_style_renders(sources: Sources, style: object) -> None:
    one = Sources(**{**vars(sources), "styles": (style,)})
    song = made(one, 11)
    assert song.meta["style"] == style.name  # type: ignore[attr-defined]
    assert style.tempo[0] <= song.meta["tempo"] <= style.tempo[1]  # type: ignore[attr-defined]


def test_vocals_rest_in_sections_without_them(sources: Sources) -> None:
    for seed in range(20):
        song = made(sources, seed)
        rests = [s for s in song.meta["sections"] if "vocals" not in s[2]]
        if rests and "vocals" not in song.meta["absent"] and rests[0][0] == 0:
            length = int((rests[0][1] - 0.1) * 44100)
            assert np.abs(song.stems["vocals"][:, :length]).max() < 1e-6
            return
    pytest.fail("no song began without vocals")


def test_a_missing_other_leaves_the_rest(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_absent", lambda rng: frozenset({"other", "drums"}))
    song = made(sources, 1)
    assert not song.stems["other"].any()
    assert not song.stems["drums"].any()
    assert song.stems["bass"].any()
    assert song.stems["vocals"].any()


@pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="pyworld needs pkg_resources")
@pytest.mark.parametrize("share", [0.0, 1.0], ids=["sung", "recorded"])
def test_various_songs_hold_what_songs_hold(various: Sources, share: float) -> None:
    for seed in range(3):
        song = render_song(np.random.default_rng(seed), replace(various, clip_share=share))
        again = render_song(np.random.default_rng(seed), replace(various, clip_share=share))
        assert song.meta == again.meta
        for name, stem in song.stems.items():
            np.testing.assert_array_equal(stem, again.stems[name])
            assert stem.dtype == np.float32
            assert np.isfinite(stem).all()
            assert np.abs(stem).max() <= 0.99 + 1e-4
        assert 0.02 < np.abs(mixture(song)).max() <= 0.98 + 1e-3
        for name in ("drums", "bass", "vocals"):
            planned = any(name in active for _, _, active in song.meta["sections"])
            assert planned == bool(np.abs(song.stems[name]).max() > 0), name
