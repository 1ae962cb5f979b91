"""Files that are not what their headers state: nothing is lost in silence, and nothing is swapped."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemsplit.audio import StemWriter, blocks, choose_depth, probe
from stemsplit.audio.containers.chunks import read_chunks
from stemsplit.audio.containers.flac import read_flac_length
from stemsplit.audio.containers.frames import frame_bytes
from stemsplit.errors import AudioError, DamagedError, UsageError

av = pytest.importorskip("av")
RATE, SAMPLES = 44100, 132300
Change = Callable[[bytearray], bytes | bytearray | None]


@pytest.fixture(scope="module")
def song() -> np.ndarray:
    """Three seconds, stereo: tones with noise, so that every place is another one."""
    time = np.arange(SAMPLES) / RATE
    noise = 0.05 * np.random.default_rng(3).standard_normal((2, SAMPLES))
    return (np.stack([np.sin(2 * np.pi * pitch * time) for pitch in (220, 331)]) * 0.3 + noise).astype(np.float32)


def store(path: Path, samples: np.ndarray, container: str, subtype: str = "PCM_16", rate: int = RATE) -> Path:
    with soundfile.SoundFile(path, "w", rate, len(samples), format=container, subtype=subtype) as file:
        for start in range(0, samples.shape[1], 4096):
            file.write(np.ascontiguousarray(samples[:, start : start + 4096].T))
    return path


def encode(
    path: Path, tracks: list[tuple[np.ndarray, int]], codec: str, layout: str | None = None, **options: str
) -> Path:
    """Encode (channels, n) at a rate, track by track, with FFmpeg. The container goes by the suffix."""
    with av.open(str(path), "w", options=options) as out:
        streams = []
        for samples, rate in tracks:
            layout_name = layout or ("stereo" if len(samples) == 2 else "mono")
            streams.append((out.add_stream(codec, rate=rate, layout=layout_name), samples, rate, layout_name))
            if codec == "wmav2":
                streams[-1][0].bit_rate = 128000
        for stream, samples, rate, layout_name in streams:
            flat = np.ascontiguousarray(samples.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(flat, format="flt", layout=layout_name)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            size = stream.codec_context.frame_size or 1024
            fitting = av.AudioResampler(stream.format.name, layout_name, rate, frame_size=size)
            for part in [*fitting.resample(frame), *fitting.resample(None)]:
                out.mux(stream.encode(part))
            out.mux(stream.encode(None))
    return path


def copied(source: Path, target: Path, start: float, stop: float) -> Path:
    """Copy the packets between two times, in seconds, as a cutter does that does not decode."""
    with av.open(str(source)) as file, av.open(str(target), "w") as out:
        track = file.streams.audio[0]
        copy = out.add_stream_from_template(track)
        for packet in file.demux(track):
            if packet.pts is not None and packet.size and start <= packet.pts * track.time_base < stop:
                packet.stream = copy
                out.mux(packet)
    return target


def changed(path: Path, change: Change) -> Path:
    data = bytearray(path.read_bytes())
    path.write_bytes(change(data) or data)
    return path


def kept(share: float) -> Change:
    return lambda data: data[: int(len(data) * share)]


def read(path: Path, **options: object) -> tuple[np.ndarray, list[str]]:
    """Return the samples of a file, and what was said about them."""
    said: list[str] = []
    info = probe(path, **options)  # type: ignore[arg-type]
    return np.concatenate(list(blocks(info, 5000, warn=said.append)), axis=1), said


def id3(size: int) -> bytes:
    return b"ID3\x04\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + bytes(size)


def stated(name: bytes, at: int, format: str, value: int) -> Change:
    """Write another number at some bytes after a chunk's name."""
    return lambda data: struct.pack_into(format, data, data.index(name) + at, value)


# --- Headers of chunks: tags in front, sizes that are too small, too large or wrapped

