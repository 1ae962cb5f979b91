"""Headers and tags that ask for gigabytes or minutes: refused by name, or gone without, in little memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import stemsplit
from stemsplit.audio import Resampler, blocks, parse_raw, probe, read_tags, resample
from stemsplit.audio.containers.boxes import missing_bytes
from stemsplit.audio.containers.chunks import read_chunks
from stemsplit.audio.containers.tags import hiding_tags
from stemsplit.audio.info import LOUDEST, form_problem
from stemsplit.audio.tags import MOST_TEXT
from stemsplit.errors import AudioError, DamagedError, DecodeError, UsageError
from stemsplit.machine.bounded import BeyondBoundsError, bounded
from stemsplit.options import SeparateOptions
from stemsplit.runs.separate import check_options

av = pytest.importorskip("av")


def wav(rate: int, channels: int, data: bytes = bytes(6000), more: bytes = b"") -> bytes:
    """Return a 16-bit WAV whatever its header says; `more` are chunks behind the samples."""
    frame = 2 * channels & 0xFFFF
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * frame & 0xFFFFFFFF, frame, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data)) + data + more
    return b"RIFF" + struct.pack("<I", len(body)) + body


def aiff(rate: int, channels: int) -> bytes:
    """Return a 16-bit AIFF; a rate of 80 bits is written exactly."""
    exponent = rate.bit_length() - 1
    extended = struct.pack(">HQ", 16383 + exponent, rate << 63 - exponent)
    data = bytes(6000)
    comm = b"COMM" + struct.pack(">IhIh", 18, channels, len(data) // (2 * channels), 16) + extended
    body = b"AIFF" + comm + b"SSND" + struct.pack(">III", len(data) + 8, 0, 0) + data
    return b"FORM" + struct.pack(">I", len(body)) + body


def au(rate: int, channels: int) -> bytes:
    return b".snd" + struct.pack(">IIIII", 24, 6000, 3, rate, channels) + bytes(6000)


def matroska(rate: float, channels: int) -> bytes:
    """Return a Matroska file of PCM in one cluster."""

    def element(name: str, *content: bytes) -> bytes:
        data = b"".join(content)
        return bytes.fromhex(name) + (len(data) | 1 << 56).to_bytes(8, "big") + data

    head = element("1A45DFA3", element("4282", b"matroska"))
    sound = element(
        "E1", element("B5", struct.pack(">d", rate)), element("9F", bytes([channels])), element("6264", b"\x10")
    )
    entry = element("AE", *(element(name, b"\1") for name in ("D7", "73C5")), element("83", b"\2"),
                    element("86", b"A_PCM/INT/LIT"), sound)  # fmt: skip
    cluster = element("1F43B675", element("E7", b"\0"), element("A3", b"\x81\0\0\x80", bytes(6000)))
    return head + element("18538067", element("1549A966"), element("1654AE6B", entry), cluster)


def w64(rate: int, channels: int) -> bytes:
    return stored("W64", wav(44100, 2)[44:], rate, channels)


def stored(container: str, data: bytes, rate: int, channels: int) -> bytes:
    """Return what libsndfile writes, with another rate and number of channels put into the "fmt " chunk."""
    import io

    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(data, "<i2").reshape(-1, 2), 44100, format=container, subtype="PCM_16")
    whole = bytearray(file.getvalue())
    at = whole.index(struct.pack("<HHI", 1, 2, 44100))
    whole[at + 2 : at + 8] = struct.pack("<HI", channels, rate)
    whole[at + 12 : at + 14] = struct.pack("<H", 2 * channels & 0xFFFF)
    return bytes(whole)


def rf64(rate: int, channels: int) -> bytes:
    whole = wav(rate, channels)
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, len(whole) + 28, 6000, 1500, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + whole[12:]


WRITERS = {"wav": wav, "rf64": rf64, "w64": w64, "aiff": aiff, "au": au, "mkv": matroska}


@pytest.mark.parametrize("container", WRITERS)
@pytest.mark.parametrize(
    ("rate", "channels", "text"),
    [
        (1, 2, "1 Hz"), (999, 2, "999 Hz"), (10**6 + 1, 2, "1000001 Hz"), (10**8, 2, "100000000 Hz"),
        (2**31 - 1, 2, "Hz"), (44100, 65, "65 channels"), (44100, 255, "255 channels"),
    ],
)  # fmt: skip
def test_forms_that_no_music_has(tmp_path: Path, container: str, rate: int, channels: int, text: str) -> None:
    path = tmp_path / f"a.{container}"
    path.write_bytes(WRITERS[container](rate, channels))
    with pytest.raises(DecodeError, match=rf"a\.{container}: ") as caught:
        list(blocks(path))
    assert text in str(caught.value) or "channels" in str(caught.value)
    assert "known" in str(caught.value) or "knows" in str(caught.value) or "states no" in str(caught.value)


@pytest.mark.parametrize("container", WRITERS)
@pytest.mark.parametrize(("rate", "channels"), [(1000, 1), (10**6, 2), (44100, 64)])
def test_forms_at_the_bounds_are_read(tmp_path: Path, container: str, rate: int, channels: int) -> None:
    path = tmp_path / f"a.{container}"
    path.write_bytes(WRITERS[container](rate, channels))
    info = probe(path)
    assert (info.sample_rate, info.channels) == (rate, channels)
    assert sum(block.shape[1] for block in blocks(info)) >= 6000 // (2 * channels)


@pytest.mark.parametrize("channels", [1024, 2000, 65535, 0])
def test_channels_by_the_thousand(tmp_path: Path, channels: int) -> None:
    (tmp_path / "a.wav").write_bytes(wav(44100, channels))
    with pytest.raises(DecodeError, match=r"a\.wav: .*channels"):
        probe(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("spec", "text"),
    [("1:2:s16le", "1 Hz"), ("100000000:2:s16le", "100000000 Hz"), ("44100:65:s16le", "65 channels"),
     ("44100:0:u8", "0 channels"),
     (f"{'9' * 5000}:2:s16le", "RATE:CHANNELS:FORMAT")],
)  # fmt: skip
def test_raw_samples_have_the_same_bounds(spec: str, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        parse_raw(spec)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("rate", [1, 999, 10**6 + 1, 10**30])
def test_stems_and_arrays_have_the_same_bounds(rate: int) -> None:
    with pytest.raises(UsageError, match=f"{rate} Hz: stemsplit knows 1000 to 1000000 Hz"):
        check_options(SeparateOptions(sample_rate=rate))
    with pytest.raises(UsageError, match=f"{rate} Hz"):
        stemsplit.separate(np.zeros((2, 100)), rate, model="nowhere")


def test_arrays_of_many_channels() -> None:
    with pytest.raises(UsageError, match="65 channels"):
        stemsplit.separate(np.zeros((65, 100)), 44100, model="nowhere")
    assert form_problem(44100.5, 64) is None


# --- levels


@pytest.mark.parametrize("value", [1e13, -1e13, 3e38, -3e38])
def test_samples_that_are_no_sound_blame_the_file(tmp_path: Path, value: float) -> None:
    samples = np.zeros((50000, 2), np.float32)
    samples[40000, 1] = value
    soundfile.write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    with pytest.raises(DecodeError, match=r"a\.wav: not audio: it holds samples of \d\.0e\+"):
        list(blocks(tmp_path / "a.wav"))


def test_integers_that_nobody_divided_are_read(tmp_path: Path) -> None:
    samples = np.array([[2.0**31, -(2.0**31)]] * 100, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
    assert next(blocks(tmp_path / "a.wav")).max() == 2.0**31 < LOUDEST


# --- sample rates in pieces


def test_conversions_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Resampler.__module__], "_PIECE_VALUES", 1 << 14)
    samples = np.random.default_rng(0).normal(size=(2, 8000)).astype(np.float32)
    whole = Resampler(1000, 44100, 2)
    expected = np.concatenate([whole.push(samples), whole.finish()], axis=1)
    pieces = list(resample([samples], 1000, 44100, 2))
    assert max(piece.size for piece in pieces[:-1]) < 1 << 17 < expected.size / 4
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), expected)


# --- tags


def synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def id3(*frames: bytes, version: int = 4) -> bytes:
    return b"ID3" + bytes([version, 0, 0]) + synchsafe(sum(map(len, frames))) + b"".join(frames)


def text_frame(text: bytes, *, packed: bool = False, version: int = 4) -> bytes:
    data, flags = b"\3" + text, 0
    if packed:
        size = synchsafe(len(data) & 0xFFFFFFF) if version == 4 else len(data).to_bytes(4, "big")
        data, flags = size + zlib.compress(data, 9), 0x09 if version == 4 else 0x80
    size = synchsafe(len(data)) if version == 4 else len(data).to_bytes(4, "big")
    return b"TIT2" + size + struct.pack(">H", flags) + data


@pytest.fixture(scope="module")
def mp3(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "a.mp3"
    soundfile.write(path, 0.1 * np.sin(np.arange(22050) / 20), 22050)
    return path.read_bytes()


BOMB = 20_000_000


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("fill", [b"\0", b"x"])
@pytest.mark.parametrize("container", ["mp3", "wav"])
def test_tags_that_inflate_are_left_out(tmp_path: Path, mp3: bytes, container: str, fill: bytes, version: int) -> None:
    tag = id3(text_frame(fill * BOMB, packed=True, version=version), version=version)
    path, said = tmp_path / f"a.{container}", list[str]()
    chunk = b"id3 " + struct.pack("<I", len(tag)) + tag + b"\0" * (len(tag) % 2)
    path.write_bytes(tag + mp3 if container == "mp3" else wav(44100, 2, more=chunk))
    started = time.process_time()
    assert not read_tags(path, said.append).fields
    assert said == [f"a.{container}: its tags could not be read (a part inflates to more than 4 MiB)"]
    assert sum(block.shape[1] for block in blocks(path)) > 1000
    assert time.process_time() - started < 2


def test_tags_that_take_long_are_left_out(tmp_path: Path, mp3: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemsplit.machine.bounded.MOST_SECONDS", 0.05)
    path, said = tmp_path / "a.mp3", list[str]()
    path.write_bytes(id3(text_frame(bytes(2_000_000))) + mp3)
    assert not read_tags(path, said.append).fields
    assert said == ["a.mp3: its tags could not be read (reading takes more than 0.05 s)"]


def test_a_bound_is_not_lost_in_a_generator_that_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python forgets what is raised there, and whoever watched."""

    def idle() -> Iterator[None]:
        try:
            yield
        finally:
            pass

    def read_on() -> None:
        with bounded(path):
            thrown_away = idle()
            next(thrown_away)
            clock[0] = 9.0  # no call, so that nothing is looked at before the generator goes
            del thrown_away
            len("")

    clock, path = [0.0], tmp_path / "a"
    monkeypatch.setattr("stemsplit.machine.bounded.time", SimpleNamespace(thread_time=lambda: clock[0]))
    path.write_bytes(b"")
    with pytest.raises(BeyondBoundsError):
        read_on()


