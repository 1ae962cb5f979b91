"""One song: its melody on disk, all of it or nothing, from the vocals or from a voice; done once; and from Python."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from tiny import FakeConfig, FakeNetwork, files_in, write_song
from tiny_melody import (
    FakeMelodyConfig,
    FakeMelodyNetwork,
    fake_reader,
    save_tiny_melody,
    vocals_separator,
    voice,
)

import stemsplit
from stemsplit.analysis.beats import Beat, Tempo
from stemsplit.errors import (
    DecodeError,
    EmptyAudioError,
    ModelError,
    OutputError,
    TargetCollisionError,
    UnknownStemError,
    UsageError,
)
from stemsplit.files.inputs import find_inputs
from stemsplit.files.manifest import read_manifest
from stemsplit.machine.disk import sha256_of
from stemsplit.melody.formats import read_contour
from stemsplit.melody.reader import Reader, listen
from stemsplit.options import MelodyOptions
from stemsplit.runs.jobs import Job, Outcome, run
from stemsplit.runs.transcribe import Transcribing, check_melody_options, plan_melodies
from stemsplit.separation.separator import Source

Sound = Callable[..., np.ndarray]
NETWORK = FakeMelodyNetwork()


def sung(path: Path, seconds: float = 1.0, hz: float = 220.0, rate: int = 16000, channels: int = 1) -> Path:
    """A file with a tone."""
    return write_song(path, np.tile(voice(seconds, hz, rate), (channels, 1)), rate, "PCM_16")


def transcribe(source: Path, *, reader: Reader | None = None, **asked: Any) -> tuple[Job, dict[str, Any], list[str]]:
    """Read one file's melody with a fake network: the job, the manifest, the warnings."""
    options = MelodyOptions(output=source.parent / "out", device="cpu", **{"vocals": True, **asked})
    (job,) = plan_melodies(find_inputs([source], options.output), options)
    warnings: list[str] = []
    manifest = Transcribing(reader or fake_reader(options), options).carry_out(job, on_warning=warnings.append)
    return job, manifest, warnings


def transcribe_all(paths: list[Path], options: MelodyOptions, **kind: Any) -> list[Outcome]:
    jobs = plan_melodies(find_inputs(paths, options.output), options)
    return list(run(jobs, Transcribing(fake_reader(options, **kind), options)))


# --- what is written


def test_a_voice_becomes_a_contour(tmp_path: Path) -> None:
    job, _, warnings = transcribe(sung(tmp_path / "söng.wav", 1.5, 220.0))
    assert files_in(tmp_path / "out") == {"söng.f0.csv", "söng.melody.json"}
    contour = read_contour(job.targets["f0"])
    assert len(contour) == 151
    assert contour.voiced[5:-5].all()
    assert np.abs(1200 * np.log2(contour.frequency[10:-10] / 220)).max() < 60
    assert job.targets["f0"].read_text().startswith("time,frequency,confidence\n0.000,")
    assert warnings == []


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("samples", [1, 100, 4410, 30011])
@pytest.mark.parametrize("separated", [False, True])
def test_frames_and_samples_are_those_of_the_song(tmp_path: Path, rate: int, samples: int, separated: bool) -> None:
    song = write_song(tmp_path / "song.wav", np.full((2, samples), 0.25), rate)
    reader = fake_reader(separator=vocals_separator() if separated else None)
    _, manifest, _ = transcribe(song, reader=reader, vocals=not separated)
    assert manifest["samples"] == int(samples * 16000 / rate + 0.5)
    assert manifest["frames"] == 1 + manifest["samples"] // 160
    assert manifest["sample_rate"] == 16000


