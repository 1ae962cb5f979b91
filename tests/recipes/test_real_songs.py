"""The recipe that lays out recorded music: pairs, tracks of packages, a multitrack; on sounds made up here."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

import real_songs as recipe
from recordings import game_music, loose, music, packages
from recordings.music import Music
from stemsplit.errors import StemsplitError

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
    vocals, accompaniment = (np.load(tmp_path / "o" / "ann_1" / f"{name}.npy") for name in ("vocals", "accompaniment"))
    assert vocals.shape == accompaniment.shape == (88200, 2)
    assert vocals.dtype == np.int16
    np.testing.assert_array_equal(vocals[:, 0], vocals[:, 1])
    assert loudest_hertz(vocals) == 400
    assert loudest_hertz(accompaniment) == 100


def test_few_songs_are_taken_from_all_singers() -> None:
    songs = {name: [Path(name)] for name in ("ann_1", "ann_2", "ann_3", "bob_1")}
    assert [name for name, _ in recipe.evenly(songs, 2)] == ["ann_1", "bob_1"]
    assert len(recipe.evenly(songs, None)) == 4


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with four tracks: 1 s quiet, 1 s louder. A jingle and a voiced one are left out, one is held out."""
    folder = tmp_path / "packages" / "game-music" / "usr"
    folder.mkdir(parents=True)
    for name in ("song", "jingle", "voiced", "kept"):
        soundfile.write((folder / name).with_suffix(".flac"), np.repeat([0.1, 0.2], 8000), 8000)
    table = (Music("game-music", "**/*.flac", "CC0", "Ann", ("jingle*",)),)
    monkeypatch.setattr(recipe, "GAME_MUSIC", table)
    monkeypatch.setattr(recipe, "VOICED", ("game-music/voiced",))
    monkeypatch.setattr(recipe, "HELD_OUT", ("game-music/kept",))
    monkeypatch.setattr(music, "SHORTEST", 1)
    return tmp_path / "packages"


def test_tracks_of_a_package_start_where_they_have_got_going(tmp_path: Path, game: Path) -> None:
    arguments = ["backing", "--packages", str(game), "--out", str(tmp_path / "o"), "--seconds", "1.5"]
    assert recipe.main(arguments) == 0
    (target,) = (tmp_path / "o").iterdir()
    assert target.name == "game-music-usr-song"
    accompaniment = np.load(target / "accompaniment.npy")
    assert accompaniment.shape == (round(1.5 * 44100), 2)
    assert abs(accompaniment[int(0.7 * 44100), 0] / 32767 - 0.1) < 2e-3  # 0.25 s in: the step is at 0.75 s
    assert abs(accompaniment[int(0.8 * 44100), 0] / 32767 - 0.2) < 2e-3
    about = json.loads((target / "MANIFEST.json").read_text(encoding="utf-8"))
    assert (about["package"], about["licence"], about["credit"]) == ("game-music", "CC0", "Ann")
    before = target.stat().st_mtime_ns
    assert recipe.main(arguments) == 0
    assert target.stat().st_mtime_ns == before


def test_held_out_tracks_are_laid_out_apart_and_as_flac_if_wanted(tmp_path: Path, game: Path) -> None:
    arguments = ["backing", "--packages", str(game), "--out", str(tmp_path / "o")]
    assert recipe.main([*arguments, "--heldout", "--flac"]) == 0
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["game-music-usr-kept"]
    sound, rate = soundfile.read(tmp_path / "o" / "game-music-usr-kept" / "accompaniment.flac")
    assert (rate, sound.shape[1]) == (44100, 2)


def test_every_entry_states_a_licence_and_nothing_reserved_for_tests_is_trained_on() -> None:
    for entry in (*game_music.GAME_MUSIC, *game_music.GUITARS, *loose.LOOSE, *loose.DEMOS):
        assert entry.licence
        assert entry.credit
        assert not any(word in entry.licence for word in ("NC", "ND"))
        assert "muldjord" not in str(entry).lower()
    packages = {entry.package for entry in game_music.GAME_MUSIC}
    names = (*game_music.VOICED, *game_music.HELD_OUT)
    assert {name.split("/")[0] for name in names} <= packages
    assert len(set(names)) == len(names)  # nothing is in both lists


