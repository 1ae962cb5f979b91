"""The recipe that packs singing with known pitch: labels in time, test singers left out, resuming."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import melody_data as recipe
from stemsplit.training.examples.clips import find_clips


@pytest.fixture
def mir1k(tmp_path: Path) -> Path:
    """Two clips of one second; one is a test singer's."""
    folder = tmp_path / "mir1k"
    folder.mkdir()
    time = np.arange(16000) / 16000
    for name in ("khair_1_01", "amy_1_01"):
        for part, hertz in (("voice", 220), ("accomp", 330)):
            path = folder / f"{name}.{part}.opus"
            soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time), 16000, format="OGG", subtype="OPUS")
    np.savez(folder / "labels.npz", khair_1_01=np.full(48, 57.0, np.float32), amy_1_01=np.full(48, 57.0, np.float32))
    return folder


def test_a_label_belongs_to_its_own_time() -> None:
    """label[i] is the pitch at 0.02 (i + 1) s."""
    label = np.array([0, 69, 70, 0, 69, 57], np.float32)
    f0 = recipe.pitch_of(label, 160 * 15)
    assert len(f0) == 16
    np.testing.assert_allclose(f0[[2, 4, 6, 8]], [0, 440, 440 * 2 ** (1 / 12), 0], rtol=1e-6)
    assert np.isnan(f0[[0, 1, 13, 14, 15]]).all()  # before the first label and after the last
    assert np.isnan(f0[[3, 7, 9]]).all()  # between sung and unsung: nobody knows
    assert np.isnan(f0[11])  # a leap of an octave between two labels
    assert np.isnan(f0[5])  # a semitone apart is a leap too


def test_between_two_labels_of_one_note_the_pitch_is_their_mean() -> None:
    f0 = recipe.pitch_of(np.array([60.0, 60.5, 60.5], np.float32), 160 * 6)
    assert f0[3] == pytest.approx(440 * 2 ** ((60.25 - 69) / 12))


def test_clips_are_packed_once_and_test_singers_are_left_out(mir1k: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert recipe.main(["--mir1k", str(mir1k), "--out", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == ["khair_1_01.npz"]
    arrays = np.load(out / "khair_1_01.npz")
    assert arrays["voice"].dtype == np.int16
    assert len(arrays["voice"]) == len(arrays["accompaniment"]) == 16000
    assert len(arrays["f0"]) == 101
    assert np.nanmedian(arrays["f0"]) == pytest.approx(220, rel=1e-4)
    written = (out / "khair_1_01.npz").stat().st_mtime_ns
    recipe.main(["--mir1k", str(mir1k), "--out", str(out)])
    assert (out / "khair_1_01.npz").stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["another rate", "no audio"])
def test_what_cannot_be_read_is_named(
    mir1k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = mir1k / "khair_1_01.voice.opus"
    if damage == "no audio":
        path.write_bytes(b"no audio")
    else:
        soundfile.write(path, np.zeros(8000), 8000, format="OGG", subtype="OPUS")
    assert recipe.main(["--mir1k", str(mir1k), "--out", str(tmp_path / "out")]) == 1
    assert "khair_1_01.voice.opus" in capsys.readouterr().err


def test_rendered_songs_become_voice_accompaniment_and_pitch(tmp_path: Path) -> None:
    song = tmp_path / "songs" / "train" / "0007"
    song.mkdir(parents=True)
    (song / "song.json").write_text("{}")
    for stem, level in (("vocals", 1000), ("drums", 2000), ("bass", 3000), ("other", 4000)):
        np.save(song / f"{stem}.npy", np.full((44100, 2), level, np.int16))
    np.save(song / "vocals_f0.npy", np.repeat([0.0, 200.0], 101).astype(np.float32))
    recipe.main(["--songs", str(tmp_path / "songs"), "--out", str(tmp_path / "out")])
    (clip,) = find_clips(tmp_path / "out")
    assert clip.path.name == "song_train_0007.npz"
    assert (clip.frames, clip.singer, clip.sung, clip.separated) == (100, "song", True, False)
    arrays = np.load(clip.path)
    assert arrays["accompaniment"][8000] == pytest.approx(9000, abs=2)
    assert arrays["voice"][8000] == pytest.approx(1000, abs=2)
    assert len(arrays["f0"]) == 101
    assert set(arrays["f0"]) == {0, 200}
    assert recipe.contents(tmp_path / "out") == "1 clips, 0.0 minutes, 0.0 of them sung at a known pitch"


def test_what_a_separator_made_is_added(mir1k: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stemsplit.api import separation as api

    def halve(mixture: np.ndarray, rate: int, **_: object) -> api.Separation:
        assert rate == 44100
        return api.Separation({"vocals": mixture / 2}, rate, "fake")

    monkeypatch.setattr(api, "load_network", lambda reference, device: None)
    monkeypatch.setattr(api, "separate", halve)
    recipe.main(["--mir1k", str(mir1k), "--separator", "fake", "--out", str(tmp_path / "out")])
    arrays = np.load(tmp_path / "out" / "khair_1_01.npz")
    assert len(arrays["separated"]) == len(arrays["voice"])
    assert -5 <= arrays["snr_db"] <= 10
    assert np.abs(arrays["separated"]).max() > 1000


def test_the_gain_puts_the_music_where_it_should_be() -> None:
    rng = np.random.default_rng(0)
    voice, music = rng.standard_normal(1000), 7 * rng.standard_normal(1000)
    gain = recipe.gain_for(voice, music, 15.0)
    assert 10 * np.log10(np.square(voice).sum() / np.square(gain * music).sum()) == pytest.approx(15)
    assert recipe.gain_for(voice, np.zeros(1000), 0.0) == 0
