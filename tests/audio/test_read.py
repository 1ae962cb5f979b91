"""Reading: exact lengths, bounded memory, and one clear error for whatever is not whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from stemsplit.audio import AUDIO_SUFFIXES, blocks, ffmpeg, is_audio, probe
from stemsplit.audio.containers.mpeg import read_mpeg_header
from stemsplit.errors import AudioError, DecodeError, EmptyAudioError

Sound = Callable[..., np.ndarray]

LIBSNDFILE = [
    # container, subtype, suffix, bit depth, largest error
    ("WAV", "PCM_U8", "wav", "16", 2**-7),
    ("WAV", "PCM_16", "wav", "16", 2**-15),
    ("WAV", "PCM_24", "wav", "24", 2**-22),
    ("WAV", "PCM_32", "wav", "32f", 2**-23),
    ("WAV", "FLOAT", "wav", "32f", 0.0),
    ("WAV", "DOUBLE", "wav", "32f", 0.0),
    ("WAV", "ULAW", "wav", "lossy", 0.04),
    ("WAVEX", "PCM_24", "wav", "24", 2**-22),
    ("RF64", "PCM_24", "rf64", "24", 2**-22),
    ("W64", "PCM_24", "w64", "24", 2**-22),
    ("FLAC", "PCM_16", "flac", "16", 2**-15),
    ("FLAC", "PCM_24", "flac", "24", 2**-22),
    ("AIFF", "PCM_24", "aiff", "24", 2**-22),
    ("AIFF", "FLOAT", "aifc", "32f", 0.0),
    ("CAF", "PCM_16", "caf", "16", 2**-15),
    ("AU", "PCM_16", "au", "16", 2**-15),
]
LOSSY = [("MP3", "MPEG_LAYER_III", "mp3", 44100), ("OGG", "VORBIS", "ogg", 44100), ("OGG", "OPUS", "opus", 48000)]


def store(path: Path, samples: np.ndarray, container: str, subtype: str, rate: int = 44100) -> Path:
    with soundfile.SoundFile(path, "w", rate, len(samples), format=container, subtype=subtype) as file:
        for start in range(0, samples.shape[1], 4096):
            file.write(np.ascontiguousarray(samples[:, start : start + 4096].T))
    return path


def store_av(
    path: Path,
    samples: np.ndarray,
    codec: str,
    rate: int = 44100,
    container: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Encode (channels 1 or 2, n) with FFmpeg; the samples must survive as they are, but for the codec."""
    av = pytest.importorskip("av")
    layout = "stereo" if len(samples) == 2 else "mono"
    with av.open(str(path), "w", format=container) as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        size = stream.codec_context.frame_size or 1024
        fitting = av.AudioResampler(stream.format.name, layout, rate, frame_size=size)
        for part in [*fitting.resample(frame), *fitting.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path


def read(path: Path, **options: object) -> np.ndarray:
    return np.concatenate(list(blocks(path, **options)), axis=1)  # type: ignore[arg-type]


def lag(decoded: np.ndarray, samples: np.ndarray) -> int:
    """By how many samples the decoded sound comes late, from the peak of the cross-correlation."""
    size = 2 * samples.shape[1]
    spectrum = np.fft.rfft(decoded[0], size) * np.conj(np.fft.rfft(samples[0], size))
    at = int(np.fft.irfft(spectrum, size).argmax())
    return at if at < size // 2 else at - size


@pytest.mark.parametrize(("container", "subtype", "suffix", "depth", "error"), LIBSNDFILE)
def test_samples_and_length_are_exact(
    tmp_path: Path, sound: Sound, container: str, subtype: str, suffix: str, depth: str, error: float
) -> None:
    samples = sound(2, 10007)
    info = probe(store(tmp_path / f"a.{suffix}", samples, container, subtype, 48000))
    assert (info.sample_rate, info.channels, info.frames, info.bit_depth) == (48000, 2, 10007, depth)
    assert info.seconds == pytest.approx(10007 / 48000)
    parts = list(blocks(info, 1000))
    assert [part.shape for part in parts] == [(2, 1000)] * 10 + [(2, 7)]
    assert all(part.dtype == np.float32 and part.flags.c_contiguous for part in parts)
    assert np.abs(np.concatenate(parts, axis=1) - samples).max() <= error


@pytest.mark.parametrize(("container", "subtype", "suffix", "rate"), LOSSY)
@pytest.mark.parametrize("frames", [1, 2, 1151, 1152, 1153, 20011])
def test_lossy_formats_start_and_end_on_the_sample(
    tmp_path: Path, sound: Sound, container: str, subtype: str, suffix: str, rate: int, frames: int
) -> None:
    samples = sound(2, frames, rate)
    path = store(tmp_path / f"a.{suffix}", samples, container, subtype, rate)
    assert (probe(path).frames, probe(path).bit_depth) == (frames, "lossy")
    decoded = read(path)
    assert decoded.shape == (2, frames)
    if frames > 2000:
        assert lag(decoded, samples) == 0


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 5000), block=st.integers(1, 6000), channels=st.integers(1, 9))
def test_any_block_size_gives_the_same_samples(
    tmp_path_factory: pytest.TempPathFactory, frames: int, block: int, channels: int
) -> None:
    samples = np.random.default_rng(frames).uniform(-1, 1, (channels, frames)).astype(np.float32)
    path = store(tmp_path_factory.mktemp("blocks") / "a.wav", samples, "WAV", "FLOAT")
    parts = list(blocks(path, block))
    assert all(1 <= part.shape[1] <= block for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), samples)


