"""`stemsplit evaluate`: a tiny MUSDB tree, a model scored on it, a run that goes on, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from said import Run
from tiny import GAINS, STEMS, FakeConfig, fake_separator, save_tiny, write_song

from stemsplit.errors import AudioError, UsageError
from stemsplit.evaluation import separator as separator_score
from stemsplit.evaluation.folders import SongFolder, find_songs
from stemsplit.evaluation.scores import SongScore, StemScore
from stemsplit.evaluation.separator import published_sdr, score_separator
from stemsplit.evaluation.sheet import ScoreSheet, as_json, key_of
from stemsplit.evaluation.songs import evaluate_song, pair_songs
from stemsplit.options import SeparateOptions

RATE = 44100


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))


def write_tree(root: Path, songs: int = 2, seconds: float = 2.3, rate: int = RATE) -> dict[str, dict[str, np.ndarray]]:
    """ROOT/test/Song N/{mixture,drums,bass,other,vocals}.wav, 16 bit, and what is in them."""
    tree = {}
    for number in range(songs):
        rng, folder = np.random.default_rng(number), root / "test" / f"Song {number}"
        stems = {stem: 0.05 * (2 + k) * rng.normal(size=(2, round(rate * seconds))) for k, stem in enumerate(STEMS)}
        stems = {stem: np.clip(sound / 4, -0.2, 0.2) for stem, sound in stems.items()}
        for name, sound in {**stems, "mixture": np.sum(list(stems.values()), axis=0)}.items():
            write_song(folder / f"{name}.wav", sound, rate, "PCM_16")
        tree[folder.name] = {path.stem: soundfile.read(path)[0].T for path in folder.iterdir()}
    return tree


def naive(reference: np.ndarray, estimate: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(reference**2) / np.sum((reference - estimate) ** 2)))


def test_a_separator_is_scored_as_its_stems_would_be(tmp_path: Path) -> None:
    """The fake's stems are the mixture times a number: a plain loop knows every figure."""
    tree = write_tree(tmp_path)
    separator, told = fake_separator(SeparateOptions()), []
    for folder in find_songs(tmp_path):
        song = score_separator(folder, separator, on_progress=told.append)
        sounds = tree[folder.name]
        for scored, gain in zip(song.stems, GAINS, strict=True):
            reference, estimate = sounds[scored.stem], gain * sounds["mixture"]
            assert scored.sdr_db == pytest.approx(naive(reference, estimate), abs=1e-4)
            seconds = [naive(reference[:, k : k + RATE], estimate[:, k : k + RATE]) for k in (0, RATE)]
            assert scored.csdr_db == pytest.approx(np.median(seconds), abs=1e-4)
            assert scored.si_sdr_improvement_db == pytest.approx(0, abs=1e-3)
    assert told[-1] == pytest.approx(2.3, abs=0.01)


def test_without_a_mixture_the_stems_are_added(tmp_path: Path) -> None:
    write_tree(tmp_path, songs=1)
    (folder,) = find_songs(tmp_path)
    expected = score_separator(folder, fake_separator(SeparateOptions()))
    (tmp_path / "test" / "Song 0" / "mixture.wav").unlink()
    (folder,) = find_songs(tmp_path)
    found = score_separator(folder, fake_separator(SeparateOptions()))
    for one, other in zip(found.stems, expected.stems, strict=True):
        assert one.sdr_db == pytest.approx(other.sdr_db, abs=0.01)  # the mixture was rounded once more


@dataclass(frozen=True)
class VocalsConfig(FakeConfig):
    stems: tuple[str, ...] = ("vocals", "other")
    rest: str = "other"


def test_a_rest_is_compared_with_all_that_is_left(tmp_path: Path) -> None:
    """Such a model's `other` holds drums and bass too, unlike the one of MUSDB."""
    sounds = write_tree(tmp_path, songs=1)["Song 0"]
    separator = fake_separator(SeparateOptions(), gains=(0.4, 0.6), config=VocalsConfig())
    (folder,) = find_songs(tmp_path)
    vocals, other = score_separator(folder, separator).stems
    left = sounds["drums"] + sounds["bass"] + sounds["other"]
    assert vocals.sdr_db == pytest.approx(naive(sounds["vocals"], 0.4 * sounds["mixture"]), abs=1e-4)
    assert other.sdr_db == pytest.approx(naive(left, 0.6 * sounds["mixture"]), abs=1e-4)


