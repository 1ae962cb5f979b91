"""The recipe that renders songs: whole folders, resuming, sources that are missing."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import render_songs as recipe

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import small_sources, write_bank, write_clips, write_drums, write_groove, write_loop, write_speech

from songs.composition.styles import STYLES
from songs.draft import Sources
from songs.folder import bytes_in
from songs.instruments.samplebanks import BANKS
from songs.mix.mixdown import STEMS
from songs.render import Song
from songs.stems.people_vocals import KINDS


def data(folder: Path) -> list[str]:
    """Arguments that name a complete set of made-up sources."""
    kumi = folder / "voices" / "hitsuboku-kumi-jpn-act4"
    scott = folder / "voices" / "scottpoid-jpn"
    for bank in [kumi / n for n in ("_Core", "_Core_A3", "_Core_A4", "_Core_D5", "_Strong_Low", "_Strong_High")] + [
        kumi / "_Whisper_Low", kumi / "_Whisper_High", *[scott / n for n in (".", "E3", "G3", "A3", "C4")]
    ]:  # fmt: skip
        bank.mkdir(parents=True, exist_ok=True)
        (bank / "oto.ini").write_text("a.wav=- あ,0,100,0,50,20\n", encoding="utf-8")
    (folder / "impulses").mkdir()
    (folder / "font.sf2").write_bytes(b"")
    write_drums(folder / "drums")
    write_groove(folder / "groove")
    write_clips(folder / "mir1k", ("ann", "amy", "tammy"))
    names = ("voices", "drums", "groove", "mir1k", "impulses")
    options = [part for name in names for part in (f"--{name}", str(folder / name))]
    return [*options, "--soundfont", str(folder / "font.sf2"), "--out", str(folder / "out")]


def test_songs_are_written_whole_and_not_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = small_sources(tmp_path / "small")
    monkeypatch.setattr(recipe, "train_sources", lambda options: small)
    arguments = [*data(tmp_path), "--split", "train", "--songs", "2", "--seed", "5"]
    assert recipe.main(arguments) == 0
    assert capsys.readouterr().err.count(" s in ") == 2
    folder = tmp_path / "out" / "train" / "0001"
    stems = [np.load(folder / f"{name}.npy") for name in STEMS]
    assert {stem.dtype for stem in stems} == {np.dtype(np.int16)}
    assert {stem.shape for stem in stems} == {stems[0].shape}
    assert stems[0].shape[1] == 2
    assert np.abs(np.sum(stems, axis=0, dtype=np.int32)).max() <= 0.901 * 32767
    about = json.loads((folder / "song.json").read_text(encoding="utf-8"))
    assert about["seed"] == [5, 0, 1]
    assert set(about["credits"]) == set(STEMS)
    shutil.rmtree(tmp_path / "out" / "train" / "0000")
    assert recipe.main(arguments) == 0
    assert capsys.readouterr().err.startswith("0000:")
    assert not list((tmp_path / "out" / "train").glob(".*"))


def test_missing_sources_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*data(tmp_path), "--split", "train", "--songs", "1"]
    shutil.rmtree(tmp_path / "mir1k")
    assert recipe.main(arguments) == 1
    assert str(tmp_path / "mir1k") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_train_and_heldout_share_no_singer_sample_or_take(tmp_path: Path) -> None:
    options = [*data(tmp_path), "--songs", "1", "--split"]
    train = recipe.train_sources(recipe._parse([*options, "train"]))
    heldout = recipe.heldout_sources(recipe._parse([*options, "heldout", "--kits", str(tmp_path / "kit.sf2")]))
    assert set(train.clips.songs) == {"ann_1"}
    assert set(heldout.clips.songs) == {"amy_1"}
    assert not {t.path for t in train.takes} & {t.path for t in heldout.takes}
    assert not {p for files in train.shots.files.values() for p in files} & {
        p for files in heldout.shots.files.values() for p in files
    }
    assert not {bank.name.split("/")[0] for bank, _ in train.banks} & {b.name.split("/")[0] for b, _ in heldout.banks}
    assert {kit.channel for kit in heldout.kits} == {0}


@pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="pyworld needs pkg_resources")
def test_speakers_sing_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = data(tmp_path)
    for person in ("de", "fr"):
        (tmp_path / "people" / person / "syllab").mkdir(parents=True)
        (tmp_path / "people" / person / "syllab" / "ba.ogg").write_bytes(b"")
    (tmp_path / "people" / "README.txt").write_text("not a person")
    small = small_sources(tmp_path / "small", clip_share=0.0, various=True)
    bank = small.banks[0][0]
    monkeypatch.setattr(
        recipe.speakers,
        "speaker_bank",
        lambda name, files: None if name == "klettres/fr" or not files else dataclasses.replace(bank, name=name),
    )
    store, seconds = small.store, small.seconds
    monkeypatch.setattr(recipe.voicebank, "AnalysisStore", lambda folder: store)
    monkeypatch.setattr(recipe.Sources, "seconds", seconds)
    command = [*options, "--split", "train", "--songs", "2", "--various", "--speakers", str(tmp_path / "people")]
    assert recipe.main(command) == 0
    written = tmp_path / "out" / "train"
    assert sorted(path.name for path in written.glob("*/*.npy") if "f0" not in path.name) == ["vocals.npy"] * 2
    meta = json.loads((written / "0000" / "song.json").read_text())
    assert meta["vocals"]["bank"] == "klettres/de"
    assert any("KLettres" in line for line in meta["credits"]["vocals"])


@pytest.mark.parametrize(
    ("split", "folder", "message"),
    [
        ("heldout", "people", "nobody is held out"),
        ("train", "people", "no speaker with enough"),
        ("train", "nowhere", "not there"),
    ],
)
def test_speakers_that_cannot_sing_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str, folder: str, message: str
) -> None:
    options = data(tmp_path)
    (tmp_path / "people").mkdir()
    command = [*options, "--split", split, "--songs", "1", "--speakers", str(tmp_path / folder)]
    assert recipe.main(command) == 1
    assert message in capsys.readouterr().err


def test_credits_name_what_was_used() -> None:
    meta = {"groove": ["a.mid"], "drums": {"samples": ["uzu__bd.flac"]}, "vocals": {"clips": ["amy_1_01"]},
            "bass": {"program": None}, "other": [{"program": 3}], "soundfont": "FluidR3_GM.sf2"}  # fmt: skip
    looped = {**meta, "groove": ["loop"], "drums": {"samples": ["patchbanks_WaivOps-HH-TRP/110bpm.opus"]},
              "bass": {"program": None, "sound": "bank: karoryfer.growlybass"},
              "other": [{"program": None, "sound": "supersaw"}]}  # fmt: skip
    found = recipe.credits(looped)
    assert [line for line in found["drums"] if "web-audio" not in line] == ["WaivOps / Patchbanks, CC BY 4.0"]
    assert any("Karoryfer" in line for line in found["bass"])
    assert not any("FluidR3" in line for line in found["other"])
    found = recipe.credits(meta)
    assert any("Groove MIDI" in line for line in found["drums"])
    assert any("uzu" in line for line in found["drums"])
    assert not any("FluidR3" in line for line in found["bass"])
    assert any("FluidR3" in line for line in found["other"])
    assert any("MIR-1K" in line for line in found["vocals"])


def real(folder: Path) -> Path:
    """Drum loops, and all recorded instruments but one."""
    for index in range(10):
        write_loop(folder / "drums" / "x" / f"12{index}bpm.opus", 120 + index, 4)
    (folder / "drums" / "Muldjord").mkdir()
    write_loop(folder / "drums" / "Muldjord" / "120bpm.opus", 120, 4)
    for name in [name for names in BANKS.values() for name in names][1:]:
        write_bank(folder / "instruments" / name, [("c2", 36, 36.0)], 0.1)
    return folder


def test_train_and_heldout_share_no_loop_or_instrument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*data(tmp_path), "--songs", "1", "--various", "--real", str(real(tmp_path / "real")), "--split"]
    with pytest.raises(recipe.StemsplitError, match=f"{next(iter(BANKS.values()))[0]}.*--skip-missing"):
        recipe.train_sources(recipe._parse([*options, "train"]))
    train = recipe.train_sources(recipe._parse([*options, "train", "--skip-missing"]))
    assert "left out" in capsys.readouterr().err
    heldout = recipe.heldout_sources(recipe._parse([*options, "heldout"]))
    banks = [{bank.name for kind in sources.recorded.values() for bank in kind} for sources in (train, heldout)]
    assert banks[0]
    assert banks[1] == set(recipe.HELDOUT_BANKS)
    assert not banks[0] & banks[1]
    assert train.loops
    assert heldout.loops
    assert not set(train.loops) & set(heldout.loops)
    assert not any("muldjord" in str(loop.path).lower() for loop in train.loops + heldout.loops)


def test_what_is_kept_for_tests_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    font = tmp_path / "Muldjord.sf2"
    font.write_bytes(b"")
    assert recipe.main([*data(tmp_path), "--split", "train", "--songs", "1", "--more-soundfonts", str(font)]) == 1
    assert "never to be trained on" in capsys.readouterr().err


def test_various_songs_need_their_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*data(tmp_path), "--split", "train", "--various"]
    for more, message in ((["--songs", "1"], "needs --real"), (["--skip-missing"], "how many songs")):
        with pytest.raises(SystemExit):
            recipe._parse([*options, *more])
        assert message in capsys.readouterr().err
    assert recipe.main([*options, "--songs", "1", "--real", str(tmp_path / "nowhere")]) == 1
    assert "nowhere/drums" in capsys.readouterr().err.replace("\\", "/")


def test_songs_stop_at_hours_or_at_gigabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = small_sources(tmp_path / "small")
    monkeypatch.setattr(recipe, "train_sources", lambda options: small)
    command = [*data(tmp_path), "--split", "train", "--flac"]
    songs = lambda: sorted(path.parent.name for path in (tmp_path / "out" / "train").glob("*/song.json"))  # noqa: E731
    assert recipe.main([*command, "--hours", "0.004", "--first", "1", "--step", "2"]) == 0  # half of 14.4 s
    assert songs() == ["0001"]
    assert (tmp_path / "out" / "train" / "0001" / "drums.flac").exists()
    limit = 3 * bytes_in(tmp_path / "out")
    assert recipe.main([*command, "--at-most-gb", str(limit / 1e9)]) == 0
    assert "no more songs" in capsys.readouterr().err
    sizes = [bytes_in(tmp_path / "out" / "train" / name) for name in songs()]
    assert len(sizes) > 1
    assert limit - max(sizes) < sum(sizes) < limit + max(sizes)  # a song may be larger than all before it


def test_development_songs_name_their_styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = small_sources(tmp_path / "small")
    monkeypatch.setattr(recipe, "heldout_sources", lambda options: small)
    monkeypatch.setattr(recipe, "STYLES", STYLES[:2])
    assert recipe.main([*data(tmp_path), "--split", "heldout", "--per-style", "1"]) == 0
    found = {path.parent.name: json.loads(path.read_text(encoding="utf-8"))["style"]
             for path in (tmp_path / "out" / "heldout").glob("*/song.json")}  # fmt: skip
    assert found == {"pop-00": "pop", "ballad-00": "ballad"}


def test_train_and_heldout_share_nobody_who_speaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_speech(tmp_path / "speech", ["librispeech/89", "librispeech/19", "asterisk/allison"], 1)
    made = data(tmp_path)
    options = [*made, "--songs", "1", "--various", "--skip-missing", "--speech", str(tmp_path / "speech")]
    train = recipe.train_sources(recipe._parse([*options, "--split", "train"]))
    heldout = recipe.heldout_sources(recipe._parse([*options, "--split", "heldout"]))
    assert [person.name for person in train.people] == ["asterisk/allison", "librispeech/19"]
    assert [person.name for person in heldout.people] == ["librispeech/89"]
    assert heldout.people_share == 1
    shutil.rmtree(tmp_path / "speech" / "librispeech" / "89")
    assert recipe.main([*options, "--split", "heldout"]) == 1
    assert "no SOURCE/SPEAKER" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "speech")
    assert recipe.main([*options, "--split", "train"]) == 1
    assert f"not there: {tmp_path / 'speech'}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        recipe._parse([*made, "--songs", "1", "--split", "train", "--speech", str(tmp_path)])
    assert "--various" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        recipe._parse([*made, "--songs", "1", "--split", "train", "--various", "--skip-missing", "--alone"])
    assert "needs --speech" in capsys.readouterr().err


def test_people_are_credited_and_development_songs_say_speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_speech(tmp_path / "speech", ["librispeech/89"], 1)
    small = small_sources(tmp_path / "small")
    monkeypatch.setattr(recipe, "heldout_sources", lambda options: small)
    song = recipe.render_song(np.random.default_rng(0), small)
    meta = {**song.meta, "vocals": {"people": ["librispeech/89", "asterisk/allison"], "kind": "choir"}}
    kinds: list[tuple[str, ...]] = []

    def render(rng: np.random.Generator, sources: Sources) -> Song:
        kinds.append(sources.people_kinds)
        return dataclasses.replace(song, meta=meta)

    monkeypatch.setattr(recipe, "render_song", render)
    command = [*data(tmp_path), "--various", "--skip-missing", "--speech", str(tmp_path / "speech"), "--split"]
    assert recipe.main([*command, "heldout", "--per-style", "1"]) == 0
    assert sorted(kinds) == sorted((kind,) for kind in KINDS)
    folder = tmp_path / "out" / "heldout"
    assert len(list(folder.iterdir())) == len(KINDS)
    about = json.loads((folder / "speech-few-words-00" / "song.json").read_text(encoding="utf-8"))
    assert about["style"] == "speech"
    assert about["drawn_style"] == song.meta["style"]
    assert any("LibriSpeech" in line for line in about["credits"]["vocals"])
    assert any("Allison" in line for line in about["credits"]["vocals"])
    alone = Song({"vocals": song.stems["vocals"]}, {"style": "pop", "seconds": 8.0, "vocals": meta["vocals"]})
    monkeypatch.setattr(recipe, "train_sources", lambda options: small)
    monkeypatch.setattr(recipe, "render_vocals", lambda rng, sources: alone)
    assert recipe.main([*command, "train", "--alone", "--songs", "1"]) == 0
    about = json.loads((tmp_path / "out" / "train" / "0000" / "song.json").read_text(encoding="utf-8"))
    assert about["style"] == "pop"
    assert any("LibriSpeech" in line for line in about["credits"]["vocals"])
