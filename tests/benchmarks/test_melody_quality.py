"""The melody benchmark: its clips, its mixtures, its trackers, and what it prints, on clips of its own making."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from stemsplit.melody.contour import Contour
from stemsplit.networks.melody_cnn import MelodyCNN, MelodyCNNConfig
from stemsplit.weights.checkpoint import save

pytest.importorskip("mir_eval")

RATE = 16000
HZ = 440 * 2 ** ((60 - 69) / 12)
SMALL = MelodyCNNConfig(
    kernels=16, positions=(4, 3), module_channels=(3, 4), bottleneck=2, time_channels=8, time_dilations=(1, 2), bins=30
)  # fmt: skip


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import melody_quality

    return melody_quality


@pytest.fixture(scope="session")
def mir1k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of one singer and one of another, laid out like MIR-1K: half a second of silence, then a C4."""
    folder = tmp_path_factory.mktemp("mir1k")
    labels = {}
    for name, level in (("amy_1_01", 0.1), ("amy_1_02", 0.2), ("amy_2_01", 0.1), ("bug_1_01", 0.1)):
        seconds = np.arange(RATE) / RATE
        sung = seconds >= 0.5
        write(folder / f"{name}.voice.opus", level * sung * np.sin(2 * np.pi * HZ * seconds))
        write(folder / f"{name}.accomp.opus", 0.3 * np.sin(2 * np.pi * 1000 * seconds))
        times = 0.02 * np.arange(1, 49)  # ends 40 ms before the clip does
        labels[name] = np.where(times >= 0.5, 60, 0).astype(np.float32)
    np.savez(folder / "labels.npz", **labels)
    return folder


def write(path: Path, samples: np.ndarray) -> None:
    soundfile.write(path, samples.astype(np.float32), RATE, format="OGG", subtype="OPUS")