def test_musdb_is_found_in_all_its_forms(tmp_path: Path) -> None:
    write_tree(tmp_path)
    write_song(tmp_path / "train" / "Other song" / "bass.wav", np.zeros((2, 9)))
    assert [song.name for song in find_songs(tmp_path)] == ["Song 0", "Song 1"]
    assert [song.name for song in find_songs(tmp_path, "train")] == ["Other song"]
    assert [song.name for song in find_songs(tmp_path / "test")] == ["Song 0", "Song 1"]
    (alone,) = find_songs(tmp_path / "test" / "Song 1")
    assert set(alone.stems) == set(STEMS)
    assert alone.mixture == tmp_path / "test" / "Song 1" / "mixture.wav"
    (tmp_path / "zip" / "test").mkdir(parents=True)
    (tmp_path / "zip" / "test" / "A - B.stem.mp4").touch()
    with pytest.raises(UsageError, match="MUSDB18-HQ"):
        find_songs(tmp_path / "zip")


@pytest.mark.parametrize(
    "place", ["mine/{song}", "mine/test/{song}", "mine/{song}/mixture", "mine/test/{song}/mixture"]
)
def test_estimates_of_musdb_are_found(tmp_path: Path, place: str) -> None:
    tree = write_tree(tmp_path / "musdb", seconds=1.0)
    for song, sounds in tree.items():
        write_song(tmp_path / place.format(song=song) / "vocals.wav", 0.9 * sounds["vocals"], RATE, "FLOAT")
    pairs, missing = pair_songs(tmp_path / "musdb", tmp_path / "mine")
    songs = [evaluate_song(pair) for pair in pairs]
    assert [song.song for song in songs] == ["Song 0", "Song 1"]
    assert songs[1].stems[0].sdr_db == pytest.approx(20, abs=1e-4)
    assert len(missing) == 6