CHUNKS = [("WAV", "wav"), ("AIFF", "aiff"), ("W64", "w64"), ("RF64", "rf64"), ("CAF", "caf"), ("AU", "au")]
HALF = SAMPLES * 2  # bytes
TOO_SMALL = {
    "wav": stated(b"data", 4, "<I", HALF),
    "aiff": stated(b"SSND", 4, ">I", HALF + 8),
    "w64": stated(b"data\xf3", 16, "<Q", HALF + 24),
    "rf64": stated(b"ds64", 16, "<Q", HALF),
    "caf": stated(b"data", 4, ">q", HALF + 4),
    "au": stated(b".snd", 8, ">I", HALF),
}


@pytest.mark.parametrize(("container", "suffix"), [*CHUNKS, ("FLAC", "flac")])
def test_a_tag_in_front_costs_nothing(tmp_path: Path, song: np.ndarray, container: str, suffix: str) -> None:
    path = store(tmp_path / f"a.{suffix}", song, container)
    whole, _ = read(path)
    found, said = read(changed(path, lambda data: id3(90000) + id3(500) + data))
    assert np.array_equal(found, whole)
    assert not said
    with pytest.raises(DamagedError, match="cut off"):
        read(changed(path, kept(0.6)))


@pytest.mark.parametrize(("container", "suffix"), CHUNKS)
def test_a_size_that_is_too_small_is_not_believed(
    tmp_path: Path, song: np.ndarray, container: str, suffix: str
) -> None:
    path = store(tmp_path / f"a.{suffix}", song, container)
    whole, _ = read(path)
    found, said = read(changed(path, TOO_SMALL[suffix]))
    assert np.array_equal(found, whole)
    assert probe(path).frames == SAMPLES
    assert len(said) == 1
    assert "more bytes of samples than its header states" in said[0]


@pytest.mark.parametrize(("container", "suffix"), CHUNKS)
def test_a_size_that_is_too_large_is_refused_or_salvaged(
    tmp_path: Path, song: np.ndarray, container: str, suffix: str
) -> None:
    path = store(tmp_path / f"a.{suffix}", song, container)
    whole, _ = read(path)
    changed(path, kept(0.5))
    with pytest.raises(DamagedError, match="cut off"):
        read(path)
    found, said = read(path, salvage=True)
    assert 0 < whole.shape[1] // 2 - found.shape[1] < 2000
    assert np.array_equal(found, whole[:, : found.shape[1]])
    assert said[0].startswith("salvaged: ")


LIST = b"LIST" + struct.pack("<I", 212) + b"INFOISFT" + struct.pack("<I", 200) + bytes(200)


@pytest.mark.parametrize(
    "rest",
    [
        LIST,
        LIST[:-100],  # the file ends inside of it
        b"\0" + LIST,  # padded although that is not needed
        LIST + b"id3 " + struct.pack("<I", 70000) + bytes(70000),
        b"TAG" + bytes(125),
        id3(500),
        bytes(2048),  # to the end of a sector
        b"\0\0\0",
    ],
)
def test_what_stands_behind_the_samples_is_no_sound(tmp_path: Path, song: np.ndarray, rest: bytes) -> None:
    path = store(tmp_path / "a.wav", song, "WAV")
    whole, _ = read(path)
    found, said = read(changed(path, lambda data: data + rest))
    assert np.array_equal(found, whole)
    assert not said


def test_chunks_behind_a_size_that_is_too_small_are_no_sound(tmp_path: Path, song: np.ndarray) -> None:
    path = store(tmp_path / "a.wav", song, "WAV")
    whole, _ = read(path)
    changed(path, TOO_SMALL["wav"])
    assert np.array_equal(read(changed(path, lambda data: data + LIST))[0], whole)


@pytest.mark.parametrize("behind", [b"", LIST])
def test_a_size_that_wrapped_at_4_gib(tmp_path: Path, behind: bytes) -> None:
    size, path = (1 << 32) + 400000, tmp_path / "long.wav"
    with path.open("wb") as file:
        head = struct.pack("<IHHIIHH", 16, 1, 2, RATE, RATE * 4, 4, 16)
        file.write(b"RIFF" + bytes(4) + b"WAVEfmt " + head + b"data" + struct.pack("<I", size & 0xFFFFFFFF))
        file.seek(44 + size)  # the samples take no place on the disk
        file.write(behind or b"")
        file.truncate(44 + size + len(behind))
    found = read_chunks(path)
    assert found is not None
    assert (found.surplus, found.large, found.view.end) == (1 << 32, True, 44 + size)
    info = probe(path)
    assert info.decoder == "ffmpeg"
    assert next(blocks(info)).shape == (2, 65536)


