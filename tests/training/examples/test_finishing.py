"""What is done to an example after its stems are drawn: doubled, placed, limited, dulled. And songs that grow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemsplit.training.examples import mastering, placement
from stemsplit.training.examples.mixes import Library, Mixing, draw_batch
from stemsplit.training.examples.shelf import Shelf
from stemsplit.training.examples.songs import find_finished, find_songs, read_part, style_of

RATE = 44100
STEMS = ("drums", "vocals")
PLAIN = {"crop_seconds": 0.25, "in_song": 1.0, "dropout": 0.0, "swap": 0.0}


@pytest.fixture
def songs(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    for number in range(3):
        folder = tmp_path / f"{number:04d}"
        folder.mkdir()
        for stem in STEMS:
            np.save(folder / f"{stem}.npy", rng.integers(-9000, 9000, (RATE, 2)).astype(np.int16))
        (folder / "song.json").write_text(json.dumps({"style": f"style {number}"}))
    return sorted(tmp_path.iterdir())


def draw(songs: list[Path], seed: int = 0, size: int = 1, **mixing: float) -> np.ndarray:
    chosen = Mixing(**{**PLAIN, **mixing})  # type: ignore[arg-type]
    return draw_batch(Library(songs), STEMS, size, chosen, RATE, np.random.default_rng(seed)).stems


def test_the_limiter_keeps_every_peak_under_its_ceiling_and_comes_back() -> None:
    mixture = 0.1 * np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    mixture[1, 5000] = -3
    gain = mastering.limiter_gain(mixture, 0.5, 50, RATE)
    assert np.abs(mixture * gain).max() <= 0.5 + 1e-6
    assert gain[5000] <= 0.5 / 3 + 1e-6
    assert gain[:4800].min() == 1
    assert gain[5000 + RATE // 2 :].min() > 0.99
    assert np.abs(np.diff(gain)).max() < 0.05


def test_limited_stems_still_add_up_to_the_limited_mixture(songs: list[Path]) -> None:
    plain, limited = draw(songs), draw(songs, limited=1.0)
    usable = np.abs(plain[0]).min((0, 1)) > 0.01
    gain = limited[0, 0, 0] / np.where(usable, plain[0, 0, 0], 1)
    for stem in range(2):
        np.testing.assert_allclose(
            limited[0, stem][:, usable], plain[0, stem][:, usable] * gain[usable], rtol=1e-3, atol=1e-6
        )
    assert gain[usable].min() < 0.9
    assert gain[usable].max() <= 1.0001


def test_dull_mixtures_have_nothing_above_8_khz(songs: list[Path]) -> None:
    power = np.square(np.abs(np.fft.rfft(draw(songs, dull=1.0)))).mean((0, 1, 2))
    edge = round(8000 * 0.25)
    assert power[edge + 2 :].max() < 1e-9 * power[:edge].max()
    assert power[: round(edge * 0.9)].min() > 0


def test_what_never_happens_draws_nothing(songs: list[Path]) -> None:
    assert np.array_equal(draw(songs, size=3), draw(songs, size=3, limit_db=3.0, doubled=0.0, placed=0.0))
    assert not np.array_equal(draw(songs, size=3), draw(songs, size=3, doubled=1.0))


def test_a_doubled_stem_is_two_of_its_name(songs: list[Path]) -> None:
    plain, doubled = draw(songs), draw(songs, doubled=1.0, gain_db=0.0)
    for stem in range(2):
        added = doubled[0, stem] - plain[0, stem]
        assert np.square(added).mean() == pytest.approx(np.square(plain[0, stem]).mean(), rel=0.05)


@pytest.mark.parametrize("place", [placement.hard_panned, placement.one_silent])
def test_one_side_is_silent(place: placement.Placing) -> None:
    stem = np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32)
    levels = np.square(place(stem, RATE, np.random.default_rng(1))).mean(1)
    assert levels.min() == 0
    assert levels.max() == pytest.approx(1, abs=0.1)


def test_narrow_wide_and_turned() -> None:
    rng = np.random.default_rng(0)
    stem = rng.standard_normal((2, 4000)).astype(np.float32)

    def share(audio: np.ndarray) -> float:
        return float(np.square(audio[0] - audio[1]).mean() / np.square(audio.sum(0)).mean())

    assert share(placement.narrow(stem, RATE, rng)) < 0.1 * share(stem)
    assert share(placement.wide(stem, RATE, rng)) > 2 * share(stem)
    assert share(placement.turned(stem, RATE, rng)) == pytest.approx(1 / share(stem), rel=1e-3)
    mono = np.stack([stem[0], stem[0]])
    assert share(placement.wide(mono, RATE, rng)) > 0.3


def test_mono_batches_are_not_placed(songs: list[Path]) -> None:
    assert np.array_equal(draw(songs, stereo=0.0), draw(songs, stereo=0.0, placed=1.0))


def test_flac_songs_are_read_like_arrays(songs: list[Path], tmp_path: Path) -> None:
    audio = np.load(songs[0] / "drums.npy")
    soundfile.write(tmp_path / "drums.flac", audio, RATE, subtype="PCM_16")
    for start, samples in ((0.0, 100), (0.5, 3000), (1.0, 2 * RATE)):
        parts = [read_part(path, start, samples) for path in (songs[0] / "drums.npy", tmp_path / "drums.flac")]
        np.testing.assert_array_equal(*parts)


def test_songs_count_once_they_are_finished(songs: list[Path]) -> None:
    root = songs[0].parent
    (songs[1] / "song.json").unlink()
    (songs[2] / "vocals.npy").unlink()
    assert [song.name for song in find_finished(root, STEMS)] == ["0000", "0002"]  # 0002 is an instrumental
    (songs[2] / "drums.npy").unlink()
    assert [song.name for song in find_finished(root, STEMS)] == ["0000"]
    assert find_finished(root / "none", STEMS) == []
    assert [song.name for song in find_songs(root, STEMS)] == ["0000", "0001"]
    assert style_of(songs[0]) == "style 0"
    assert style_of(songs[1]) == ""


def test_a_song_without_vocals_has_silent_ones(songs: list[Path]) -> None:
    (songs[0] / "vocals.npy").unlink()
    stems = draw(songs[:1])
    assert stems[0, 0].any()
    assert not stems[0, 1].any()
    assert Library(songs).voices == songs[1:]


def test_loose_stems_go_where_stems_are_drawn_one_by_one(songs: list[Path]) -> None:
    (songs[2] / "vocals.npy").unlink()
    library = Library(songs[:2], loose=songs[2:])
    assert library.having("drums") == songs
    assert library.having("vocals") == songs[:2]


def test_a_shelf_looks_again_when_its_minutes_have_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = [100.0], []
    monkeypatch.setattr("stemsplit.training.examples.shelf.time.monotonic", lambda: now[0])

    def find() -> Library:
        looks.append(now[0])
        return Library([Path(str(len(looks)))])

    growing, still = Shelf(find, 10), Shelf(find, 0)
    still.library()
    for minute in (0, 5, 11, 12, 30):
        now[0] = 100 + 60 * minute
        growing.library()
        still.library()
    assert looks == [100, 100, 760, 1900]