def test_the_command_scores_a_model_and_goes_on_where_it_was(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "musdb", rate=8000)
    model = str(save_tiny(tmp_path / "tiny"))
    first = json.loads(run("evaluate", "musdb", "-m", model, "--json").out)
    assert [song["song"] for song in first["songs"]] == ["Song 0", "Song 1"]
    for stem in STEMS:
        songs = [next(s for s in song["stems"] if s["stem"] == stem) for song in first["songs"]]
        assert first["summary"][stem]["usdr_db"] == pytest.approx(np.mean([song["sdr_db"] for song in songs]))
        assert first["summary"][stem]["csdr_db"] == pytest.approx(np.median([song["csdr_db"] for song in songs]))
    means = [first["summary"][stem]["usdr_db"] for stem in STEMS]
    assert first["summary"]["mean"]["usdr_db"] == pytest.approx(np.mean(means))
    lines = (tmp_path / "evaluation.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0])["sha256"]
    (tmp_path / "evaluation.jsonl").write_text(lines[0] + "\n" + lines[1][:40])  # as if killed while it wrote
    scored: list[str] = []
    true_score = separator_score.score_separator
    monkeypatch.setattr(
        separator_score,
        "score_separator",
        lambda song, *args, **settings: scored.append(song.name) or true_score(song, *args, **settings),
    )
    assert json.loads(run("evaluate", "musdb", "-m", model, "--json").out) == first
    assert scored == ["Song 1"]
    said = run("evaluate", "musdb", "-m", model)
    assert scored == ["Song 1"]
    assert said.code == 0
    assert said.out.splitlines()[-6].split() == ["stem", "uSDR", "dB", "cSDR", "dB"]
    assert said.out.splitlines()[-1].split()[0] == "mean"
    run("evaluate", "musdb", "-m", model, "--overlap", "0.25", "--json")
    assert scored == ["Song 1", "Song 0", "Song 1"]  # other settings, other scores
    run("evaluate", "musdb", "-m", model, "--force", "--json")
    assert len(scored) == 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "bass.wav").unlink(), "no bass; "),
        (lambda folder: write_song(folder / "bass.wav", np.ones((2, 18400)) / 9, 16000), "sample rate"),
        (lambda folder: write_song(folder / "bass.wav", np.ones((1, 18400)) / 9, 8000), "channels"),
        (lambda folder: write_song(folder / "bass.wav", np.ones((2, 18399)) / 9, 8000), "ends after 18399 samples"),
        (lambda folder: (folder / "bass.wav").write_bytes(b"RIFF"), "bass.wav"),
    ],
)
def test_a_spoilt_song_is_told_and_the_others_are_scored(
    run: Run, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    write_tree(tmp_path / "musdb", rate=8000)
    spoil(tmp_path / "musdb" / "test" / "Song 0")
    said = run("evaluate", "musdb", "-m", str(save_tiny(tmp_path / "tiny")), "--json")
    assert said.code == 1
    assert message in said.err
    found = json.loads(said.out)
    assert [song["song"] for song in found["songs"]] == ["Song 1"]
    assert found["failed"] == ["Song 0"]


def test_folders_go_on_too_and_notice_new_estimates(run: Run, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "musdb", seconds=1.0)
    for song, sounds in tree.items():
        for stem in STEMS:
            write_song(tmp_path / "mine" / song / f"{stem}.wav", 0.9 * sounds[stem], RATE, "FLOAT")
    call = ("evaluate", "musdb", "mine", "--scores", "kept/scores.jsonl", "--json")
    assert run(*call).code == 0
    assert run(*call).code == 0
    kept = tmp_path / "kept" / "scores.jsonl"
    assert len(kept.read_text().splitlines()) == 2
    write_song(tmp_path / "mine" / "Song 1" / "bass.wav", 0.99 * tree["Song 1"]["bass"], RATE, "FLOAT")
    found = json.loads(run(*call).out)
    assert len(kept.read_text().splitlines()) == 3
    assert found["songs"][1]["stems"][0]["sdr_db"] == pytest.approx(40, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("musdb",), "name a folder of estimates, or a model"),
        (("musdb", "musdb", "-m", "ts-bsmamba2-mini"), "name a folder of estimates, or a model"),
        (("nowhere", "-m", "ts-bsmamba2-mini"), "no such folder"),
        (("empty", "-m", "ts-bsmamba2-mini"), "no songs"),
        (("musdb", "--melody", "-m", "ts-bsmamba2-mini"), "contours"),
    ],
)
def test_wrong_calls_are_refused(run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "empty").mkdir()
    write_tree(tmp_path / "musdb", songs=1, seconds=0.1)
    said = run("evaluate", *arguments)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_published_figures_come_from_the_card() -> None:
    found = published_sdr("ts-bsmamba2-musdb18")
    assert {stem: score.value for stem, score in found.items()} == {
        "drums": 8.15, "bass": 5.82, "other": 5.16, "vocals": 8.36, "mean": 6.87,
    }  # fmt: skip
    assert [published_sdr("sfc-ca-small", metric)["mean"].value for metric in ("SDR of whole", "cSDR")] == [8.95, 9.27]
    assert published_sdr("ts-bsmamba2-mini") == {}
    assert published_sdr("runs/mine") == {}


def test_a_sheet_keeps_what_json_cannot(tmp_path: Path) -> None:
    song = SongScore(
        "Ä ♪", (StemScore("a", float("inf"), -1.5, None, None, 2.0), StemScore("b", None, None, None, -30))
    )
    ScoreSheet(tmp_path / "s.jsonl").add(song, "key")
    sheet = ScoreSheet(tmp_path / "s.jsonl")
    assert sheet.find("Ä ♪", "key") == song
    assert sheet.find("Ä ♪", "other") is None
    assert ScoreSheet(tmp_path / "s.jsonl", reread=False).find("Ä ♪", "key") is None
    assert as_json(song)["stems"][0]["sdr_db"] == "inf"
    nowhere = ScoreSheet(None)
    nowhere.add(song, "key")
    assert nowhere.find("Ä ♪", "key") == song


def test_a_key_follows_the_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    keys = [key_of([tmp_path / "a"], {"model": "m"}), key_of([tmp_path / "a"], {"model": "n"})]
    (tmp_path / "a").write_bytes(b"123")
    keys.append(key_of([tmp_path / "a"], {"model": "m"}))
    assert len(set(keys)) == 3


def test_a_song_without_a_stem_of_the_model_is_refused(tmp_path: Path) -> None:
    song = SongFolder("s", tmp_path, {"vocals": tmp_path / "vocals.wav"}, None)
    with pytest.raises(AudioError, match=r"no drums, bass, other; fake gives .* has vocals"):
        score_separator(song, fake_separator(SeparateOptions()))