def test_licences_are_a_table_with_a_row_for_each_credit(capsys: pytest.CaptureFixture[str]) -> None:
    table = music.licences((("a", "MIT", "Ann"), ("b", "MIT", "Ann"), ("a", "MIT", "Ann"), ("c", "CC0", "Bob")))
    assert table.splitlines()[2:] == ["| a, b | MIT | Ann |", "| c | CC0 | Bob |"]
    assert recipe.main(["licences"]) == 0
    printed = capsys.readouterr().out
    assert "| 0ad-data | CC BY-SA 3.0 | Wildfire Games |" in printed
    assert "| patchbanks_WaivOps-* | CC BY 4.0 | WaivOps / Patchbanks |" in printed


def test_loops_are_joined_into_songs_of_one_stem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "real" / "drums" / "kit"
    folder.mkdir(parents=True)
    for name in ("a", "b", "c", "bad"):
        soundfile.write(folder / f"{name}.opus", 0.4 * np.sin(TIME), 16000, format="OGG", subtype="OPUS")
    monkeypatch.setattr(recipe, "LOOSE", (loose.Loose("drums", "k*", "CC0", "Ann", ("bad*",)),))
    monkeypatch.setattr(recipe, "LONGEST", 2.5)
    assert recipe.main(["loose", "--real", str(tmp_path / "real"), "--out", str(tmp_path / "o")]) == 0
    songs = {path.name: [file.name for file in path.glob("*.npy")] for path in (tmp_path / "o").iterdir()}
    assert songs == {"drums-kit-0": ["drums.npy"], "drums-kit-1": ["drums.npy"]}
    assert [len(np.load(tmp_path / "o" / name / "drums.npy")) for name in sorted(songs)] == [88200, 44100]
    assert recipe.main(["loose", "--real", str(tmp_path / "real"), "--stem", "bass", "--out", str(tmp_path / "p")]) == 0
    assert not (tmp_path / "p").exists()


def test_a_wrong_class_of_a_demo_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "real" / "multitrack" / "set" / "song"
    folder.mkdir(parents=True)
    for name in ("drums", "bass", "other"):
        soundfile.write(folder / f"{name}__x.wav", np.full((100, 2), 0.1), 44100)
    monkeypatch.setattr(recipe, "DEMOS", (loose.Demo("song", "CC0", "Ann", ("bass",)),))
    assert recipe.main(["demos", "--real", str(tmp_path / "real"), "--out", str(tmp_path / "o")]) == 0
    assert sorted(path.stem for path in (tmp_path / "o" / "song").glob("*.npy")) == ["drums", "other"]


def test_packages_that_are_there_are_not_fetched_and_their_zip_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert list(packages.fetch(["there"], tmp_path)) == []
    with zipfile.ZipFile(tmp_path / "there" / "data.pk3", "w") as archive:
        archive.writestr("music/a.ogg", b"music")
        archive.writestr("textures/b.png", b"picture")
    packages.open_archives(tmp_path)
    found = [path.name for path in (tmp_path / "there" / "data.pk3.d").rglob("*") if path.is_file()]
    assert found == ["a.ogg"]


def test_a_package_that_cannot_be_fetched_is_an_error_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get there
    with pytest.raises(StemsplitError, match="apt-get"):
        list(packages.fetch(["music"], tmp_path / "packages"))
    assert not (tmp_path / "packages" / "music").exists()


def test_a_multitrack_has_all_stems_and_one_gain(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for name, level, samples in (("bass__a", 0.8, 4000), ("other__b", 0.8, 4000), ("other__c", 0.4, 2000)):
        soundfile.write(tmp_path / "m" / f"{name}.wav", np.full((samples, 2), level), 44100, subtype="FLOAT")
    assert recipe.main(["multitrack", "--folder", str(tmp_path / "m"), "--out", str(tmp_path / "o")]) == 0
    stems = {path.stem: np.load(path) / 32767 for path in (tmp_path / "o" / "m").glob("*.npy")}
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