@pytest.mark.parametrize("channels", [1, 3, 8, 64])
def test_many_channels_keep_their_order_and_shorten_the_blocks(tmp_path: Path, channels: int) -> None:
    samples = np.repeat(np.arange(channels, dtype=np.float32)[:, None] / 64, 66000, axis=1)
    path = store(tmp_path / "a.wav", samples, "WAV", "FLOAT")
    parts = list(blocks(path))
    assert max(part.nbytes for part in parts) <= 1 << 24
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), samples)


@pytest.mark.parametrize("name", ["Ünïcødé – 歌 🎵.flac", "-o.flac", "a b'c\"d.flac", "http:x.flac", "a.flac\n.flac"])
def test_names_of_every_kind(tmp_path: Path, sound: Sound, name: str) -> None:
    plain = store(tmp_path / "plain.flac", sound(1, 100), "FLAC", "PCM_16")
    assert read(plain.rename(tmp_path / name)).shape == (1, 100)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_names_that_are_no_text(tmp_path: Path, sound: Sound) -> None:
    for suffix, container, subtype in (("flac", "FLAC", "PCM_16"), ("mp3", "MP3", "MPEG_LAYER_III")):
        path = tmp_path / os.fsdecode(b"\xff\xfe." + suffix.encode())
        assert read(store(tmp_path / "plain", sound(1, 3000), container, subtype).rename(path)).shape == (1, 3000)


@pytest.mark.parametrize(("container", "subtype", "rate"), [row[:2] + row[3:] for row in LOSSY if row[2] != "ogg"])
def test_decoders_may_overshoot_full_scale(tmp_path: Path, container: str, subtype: str, rate: int) -> None:
    square = np.sign(np.sin(2 * np.pi * 441 * np.arange(48000) / rate))[None].astype(np.float32)
    decoded = read(store(tmp_path / "a", square, container, subtype, rate))
    assert np.abs(decoded).max() > 1.05


def test_not_a_number_becomes_silence_and_is_reported(tmp_path: Path, sound: Sound) -> None:
    samples = sound(2, 70000)
    samples[0, 5], samples[1, 69999], samples[0, 7] = np.nan, np.inf, -np.inf
    said: list[str] = []
    decoded = read(store(tmp_path / "a.wav", samples, "WAV", "FLOAT"), warn=said.append)
    assert said == ["a.wav: 3 samples were NaN or infinite and were read as silence"]
    np.testing.assert_array_equal(decoded, np.where(np.isfinite(samples), samples, 0))


