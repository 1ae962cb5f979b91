"""The recipe that lays out recorded music: pairs, tracks of packages, a multitrack; on sounds made up here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import real_songs as recipe

TIME = np.arange(16000) / 16000


def write_pairs(folder: Path, *clips: str) -> None:
    """A second of voice (400 Hz) and of accompaniment (100 Hz) per clip."""
    folder.mkdir()
    for name in clips:
        for part, hertz in (("voice", 400), ("accomp", 100)):
            tone = 0.4 * np.sin(2 * np.pi * hertz * TIME)
            soundfile.write(folder / f"{name}.{part}.opus", tone, 16000, format="OGG", subtype="OPUS")


def loudest_hertz(stem: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(stem[:44100, 0].astype(float))).argmax())


def test_the_clips_of_a_song_are_joined_and_other_singers_left_out(tmp_path: Path) -> None:
    write_pairs(tmp_path / "mir1k", "ann_1_01", "ann_1_02", "ann_2_01", "bob_1_01", "amy_1_01")
    arguments = ["pairs", "--mir1k", str(tmp_path / "mir1k"), "--singers", "ann", "bob", "--out", str(tmp_path / "o")]
    assert recipe.main([*arguments, "--without", "ann_2"]) == 0
    about = [json.loads(p.read_text(encoding="utf-8")) for p in sorted((tmp_path / "o").glob("*/MANIFEST.json"))]
    assert {entry["song"]: entry["clips"] for entry in about} == {
        "ann_1": ["ann_1_01", "ann_1_02"], "bob_1": ["bob_1_01"]
    }  # fmt: skip
    assert all(entry["licence"] and entry["credit"] for entry in about)
    longest = next(tmp_path / "o" / f"{i:04d}" for i, entry in enumerate(about) if entry["song"] == "ann_1")
    vocals, accompaniment = (np.load(longest / f"{name}.npy") for name in ("vocals", "accompaniment"))
    assert vocals.shape == accompaniment.shape == (88200, 2)
    assert vocals.dtype == np.int16
    np.testing.assert_array_equal(vocals[:, 0], vocals[:, 1])
    assert loudest_hertz(vocals) == 400
    assert loudest_hertz(accompaniment) == 100


def test_few_songs_are_taken_from_all_singers() -> None:
    songs = {name: [Path(name)] for name in ("ann_1", "ann_2", "ann_3", "bob_1")}
    assert [name for name, _ in recipe.evenly(songs, 2)] == ["ann_1", "bob_1"]
    assert len(recipe.evenly(songs, None)) == 4


def test_tracks_of_a_package_start_where_they_have_got_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    music = recipe.Music("game-music", "**/*.flac", "CC0", "Ann", ("jingle*",))
    folder = tmp_path / "packages" / "game-music" / "usr"
    folder.mkdir(parents=True)
    sound = np.repeat([0.1, 0.2], 8000)
    for name in ("song", "jingle", "dropped"):
        soundfile.write((folder / name).with_suffix(".flac"), sound, 8000)
    monkeypatch.setattr(recipe, "MUSIC", (music,))
    monkeypatch.setattr(recipe, "SHORTEST", 1)
    arguments = ["backing", "--packages", str(tmp_path / "packages"), "--out", str(tmp_path / "o")]
    assert recipe.main([*arguments, "--seconds", "1.5", "--without", "game-music/dropped"]) == 0
    (target,) = (tmp_path / "o").iterdir()
    accompaniment = np.load(target / "accompaniment.npy")
    assert accompaniment.shape == (round(1.5 * 44100), 2)
    assert abs(accompaniment[int(0.7 * 44100), 0] / 32767 - 0.1) < 2e-3  # 0.25 s in: the step is at 0.75 s
    assert abs(accompaniment[int(0.8 * 44100), 0] / 32767 - 0.2) < 2e-3
    about = json.loads((target / "MANIFEST.json").read_text(encoding="utf-8"))
    assert (about["package"], about["licence"], about["credit"]) == ("game-music", "CC0", "Ann")
    before = target.stat().st_mtime_ns
    assert recipe.main([*arguments, "--without", "game-music/dropped"]) == 0
    assert target.stat().st_mtime_ns == before


def test_a_multitrack_has_all_stems_and_one_gain(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for name, level, samples in (("bass__a", 0.8, 4000), ("other__b", 0.8, 4000), ("other__c", 0.4, 2000)):
        soundfile.write(tmp_path / "m" / f"{name}.wav", np.full((samples, 2), level), 44100, subtype="FLOAT")
    assert recipe.main(["multitrack", "--folder", str(tmp_path / "m"), "--out", str(tmp_path / "o")]) == 0
    stems = {path.stem: np.load(path) / 32767 for path in (tmp_path / "o" / "0000").glob("*.npy")}
    assert set(stems) == {"drums", "bass", "other", "vocals"}
    assert {stem.shape for stem in stems.values()} == {(4000, 2)}
    assert not stems["vocals"].any()
    np.testing.assert_allclose(sum(stems.values())[100], 0.9, atol=1e-3)  # was 2.0
    np.testing.assert_allclose(stems["other"][100] / stems["bass"][100], 1.5, atol=1e-3)
    np.testing.assert_allclose(stems["other"][3000] / stems["bass"][3000], 1.0, atol=1e-3)


def test_what_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "bass__a.wav").write_bytes(b"no audio at all" * 10)
    assert recipe.main(["multitrack", "--folder", str(tmp_path / "m"), "--out", str(tmp_path / "o")]) == 1
    assert "bass__a.wav" in capsys.readouterr().err
    assert not list((tmp_path / "o").glob("*")) if (tmp_path / "o").exists() else True