def test_a_song_s_vocals_are_separated_first(tmp_path: Path) -> None:
    heard: list[np.ndarray] = []
    song = sung(tmp_path / "song.wav", 1.0, 330.0, 44100, channels=2)
    reader = fake_reader(separator=vocals_separator(gain=0.5))
    audio = Source(lambda warn: iter([np.stack([voice(1.0, 330, 44100)] * 2)]), 44100, 2)
    reading = listen(reader, audio, on_voice=heard.append, on_warning=print)
    joined = np.concatenate(heard)
    assert joined.shape == (16000,)
    assert np.abs(joined[100:-100] - 0.5 * voice(1.0, 330.0)[100:-100]).max() < 1e-3
    job, manifest, _ = transcribe(song, reader=reader, vocals=False)
    assert np.array_equal(read_contour(job.targets["f0"]).voiced, reading.contour.voiced)
    assert manifest["separator"] == {"reference": "fake", "sha256": "5" * 64}
    assert manifest["settings"]["separator"] == "5" * 64


def test_channels_of_a_voice_are_mixed(tmp_path: Path) -> None:
    both = np.stack([voice(1.0), np.zeros(16000, np.float32)])
    job, _, _ = transcribe(write_song(tmp_path / "song.wav", both, 16000))
    assert read_contour(job.targets["f0"]).voiced[10:-10].all()


def test_everything_that_was_asked_for_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    song = sung(tmp_path / "song.wav")
    job, manifest, _ = transcribe(song, format="mirex", notes=True, midi=True, plot=True, tuning=442.0, hop_ms=5.0)
    assert files_in(tmp_path / "out") == {
        "song.f0.txt", "song.notes.csv", "song.mid", "song.melody.png", "song.melody.json"
    }  # fmt: skip
    assert job.targets["midi"].read_bytes()[:4] == b"MThd"
    assert job.targets["plot"].read_bytes()[1:4] == b"PNG"
    assert job.targets["notes"].read_text().splitlines()[0].startswith("onset,duration,midi")
    assert len(job.targets["notes"].read_text().splitlines()) == 1 + manifest["notes"] == 2
    assert (manifest["tuning_hz"], manifest["hop_ms"], manifest["frames"]) == (442.0, 5.0, 201)


def test_the_manifest_says_how(tmp_path: Path) -> None:
    song = sung(tmp_path / "song.wav")
    job, manifest, _ = transcribe(song, notes=True, fmin=80.0, fmax=500.0, smooth="median")
    assert read_manifest(job.manifest) == {"format": 1, **manifest}
    assert manifest["input"]["sha256"] == sha256_of(song)
    assert manifest["model"] == {"reference": "fake-melody", "sha256": "7" * 64}
    assert manifest["separator"] is None
    assert manifest["settings"] == {
        "separator": None, "voicing_threshold": 0.4, "vocals": True, "format": "csv", "hop_ms": 10.0, "fmin": 80.0,
        "fmax": 500.0, "smooth": "median", "tuning": "estimated",
    }  # fmt: skip
    assert manifest["outputs"] == {
        name: {"path": path.name, "sha256": sha256_of(path)} for name, path in job.targets.items()
    }
    assert (manifest["frames"], manifest["device"], manifest["warnings"]) == (101, "cpu", [])
    assert 0.9 < manifest["voiced"] <= 1.0
    assert 220 < manifest["tuning_hz"] < 880


def test_the_model_s_threshold_stands_unless_the_user_chose_one(tmp_path: Path) -> None:
    song = sung(tmp_path / "song.wav")
    assert transcribe(song)[1]["settings"]["voicing_threshold"] == 0.4
    assert transcribe(song, voicing_threshold=0.0)[1]["settings"]["voicing_threshold"] == 0.0
    reader = fake_reader(config=_without_threshold())
    assert transcribe(song, reader=reader)[1]["settings"]["voicing_threshold"] == 0.5


def _without_threshold() -> Any:
    class Bare:
        sample_rate, hop_samples, lowest_hz, bin_cents, bins, context_frames = 16000, 160, 65.0, 20.0, 267, 3

    return Bare()


def test_the_same_song_gives_the_same_bytes(tmp_path: Path) -> None:
    song = sung(tmp_path / "song.wav")
    first = {name: path.read_bytes() for name, path in transcribe(song, notes=True, midi=True)[0].targets.items()}
    again = {name: path.read_bytes() for name, path in transcribe(song, notes=True, midi=True)[0].targets.items()}
    assert first == again


# --- silence and what is refused


