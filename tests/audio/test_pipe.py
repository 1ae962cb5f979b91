"""Standard input and output."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemsplit.audio import RawFormat, blocks, parse_raw, probe, spool_stdin, write_stream
from stemsplit.errors import DecodeError, EmptyAudioError, OutputError, UsageError

Sound = Callable[..., np.ndarray]


def read(path: Path) -> np.ndarray:
    return np.concatenate(list(blocks(path)), axis=1)


def test_parse_raw() -> None:
    assert parse_raw("44100:2:s16le") == RawFormat(44100, 2, "s16le")
    assert parse_raw("8000:1:F32LE").frame_bytes == 4
    assert parse_raw("48000:6:s24le").frame_bytes == 18


@pytest.mark.parametrize(
    "spec", ["", "44100", "44100:2", "44100:2:s16le:x", "a:2:s16le", "0:2:s16le", "44100:0:s16le", "44100:-1:s16le",
             "44100:2:s16", "44100:2000:s16le", "44.1:2:s16le", "99999999999:2:s16le", "²:2:s16le",
             "9" * 5000 + ":2:s16le", "8000:" + "9" * 5000 + ":s16le"],
)  # fmt: skip
def test_raw_formats_that_are_none(spec: str) -> None:
    with pytest.raises(UsageError, match="--raw") as caught:
        parse_raw(spec)
    assert repr(spec[:80]) in str(caught.value)


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", None)]
)
def test_any_format_comes_through_a_pipe(tmp_path: Path, sound: Sound, format: str, subtype: str | None) -> None:
    soundfile.write(tmp_path / "a", sound(2, 20001).T, 44100, format=format, subtype=subtype)
    with spool_stdin(io.BytesIO((tmp_path / "a").read_bytes()), folder=tmp_path) as path:
        assert path.stem == "stdin"
        assert probe(path).frames == 20001
        assert read(path).shape == (2, 20001)
    assert [left.name for left in tmp_path.iterdir()] == ["a"]


def test_a_pipe_longer_than_the_disk_can_spare_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5 << 20))  # of which half may be taken

    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            self.given += len(buffer)
            return len(buffer)

    endless = Endless()
    with (
        pytest.raises(OutputError, match=r"longer than the 3 MB that .* has room for: set TMPDIR"),
        spool_stdin(io.BufferedReader(endless), folder=tmp_path),
    ):
        pass
    assert endless.given < 5 << 20
    assert not list(tmp_path.iterdir())


def test_a_pipe_that_cannot_be_read_is_not_a_full_disk(tmp_path: Path) -> None:
    class WriteOnly(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(9, "Bad file descriptor")

    with pytest.raises(DecodeError, match="input: it cannot be read: bad"), spool_stdin(WriteOnly(), folder=tmp_path):
        pass


_SCALES = {"u8": 2.0**7, "s16le": 2.0**15, "s24le": 2.0**23, "s32le": 2.0**31}


@pytest.mark.parametrize("sample_type", ["u8", "s16le", "s24le", "s32le", "f32le", "f64le"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_raw_samples(sample_type: str, channels: int) -> None:
    values = np.linspace(-1, 0.99, 1001 * channels).reshape(1001, channels)
    if sample_type[0] == "f":
        data, error = values.astype("<" + {"f32le": "f4", "f64le": "f8"}[sample_type]).tobytes(), 1e-7
    else:
        integers = np.floor(values * _SCALES[sample_type]).astype("<i8") + (128 if sample_type == "u8" else 0)
        width = RawFormat(1, 1, sample_type).frame_bytes
        data, error = integers[..., None].view(np.uint8)[..., :width].tobytes(), 1 / _SCALES[sample_type] + 1e-7
    with spool_stdin(io.BytesIO(data), RawFormat(22050, channels, sample_type)) as path:
        info = probe(path)
        assert (info.sample_rate, info.channels, info.frames) == (22050, channels, 1001)
        assert np.abs(read(path) - values.T).max() <= error


def test_raw_samples_that_end_inside_a_frame() -> None:
    with (
        pytest.raises(DecodeError, match="7 bytes do not fill 4-byte frames"),
        spool_stdin(io.BytesIO(bytes(7)), parse_raw("44100:2:s16le")),
    ):
        pass


@pytest.mark.parametrize("raw", [None, RawFormat(44100, 2, "s16le")])
def test_nothing_on_standard_input(tmp_path: Path, raw: RawFormat | None) -> None:
    with pytest.raises(EmptyAudioError, match="standard input: nothing came"), spool_stdin(io.BytesIO(), raw, tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_noise_on_standard_input_is_named() -> None:
    with spool_stdin(io.BytesIO(b"hello" * 1000)) as path, pytest.raises(DecodeError, match="stdin: not audio"):
        probe(path)


def test_the_copy_goes_on_any_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), spool_stdin(io.BytesIO(b"x"), folder=tmp_path):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="temporary folder"), spool_stdin(io.BytesIO(b"x"), folder=tmp_path / "none"):
        pass


@pytest.mark.parametrize("depth", ["16", "24", "32f"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("channels", "frames"), [(1, 1001), (2, 5000), (6, 1)])
def test_wav_to_standard_output(
    tmp_path: Path, sound: Sound, depth: str, known: bool, channels: int, frames: int
) -> None:
    samples, out = sound(channels, frames), io.BytesIO()
    parts = [samples[:, :100], samples[:, 100:]]
    assert write_stream(out, parts, 48000, channels, depth, frames=frames if known else None)
    (tmp_path / "a.wav").write_bytes(out.getvalue())
    info = probe(tmp_path / "a.wav")
    assert (info.sample_rate, info.channels, info.frames, info.bit_depth) == (48000, channels, frames, depth)
    assert np.abs(read(tmp_path / "a.wav") - samples).max() <= {"16": 2**-16, "24": 2**-24, "32f": 0}[depth]
    if known and depth != "32f" and channels <= 2:
        with wave.open(io.BytesIO(out.getvalue())) as file:
            assert file.getnframes() == frames
    sizes = out.getvalue()[4:8]
    assert sizes == ((len(out.getvalue()) - 8).to_bytes(4, "little") if known else b"\xff" * 4)


def test_bare_samples_to_standard_output(sound: Sound) -> None:
    samples, out = sound(2, 777), io.BytesIO()
    assert write_stream(out, [samples], 48000, 2, "32f", raw=True)
    np.testing.assert_array_equal(np.frombuffer(out.getvalue(), "<f4").reshape(-1, 2).T, samples)


@pytest.mark.parametrize(("channels", "frames"), [(1, 1001), (2, 5000)])
@pytest.mark.parametrize("stated", [None, 17])
def test_a_file_that_output_is_redirected_to_has_a_true_header(
    tmp_path: Path, sound: Sound, channels: int, frames: int, stated: int | None
) -> None:
    samples, path = sound(channels, frames), tmp_path / "a.wav"
    with path.open("wb") as out:
        out.write(b"before")  # as in (echo; stemsplit) > file
        assert write_stream(out, [samples], 48000, channels, "24", frames=stated)
        out.write(b"behind")
    data = path.read_bytes()
    assert data.startswith(b"before")
    assert data.endswith(b"behind")
    with wave.open(io.BytesIO(data[6:-6])) as file:
        assert file.getnframes() == frames
    assert data[10:14] == (len(data) - 12 - 8).to_bytes(4, "little")


@pytest.mark.skipif(os.name != "posix", reason="only POSIX tells that a file is appended to")
def test_what_is_appended_to_a_file_stays_as_it_was_sent(tmp_path: Path, sound: Sound) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with path.open("ab") as out:
        assert write_stream(out, [sound(2, 500)], 48000, 2, "16")
    data = path.read_bytes()
    assert data[:10] == b"beforeRIFF"
    assert data.count(b"RIFF") == 1
    assert len(data) == 6 + 80 + 2000


def test_a_wrong_length_beforehand_is_a_mistake_of_the_caller(sound: Sound) -> None:
    with pytest.raises(OutputError, match="states 778 samples, and 777 came"):
        write_stream(io.BytesIO(), [sound(2, 777)], 48000, 2, "16", frames=778)


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "import sys, numpy as np; from stemsplit.audio import write_stream;"
        "endless = (np.zeros((2, 65536), np.float32) for _ in iter(int, 1));"
        "print(write_stream(sys.stdout.buffer, endless, 44100, 2, '16'), file=sys.stderr)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.read(4) == b"RIFF"
        program.stdout.close()
        assert program.stderr.read().decode() == "False\n"
    assert program.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_redirection_to_a_full_disk() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(OutputError, match="standard output: no space"),
    ):
        write_stream(full, [np.zeros((2, 100), np.float32)], 44100, 2, "16")