def knowing(settings: object) -> object:
    """A tracker that names C4 from half a second on, after a moment's work."""

    def track(samples: np.ndarray) -> Contour:
        began = time.process_time()
        while time.process_time() - began < 0.001:
            pass
        voiced = np.arange(1 + len(samples) // 160) * 0.01 >= 0.5
        return Contour(0.01, np.full(len(voiced), HZ), voiced.astype(np.float32), voiced)

    return track


def deaf(settings: object) -> object:
    """A tracker that hears nothing."""

    def track(samples: np.ndarray) -> Contour:
        frames = 1 + len(samples) // 256
        return Contour(0.016, np.zeros(frames), np.zeros(frames, np.float32), np.zeros(frames, bool))

    return track


def absent(settings: object) -> object:
    raise ImportError("No module named 'absent'")


@pytest.fixture
def fakes(quality: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality.trackers, "PEERS", {"knowing": knowing, "deaf": deaf, "absent": absent})


def test_clips_of_a_singer_are_evenly_spaced(quality: ModuleType, mir1k: Path) -> None:
    assert quality.clip_names(mir1k, ["amy"], None) == ["amy_1_01", "amy_1_02", "amy_2_01"]
    assert quality.clip_names(mir1k, ["amy", "bug"], 2) == ["amy_1_01", "amy_2_01", "bug_1_01"]
    assert quality.clip_names(mir1k, ["bug"], 9) == ["bug_1_01"]
    assert quality.clip_names(mir1k, ["amy"], None, ["amy_1"]) == ["amy_2_01"]
    with pytest.raises(SystemExit, match="no clip of nobody"):
        quality.clip_names(mir1k, ["nobody"], None)


def test_the_first_label_stands_at_twenty_milliseconds(quality: ModuleType) -> None:
    truth = quality.true_contour(np.array([0, 69, 81], np.float32))
    assert truth.times.tolist() == [0, 0.02, 0.04, 0.06]
    assert truth.voiced.tolist() == [False, False, True, True]
    assert truth.frequency[2:] == pytest.approx([440, 880])


def test_the_voice_keeps_its_level_and_the_accompaniment_gets_one(quality: ModuleType, mir1k: Path) -> None:
    clip = quality.read_clip(mir1k, "amy_1_02")
    assert clip.voice.dtype == np.float32
    assert len(clip.voice) == RATE
    for level in (0.0, -15.0):
        added = quality.mixture(clip, level) - clip.voice
        assert 20 * np.log10(quality.rms(added) / quality.rms(clip.voice)) == pytest.approx(level, abs=1e-3)


def test_silence_mixes_with_anything(quality: ModuleType, mir1k: Path) -> None:
    clip = quality.read_clip(mir1k, "bug_1_01")
    silence, truth = np.zeros(RATE, np.float32), clip.truth
    assert (quality.mixture(quality.Clip("a", clip.voice, silence, truth), 0.0) == clip.voice).all()
    assert (quality.mixture(quality.Clip("a", silence, clip.accompaniment, truth), 0.0) == 0).all()


def test_another_rate_is_refused(quality: ModuleType, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 44100)
    with pytest.raises(SystemExit, match="44100 Hz"):
        quality.read_sound(tmp_path / "a.wav")


@pytest.mark.usefixtures("fakes")
def test_trackers_are_scored_in_every_condition(
    quality: ModuleType, mir1k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--mir1k", mir1k, "--singers", "amy", "bug", "--trackers", "knowing", "deaf", "absent"]
    arguments += ["--conditions", "voice", "0dB", "--json", tmp_path / "out.json"]
    assert quality.main([str(argument) for argument in arguments]) == 0
    told = capsys.readouterr()
    assert "4 clips of amy, bug" in told.out
    assert "left out: absent: No module named 'absent'" in told.err
    rows = {line.split()[0]: line.split()[1:] for line in told.out.splitlines() if line}
    assert rows["knowing"][:5] == ["100.00", "100.00", "100.00", "100.00", "0.00"]
    assert rows["deaf"][1:5] == ["0.00", "0.00", "0.00", "0.00"]
    found = json.loads((tmp_path / "out.json").read_text())
    assert list(found["conditions"]) == ["voice", "0dB"]
    assert found["skipped"] == {"absent": "absent: No module named 'absent'"}
    scored = found["conditions"]["voice"]["knowing"]
    assert scored["mean"]["overall_accuracy"] == scored["total"]["overall_accuracy"] == 1
    assert scored["total"]["frames"] == 4 * 49
    assert sorted(scored["clips"]) == ["amy_1_01", "amy_1_02", "amy_2_01", "bug_1_01"]
    assert 0.001 <= scored["cpu_seconds_per_second"] < 0.5


@pytest.mark.usefixtures("fakes")
def test_nothing_to_compare_is_said(quality: ModuleType, mir1k: Path) -> None:
    with pytest.raises(SystemExit, match="none of the trackers is here"):
        quality.main(["--mir1k", str(mir1k), "--trackers", "absent"])


def test_separated_vocals_are_kept_for_another_run(
    quality: ModuleType, mir1k: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiny import save_tiny

    model = save_tiny(tmp_path / "tiny")
    clip = quality.read_clip(mir1k, "amy_1_01")
    first = quality.separated(str(model), tmp_path / "cache")(clip)
    assert first.shape == clip.voice.shape
    assert len(list(tmp_path.glob("cache/*/*"))) == 1
    monkeypatch.setattr("stemsplit.api.separation.separate", lambda *a, **k: pytest.fail("separated again"))
    assert (quality.separated(str(model), tmp_path / "cache")(clip) == first).all()


def test_a_song_is_read_behind_the_separator(
    quality: ModuleType, mir1k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiny import save_tiny

    network = save(MelodyCNN(SMALL).eval(), tmp_path / "small", name="small")
    separator = save_tiny(tmp_path / "tiny")
    given = ["--mir1k", str(mir1k), "--singers", "bug", "--trackers", "ours", "--conditions", "song"]
    assert quality.main([*given, "--model", str(network), "--separator", str(separator)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("song") for line in lines)
    assert any("small" in line for line in lines)


def test_our_network_is_a_tracker_like_the_others(
    quality: ModuleType, mir1k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = save(MelodyCNN(SMALL).eval(), tmp_path / "model", name="small", license="CC0-1.0")
    arguments = ["--mir1k", mir1k, "--singers", "bug", "--trackers", "ours", "--model", model, "--conditions", "voice"]
    arguments += ["--smooth", "none", "--voicing-threshold", "0"]
    assert quality.main([str(argument) for argument in arguments]) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith(str(model)[-31:])
    assert row.split()[-5] == "100.00"  # voicing recall: with a threshold of 0 every frame is sung


def test_speed_is_measured_in_turns(
    quality: ModuleType, mir1k: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quality.trackers, "PEERS", {"knowing": knowing, "deaf": deaf})
    arguments = ["--mir1k", str(mir1k), "--singers", "amy", "--trackers", "knowing", "deaf", "--speed"]
    assert quality.main([*arguments, "--minutes", "0.05", "--repeats", "2"]) == 0
    told = capsys.readouterr()
    assert "3 s of singing, medians of 2 repeats" in told.out
    assert [line.split()[0] for line in told.out.splitlines()[-2:]] == ["knowing", "deaf"]
    assert [line.split()[1] for line in told.err.splitlines()] == ["knowing", "deaf"] * 3


def test_a_torchaudio_that_cannot_load_does_not_stop_pesto(
    quality: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> ModuleType:
        raise OSError("libc10_cuda.so: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "torchaudio", ModuleType("half loaded"))
    monkeypatch.setattr(quality.trackers.importlib, "import_module", broken)
    quality.trackers._stand_in_for_torchaudio()
    assert sys.modules["torchaudio"].__name__ == "torchaudio"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pyin", "swift-f0", "pesto"])
def test_peers_hear_a_voice_in_its_place(quality: ModuleType, name: str) -> None:
    try:
        track = quality.trackers.load(name, quality.trackers.Settings())
    except ImportError as error:
        pytest.skip(str(error))
    seconds = np.arange(2 * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * k * HZ * seconds) / k for k in range(1, 9)) * (seconds >= 1)
    contour = track((0.1 * voice).astype(np.float32))
    sung = contour.times > 1.1
    assert contour.voiced[sung & (contour.times < 1.9)].all()
    assert not contour.voiced[contour.times < 0.9].any()
    assert np.abs(1200 * np.log2(contour.frequency[contour.voiced & sung] / HZ)).max() < 30


@pytest.mark.slow
def test_the_speed_of_our_command_is_measured(
    quality: ModuleType, mir1k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = save(MelodyCNN(SMALL).eval(), tmp_path / "model", name="small", license="CC0-1.0")
    arguments = ["--mir1k", mir1k, "--singers", "amy", "--trackers", "ours", "--model", model, "--speed"]
    assert quality.main([str(argument) for argument in [*arguments, "--minutes", "0.05", "--repeats", "1"]]) == 0
    rows = capsys.readouterr().out.splitlines()[-3:]
    assert [float(row.split()[-1]) > 0 for row in rows] == [True] * 3