def test_tags_of_very_many_bytes_are_left_out(tmp_path: Path, mp3: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemsplit.machine.bounded._Metered.left", 50_000)
    path, said = tmp_path / "a.mp3", list[str]()
    path.write_bytes(id3(text_frame(b"x" * 60_000)) + mp3)
    assert not read_tags(path, said.append).fields
    assert "reading takes more than 64 MiB" in said[0]


def test_texts_that_no_stem_should_hold_are_left_out(tmp_path: Path, mp3: bytes) -> None:
    path, said = tmp_path / "a.mp3", list[str]()
    path.write_bytes(id3(text_frame(b"x" * (MOST_TEXT + 1))) + mp3)
    assert not read_tags(path, said.append).fields
    assert f"more than {MOST_TEXT}" in said[0]


def test_a_picture_in_a_comment_is_no_text(tmp_path: Path) -> None:
    from mutagen.oggvorbis import OggVorbis

    path = tmp_path / "a.ogg"
    soundfile.write(path, np.zeros((4000, 1)), 44100)
    tagged = OggVorbis(path)
    tagged["title"], tagged["metadata_block_picture"] = "Lied", "A" * (MOST_TEXT + 1)
    tagged.save()
    assert read_tags(path).fields == {"title": ("Lied",)}


def test_a_packed_tag_of_the_usual_size_is_read(tmp_path: Path, mp3: bytes) -> None:
    (tmp_path / "a.mp3").write_bytes(id3(text_frame(b"Lied" * 1000, packed=True)) + mp3)
    assert read_tags(tmp_path / "a.mp3").fields["title"] == ("Lied" * 1000,)


def test_who_watches_calls_watches_on_afterwards(tmp_path: Path, mp3: bytes) -> None:
    (tmp_path / "a.mp3").write_bytes(mp3)
    before = sys.getprofile()
    data = zlib.compress(bytes(BOMB))
    with pytest.raises(BeyondBoundsError, match="inflates"), bounded(tmp_path / "a.mp3"):
        zlib.decompress(data)
    packed = data
    del data
    with pytest.raises(BeyondBoundsError, match="not known here"), bounded(tmp_path / "a.mp3"):
        zlib.decompress(packed)
    assert sys.getprofile() is before


def test_ffmpeg_sees_no_tags_inside(tmp_path: Path) -> None:
    tag = id3(text_frame(b"x"))
    path = tmp_path / "a.wav"
    path.write_bytes(
        wav(44100, 2, more=b"LIST" + struct.pack("<I", 4) + b"INFO" + b"ID3 " + struct.pack("<I", len(tag)) + tag)
    )
    assert hiding_tags(path, 0) == ((path.read_bytes().index(b"ID3 "), b"JUNK"),)
    path.write_bytes(b"DSD " + struct.pack("<QQQ", 28, 1000, 500) + bytes(972))
    assert hiding_tags(path, 0) == ((20, bytes(8)),)


# --- sizes that no file has


@pytest.mark.parametrize("size", [2**31 - 1, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_chunks_of_exabytes(tmp_path: Path, size: int) -> None:
    little, big = (size.to_bytes(8, order) for order in ("little", "big"))
    asf = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
    files = {
        "a.caf": b"caff\0\1\0\0" + b"free" + big + bytes(5000),
        "b.caf": b"caff\0\1\0\0" + b"data" + big + bytes(5000),
        "a.w64": b"riff" + bytes(36) + b"junk" + bytes(12) + little + bytes(5000),
        "a.wma": asf + little + b"\x05\0\0\0\1\2" + bytes(16) + little + bytes(5000),
        "a.mp4": (1).to_bytes(4, "big") + b"ftyp" + big + bytes(5000),
        "a.mkv": bytes.fromhex("1A45DFA380") + bytes.fromhex("18538067") + b"\x01" + big[1:] + bytes(5000),
        "a.avi": b"RIFF" + little[:4] + b"AVI " + bytes(5000),
        "a.aiff": b"FORM" + big[4:] + b"AIFFSSND" + big[4:] + bytes(5000),
        "a.dsf": b"DSD " + little * 3 + bytes(5000),
        "a.rf64": b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + little * 3 + bytes(4) + wav(44100, 2)[12:36]
        + b"data\xff\xff\xff\xff" + bytes(5000),
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with suppress(AudioError):
            list(blocks(tmp_path / name))


# --- very many parts


def test_thousands_of_empty_parts_are_not_walked_over(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF\xff\xff\xff\xffWAVE" + bytes(2_000_000))
    started = time.process_time()
    assert read_chunks(path) is None
    head = bytes.fromhex("1A45DFA380") + bytes.fromhex("18538067") + b"\x01" + b"\xff" * 7
    path.write_bytes(head + b"\xec\x80" * 500_000)
    assert missing_bytes(path) == 0
    path.write_bytes(wav(44100, 2) + b"JUNK\x08\0\0\0\0\0\0\0\0\0\0\0" * 20_000 + b"\1" * 5000)
    assert read_chunks(path) is not None
    path.write_bytes(wav(44100, 2) + b"note\0\0\0\0" * 250_000)
    assert read_chunks(path) is not None
    assert time.process_time() - started < 2


def test_thousands_of_joined_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemsplit.audio.read._MOST_PARTS", 3)
    (tmp_path / "a.wav").write_bytes(wav(44100, 2) * 4)
    assert sum(block.shape[1] for block in blocks(tmp_path / "a.wav")) == 6000
    (tmp_path / "a.wav").write_bytes(wav(44100, 2) * 5)
    with pytest.raises(DecodeError, match=r"a\.wav: more than 3 files were joined"):
        probe(tmp_path / "a.wav")


# --- silence that nobody recorded


def with_packets_at(path: Path, seconds: list[int]) -> Path:
    """Write a Matroska file whose packets of 1000 samples at 8 kHz begin at these times."""
    with av.open(str(path), "w") as out:
        sound = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        for at in seconds:
            frame = av.AudioFrame.from_ndarray(np.full((1, 1000), 99, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, at * 8000, Fraction(1, 8000)
            out.mux(sound.encode(frame))
    return path


def test_a_clock_that_jumps_often_makes_no_hours_of_silence(tmp_path: Path) -> None:
    path = with_packets_at(tmp_path / "a.mkv", [500 * n for n in range(100)])
    with pytest.raises(DamagedError, match="s of sound are missing on the way"):
        list(islice(blocks(path), 8000 * 1000 // 65536))
    salvaged = list(blocks(probe(path, salvage=True)))
    assert sum(block.shape[1] for block in salvaged) < 8000 * 1000


def test_a_hole_is_filled_as_before(tmp_path: Path) -> None:
    path = with_packets_at(tmp_path / "a.mkv", [*range(40), *range(42, 80)])
    assert abs(sum(block.shape[1] for block in blocks(probe(path, salvage=True))) - 79.1 * 8000) < 2000


def test_the_last_packet_of_another_track_is_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.flv"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("aac", rate=44100, layout="mono")
        for _ in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    data, at = bytearray(path.read_bytes()), 13
    for _ in range(2):  # over what tells of the file, and what tells of the codec
        at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")
    data[at] = 0x12  # the first packet of sound becomes one of a track of text
    path.write_bytes(data)
    assert sum(block.shape[1] for block in blocks(path)) >= 4096


# --- the memory itself, in a process of its own

PROGRAM = """
import resource, sys
from pathlib import Path
from types import SimpleNamespace
import stemsplit.audio.ffmpeg, av
from stemsplit.audio import blocks, probe, read_tags, resample
from stemsplit.errors import StemsplitError
taken = [int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmSize")][0]
resource.setrlimit(resource.RLIMIT_AS, (taken + (700 << 20),) * 2)
for path in map(Path, sys.argv[1:]):
    read_tags(path)
    try:
        info = probe(path)
        for block in resample(blocks(info), info.sample_rate, 44100, info.channels):
            pass
    except StemsplitError as error:
        print(path.name, error)
    else:
        print(path.name, "is read")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited in another way")
def test_nothing_hostile_takes_gigabytes(tmp_path: Path, mp3: bytes) -> None:
    bomb = id3(text_frame(b"x" * 200_000_000, packed=True))
    files = {
        "slow.wav": wav(1, 2), "fast.wav": wav(2**31 - 1, 2), "wide.wav": wav(44100, 1024), "bomb.mp3": bomb + mp3,
        "low.wav": wav(1000, 64, bytes(300_000)), "high.wav": wav(10**6, 64, bytes(1_280_000)),
        "boxes.m4a": many_samples(tmp_path / "boxes.m4a"),
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in files]
    few_arenas = os.environ | {"MALLOC_ARENA_MAX": "2"}  # else every thread would reserve addresses
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, check=False, env=few_arenas
    )
    assert done.returncode == 0, done.stderr
    outcomes = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert outcomes.keys() == files.keys()
    assert [name for name, said in outcomes.items() if said == "is read"] == ["bomb.mp3", "low.wav", "high.wav"]


def many_samples(path: Path) -> bytes:
    """Return an MP4 whose table has one chunk of 134 million samples."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    data, count = bytearray(path.read_bytes()), (1 << 27).to_bytes(4, "big")
    stsz, stsc, stts = (data.index(name) for name in (b"stsz", b"stsc", b"stts"))
    data[stsz + 8 : stsz + 16] = (1).to_bytes(4, "big") + count  # all of one byte
    data[stsc + 16 : stsc + 20] = count
    data[stts + 12 : stts + 16] = count
    return bytes(data)