def test_floats_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    loud = np.array([[3.5, -1e12, 2.0**-140]], dtype=np.float32)
    np.testing.assert_array_equal(read(store(tmp_path / "a.wav", loud, "WAV", "FLOAT")), loud)


@pytest.mark.parametrize("frames", [44100, 100000, 30001])
@pytest.mark.parametrize("channels", [1, 2])
def test_m4a_has_neither_delay_nor_padding(tmp_path: Path, sound: Sound, frames: int, channels: int) -> None:
    samples = sound(channels, frames)
    path = store_av(tmp_path / "a.m4a", samples, "aac")
    assert (probe(path).bit_depth, probe(path).channels, probe(path).decoder) == ("lossy", channels, "ffmpeg")
    decoded = read(path, block_samples=5000)
    assert decoded.shape == (channels, frames)
    assert lag(decoded, samples) == 0


@pytest.mark.parametrize(
    ("name", "codec", "depth", "error"),
    [("a.m4a", "alac", "24", 2**-22), ("a.mka", "flac", "16", 2**-15), ("a.mov", "pcm_s16le", "16", 2**-15)],
)
def test_lossless_codecs_in_other_containers_are_exact(
    tmp_path: Path, sound: Sound, name: str, codec: str, depth: str, error: float
) -> None:
    samples = sound(2, 30001)
    path = store_av(tmp_path / name, samples, codec)
    assert probe(path).bit_depth == depth
    decoded = read(path)
    assert decoded.shape == samples.shape
    assert np.abs(decoded - samples).max() <= error


def test_webm_and_raw_aac(tmp_path: Path, sound: Sound) -> None:
    samples = sound(2, 30001, 48000)
    decoded = read(store_av(tmp_path / "a.webm", samples, "libopus", 48000))
    assert decoded.shape == (2, 30001)
    assert lag(decoded, samples) == 0
    adts = read(store_av(tmp_path / "a.aac", sound(2, 30001), "aac", container="adts"))
    assert 0 <= adts.shape[1] - 30001 <= 3072  # such a file states neither its delay nor its padding


def test_apple_states_the_length_in_a_comment(tmp_path: Path, sound: Sound) -> None:
    av = pytest.importorskip("av")
    plain = store_av(tmp_path / "plain.m4a", sound(1, 30000), "aac")
    path = tmp_path / "a.m4a"
    with av.open(str(plain)) as source, av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as out:
        out.metadata["iTunSMPB"] = f" 00000000 00000400 00000250 {29990:016X} 00000000"
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    assert probe(path).frames == 29990
    assert read(path).shape == (1, 29990)


def without_first_frame(path: Path) -> Path:
    """Drop the Xing frame, which says how long an MP3 is."""
    data = path.read_bytes()
    start = data.find(data[:2], 4)
    while start < 150:
        start = data.find(data[:2], start + 1)
    path.write_bytes(data[start:])
    return path


def test_variable_bit_rate_without_a_length_is_read_to_its_end(tmp_path: Path) -> None:
    quiet_then_loud = np.random.default_rng(0).uniform(-1, 1, (1, 200000)).astype(np.float32)
    quiet_then_loud[:, :150000] *= 1e-4
    with soundfile.SoundFile(
        tmp_path / "a.mp3", "w", 44100, 1, format="MP3", compression_level=0.0, bitrate_mode="VARIABLE"
    ) as file:
        file.write(quiet_then_loud.T)
    path = without_first_frame(tmp_path / "a.mp3")
    assert probe(path).frames is None
    assert 200000 <= read(path).shape[1] <= 200000 + 3 * 1152  # whole frames: delay and padding are unknown now


def test_joined_files_are_read_to_the_end(tmp_path: Path, sound: Sound) -> None:
    for container, subtype, suffix, rate in LOSSY:
        path = store(tmp_path / f"a.{suffix}", sound(2, 30000, rate), container, subtype, rate)
        path.write_bytes(path.read_bytes() * 2)
        said: list[str] = []
        assert 60000 <= read(path, warn=said.append).shape[1] <= 65000, suffix  # the padding between them stays
        assert suffix != "mp3" or "longer than it says" in said[0]