@pytest.mark.parametrize(("separated", "text"), [(False, "silent: nothing is sung"), (True, "no vocals in it")])
def test_silence_is_unvoiced_and_told(tmp_path: Path, separated: bool, text: str) -> None:
    song = write_song(tmp_path / "song.wav", np.zeros((1, 16000)), 16000)
    reader = fake_reader(separator=vocals_separator() if separated else None)
    job, manifest, warnings = transcribe(song, reader=reader, vocals=not separated, notes=True, midi=True)
    assert len(warnings) == 1
    assert text in warnings[0]
    assert manifest["warnings"] == warnings
    assert (manifest["voiced"], manifest["notes"], manifest["frames"]) == (0.0, 0, 101)
    contour = read_contour(job.targets["f0"])
    assert not contour.voiced.any()
    assert "nan" not in job.targets["f0"].read_text().lower()
    json.dumps(manifest, allow_nan=False)


def test_a_song_that_nobody_sings_is_told(tmp_path: Path) -> None:
    song = write_song(tmp_path / "song.wav", voice(1.0, amplitude=0.005)[None], 16000, "PCM_24")
    _, manifest, warnings = transcribe(song)
    assert manifest["voiced"] == 0
    assert warnings == ["nothing is sung, at a voicing threshold of 0.4"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"format": "xml"}, "xml"),
        ({"tuning": 44.0}, "--tuning 44"),
        ({"tuning": float("nan")}, "--tuning nan"),
        ({"midi": True, "tempo": 1e9}, "20 to 400"),
        ({"tempo": 100.0}, "add --midi"),
        ({"bends": False}, "add --midi"),
        ({"midi": True, "tempo": "auto", "vocals": True}, "a voice has none"),
    ],
)
def test_options_that_cannot_work_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_melody_options(MelodyOptions(**asked))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"fmin": 300.0, "fmax": 200.0}, "fmin"),
        ({"fmin": 1.0}, "fmin"),
        ({"hop_ms": 0.0}, "hop"),
        ({"voicing_threshold": 1.5}, "threshold"),
        ({"smooth": "sandpaper"}, "sandpaper"),
    ],
)
def test_decodings_that_cannot_work_are_refused_before_any_work(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fake_reader(MelodyOptions(device="cpu", **asked))


def test_a_picture_that_cannot_be_drawn_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match="matplotlib"):
        check_melody_options(MelodyOptions(plot=True))


# --- all or nothing