# --- FLAC


def total(samples: int) -> Change:
    """State another number of samples in the header of a FLAC."""

    def change(data: bytearray) -> None:
        at = data.index(b"fLaC") + 21
        data[at : at + 5] = (data[at] >> 4 << 36 | samples).to_bytes(5, "big")

    return change


@pytest.mark.parametrize("said_samples", [0, SAMPLES // 2, SAMPLES - 1, 2 * SAMPLES])
def test_a_flac_is_as_long_as_its_frames(tmp_path: Path, song: np.ndarray, said_samples: int) -> None:
    path = store(tmp_path / "a.flac", song, "FLAC")
    whole, _ = read(path)
    found, said = read(changed(path, total(said_samples)))
    assert np.array_equal(found, whole)
    assert probe(path).frames == SAMPLES
    assert bool(said) == bool(said_samples)


@pytest.mark.parametrize(("start", "stop"), [(1.0, 2.0), (0.0, 1.5), (2.0, 9.0)])
def test_a_flac_that_was_cut_without_decoding(tmp_path: Path, song: np.ndarray, start: float, stop: float) -> None:
    path = store(tmp_path / "a.flac", song, "FLAC")
    whole, _ = read(path)
    cut = copied(path, tmp_path / "cut.flac", start, stop)
    found, said = read(cut)
    first = -(-int(start * RATE) // 4096) * 4096
    assert 0 < found.shape[1] < SAMPLES
    assert np.array_equal(found, whole[:, first : first + found.shape[1]])
    assert probe(cut).frames == found.shape[1]
    assert "its header states" in said[0]


def crc(data: bytes, bits: int, polynomial: int) -> int:
    """The remainder of a division of polynomials, bit by bit."""
    rest = 0
    for byte in data:
        rest ^= byte << bits - 8
        for _ in range(8):
            rest = (rest << 1 ^ (polynomial if rest >> bits - 1 else 0)) & (1 << bits) - 1
    return rest


def test_a_flac_with_frames_of_several_sizes(tmp_path: Path, song: np.ndarray) -> None:
    """The parts of two files become one, whose frames count samples and not frames."""
    head, frames, at = b"", b"", 0
    for size in (4608, 1152, 576):
        path = tmp_path / f"{size}.flac"
        part = song[:, at : at + 5 * size]
        with av.open(str(path), "w") as out:
            stream = out.add_stream("flac", rate=RATE, layout="stereo")
            stream.codec_context.options = {"frame_size": str(size)}
            fitting = av.AudioResampler("s16", "stereo", RATE, frame_size=size)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE, 0
            for piece in [*fitting.resample(frame), *fitting.resample(None)]:
                out.mux(stream.encode(piece))
            out.mux(stream.encode(None))
        head = head or path.read_bytes()[:42]
        with av.open(str(path)) as file:
            for packet in file.demux(audio=0):
                if packet.size:
                    frames += renumbered(bytes(packet), at)
                    at += packet.duration
    path = tmp_path / "several.flac"
    head = head[:4] + b"\x80" + head[5:8] + struct.pack(">HH", 576, 4608) + bytes(6) + head[18:26] + bytes(16)
    path.write_bytes(head + frames)
    changed(path, total(at))
    found, _ = read(path)
    assert found.shape == (2, at)
    assert np.abs(found - song[:, :at]).max() < 2**-14
    length = read_flac_length(path)
    assert length is not None
    assert (length.stated, length.found, length.variable) == (at, at, True)


def renumbered(frame: bytes, first_sample: int) -> bytes:
    """Return a FLAC frame that states the number of its first sample."""
    coded = 1 if frame[4] < 128 else 8 - (frame[4] ^ 255).bit_length()
    code = frame[2] >> 4
    rest = frame[4 + coded : 4 + coded + {6: 1, 7: 2}.get(code, 0)]
    number = chr(first_sample).encode("utf-8") if first_sample < 0xD800 else b""
    assert number
    head = bytes([frame[0], frame[1] | 1, *frame[2:4]]) + number + rest
    head += bytes([crc(head, 8, 0x07)])
    body = head + frame[4 + coded + len(rest) + 1 : -2]
    return body + crc(body, 16, 0x8005).to_bytes(2, "big")


def test_a_damaged_flac_is_refused_and_its_hole_stays_in_its_place(tmp_path: Path, song: np.ndarray) -> None:
    for header in (SAMPLES, 0):
        path = changed(store(tmp_path / "a.flac", song, "FLAC"), total(header))
        whole, _ = read(path)

        def spoil(data: bytearray) -> None:
            data[200000:200004] = b"\x12\x34\x56\x78"

        with pytest.raises(DamagedError):
            read(changed(path, spoil))
        found, said = read(path, salvage=True)
        assert found.shape == whole.shape
        assert np.array_equal(found[:, -30000:], whole[:, -30000:])
        assert said[0].startswith("salvaged: ")


def test_a_cut_flac_is_salvaged_to_its_last_frame(tmp_path: Path, song: np.ndarray) -> None:
    path = store(tmp_path / "a.flac", song, "FLAC")
    whole, _ = read(path)
    with pytest.raises(DamagedError, match="damaged or cut off"):
        read(changed(path, kept(0.3)))
    found, _ = read(path, salvage=True)
    assert 0.2 * SAMPLES < found.shape[1] < 0.4 * SAMPLES
    sure = found.shape[1] - 4096  # the frame that is not whole is silence
    assert np.array_equal(found[:, :sure], whole[:, :sure])


# --- Several parts, several forms, several tracks


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("WAV", "PCM_16"), ("AIFF", "PCM_24")],
)
def test_joined_files_are_read_part_by_part(tmp_path: Path, song: np.ndarray, container: str, subtype: str) -> None:
    first = store(tmp_path / "a", song[:, :40000], container, subtype, 48000)
    second = store(tmp_path / "b", song[:1, 40000:90000], container, subtype, 24000)
    parts = read(first)[0], read(second)[0]
    first.write_bytes(first.read_bytes() + second.read_bytes())
    found, said = read(first)
    assert found.shape == (2, 40000 + 100000)
    assert np.array_equal(found[:, :40000], parts[0])
    assert abs(np.corrcoef(found[0, 40000::2], parts[1][0])[0, 1]) > 0.99
    assert any("changes from 48000 Hz × 2 to 24000 Hz × 1" in line for line in said)


@pytest.mark.parametrize(
    ("first", "second"), [((1, 44100), (2, 44100)), ((2, 44100), (2, 48000)), ((2, 32000), (1, 44100))]
)
def test_mp3s_that_change_their_form(
    tmp_path: Path, song: np.ndarray, first: tuple[int, int], second: tuple[int, int]
) -> None:
    data = b""
    for name, (channels, rate) in (("a", first), ("b", second)):
        path = store(tmp_path / f"{name}.mp3", song[:channels, :60000], "MP3", "MPEG_LAYER_III", rate)
        data += path.read_bytes() + id3(3000) * (name == "a")
    (tmp_path / "joined.mp3").write_bytes(data)
    found, said = read(tmp_path / "joined.mp3")
    wanted = 60000 + 60000 * first[1] / second[1]
    assert len(found) == first[0]
    assert wanted - 10 <= found.shape[1] < wanted + 5000
    assert any("on the way: all of it is read as" in line for line in said)


def test_one_of_several_tracks(tmp_path: Path, song: np.ndarray) -> None:
    tracks = [(song[:1, :48000], 48000), (song[:, :96000], 48000)]
    for suffix, codec in (("mka", "flac"), ("m4a", "aac"), ("ogg", "libopus")):
        path = encode(tmp_path / f"a.{suffix}", tracks, codec)
        found, said = read(path)
        assert found.shape == (1, 48000)
        assert "of its sound tracks (1 " in said[0]
        assert "1 is read: --audio-track chooses another" in said[0]
        found, said = read(path, track=2)
        assert found.shape == (2, 96000)
        assert not said
        with pytest.raises(UsageError, match=r"--audio-track 3: .* has 2 sound tracks"):
            probe(path, track=3)


# --- The second opinion


def test_opus_whose_packets_go_on_in_the_next_page(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, (2, 144000)).astype(np.float32)
    path = tmp_path / "a.opus"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libopus", rate=48000, layout="stereo")
        stream.codec_context.options = {"vbr": "off", "b": "510000"}
        stream.bit_rate = 510000
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, 0
        fitting = av.AudioResampler("flt", "stereo", 48000, frame_size=960)
        for part in [*fitting.resample(frame), *fitting.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    found, said = read(path)
    assert found.shape == (2, 144000)
    assert np.corrcoef(found[0], noise[0])[0, 1] > 0.9
    assert said == [line for line in said if "FFmpeg read it to its end" in line]


@pytest.mark.parametrize(("subtype", "suffix"), [("VORBIS", "ogg"), ("OPUS", "opus")])
def test_ogg_that_begins_before_its_clock(tmp_path: Path, song: np.ndarray, subtype: str, suffix: str) -> None:
    path = store(tmp_path / f"a.{suffix}", song[:, :96000], "OGG", subtype, 48000)
    late = tmp_path / f"late.{suffix}"
    with av.open(str(path)) as file, av.open(str(late), "w", options={"avoid_negative_ts": "disabled"}) as out:
        copy = out.add_stream_from_template(file.streams.audio[0])
        for packet in file.demux(audio=0):
            if packet.size:
                packet.pts -= 30000
                packet.dts -= 30000
                packet.stream = copy
                out.mux(packet)
    found, _ = read(late)
    assert 96000 <= found.shape[1] <= 96000 + 1000


def test_mp3_in_a_wav(tmp_path: Path, song: np.ndarray) -> None:
    mp3 = store(tmp_path / "a.mp3", song, "MP3", "MPEG_LAYER_III")
    path = tmp_path / "a.wav"
    with av.open(str(mp3)) as file, av.open(str(path), "w", format="wav") as out:
        copy = out.add_stream_from_template(file.streams.audio[0])
        for packet in file.demux(audio=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    found, _ = read(path)
    assert SAMPLES <= found.shape[1] <= SAMPLES + 3 * 1152


# --- Containers that only FFmpeg reads: cut off, or with noise inside

STATING = [
    ("webm", "libopus"),
    ("mka", "aac"),
    ("mka", "pcm_s16le"),
    ("avi", "pcm_s16le"),
    ("avi", "libmp3lame"),
    ("flv", "libmp3lame"),
    ("wma", "wmav2"),
    ("wv", "wavpack"),
    ("tta", "tta"),
    ("m4a", "aac"),
    ("au", "pcm_s16be"),
    ("oga", "flac"),
    ("opus", "libopus"),
]
SILENT = [("aac", "aac"), ("ac3", "ac3"), ("eac3", "eac3"), ("mp2", "mp2"), ("ts", "mp2")]


def rate_of(codec: str) -> int:
    return 48000 if codec == "libopus" else RATE


@pytest.mark.parametrize(("suffix", "codec"), STATING)
def test_what_ends_before_it_says_is_refused(tmp_path: Path, song: np.ndarray, suffix: str, codec: str) -> None:
    options = {"movflags": "faststart"} if suffix == "m4a" else {}
    path = encode(tmp_path / f"a.{suffix}", [(song, rate_of(codec))], codec, **options)
    whole, said = read(path)
    assert abs(whole.shape[1] - SAMPLES) < 4700
    assert not said
    changed(path, kept(0.45))
    with pytest.raises(DamagedError, match=r"cut off|damaged"):
        read(path)
    found, said = read(path, salvage=True)
    assert 0.1 * SAMPLES < found.shape[1] < 0.75 * SAMPLES
    assert any(line.startswith("salvaged: ") for line in said)
    assert np.abs(found[:, :9000] - whole[:, :9000]).max() < 1e-3


@pytest.mark.parametrize(("suffix", "codec"), SILENT)
def test_what_states_no_length_tells_of_a_frame_that_is_not_whole(
    tmp_path: Path, song: np.ndarray, suffix: str, codec: str
) -> None:
    path = encode(tmp_path / f"a.{suffix}", [(song, RATE)], codec)
    whole, said = read(path)
    assert SAMPLES <= whole.shape[1] < SAMPLES + 4700
    assert not said
    size = path.stat().st_size // 2
    changed(path, lambda data: data[: size // 188 * 188 if suffix == "ts" else size])
    found, said = read(path)
    assert 0.3 * SAMPLES < found.shape[1] < 0.6 * SAMPLES
    assert any(text in line for text in ("not whole", "damaged", "in the middle of a packet") for line in said)


def test_a_transport_stream_ends_inside_of_a_packet_or_between_two(tmp_path: Path, song: np.ndarray) -> None:
    path = encode(tmp_path / "a.ts", [(song, RATE)], "aac")
    assert not read(path)[1]
    data = path.read_bytes()
    told = []
    for packets in range(200, 232):
        path.write_bytes(data[: packets * 188])
        told.append(any("in the middle of a packet" in line for line in read(path)[1]))
    assert 16 < sum(told) < 32
    path.write_bytes(data[: 200 * 188 + 50])
    assert any("in the middle of a packet" in line for line in read(path)[1])


CHECKED = [row for row in STATING if not row[1].startswith("pcm")]  # bare samples cannot tell


@pytest.mark.parametrize(("suffix", "codec"), [*CHECKED, *SILENT, ("mp3", "libmp3lame")])
def test_noise_in_the_middle_is_never_silent(tmp_path: Path, song: np.ndarray, suffix: str, codec: str) -> None:
    path = encode(tmp_path / f"a.{suffix}", [(song, rate_of(codec))], codec)
    whole, _ = read(path)

    def spoil(data: bytearray) -> None:
        middle, size = len(data) // 2, max(4000, len(data) // 12)
        data[middle : middle + size] = np.random.default_rng(1).bytes(size)

    try:
        found, said = read(changed(path, spoil))
    except DamagedError:
        return
    assert said
    assert -100 <= whole.shape[1] - found.shape[1] < 0.2 * SAMPLES


def test_a_stream_without_a_duration_that_was_cut(tmp_path: Path, song: np.ndarray) -> None:
    path = encode(tmp_path / "a.webm", [(song, 48000)], "libopus", live="1")
    assert read(path)[1] == []
    with pytest.raises(DamagedError, match="cut off"):
        read(changed(path, kept(0.503)))


def test_sound_may_be_shorter_than_the_picture(tmp_path: Path, song: np.ndarray) -> None:
    for suffix, codec in (("mkv", "aac"), ("avi", "libmp3lame"), ("mp4", "aac"), ("ts", "aac"), ("wmv", "wmav2")):
        path = tmp_path / f"a.{suffix}"
        with av.open(str(path), "w") as out:
            film = out.add_stream("wmv2" if suffix == "wmv" else "mpeg4", rate=25)
            film.width = film.height = 32
            sound = out.add_stream(codec, rate=RATE, layout="stereo")
            sound.bit_rate = 128000
            for number in range(150):
                picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8), format="rgb24")
                out.mux(film.encode(picture))
            out.mux(film.encode(None))
            frame = av.AudioFrame.from_ndarray(song, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE, 0
            size = sound.codec_context.frame_size or 1024
            fitting = av.AudioResampler(sound.format.name, "stereo", RATE, frame_size=size)
            for part in [*fitting.resample(frame), *fitting.resample(None)]:
                out.mux(sound.encode(part))
            out.mux(sound.encode(None))
        assert abs(read(path)[0].shape[1] - SAMPLES) < 4700, suffix


# --- Channels


LAYOUTS = {3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def tones(channels: int, rate: int = 48000, seconds: float = 0.5) -> np.ndarray:
    """A tone of its own in each channel; those that a bass channel may hold in the fourth."""
    pitches = [60 if at == 3 and channels > 5 else 300 + 200 * at for at in range(channels)]
    time = np.arange(int(rate * seconds)) / rate
    return np.stack([0.2 * np.sin(2 * np.pi * pitch * time) for pitch in pitches]).astype(np.float32)


def pitches_of(samples: np.ndarray, rate: int = 48000) -> list[int]:
    """The loudest frequency of each channel, in Hz, to the next ten."""
    window = samples[:, :rate] * np.hanning(min(rate, samples.shape[1]))
    loudest = np.abs(np.fft.rfft(window, rate)).argmax(axis=1)
    return [int(round(pitch, -1)) for pitch in loudest]


def referee(path: Path) -> np.ndarray:
    """What FFmpeg decodes, (channels, n), in the order of its layouts, which is that of WAV."""
    parts = []
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            frame.pts, layout = None, frame.layout
            fitting = av.AudioResampler("flt", layout, frame.sample_rate)
            parts += [part.to_ndarray().reshape(-1, len(layout.channels)).T for part in fitting.resample(frame)]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("channels", LAYOUTS)
@pytest.mark.parametrize(
    ("container", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("WAV", "PCM_16")]
)
def test_channels_are_read_in_the_order_of_wav(tmp_path: Path, channels: int, container: str, subtype: str) -> None:
    path = store(tmp_path / "a", tones(channels), container, subtype, 48000)
    assert pitches_of(read(path)[0]) == pitches_of(referee(path))


@pytest.mark.parametrize(("suffix", "codec"), [("opus", "libopus"), ("m4a", "aac"), ("flac", "flac"), ("mka", "opus")])
@pytest.mark.parametrize("channels", [3, 5, 6, 8])
def test_channels_of_other_encoders(tmp_path: Path, channels: int, suffix: str, codec: str) -> None:
    codec = "libopus" if codec == "opus" else codec
    path = encode(tmp_path / f"a.{suffix}", [(tones(channels), 48000)], codec, LAYOUTS[channels])
    assert pitches_of(read(path)[0]) == pitches_of(referee(path))


@pytest.mark.parametrize("channels", LAYOUTS)
@pytest.mark.parametrize("format", ["ogg", "opus", "flac", "wav"])
def test_channels_are_written_in_the_order_of_the_format(tmp_path: Path, channels: int, format: str) -> None:
    samples, path = tones(channels), tmp_path / f"a.{format}"
    with StemWriter(path, 48000, channels, format, choose_depth(format)) as writer:
        writer.write(samples)
    with av.open(str(path)) as file:
        assert file.streams.audio[0].codec_context.layout.name.removesuffix("(side)") == LAYOUTS[channels]
    assert pitches_of(referee(path)) == pitches_of(samples)
    assert pitches_of(read(path)[0]) == pitches_of(samples)


def test_every_fault_is_an_error_of_audio(tmp_path: Path, song: np.ndarray) -> None:
    """A spoiled header is read to some end or refused; nothing else is raised."""
    rng = np.random.default_rng(5)
    for container, suffix in [*CHUNKS, ("FLAC", "flac")]:
        data = store(tmp_path / f"a.{suffix}", song[:, :9000], container).read_bytes()
        for _ in range(12):
            spoiled = bytearray(data)
            for at in rng.integers(0, min(len(data), 4200), 4):
                spoiled[at] = rng.integers(256)
            path = tmp_path / f"b.{suffix}"
            path.write_bytes(spoiled[: rng.integers(1, len(spoiled))])
            for salvage in (False, True):
                with suppress(AudioError):
                    read(path, salvage=salvage)


@pytest.mark.parametrize(
    ("suffix", "codec", "rates"),
    [
        ("aac", "aac", (8000, 44100, 96000)),
        ("ac3", "ac3", (32000, 44100, 48000)),
        ("eac3", "eac3", (32000, 44100, 48000)),
        ("mp3", "libmp3lame", (8000, 22050, 32000, 44100, 48000)),
        ("mp2", "mp2", (16000, 24000, 44100, 48000)),
    ],
)
def test_a_frame_has_the_size_that_its_header_says(
    tmp_path: Path, song: np.ndarray, suffix: str, codec: str, rates: tuple[int, ...]
) -> None:
    for rate in rates:
        path = encode(tmp_path / f"{rate}.{suffix}", [(song[:, :20000], rate)], codec)
        with av.open(str(path)) as file:
            name = file.streams.audio[0].codec_context.name
            packets = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
        assert len(packets) > 5
        assert [frame_bytes(name, packet[:7]) for packet in packets] == [len(packet) for packet in packets]
    assert frame_bytes(name, b"no frame") == 0
    assert frame_bytes("opus", packets[0]) is None