def test_flac_from_a_pipe_states_no_length(tmp_path: Path, sound: Sound) -> None:
    path = store(tmp_path / "a.flac", sound(2, 30001), "FLAC", "PCM_16")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert probe(path).frames == 30001  # by its last frame
    assert read(path).shape == (2, 30001)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0])
def test_wav_from_a_pipe_is_read_to_its_end(tmp_path: Path, sound: Sound, size: int) -> None:
    path = store(tmp_path / "a.wav", sound(2, 30001), "WAV", "PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = data[4:8] = size.to_bytes(4, "little")
    path.write_bytes(data)
    assert read(path).shape == (2, 30001)


def test_tags_around_the_audio_do_not_shift_it(tmp_path: Path, sound: Sound) -> None:
    from mutagen.id3 import APIC, ID3

    picture = ID3()
    picture.add(APIC(encoding=3, mime="image/png", type=3, desc="", data=bytes(range(256)) * 2000))
    for container, subtype, suffix in (("MP3", "MPEG_LAYER_III", "mp3"), ("FLAC", "PCM_16", "flac")):
        samples = sound(1, 30001)
        path = store(tmp_path / f"a.{suffix}", samples, container, subtype)
        picture.save(path)
        path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
        decoded = read(path)
        assert decoded.shape == (1, 30001)
        assert lag(decoded, samples) == 0


def test_tags_that_are_no_text_do_not_matter(tmp_path: Path, sound: Sound) -> None:
    path = store_av(tmp_path / "a.m4a", sound(1, 5000), "alac", metadata={"title": "QQQQQQ"})
    assert path.read_bytes().count(b"QQQQQQ") == 1
    path.write_bytes(path.read_bytes().replace(b"QQQQQQ", b"\xff\xfe\xff\xc3(("))
    assert read(path).shape == (1, 5000)


@pytest.mark.parametrize(("container", "subtype", "suffix"), [(*row[:3],) for row in LIBSNDFILE[1:] if row[0] != "AU"])
@pytest.mark.parametrize("kept", [0.1, 0.6, 0.99])
def test_cut_off_files_are_refused(
    tmp_path: Path, sound: Sound, container: str, subtype: str, suffix: str, kept: float
) -> None:
    path = store(tmp_path / f"a.{suffix}", sound(2, 50000), container, subtype)
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(DecodeError, match=r"a\.\w+: damaged or cut off|: cut off") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("container", "subtype", "suffix", "rate"), LOSSY)
@pytest.mark.parametrize("kept", [0.02, 0.1, 0.6])
def test_cut_off_lossy_files_are_refused(
    tmp_path: Path, sound: Sound, container: str, subtype: str, suffix: str, rate: int, kept: float
) -> None:
    path = store(tmp_path / f"a.{suffix}", sound(2, 100000, rate), container, subtype, rate)
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(DecodeError):
        read(path)


def test_cut_off_m4a_is_refused(tmp_path: Path, sound: Sound) -> None:
    path = store_av(tmp_path / "a.m4a", sound(2, 200000), "aac")
    os.truncate(path, path.stat().st_size // 2)  # its table of contents is at the end
    with pytest.raises(DecodeError):
        read(path)


def test_a_few_missing_bytes_are_no_damage(tmp_path: Path, sound: Sound) -> None:
    path = store(tmp_path / "a.wav", sound(2, 1000), "WAV", "PCM_16")
    os.truncate(path, path.stat().st_size - 44)
    assert read(path).shape == (2, 989)


def spoil(path: Path, size: int) -> Path:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + size] = np.random.default_rng(1).bytes(size)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("container", "subtype", "rate"), [("FLAC", "PCM_16", 44100), *[r[:2] + r[3:] for r in LOSSY[1:]]]
)
def test_damage_in_the_middle_is_refused(tmp_path: Path, sound: Sound, container: str, subtype: str, rate: int) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 100000)).astype(np.float32)
    with pytest.raises(DecodeError, match="damaged"):
        read(spoil(store(tmp_path / "a", noise, container, subtype, rate), 3000))