class _SecondCall:
    """Fails when the network is called for the second time."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.calls = error, 0

    def __call__(self, waveform: object) -> None:
        self.calls += 1
        if self.calls == 2:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("no"), ValueError("a bug")])
def test_nothing_is_left_of_a_failure(tmp_path: Path, error: BaseException) -> None:
    song = sung(tmp_path / "song.wav", 25.0, rate=8000)
    with pytest.raises(type(error)):
        transcribe(song, reader=fake_reader(on_call=_SecondCall(error)), notes=True)
    assert files_in(tmp_path) == {"song.wav"}


@pytest.mark.parametrize("broken", ["write_contour", "write_notes", "write_midi"])
def test_the_files_of_a_song_come_together(tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *rest: object, **more: object) -> None:
        path.write_text("half")
        raise OutputError("no space left on device")

    monkeypatch.setattr(f"stemsplit.runs.transcribe.{broken}", full)
    with pytest.raises(OutputError, match="no space"):
        transcribe(sung(tmp_path / "song.wav"), notes=True, midi=True)
    assert files_in(tmp_path) == {"song.wav"}


@pytest.mark.parametrize("confidence", [0.4, 0.9])
def test_the_tempo_of_the_drums_is_that_of_the_midi_file(
    tmp_path: Path, confidence: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = Beat(Tempo(100.0), confidence)
    monkeypatch.setattr("stemsplit.runs.transcribe.check_beat_tracker", lambda: None)
    monkeypatch.setattr("stemsplit.analysis.beats.estimate_beat", lambda drums, rate: beat)
    _, manifest, warnings = transcribe(sung(tmp_path / "song.wav"), midi=True, tempo="auto")
    (told,) = [message.tempo for message in mido.MidiFile(tmp_path / "out" / "song.mid") if message.type == "set_tempo"]
    assert told == 600_000
    assert (manifest["tempo_bpm"], manifest["tempo_confidence"]) == (100.0, confidence)
    assert any("tempo is a guess" in warning for warning in warnings) == (confidence < 0.7)


def test_a_failure_leaves_an_earlier_melody(tmp_path: Path) -> None:
    song = sung(tmp_path / "song.wav", 25.0, rate=8000)
    transcribe(song, notes=True)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ModelError):
        transcribe(song, notes=True, reader=fake_reader(on_call=_SecondCall(ModelError("no"))))
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_target_that_cannot_be_written_takes_the_others_back(tmp_path: Path) -> None:
    (tmp_path / "out" / "song.notes.csv" / "x").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot write .*song\.notes\.csv"):
        transcribe(sung(tmp_path / "song.wav"), notes=True)
    assert files_in(tmp_path / "out") == {"song.notes.csv", "song.notes.csv/x"}


def test_songs_that_cannot_be_read_leave_nothing(tmp_path: Path) -> None:
    cut = sung(tmp_path / "cut.flac", 3.0)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with pytest.raises(DecodeError):
        transcribe(cut)
    with pytest.raises(EmptyAudioError):
        transcribe(write_song(tmp_path / "empty.wav", np.zeros((1, 0)), 16000))
    assert files_in(tmp_path) == {"cut.flac", "empty.wav"}


# --- many


def test_folders_keep_their_shape_and_bad_files_stop_no_other(tmp_path: Path) -> None:
    for name in ("a.wav", "b/a.wav", "b/日本.wav"):
        sung(tmp_path / "in" / name, 0.2)
    (tmp_path / "in" / "b" / "bad.mp3").write_bytes(b"no song")
    outcomes = transcribe_all([tmp_path / "in"], MelodyOptions(output=tmp_path / "out", vocals=True, device="cpu"))
    assert [outcome.status for outcome in outcomes] == ["done", "done", "failed", "done"]
    assert files_in(tmp_path / "out") == {
        "a.f0.csv", "a.melody.json", "b", "b/a.f0.csv", "b/a.melody.json", "b/日本.f0.csv", "b/日本.melody.json",
    }  # fmt: skip
    assert outcomes[0].audio_seconds == pytest.approx(0.2)


def test_collisions_are_refused(tmp_path: Path) -> None:
    paths = [sung(tmp_path / name, 0.1) for name in ("song.wav", "song.flac")]
    jobs = plan_melodies(find_inputs(paths, tmp_path / "out"), MelodyOptions(output=tmp_path / "out"))
    assert isinstance(jobs[0].error, TargetCollisionError)
    assert jobs[0].error is jobs[1].error
    odd = sung(tmp_path / "x.f0.csv.wav", 0.1).rename(tmp_path / "x.f0.csv")
    jobs = plan_melodies(find_inputs([odd, sung(tmp_path / "x.wav", 0.1)], tmp_path), MelodyOptions(output=tmp_path))
    assert jobs[0].error is None
    assert "would be written over" in str(jobs[1].error)


def test_the_vocals_of_separated_songs_are_found(tmp_path: Path) -> None:
    for song in ("one", "two"):
        stems = {stem: sung(tmp_path / "separated" / song / f"{stem}.wav", 0.1) for stem in ("vocals", "bass")}
        outputs = {stem: {"path": path.name} for stem, path in stems.items()}
        manifest = tmp_path / "separated" / song / "stemsplit.json"
        manifest.write_text(json.dumps({"format": 1, "outputs": outputs}))
    (tmp_path / "separated" / "broken").mkdir()
    (tmp_path / "separated" / "broken" / "stemsplit.json").write_text('{"format": 1, "outputs": 3}')
    found = find_inputs([tmp_path / "separated"], tmp_path / "out", stem="vocals")
    assert [item.track for item in found] == ["one/vocals", "two/vocals"]
    (one,) = find_inputs([tmp_path / "separated" / "one"], tmp_path / "out", stem="vocals")
    assert one.track == "vocals"
    (nothing,) = find_inputs([tmp_path / "separated"], tmp_path / "out")
    assert "no audio in this folder but stems of earlier runs, which" in str(nothing.error)


def test_a_second_run_skips_what_holds(tmp_path: Path) -> None:
    song, options = sung(tmp_path / "a.wav"), MelodyOptions(output=tmp_path / "out", vocals=True, device="cpu")
    transcribe_all([song], options)
    (again,) = transcribe_all([song], options)
    assert again.status == "skipped"
    assert again.outputs == {"f0": tmp_path / "out" / "a.f0.csv"}
    assert again.audio_seconds == 1.0


@pytest.mark.parametrize(
    "change",
    [
        "force",
        "song",
        "contour",
        "model",
        "separator",
        "notes",
        "format",
        "hop_ms",
        "fmin",
        "threshold",
        "tuning",
        "tempo",
        "bends",
    ],
)
def test_a_second_run_redoes_what_no_longer_holds(tmp_path: Path, change: str) -> None:
    song = sung(tmp_path / "a.wav")
    asked: dict[str, Any] = {"output": tmp_path / "out", "device": "cpu"}
    transcribe_all([song], MelodyOptions(**asked), separator=vocals_separator())
    if change == "song":
        sung(song, hz=230.0)
    elif change == "contour":
        (tmp_path / "out" / "a.f0.csv").unlink()
    other: dict[str, Any] = {
        "force": {"force": True}, "notes": {"notes": True}, "format": {"format": "sv"}, "hop_ms": {"hop_ms": 20.0},
        "fmin": {"fmin": 100.0}, "threshold": {"voicing_threshold": 0.9}, "tuning": {"tuning": 440.0},
        "tempo": {"midi": True, "tempo": 90.0}, "bends": {"midi": True, "bends": False},
    }.get(change, {})  # fmt: skip
    kind = {
        "sha256": ("8" if change == "model" else "7") * 64,
        "separator": vocals_separator(sha256=("6" if change == "separator" else "5") * 64),
    }
    assert transcribe_all([song], MelodyOptions(**asked, **other), **kind)[0].status == "done"
    expected = "done" if change == "force" else "skipped"
    assert transcribe_all([song], MelodyOptions(**asked, **other), **kind)[0].status == expected


def test_a_melody_of_the_user_or_of_another_song_is_not_written_over(tmp_path: Path) -> None:
    one, other = sung(tmp_path / "A" / "x.wav"), sung(tmp_path / "B" / "x.wav", hz=330.0)
    options = MelodyOptions(output=tmp_path / "out", vocals=True, device="cpu")
    assert transcribe_all([one], options)[0].status == "done"
    (tmp_path / "out" / "x.mid").write_bytes(b"mine")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for song, asked in ((other, options), (one, replace(options, midi=True))):
        (refused,) = transcribe_all([song], asked)
        assert isinstance(refused.error, TargetCollisionError)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert transcribe_all([other], replace(options, force=True))[0].status == "done"


def test_names_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    names = ["x" * 245 + "1", "x" * 245 + "2", "é" * 123 + "z"]
    songs = [
        sung(tmp_path / "short.wav", 0.1 * (n + 1)).rename(tmp_path / f"{name}.wav") for n, name in enumerate(names)
    ]
    options = MelodyOptions(output=tmp_path / "out", vocals=True, notes=True, midi=True, device="cpu")
    assert {one.status for one in transcribe_all(songs, options)} == {"done"}
    assert len(files_in(tmp_path / "out")) == 12
    assert {one.status for one in transcribe_all(songs, options)} == {"skipped"}


# --- hours


def test_hours_are_read_in_bounded_memory() -> None:
    """A generator of blocks; no more of them alive than a chunk needs."""
    config = FakeMelodyConfig(sample_rate=800, hop_samples=80, bins=12, bin_cents=400.0)  # a tenth of the usual frames
    second, alive = voice(1.0, 100.0, 800)[None], _Alive()

    def two_hours(warn: object) -> Iterator[np.ndarray]:
        for _ in range(7200):
            yield alive.counted(second)

    told: list[float] = []
    options = MelodyOptions(device="cpu", hop_ms=100.0)
    reading = listen(
        fake_reader(options, config=config), Source(two_hours, 800, 1), on_progress=told.append, on_warning=print
    )
    assert len(reading.contour) == 1 + 72_000
    assert told[-1] == 7200.0
    assert alive.most < 40


class _Alive:
    """Counts the blocks that somebody still holds."""

    def __init__(self) -> None:
        self.now, self.most, self.lock = 0, 0, threading.Lock()

    def counted(self, samples: np.ndarray) -> np.ndarray:
        import weakref

        block = samples.copy()
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(block, self._gone)
        return block

    def _gone(self) -> None:
        with self.lock:
            self.now -= 1


# --- from Python


def test_an_array_gives_a_melody() -> None:
    told: list[float] = []
    melody = stemsplit.extract_melody(
        voice(2.0), 16000, vocals=True, model=NETWORK, device="cpu", on_progress=told.append
    )
    assert len(melody.contour) == 201
    assert melody.contour.hop == 0.01
    assert len(melody.notes.notes) == 1
    assert melody.notes.notes[0].midi == 57
    assert melody.warnings == ()
    assert told[-1] == pytest.approx(2.0)


def test_a_song_is_separated_first_from_python(tmp_path: Path) -> None:
    song = sung(tmp_path / "song.flac", 1.0, 440.0, 44100, channels=2)
    separator = FakeNetwork(FakeConfig(), gains=(0, 0, 0, 0.5))
    melody = stemsplit.extract_melody(song, model=NETWORK, separator=separator, device="cpu", tuning=440.0)
    assert melody.contour.voiced[10:-10].all()
    silent = FakeNetwork(FakeConfig(), gains=(1, 1, 1, 0))
    melody = stemsplit.extract_melody(str(song), model=NETWORK, separator=silent, device="cpu")
    assert melody.warnings == ("no vocals in it: nothing is sung",)
    assert melody.notes.notes == ()


@pytest.mark.parametrize("vocals", [True, False])
@pytest.mark.parametrize(
    ("samples", "rate", "error", "message"),
    [
        (np.full((1, 16000), np.nan), 16000, DecodeError, "NaN or infinity"),
        (np.full(44100, np.nan), 44100, DecodeError, "NaN or infinity"),
        (np.zeros((2, 0)), 16000, EmptyAudioError, "no samples"),
        (np.zeros(10), None, UsageError, "sample_rate"),
    ],
)
def test_what_is_no_audio_is_refused(
    samples: np.ndarray, rate: int | None, error: type[Exception], message: str, vocals: bool
) -> None:
    with pytest.raises(error, match=message):
        stemsplit.extract_melody(
            samples, rate, vocals=vocals, model=NETWORK, separator=FakeNetwork(FakeConfig()), device="cpu"
        )


def test_requests_that_are_refused_from_python() -> None:
    one = voice(0.1)
    drums = FakeNetwork(FakeConfig(stems=("drums",)), gains=(1,))
    with pytest.raises(UnknownStemError, match="vocals"):
        stemsplit.extract_melody(one, 16000, model=NETWORK, separator=drums)
    with pytest.raises(UsageError, match="hop"):
        stemsplit.extract_melody(one, 16000, vocals=True, model=NETWORK, hop_ms=-1.0)
    with pytest.raises(UsageError, match="--tuning"):
        stemsplit.extract_melody(one, 16000, vocals=True, model=NETWORK, tuning=0.0)


def test_a_real_network_is_loaded_once_and_used_twice(tmp_path: Path) -> None:
    folder = save_tiny_melody(tmp_path / "tiny-melody")
    network = stemsplit.load_melody_network(folder, device="cpu")
    assert isinstance(network, torch.nn.Module)
    by_network = stemsplit.extract_melody(voice(1.0), 16000, vocals=True, model=network, device="cpu")
    by_folder = stemsplit.extract_melody(voice(1.0), 16000, vocals=True, model=folder, device="cpu")
    assert np.array_equal(by_network.contour.frequency, by_folder.contour.frequency)
    with pytest.raises(UsageError, match="reads melodies"):
        stemsplit.separate(voice(1.0), 16000, model=folder)
