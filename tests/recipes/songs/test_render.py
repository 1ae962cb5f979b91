"""Songs: exact stems, levels, absent stems, determinism; on sources made up here."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import small_sources, spectrum, write_bank, write_loop

from songs import render
from songs.composition import cast
from songs.composition.more_styles import CLUB, VARIOUS_STYLES
from songs.composition.styles import STYLES, Style
from songs.draft import Sources
from songs.instruments import loops, samplebanks
from songs.instruments.basses import DEEP
from songs.render import Song, render_song
from songs.stems.plain_vocals import plain_vocals


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return small_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def various(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    for name in ("WRLD-SMB", "EDM-HSE", "HH-TRP", "amen"):
        write_loop(folder / "loops" / name / "120bpm_x.opus", 120, 8)
    notes = [("c2", 36, 36.0), ("c4", 60, 60.0)]
    banks = {kind: (samplebanks.read_bank(write_bank(folder / names[0], notes)),)
             for kind, names in samplebanks.BANKS.items()}  # fmt: skip
    return small_sources(folder / "small", various=True, styles=VARIOUS_STYLES, recorded=banks,
                         loops=loops.list_loops(folder / "loops"))  # fmt: skip


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


@pytest.fixture
def clips_sing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded clips sing as they are, which takes no vocoder, and everybody plays."""
    monkeypatch.setattr(render, "various_vocals", plain_vocals)
    monkeypatch.setattr(render, "draw_cast", lambda rng: cast.FULL)
    monkeypatch.setattr(render, "_absent", lambda rng: frozenset())


@pytest.mark.usefixtures("clips_sing")
@pytest.mark.parametrize("style", VARIOUS_STYLES, ids=lambda style: style.name)
def test_every_style_of_various_songs_renders(various: Sources, style: Style) -> None:
    song = made(replace(various, styles=(style,)), 7)
    assert song.meta["style"] == style.name
    for name, stem in song.stems.items():
        assert stem.dtype == np.float32
        assert np.isfinite(stem).all()
        assert np.abs(stem).max() <= 0.99 + 1e-4
        assert stem.any(), name
    assert 0.02 < np.abs(mixture(song)).max() <= 0.98 + 1e-3


@pytest.mark.usefixtures("clips_sing")
def test_a_seed_makes_the_same_various_song_again(various: Sources) -> None:
    for seed in (1, 2):
        song, again = made(various, seed), made(various, seed)
        assert song.meta == again.meta
        for name, stem in song.stems.items():
            np.testing.assert_array_equal(stem, again.stems[name])


@pytest.mark.usefixtures("clips_sing")
@pytest.mark.parametrize("kind", [kind for kind, _ in cast._CASTS], ids=lambda kind: kind.name)
def test_casts_play_what_they_say(various: Sources, kind: cast.Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "draw_cast", lambda rng: kind)
    song = made(various, 2)
    assert song.meta["cast"] == kind.name
    assert {name for name, stem in song.stems.items() if not stem.any()} == set(kind.absent)
    assert kind.lead == any(part["role"] == "lead" for part in song.meta["other"])
    if kind.kick_only:
        assert song.meta["bass"]["sound"] in DEEP
        assert all("kick" in name for name in song.meta["drums"].get("samples", []))


@pytest.mark.usefixtures("clips_sing")
def test_sub_bass_is_bass_and_not_drums(various: Sources) -> None:
    trap = next(style for style in CLUB if style.name == "trap")
    shares = []
    for seed in range(6):
        song = made(replace(various, styles=(trap,)), seed)
        if song.meta["bass"]["sound"] in DEEP:
            hertz, bass = spectrum(song.stems["bass"].mean(0))
            drums = spectrum(song.stems["drums"].mean(0))[1]
            low = hertz < 60
            assert bass[low].sum() > drums[low].sum()
            shares.append((bass[low].sum() / bass.sum(), drums[low].sum() / drums.sum()))
    assert len(shares) >= 4
    bass_share, drum_share = np.median(shares, axis=0)
    assert bass_share > 0.4
    assert drum_share < 0.25