def test_a_small_hole_in_an_mp3_is_filled_and_reported(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 400000)).astype(np.float32)
    said: list[str] = []
    path = spoil(store(tmp_path / "a.mp3", noise, "MP3", "MPEG_LAYER_III"), 1500)
    assert read(path, warn=said.append).shape == (2, 400000)
    assert any("silence" in line for line in said)
    with pytest.raises(DecodeError):
        read(spoil(path, 60000))


@pytest.mark.parametrize("suffix", sorted(AUDIO_SUFFIXES))
def test_text_and_noise_under_an_audio_name_are_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(7).bytes(100_000)
    for content in (b"no audio at all\n" * 3000, noise, bytes(50_000), b"R", b"RIFF"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        with pytest.raises(AudioError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["list.m3u8", "list.wav", "list.mp3"])
def test_a_playlist_opens_no_other_file(tmp_path: Path, sound: Sound, name: str) -> None:
    other = store(tmp_path / "other.wav", sound(1, 48000), "WAV", "PCM_16")
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {other}\n",
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DecodeError, match="not audio"):
            read(tmp_path / name)


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    with pytest.raises(EmptyAudioError, match=r"empty\.wav: the file is empty"):
        probe(tmp_path / "empty.wav")
    for container, suffix in (("WAV", "wav"), ("FLAC", "flac"), ("AIFF", "aiff"), ("OGG", "ogg"), ("MP3", "mp3")):
        path = store(
            tmp_path / f"zero.{suffix}", np.zeros((2, 0), np.float32), container, soundfile.default_subtype(container)
        )
        with pytest.raises(AudioError):
            read(path)
    with pytest.raises(DecodeError, match="no such file"):
        probe(tmp_path / "missing.wav")
    with pytest.raises(DecodeError, match="is a folder"):
        probe(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(DecodeError, match="pipe or device"):
        probe(tmp_path / "pipe.wav")


def test_a_file_without_permission(tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path / "a.wav", sound(1, 10), "WAV", "PCM_16")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DecodeError, match=r"a\.wav: permission denied"):
        probe(path)


