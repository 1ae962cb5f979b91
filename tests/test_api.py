"""Separation from Python: arrays and files in, arrays and files out."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile
import torch
from tiny import GAINS, STEMS, FakeConfig, FakeNetwork, read_song, save_tiny, write_song

import stemsplit
from stemsplit.errors import (
    DamagedError,
    DecodeError,
    DeviceError,
    EmptyAudioError,
    OutputError,
    UnknownStemError,
    UsageError,
)

Sound = Callable[..., np.ndarray]
FAKE = FakeNetwork(FakeConfig())


def test_an_array_comes_back_as_arrays(sound: Sound) -> None:
    mixture = sound(2, 30001)
    result = stemsplit.separate(mixture, 44100, model=FAKE)
    assert list(result.stems) == list(STEMS)
    assert (result.sample_rate, result.model, result.bit_depth, result.warnings) == (44100, "FakeNetwork", "32f", ())
    for gain, stem in zip(GAINS, result.stems.values(), strict=True):
        assert stem.dtype == np.float32
        assert stem.shape == mixture.shape
        assert np.abs(stem - gain * mixture).max() < 1e-6


def test_a_file_comes_back_at_its_own_rate_and_length(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.flac", sound(1, 30001, 48000), 48000)
    result = stemsplit.separate(str(song), model=FAKE, stems=["vocals"])
    assert result.stems["vocals"].shape == (1, 30001)
    assert (result.sample_rate, result.bit_depth) == (48000, "16")


@pytest.mark.parametrize("shape", [(9000,), (1, 9000), (3, 9000), (2, 1)])
def test_arrays_of_other_shapes(shape: tuple[int, ...]) -> None:
    mixture = np.random.default_rng(0).uniform(-0.5, 0.5, shape)
    result = stemsplit.separate(mixture, 22050, model=FAKE, two_stems="vocals")
    assert list(result.stems) == ["vocals", "no_vocals"]
    assert result.stems["vocals"].shape == np.atleast_2d(mixture).shape


def test_an_exact_sum_of_arrays(sound: Sound) -> None:
    mixture = sound(2, 20000, 48000)
    result = stemsplit.separate(mixture, 48000, model=FAKE, exact_sum=True)
    assert np.abs(sum(result.stems.values()) - mixture).max() < 1e-6


def test_salvage_and_sound_tracks_are_as_on_the_command_line(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 30000))
    song.write_bytes(song.read_bytes()[:-40000])
    with pytest.raises(DamagedError):
        stemsplit.separate(song, model=FAKE)
    result = stemsplit.separate(song, model=FAKE, salvage=True)
    assert result.stems["vocals"].shape == (2, 20000)
    assert result.warnings == ("salvaged: song.wav: cut off: the last 40000 bytes are missing",)
    with pytest.raises(UsageError, match="has 1 sound track"):
        stemsplit.separate(song, model=FAKE, salvage=True, audio_track=2)
    with pytest.raises(UsageError, match="an array is one track"):
        stemsplit.separate(sound(2, 300), 44100, model=FAKE, audio_track=1)
    with pytest.raises(UsageError, match="has 1 sound track"):
        stemsplit.extract_melody(song, vocals=True, salvage=True, audio_track=2)


def test_progress_is_told_in_seconds(sound: Sound) -> None:
    told: list[float] = []
    stemsplit.separate(sound(2, 88200), 44100, model=FAKE, on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("source", "rate", "error", "message"),
    [
        (np.zeros((2, 100)), None, UsageError, "needs its sample_rate"),
        (np.zeros((2, 100)), 0, UsageError, "needs its sample_rate"),
        (np.zeros((44100, 2)), 44100, UsageError, r"\(channels, samples\) is needed"),
        (np.zeros((1, 2, 100)), 44100, UsageError, r"\(channels, samples\) is needed"),
        (np.zeros((2, 100), np.int16), 44100, UsageError, "int16"),
        (np.zeros((2, 0)), 44100, EmptyAudioError, "no samples"),
        (np.full((2, 100), np.nan), 44100, DecodeError, "NaN"),
        ("nope.wav", None, DecodeError, "no such file"),
        ("nope.wav", 44100, UsageError, "for arrays"),
    ],
)
def test_what_cannot_be_separated_is_refused(
    source: Any, rate: int | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stemsplit.separate(source, rate, model=FAKE)


def test_other_requests_that_are_refused(sound: Sound) -> None:
    mixture = sound(2, 100)
    with pytest.raises(UnknownStemError, match=r"flute.*no model of the catalog has it; their stems: bass, drums"):
        stemsplit.separate(mixture, 44100, model=FAKE, stems="flute")
    with pytest.raises(UnknownStemError, match=r"Speech is a stem of sfc-.*: add --model sfc-"):
        stemsplit.separate(mixture, 44100, model=FAKE, stems="Speech")
    with pytest.raises(DeviceError, match="tpu"):
        stemsplit.separate(mixture, 44100, model=FAKE, device="tpu")
    with pytest.raises(UsageError, match="overlap"):
        stemsplit.separate(mixture, 44100, model=FAKE, overlap=1.0)


@pytest.mark.parametrize(("format", "depth", "subtype"), [("wav", "auto", "FLOAT"), ("flac", "auto", "PCM_24")])
def test_a_separation_can_be_saved(tmp_path: Path, sound: Sound, format: str, depth: str, subtype: str) -> None:
    result = stemsplit.separate(sound(2, 70000), 44100, model=FAKE)
    paths = result.save(tmp_path / "new" / "stems", format=format, bit_depth=depth)
    assert paths["bass"] == tmp_path / "new" / "stems" / f"bass.{format}"
    assert soundfile.info(paths["bass"]).subtype == subtype
    assert np.abs(read_song(paths["bass"]) - result.stems["bass"]).max() < 1e-6


def test_saving_uses_one_gain_and_says_so(tmp_path: Path) -> None:
    stems = {"a": np.full((1, 10), 2.0, np.float32), "b": np.full((1, 10), 0.5, np.float32)}
    loud = stemsplit.Separation(stems, 8000, "m")
    told: list[str] = []
    paths = loud.save(tmp_path, bit_depth="16", on_warning=told.append)
    assert read_song(paths["a"]).max() == pytest.approx(4 * read_song(paths["b"]).max(), rel=1e-3)
    assert "turned down by 6.02 dB" in told[0]


def test_saving_where_nothing_can_be_written(tmp_path: Path, sound: Sound) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        stemsplit.separate(sound(2, 100), 44100, model=FAKE).save(tmp_path / "file")


def test_a_real_network_is_loaded_once_and_used_twice(tmp_path: Path, sound: Sound) -> None:
    folder = save_tiny(tmp_path / "tiny")
    network = stemsplit.load_network(folder, device="cpu")
    assert isinstance(network, torch.nn.Module)
    mixture = sound(2, 9000, 8000)
    by_network = stemsplit.separate(mixture, 8000, model=network)
    by_folder = stemsplit.separate(mixture, 8000, model=folder)
    for stem in STEMS:
        assert np.array_equal(by_network.stems[stem], by_folder.stems[stem])
        assert by_network.stems[stem].any()


def test_the_function_stays_the_function() -> None:
    import stemsplit.runs.separate  # a module of the same name, further down

    assert callable(stemsplit.separate)
    assert stemsplit.separate.__module__ == "stemsplit.api.separation"


@pytest.mark.parametrize("kind", ["bytes", "file", "io"])
def test_a_file_need_not_have_a_path(tmp_path: Path, sound: Sound, kind: str) -> None:
    song = write_song(tmp_path / "song.flac", sound(2, 20000, 48000), 48000)
    by_path = stemsplit.separate(song, model=FAKE)
    with song.open("rb") as opened:
        given: Any = {"bytes": song.read_bytes(), "file": opened, "io": io.BytesIO(song.read_bytes())}[kind]
        result = stemsplit.separate(given, model=FAKE)
    assert all(np.array_equal(result.stems[stem], by_path.stems[stem]) for stem in STEMS)


@pytest.mark.parametrize("source", [42, None, {"a": 1}])
def test_what_is_no_sound_is_refused_in_words(source: Any) -> None:
    with pytest.raises(UsageError, match="a sound is a path, bytes, an open file or an array"):
        stemsplit.separate(source, model=FAKE)


def test_what_is_no_model_is_refused_in_words(sound: Sound) -> None:
    with pytest.raises(UsageError, match="a model is a name, a path or a network, not 42"):
        stemsplit.separate(sound(2, 100), 44100, model=42)  # type: ignore[arg-type]


def test_a_missing_file_is_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        stemsplit.separate("nope.wav", model=FAKE)


def test_results_are_shown_in_a_line(sound: Sound) -> None:
    result = stemsplit.separate(sound(2, 66150), 44100, model=FAKE)
    assert repr(result) == "Separation(drums, bass, other, vocals: 1.5 s, 44100 Hz, 2 channels, by FakeNetwork)"
    page = result._repr_html_()
    sounds = re.findall(r"base64,([^']+)'", page)
    assert len(sounds) == 4
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[0])))
    assert (heard.shape, rate) == ((66150, 2), 44100)


def test_what_is_saved_has_tags_and_says_how_it_was_made(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.flac", sound(2, 20000), 44100)
    tags = mutagen.File(song)
    tags["title"], tags["artist"] = "Song", "Somebody"
    tags.save()
    saved = stemsplit.separate(song, model=FAKE, stems="vocals").save(tmp_path / "out", format="flac")
    assert mutagen.File(saved["vocals"])["title"] == ["Song (vocals)"]
    manifest = json.loads((tmp_path / "out" / "stemsplit.json").read_text(encoding="utf-8"))
    assert manifest["input"]["path"] == str(song)
    assert manifest["outputs"]["vocals"]["path"] == "vocals.flac"
    assert (manifest["samples"], manifest["bit_depth"], manifest["gain"]) == (20000, "16", 1.0)


def test_a_folder_is_separated_once(tmp_path: Path, sound: Sound) -> None:
    for name in ("one.wav", "two.flac"):
        write_song(tmp_path / "album" / name, sound(2, 9000))
    (tmp_path / "album" / "bad.mp3").write_bytes(b"no sound")
    asked: dict[str, Any] = {"model": FAKE, "device": "cpu", "stems": "vocals"}
    first = {
        outcome.track: outcome.status for outcome in stemsplit.separate_files(tmp_path / "album", tmp_path, **asked)
    }
    assert first == {"one": "done", "two": "done", "bad": "failed"}
    again = list(stemsplit.separate_files([tmp_path / "album"], tmp_path, **asked))
    assert [outcome.status for outcome in again] == ["failed", "skipped", "skipped"]
    assert isinstance(again[0].error, stemsplit.DecodeError)
    assert again[1].outputs == {"vocals": tmp_path / "one" / "vocals.wav"}
    with pytest.raises(UsageError, match="no such file"):
        stemsplit.separate_files(tmp_path / "nope", tmp_path, **asked)


def test_the_package_shows_what_it_has() -> None:
    assert dir(stemsplit) == sorted(stemsplit.__all__)
    for name in stemsplit.__all__:
        assert getattr(stemsplit, name) is not None


def test_a_melody_can_be_saved(tmp_path: Path) -> None:
    from tiny_melody import FakeMelodyConfig, FakeMelodyNetwork, voice

    network = FakeMelodyNetwork(FakeMelodyConfig())
    melody = stemsplit.extract_melody(voice(2.0, 220.0), 16000, vocals=True, model=network, spectrogram=True)
    assert re.fullmatch(r"Melody\(2\.0 s, \d+ % sung, \d+ notes, A4 = \d+\.\d Hz\)", repr(melody))
    assert repr(melody.contour).startswith("Contour(201 frames, every 10 ms, ")
    names = ("m.csv", "m.notes.csv", "m.mid", "m.png")
    csv, notes, midi, plot = (tmp_path / name for name in names)
    melody.save(csv, notes=notes, midi=midi, plot=plot)
    assert csv.read_text().startswith("time,frequency,confidence")
    assert all((tmp_path / name).stat().st_size > 20 for name in names)
    with pytest.raises(UsageError, match="20 to 400"):
        melody.save(midi=midi, tempo=1.0)
    with pytest.raises(UsageError, match="spectrogram=True"):
        stemsplit.extract_melody(voice(1.0, 220.0), 16000, vocals=True, model=network).save(plot=plot)
