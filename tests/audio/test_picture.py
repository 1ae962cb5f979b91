"""A video with other sound: the picture is the same, bit by bit, at the same time as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from videos import pictures, write_video

from stemsplit.audio import StemWriter, blocks, probe
from stemsplit.audio.encoding.picture import picture_kind

Sound = Callable[..., np.ndarray]


def dubbed(video: Path, samples: np.ndarray, rate: int = 44100) -> Path:
    target = video.with_name("dubbed.mp4")
    with StemWriter(target, rate, len(samples), "mp4", "lossy", picture=(video, None)) as writer:
        for start in range(0, samples.shape[1], 10000):
            writer.write(samples[:, start : start + 10000])
    return target


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("frames", [1000, 44100, 100000])
def test_the_picture_stays_and_the_sound_is_new(tmp_path: Path, sound: Sound, frames: int, codec: str) -> None:
    video = write_video(tmp_path / "clip.mp4", sound(2, 52920), codec=codec)
    tone = np.tile(0.4 * np.sin(np.arange(frames) / 20), (2, 1)).astype(np.float32)
    made = dubbed(video, tone)
    assert pictures(made)[0] == pictures(video)[0]
    np.testing.assert_allclose(pictures(made)[1], pictures(video)[1], atol=1e-3)
    heard = np.concatenate(list(blocks(probe(made))), axis=1)
    assert heard.shape == (2, frames)
    assert np.corrcoef(heard.ravel(), tone.ravel())[0, 1] > 0.95
    first = made.read_bytes()
    assert dubbed(video, tone).read_bytes() == first


def test_sound_that_began_late_begins_late_again(tmp_path: Path, sound: Sound) -> None:
    video = write_video(tmp_path / "clip.mkv", sound(2, 44100), late=0.2)
    heard = np.concatenate(list(blocks(probe(video))), axis=1)
    made = dubbed(video, heard)
    assert pictures(made)[0] == pictures(video)[0]
    np.testing.assert_allclose(pictures(made)[1], pictures(video)[1], atol=1e-3)
    with av.open(str(made)) as file:
        stream = file.streams.audio[0]
        assert abs(float(stream.start_time * stream.time_base) - 0.2) < 0.03
    again = np.concatenate(list(blocks(probe(made))), axis=1)[:, 1024:]  # the silence that AAC begins with
    assert again.shape == heard.shape
    assert np.corrcoef(again.ravel(), heard.ravel())[0, 1] > 0.8


def test_what_has_a_picture(tmp_path: Path, sound: Sound) -> None:
    assert picture_kind(write_video(tmp_path / "clip.mp4", sound(2, 4410))) == "mpeg4"
    assert picture_kind(write_video(tmp_path / "clip.webm", sound(2, 48000, 48000), 48000, codec="libvpx")) == "vp8"
    soundfile.write(tmp_path / "song.wav", sound(2, 4410).T, 44100)
    (tmp_path / "text.mp4").write_text("no video")
    assert picture_kind(tmp_path / "song.wav") is None
    assert picture_kind(tmp_path / "text.mp4") is None
    assert picture_kind(tmp_path / "gone.mp4") is None


def test_a_failed_file_leaves_nothing(tmp_path: Path, sound: Sound) -> None:
    video = write_video(tmp_path / "clip.mp4", sound(2, 4410))

    def fail() -> None:
        with StemWriter(tmp_path / "a.mp4", 44100, 2, "mp4", "lossy", picture=(video, None)) as writer:
            writer.write(sound(2, 5000))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