def test_a_film_without_sound(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        out.mux(stream.encode(None))
    with pytest.raises(DecodeError, match="no sound track"):
        probe(tmp_path / "a.mp4")


class _Failing:
    """An open file whose disk dies, or whose user presses Ctrl-C, after some reads."""

    def __init__(self, path: Path, error: BaseException, reads: int) -> None:
        self._file, self._error, self._left = path.open("rb"), error, reads
        self.seek, self.tell = self._file.seek, self._file.tell

    def readinto(self, buffer: memoryview) -> int:
        self._count()
        return self._file.readinto(buffer)

    def read(self, size: int = -1) -> bytes:
        self._count()
        return self._file.read(size)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error

    def __enter__(self) -> _Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.mark.parametrize("format", ["WAV", "MP3"])
@pytest.mark.parametrize(
    ("error", "seen"), [(OSError(5, "Input/output error"), DecodeError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_what_happens_inside_a_callback_is_not_lost(
    tmp_path: Path,
    sound: Sound,
    monkeypatch: pytest.MonkeyPatch,
    format: str,
    error: BaseException,
    seen: type[BaseException],
) -> None:
    path = store(tmp_path / "a", sound(2, 900000), format, soundfile.default_subtype(format))
    info = probe(path)
    failing = _Failing(path, error, 8)
    monkeypatch.setattr(Path, "open", lambda self, mode: failing)
    with pytest.raises(seen) as caught:
        list(blocks(info))
    assert seen is KeyboardInterrupt or "input/output error" in str(caught.value)


def test_is_audio_goes_by_suffix_and_skips_hidden_files() -> None:
    assert is_audio(Path("a/B.FLAC"))
    assert is_audio(Path("x.m4a"))
    assert not is_audio(Path("x.txt"))
    assert not is_audio(Path(".x.wav"))
    assert not is_audio(Path("wav"))


def test_the_mp3_header_is_read_for_every_kind(tmp_path: Path) -> None:
    for rate in (8000, 11025, 16000, 22050, 32000, 48000):
        for channels in (1, 2):
            path = store(tmp_path / "a.mp3", np.zeros((channels, 5001), np.float32), "MP3", "MPEG_LAYER_III", rate)
            header = read_mpeg_header(path)
            assert header is not None
            assert header.samples == 5001


def test_importing_is_light() -> None:
    heavy = ("torch", "av", "librosa", "mutagen", "scipy")
    code = f"import sys, stemsplit.audio; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


_PEAK_MEMORY = """
import sys
from pathlib import Path
from stemsplit.audio import blocks
print(sum(block.shape[1] for block in blocks(Path(sys.argv[1]))))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the peak")
@pytest.mark.parametrize("name", ["a.flac", "a.m4a"])
def test_memory_does_not_grow_with_the_length(tmp_path: Path, sound: Sound, name: str) -> None:
    peaks = []
    for half_minutes in (1, 5):
        samples = np.tile(sound(2, 44100), half_minutes * 30)
        path = tmp_path / f"{half_minutes}{name}"
        if name == "a.m4a":
            store_av(path, samples, "alac")
        else:
            store(path, samples, "FLAC", "PCM_16")
        frames, peak = map(int, subprocess.check_output([sys.executable, "-c", _PEAK_MEMORY, path]).split())
        assert frames == samples.shape[1]
        peaks.append(peak / 1024)
    assert peaks[1] - peaks[0] < 8  # MiB; two more minutes as float32 would be 40


NO_SOUND = {".avif", ".heic", ".heif", ".ism", ".isma", ".ismv", ".psp", ".mks", ".apl"}  # pictures, subtitles, lists


def test_every_name_that_a_decoder_knows_is_found_in_a_folder() -> None:
    av = pytest.importorskip("av")
    for name in ffmpeg._CONTAINERS.split(","):
        known = {f".{suffix}" for suffix in av.format.ContainerFormat(name, "r").extensions}
        assert known - NO_SOUND <= AUDIO_SUFFIXES, name
    for suffix in ("m2ts", "mts", "vob", "ogv", "3g2", "mpga", "dff", "mka", "tak", "spx", "wmv", "rm", "ra", "mpp"):
        assert is_audio(Path(f"a.{suffix}")), suffix


def dsdiff(seconds: float = 0.2) -> bytes:
    """A DSDIFF file of one channel, 64 times 44.1 kHz: half of the bits set, as for silence."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + len(data).to_bytes(8, "big") + data + bytes(len(data) % 2)

    rate = 64 * 44100
    properties = chunk(b"FS  ", rate.to_bytes(4, "big")) + chunk(b"CHNL", b"\0\1C   ") + chunk(b"CMPR", b"DSD \0\0")
    samples = chunk(b"DSD ", b"\x69" * int(seconds * rate / 8))
    return chunk(b"FRM8", b"DSD " + chunk(b"FVER", b"\1\5\0\0") + chunk(b"PROP", b"SND " + properties) + samples)


def test_dsdiff_is_read_and_its_end_is_missed(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.dff"
    path.write_bytes(dsdiff())
    assert read(path).shape == (1, 8 * 44100 // 5)
    path.write_bytes(dsdiff()[:-5000])
    with pytest.raises(DecodeError, match="cut off: the last 5000 bytes are missing"):
        read(path)


def test_the_end_of_dsf_is_missed(tmp_path: Path) -> None:
    pytest.importorskip("av")
    block = b"\x69" * 4096
    form = (
        b"fmt "
        + (52).to_bytes(8, "little")
        + b"".join(number.to_bytes(4, "little") for number in (1, 0, 1, 1, 64 * 44100, 1, 8 * 4096 * 10, 0, 4096, 0))
    )
    data = b"data" + (12 + 10 * 4096).to_bytes(8, "little") + 10 * block
    whole = b"DSD " + (28).to_bytes(8, "little") + (28 + 52 + len(data)).to_bytes(8, "little") + bytes(8) + form + data
    path = tmp_path / "a.dsf"
    path.write_bytes(whole)
    assert read(path).shape == (1, 10 * 4096)
    path.write_bytes(whole[:-4096])
    with pytest.raises(DecodeError, match="cut off: the last 4096 bytes are missing"):
        read(path)
