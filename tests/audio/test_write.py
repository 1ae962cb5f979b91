"""Writing: exact lengths and integers, whole files or none, the same bytes each time."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from stemsplit.audio import FORMATS, StemWriter, Tags, blocks, output_rate, probe, shared_gain
from stemsplit.audio.containers.ogg import page_checksum, read_ogg_pages
from stemsplit.audio.wav import RIFF_LIMIT, quantize, wav_header
from stemsplit.errors import OutputError
from stemsplit.files.spool import Spool

Sound = Callable[..., np.ndarray]

EVERY = [(row.name, depth) for row in FORMATS.values() for depth in row.depths]
FULL = {"16": 2**15, "24": 2**23}


def write(path: Path, samples: np.ndarray, format: str, depth: str, rate: int = 44100, **options: object) -> StemWriter:
    rate = output_rate(format, rate)
    with StemWriter(path, rate, len(samples), format, depth, **options) as writer:  # type: ignore[arg-type]
        for start in range(0, samples.shape[1], 7000):
            writer.write(samples[:, start : start + 7000])
    return writer


def read(path: Path) -> np.ndarray:
    return np.concatenate(list(blocks(path)), axis=1)


def only_file(folder: Path, name: str) -> bool:
    return [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize(("format", "depth"), EVERY)
@pytest.mark.parametrize("rate", [8000, 44100, 48000, 96000, 12345])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_the_exact_length_comes_back(
    tmp_path: Path, sound: Sound, format: str, depth: str, rate: int, channels: int
) -> None:
    channels = min(channels, FORMATS[format].max_channels)
    rate = output_rate(format, rate)
    for frames in (1, 2, 961, 10007):
        samples = sound(channels, frames, rate)
        writer = write(tmp_path / "a", samples, format, depth, rate)
        info = probe(tmp_path / "a")
        assert (info.channels, info.sample_rate, info.bit_depth) == (channels, rate, depth)
        assert info.frames == (None if FORMATS[format].suffix == "m4a" else frames)  # its packets show it
        assert (writer.frames, writer.clamped) == (frames, 0)
        decoded = read(tmp_path / "a")
        assert decoded.shape == samples.shape
        if depth != "lossy":
            assert np.abs(decoded - samples).max() <= {"16": 2**-16, "24": 2**-24, "32f": 0.0}[depth]
    assert only_file(tmp_path, "a")


@pytest.mark.parametrize("format", ["wav", "aiff", "ogg"])
def test_64_channels(tmp_path: Path, format: str) -> None:
    samples = np.repeat(np.linspace(-0.5, 0.5, 64, dtype=np.float32)[:, None], 3001, axis=1)
    write(tmp_path / "a", samples, format, "lossy" if format == "ogg" else "24")
    decoded = read(tmp_path / "a")
    assert decoded.shape == (64, 3001)
    assert np.abs(decoded.mean(axis=1) - samples[:, 0]).max() < 0.01


@pytest.mark.parametrize("format", ["wav", "flac", "aiff"])
@pytest.mark.parametrize("depth", ["16", "24"])
def test_what_was_read_from_integers_is_written_as_the_same_integers(tmp_path: Path, format: str, depth: str) -> None:
    full = FULL[depth]
    every = np.arange(-full, full) if depth == "16" else np.random.default_rng(0).integers(-full, full, 200000)
    every = np.concatenate([every, [-full, full - 1, 0, -1, 1]])
    write(tmp_path / "a", (every / full).astype(np.float32)[None], format, depth)
    stored, _ = soundfile.read(tmp_path / "a", dtype="int32")
    np.testing.assert_array_equal(stored >> (32 - int(depth)), every)


@settings(deadline=None)
@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=50), st.sampled_from(["16", "24"]))
def test_quantizing_rounds_to_nearest_and_clamps(values: list[float], depth: str) -> None:
    full = FULL[depth]
    integers, clamped = quantize(np.array(values, dtype=np.float32), depth)
    exact = np.array(values, dtype=np.float64) * full
    inside = np.clip(exact, -full, full - 1)
    assert np.abs(integers - inside).max() <= 0.5
    assert integers.min() >= -full
    assert integers.max() < full
    assert clamped == np.count_nonzero(np.abs(np.rint(exact)) > full)


@pytest.mark.parametrize(("format", "depth"), EVERY)
def test_samples_beyond_full_scale(tmp_path: Path, format: str, depth: str) -> None:
    loud = np.full((1, 5000), 1.5, dtype=np.float32)
    loud[:, ::2] = -1.5
    writer = write(tmp_path / "a", loud, format, depth)
    if depth == "32f":
        assert writer.clamped == 0
        np.testing.assert_array_equal(read(tmp_path / "a"), loud)
    else:
        assert writer.clamped == 5000
        assert np.abs(read(tmp_path / "a")).max() < 1.5


@pytest.mark.parametrize("depth", ["16", "24"])
@pytest.mark.parametrize("peak", [1.0, 1.0001, 1.7, 40.0])
def test_the_shared_gain_is_just_enough(tmp_path: Path, depth: str, peak: float) -> None:
    samples = np.array([[peak, -peak, 0.1 * peak]], dtype=np.float32)
    gain = shared_gain(float(np.abs(samples).max()), depth)
    assert gain == 1.0 if peak == 1.0 else gain < 1.0
    writer = write(tmp_path / "a.wav", samples * np.float32(gain), "wav", depth)
    assert writer.clamped == 0
    assert np.abs(read(tmp_path / "a.wav")[0, 0] - 1.0) <= 1.01 / FULL[depth]


def test_the_shared_gain_leaves_floats_and_quiet_tracks_alone() -> None:
    assert shared_gain(7.0, "32f") == shared_gain(0.0, "16") == shared_gain(0.99, "lossy") == 1.0
    assert shared_gain(2.0, "lossy") < 0.5


@pytest.mark.parametrize("depth", ["16", "24"])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_headers_are_what_others_read(tmp_path: Path, sound: Sound, depth: str, channels: int) -> None:
    write(tmp_path / "a.wav", sound(channels, 1001), "wav", depth, 48000)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (channels, int(depth) // 8, 48000, 1001)
    data = (tmp_path / "a.wav").read_bytes()
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    assert len(data) % 2 == 0


def test_a_wav_becomes_rf64_exactly_when_it_must(tmp_path: Path, sound: Sound) -> None:
    samples = sound(2, 500)
    size = len(wav_header(44100, 2, "24", 0)) + 500 * 2 * 3 - 8
    for limit, kind in ((size + 1, b"RIFF"), (size, b"RF64"), (100, b"RF64")):
        write(tmp_path / "a.wav", samples, "wav", "24", riff_limit=limit)
        assert (tmp_path / "a.wav").read_bytes()[:4] == kind
        info = probe(tmp_path / "a.wav")
        assert (info.frames, info.container) == (500, "WAV" if kind == b"RIFF" else "RF64")
        assert np.abs(read(tmp_path / "a.wav") - samples).max() <= 2**-24


@pytest.mark.parametrize("depth", ["24", "32f"])
def test_beyond_4_gib_the_header_counts_on(tmp_path: Path, depth: str) -> None:
    frames = 1_100_000_007
    header = wav_header(44100, 1, depth, frames)
    path = tmp_path / "long.wav"
    try:
        with path.open("wb") as file:
            file.write(header)
            file.truncate(len(header) + frames * (3 if depth == "24" else 4) + frames % 2)  # takes no space
    except OSError:
        pytest.skip("no sparse files here")
    assert probe(path).frames == frames
    assert next(blocks(path)).shape == (1, 65536)
    assert header[:4] == (b"RIFF" if depth == "24" else b"RF64")
    assert frames * 3 < RIFF_LIMIT < frames * 4  # so that this test has both kinds


def test_the_same_stem_has_the_same_bytes(tmp_path: Path, sound: Sound) -> None:
    tags = Tags({"title": ("Song (vocals)",), "artist": ("Ä", "B"), "comment": ("x",)})
    digests: list[dict[str, str]] = [{}, {}]
    for attempt, found in enumerate(digests):
        time.sleep(1.01 * attempt)  # libsndfile takes serial numbers and time stamps from the clock, in seconds
        for format, depth in EVERY:
            path = tmp_path / str(attempt) / f"vocals-{depth}.{format}"
            write(path, sound(2, 30001), format, depth, tags=tags)
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digests[0] == digests[1]
    assert len(digests[0]) == len(EVERY)


@pytest.mark.parametrize("format", ["ogg", "opus"])
def test_ogg_pages_are_valid_and_stems_have_different_serial_numbers(tmp_path: Path, sound: Sound, format: str) -> None:
    serials = set()
    for stem in ("vocals", "drums"):
        path = tmp_path / f"{stem}.{format}"
        write(path, sound(2, 100000), format, "lossy")
        assert read_ogg_pages(path).whole
        serials.add(path.read_bytes()[14:18])
    assert len(serials) == 2


def test_the_checksum_is_that_of_other_encoders(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.ogg", np.zeros((1000, 1)), 44100, format="OGG")
    page = bytearray((tmp_path / "a.ogg").read_bytes()[: 27 + 1 + 30])  # the first page is one identification header
    assert page[26:28] == bytes([1, 30])
    assert page_checksum(page) == page[22:26]


@pytest.mark.parametrize(("format", "depth"), EVERY)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing_behind(
    tmp_path: Path, sound: Sound, format: str, depth: str, error: type[BaseException]
) -> None:
    target = tmp_path / "a.x"
    target.write_text("the old one")

    def interrupted() -> None:
        with StemWriter(target, output_rate(format, 44100), 2, format, depth) as writer:
            writer.write(sound(2, 50000))
            assert target.read_text() == "the old one"
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_text() == "the old one"
    assert only_file(tmp_path, "a.x")


@pytest.mark.parametrize(("format", "depth"), EVERY)
def test_a_finished_file_replaces_the_old_one(tmp_path: Path, sound: Sound, format: str, depth: str) -> None:
    target = tmp_path / "new folder" / "deep" / "a.x"
    for frames in (50000, 100):
        write(target, sound(1, frames), format, depth)
        assert read(target).shape[1] == frames
    assert only_file(target.parent, "a.x")
    if os.name == "posix":
        os.umask(mask := os.umask(0))
        assert target.stat().st_mode & 0o777 == 0o666 & ~mask


def test_no_samples_make_a_valid_file(tmp_path: Path) -> None:
    with StemWriter(tmp_path / "a.wav", 44100, 2, "WAV", "16"):
        pass
    assert soundfile.info(tmp_path / "a.wav").frames == 0


@pytest.mark.parametrize("name", ["歌 🎵 Ünï.wav", "x" * 251 + ".wav", "🎵" * 62 + ".wav"])
def test_any_name_that_the_file_system_takes(tmp_path: Path, sound: Sound, name: str) -> None:
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("not here")
    write(tmp_path / name, sound(1, 10), "wav", "16")
    assert probe(tmp_path / name).frames == 10
    assert only_file(tmp_path, name)


def test_targets_that_cannot_be_written(tmp_path: Path, sound: Sound) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "a.wav").mkdir(parents=True)
    too_long = tmp_path / ("x" * 300)
    for target in (tmp_path / "file" / "a.wav", tmp_path / "folder" / "a.wav", too_long):
        with pytest.raises(OutputError, match="cannot write") as caught:
            write(target, sound(1, 10), "wav", "16")
        assert str(target) in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.wav", "file", "folder"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc refuses even root")
def test_a_folder_that_takes_no_files(sound: Sound) -> None:
    with pytest.raises(OutputError, match=r"cannot write /proc/nowhere/a\.wav"):
        write(Path("/proc/nowhere/a.wav"), sound(1, 10), "wav", "16")


def test_blocks_of_the_wrong_shape_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with StemWriter(tmp_path / "a.wav", 44100, 2) as writer, pytest.raises(ValueError, match="channels"):
        writer.write(np.zeros((100, 2), np.float32))
    with pytest.raises(ValueError, match="with block"):
        StemWriter(tmp_path / "b.wav", 44100, 2).write(np.zeros((2, 100), np.float32))
    assert only_file(tmp_path, "a.wav")


def test_aiff_stops_at_4_gib(tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="aiff holds 4 GiB"):
        StemWriter(tmp_path / "a.aiff", 44100, 2, "aiff", "24", frames=2**30)
    monkeypatch.setitem(FORMATS, "aiff", dataclasses.replace(FORMATS["aiff"], max_bytes=5999))
    with pytest.raises(OutputError, match="aiff holds"):  # the length was not known beforehand
        write(tmp_path / "a.aiff", sound(2, 1000), "aiff", "24")
    assert not list(tmp_path.iterdir())


_ON_A_SMALL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from stemsplit.audio import FORMATS, StemWriter
from stemsplit.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
noise = np.random.default_rng(0).uniform(-1, 1, (2, 96000)).astype(np.float32)
for row in FORMATS.values():
    for depth in row.depths:
        try:
            with StemWriter(Path(sys.argv[1]), 48000, 2, row.name, depth) as writer:
                writer.write(noise)
                writer.write(noise)
        except OutputError as error:
            print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
@pytest.mark.parametrize("limit", [0, 100, 60_000])
def test_a_write_that_the_system_refuses(tmp_path: Path, limit: int) -> None:
    target = tmp_path / "a.x"
    command = [sys.executable, "-c", _ON_A_SMALL_DISK, str(target), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"cannot write {target}: file too large"] * len(EVERY)
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB, where the user may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no mounting here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(("format", "depth"), EVERY)
def test_a_full_disk(full_disk: Path, format: str, depth: str) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (2, 200_000)).astype(np.float32)
    with pytest.raises(OutputError, match=r"cannot write .*a\.x: no space left on device"):
        write(full_disk / "a.x", noise, format, depth)
    assert not list(full_disk.iterdir())
    with pytest.raises(OutputError, match="no space left"), Spool(2, full_disk) as spool:
        spool.write(noise)


_KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from stemsplit.audio import StemWriter
with StemWriter(Path(sys.argv[1]), 48000, 2, sys.argv[2], sys.argv[3]) as writer:
    writer.write(np.zeros((2, 480000), np.float32))
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
@pytest.mark.parametrize(("format", "depth"), [("wav", "24"), ("flac", "24"), ("mp3", "lossy")])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_killed_program_leaves_no_target(tmp_path: Path, format: str, depth: str, how: str) -> None:
    target = tmp_path / "a.x"
    command = [sys.executable, "-c", _KILLED, str(target), format, depth]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdout is not None
        program.stdout.readline()
        program.send_signal(getattr(signal, how))
    assert not target.exists()
    left = list(tmp_path.iterdir())
    assert all(path.name.startswith(".a.x.partial-") for path in left)
    assert len(left) == (how == "SIGKILL")


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_inside_the_encoder_is_not_swallowed(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from stemsplit.audio import StemWriter
        from stemsplit.audio.containers.callbacks import CallbackFile
        write = CallbackFile.write
        def interrupted(self, data):
            real = self.file
            class Once:
                def write(_, data):
                    os.kill(os.getpid(), signal.SIGINT)
                    return real.write(data)
                seek, tell, close = real.seek, real.tell, real.close
            self.file = Once()
            return write(self, data)
        CallbackFile.write = interrupted
        try:
            with StemWriter(Path(sys.argv[1]), 48000, 2, "flac", "24") as writer:
                writer.write(np.random.default_rng(0).uniform(-1, 1, (2, 480000)).astype(np.float32))
        except KeyboardInterrupt:
            print("interrupted")
    """)
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.flac"], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("interrupted", "")
    assert not list(tmp_path.iterdir())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=8), st.integers(1, 5), st.integers(1, 400))
def test_a_spool_gives_back_what_it_got(sizes: list[int], channels: int, block: int) -> None:
    random = np.random.default_rng(sum(sizes))
    parts = [random.standard_normal((channels, size)).astype(np.float32) for size in sizes]
    with Spool(channels) as spool:
        for part in parts:
            spool.write(part)
        whole = np.concatenate([np.zeros((channels, 0), np.float32), *parts], axis=1)
        assert spool.frames == whole.shape[1]
        assert spool.peak == (np.abs(whole).max() if whole.size else 0.0)
        for gain in (1.0, 0.5):
            back = [np.zeros((channels, 0), np.float32), *spool.blocks(block, gain)]
            assert all(1 <= part.shape[1] <= block for part in back[1:])
            np.testing.assert_array_equal(np.concatenate(back, axis=1), whole * np.float32(gain))


def test_a_spool_shows_when_a_sample_is_not_a_number(tmp_path: Path) -> None:
    with Spool(1, tmp_path) as spool:
        spool.write(np.array([[0.5, np.nan]], np.float32))
        spool.write(np.array([[0.25]], np.float32))
        assert np.isnan(spool.peak)
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="cannot keep stems in"):
        Spool(1, tmp_path / "missing")
