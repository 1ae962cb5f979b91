"""One song: its stems on disk have its length, rate, channels and sum, and nothing is ever half there."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny import GAINS, STEMS, FakeConfig, fake_separator, files_in, read_song, write_song

from stemsplit.audio.tagging.covers import Cover
from stemsplit.audio.tags import Tags, read_tags, write_tags
from stemsplit.errors import DamagedError, DecodeError, EmptyAudioError, ModelError, OutputError
from stemsplit.files.inputs import find_inputs
from stemsplit.files.manifest import read_manifest
from stemsplit.machine import pipeline
from stemsplit.machine.disk import sha256_of
from stemsplit.options import SeparateOptions
from stemsplit.runs import stem_files
from stemsplit.runs.jobs import run
from stemsplit.runs.separate import Separating, pipe_track, plan

Sound = Callable[..., np.ndarray]


@pytest.fixture(autouse=True)
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """As on three cores, unless a test asks for another count; no thread is ever left."""
    count = getattr(request, "param", 3)
    for module in (pipeline, stem_files):
        monkeypatch.setattr(module, "usable_cores", lambda: count)
    yield count
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stemsplit")]


any_cores = pytest.mark.parametrize("cores", [1, 3], indirect=True)


def split(
    source: Path, *, gains: Sequence[float] = GAINS, config: FakeConfig | None = None, on_call: Any = None, **asked: Any
) -> tuple[dict[str, Path], dict[str, Any], list[str]]:
    """Separate one file with a fake network: stem → file, the manifest, the warnings."""
    options = SeparateOptions(output=source.parent / "out", **asked)
    separator = fake_separator(options, gains=gains, config=config, on_call=on_call or (lambda mixture: None))
    (job,) = plan(find_inputs([source], options.output), separator, options)
    warnings: list[str] = []
    manifest = Separating(separator, options).carry_out(job, on_warning=warnings.append)
    return dict(job.targets), manifest, warnings


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize(("channels", "frames"), [(1, 30001), (2, 11025), (6, 9999)])
def test_stems_have_the_length_rate_and_channels_of_the_song(
    tmp_path: Path, sound: Sound, rate: int, channels: int, frames: int
) -> None:
    song = write_song(tmp_path / "song.wav", sound(channels, frames, rate), rate, "PCM_24")
    stems, manifest, warnings = split(song)
    assert list(stems) == list(STEMS)
    for path in stems.values():
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames) == (rate, channels, frames)
        assert info.subtype == "PCM_24"
    assert (manifest["samples"], manifest["sample_rate"]) == (frames, rate)
    assert warnings == []


@pytest.mark.parametrize("rate", [8000, 44100, 48000, 96000])
@pytest.mark.parametrize("frames", [1, 2, 7, 100])
def test_a_song_of_a_few_samples(tmp_path: Path, rate: int, frames: int) -> None:
    song = write_song(tmp_path / "song.wav", np.full((2, frames), 0.25), rate)
    stems, _, _ = split(song)
    assert {read_song(path).shape for path in stems.values()} == {(2, frames)}


def test_stems_are_what_the_network_says(tmp_path: Path, sound: Sound) -> None:
    mixture = sound(2, 40000)
    stems, manifest, _ = split(write_song(tmp_path / "song.wav", mixture, subtype="FLOAT"))
    for name, gain in zip(STEMS, GAINS, strict=True):
        assert np.abs(read_song(stems[name]) - gain * mixture).max() < 1e-6
        assert manifest["outputs"][name]["peak"] == pytest.approx(np.abs(gain * mixture).max(), abs=1e-5)


def test_stems_start_at_the_same_sample_through_another_rate(tmp_path: Path) -> None:
    rate, click = 96000, 20000
    mixture = np.zeros((1, 50000))
    mixture[0, click - 200 : click + 200] = np.hanning(400) * 0.5
    stems, _, _ = split(write_song(tmp_path / "song.wav", mixture, rate, "FLOAT"))
    assert np.abs(read_song(stems["drums"]) - 0.5 * mixture).max() < 1e-3


def test_two_stems_and_mixes(tmp_path: Path, sound: Sound) -> None:
    mixture = sound(2, 20000)
    song = write_song(tmp_path / "song.wav", mixture, subtype="FLOAT")
    stems, _, _ = split(song, two_stems="vocals", mix=("rhythm=drums+bass",))
    assert list(stems) == ["vocals", "no_vocals", "rhythm"]
    assert np.abs(read_song(stems["no_vocals"]) - 0.625 * mixture).max() < 1e-6
    assert np.abs(read_song(stems["rhythm"]) - 0.75 * mixture).max() < 1e-6


def test_a_network_of_one_stem_leaves_the_rest_at_the_song_s_own_rate(tmp_path: Path, sound: Sound) -> None:
    mixture = sound(2, 30000, 48000)
    song = write_song(tmp_path / "song.wav", mixture, 48000, "FLOAT")
    one = FakeConfig(stems=("vocals",))
    stems, _, _ = split(song, config=one, gains=(0.25,), two_stems="vocals")
    total = read_song(stems["vocals"]) + read_song(stems["no_vocals"])
    assert np.abs(total - mixture).max() < 1e-6


# --- the exact sum


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize(("depth", "scale"), [("16", 2**15), ("24", 2**23), ("32f", 2**23)])
@pytest.mark.parametrize("asked", [{}, {"two_stems": "vocals"}, {"mix": ("backing=drums+other",)}])
def test_the_files_add_up_to_the_song(
    tmp_path: Path, sound: Sound, rate: int, depth: str, scale: int, asked: dict[str, Any]
) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 30011, rate), rate, "PCM_16")
    stems, manifest, _ = split(song, exact_sum=True, bit_depth=depth, **asked)
    parts = [read_song(path) for name, path in stems.items() if name != "backing"]
    assert manifest["gain"] == 1.0
    assert np.abs(np.sum(parts, axis=0) - read_song(song)).max() * scale <= 1
    assert np.abs(parts[0]).max() > 0.05


@any_cores
@pytest.mark.parametrize("depth", ["16", "24"])
def test_the_files_add_up_although_a_stem_would_clip(tmp_path: Path, sound: Sound, depth: str) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 30011, amplitude=0.49), subtype="PCM_16")
    stems, manifest, warnings = split(song, exact_sum=True, bit_depth=depth, gains=(1.6, -0.4, 0.1, -0.3))
    total = np.sum([read_song(path) for path in stems.values()], axis=0)
    assert manifest["gain"] < 0.7
    assert np.abs(total - manifest["gain"] * read_song(song)).max() * 2 ** (int(depth) - 1) <= 1
    assert [w for w in warnings if "turned down" in w]


def test_the_files_add_up_for_a_song_at_full_scale(tmp_path: Path) -> None:
    mixture = np.random.default_rng(0).choice([-1.0, 32767 / 32768], (2, 20000))
    song = write_song(tmp_path / "song.wav", mixture, subtype="PCM_16")
    stems, manifest, _ = split(song, exact_sum=True, gains=(0.001, 0.002, -0.001, 0.0))
    total = np.sum([read_song(path) for path in stems.values()], axis=0)
    assert np.abs(total - manifest["gain"] * mixture).max() * 2**15 <= 1
    assert manifest["gain"] > 0.998


# --- levels


@any_cores
def test_one_gain_for_all_stems_keeps_an_integer_format_from_clipping(tmp_path: Path, sound: Sound) -> None:
    mixture = sound(2, 20000, amplitude=0.49)
    song = write_song(tmp_path / "song.wav", mixture, subtype="PCM_24")
    gains = (2.0, 0.5, 0.25, -1.5)
    stems, manifest, warnings = split(song, gains=gains)
    assert np.abs(read_song(stems["drums"])).max() == pytest.approx(1.0, abs=1e-5)
    for name, gain in zip(STEMS, gains, strict=True):
        assert np.abs(read_song(stems[name]) - manifest["gain"] * gain * mixture).max() < 1e-6
    assert manifest["gain"] == pytest.approx(1 / np.abs(2 * mixture).max(), rel=1e-4)
    assert any("turned down by" in text and "24 bits" in text for text in warnings)
    assert manifest["warnings"] == warnings


def test_floats_keep_levels_beyond_full_scale(tmp_path: Path, sound: Sound) -> None:
    mixture = sound(2, 20000, amplitude=0.49)
    song = write_song(tmp_path / "song.wav", mixture, subtype="PCM_24")
    stems, manifest, warnings = split(song, gains=(2.0, 0.5, 0.25, 1.0), bit_depth="32f")
    assert np.abs(read_song(stems["drums"]) - 2 * mixture).max() < 1e-6
    assert (manifest["gain"], warnings) == (1.0, [])


@pytest.mark.parametrize(
    ("clip", "depth", "highest"), [("clamp", "32f", 1.0), ("none", "32f", 1.9), ("none", "16", 1.0)]
)
def test_clip_can_cut_or_leave_what_is_beyond_full_scale(
    tmp_path: Path, sound: Sound, clip: str, depth: str, highest: float
) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 20000, amplitude=0.49))
    stems, manifest, warnings = split(song, gains=(2.0, 0.5, 0.25, 0.0), bit_depth=depth, clip=clip)
    assert np.abs(read_song(stems["drums"])).max() == pytest.approx(highest, abs=0.1)
    assert np.abs(read_song(stems["bass"]) - 0.5 * read_song(song)).max() < 2**-15
    assert manifest["gain"] == 1.0
    assert any("were cut" in text and "drums" in text for text in warnings) == (depth == "16")


def test_silence_is_reported_and_nothing_else(tmp_path: Path, sound: Sound) -> None:
    _, _, warnings = split(write_song(tmp_path / "song.wav", sound(2, 9000)), gains=(1, 0, 0.5, 0))
    assert warnings == ["silent: bass, vocals"]
    stems, _, warnings = split(write_song(tmp_path / "nothing.wav", np.zeros((2, 9000))))
    assert warnings == ["silent: drums, bass, other, vocals"]
    assert not read_song(stems["drums"]).any()


@any_cores
def test_samples_that_are_no_numbers_become_silence_and_a_warning(tmp_path: Path, sound: Sound) -> None:
    mixture = sound(2, 20000)
    mixture[0, 100], mixture[1, 200] = np.nan, np.inf
    stems, _, warnings = split(write_song(tmp_path / "song.wav", mixture, subtype="FLOAT"), exact_sum=True)
    assert len(warnings) == 1
    assert "2 samples were" in warnings[0]
    assert all(np.isfinite(read_song(path)).all() for path in stems.values())


# --- formats


@pytest.mark.parametrize("format", ["flac", "aiff", "mp3", "ogg"])
def test_other_formats_keep_the_length(tmp_path: Path, sound: Sound, format: str) -> None:
    song = write_song(tmp_path / "song.flac", sound(2, 30001))
    stems, _, warnings = split(song, format=format)
    assert {path.suffix for path in stems.values()} == {f".{format}"}
    assert {soundfile.info(path).frames for path in stems.values()} == {30001}
    assert warnings == []


def test_a_rate_that_the_format_lacks_is_changed_with_a_word(tmp_path: Path, sound: Sound) -> None:
    stems, manifest, warnings = split(write_song(tmp_path / "song.wav", sound(2, 44100)), format="opus")
    assert manifest["sample_rate"] == soundfile.info(stems["drums"]).samplerate == 48000
    assert manifest["samples"] == 48000
    assert warnings == ["opus cannot hold 44100 Hz: the stems have 48000 Hz"]


def test_another_sample_rate_on_request(tmp_path: Path, sound: Sound) -> None:
    stems, manifest, _ = split(write_song(tmp_path / "song.wav", sound(2, 30000)), sample_rate=22050)
    assert soundfile.info(stems["bass"]).samplerate == 22050
    assert manifest["samples"] == soundfile.info(stems["bass"]).frames == 15000


def test_too_many_channels_for_the_format_are_refused_before_the_work(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", sound(6, 9000))

    def refuse(mixture: object) -> None:
        raise AssertionError("separated all the same")

    with pytest.raises(OutputError, match=r"mp3 holds .*2 channels"):
        split(song, format="mp3", on_call=refuse)
    assert files_in(tmp_path) == {"song.wav"}


def test_tags_go_along(tmp_path: Path, sound: Sound) -> None:
    import mutagen

    song = write_song(tmp_path / "song.flac", sound(2, 9000))
    tagged = mutagen.File(song)
    tagged["title"], tagged["artist"] = "Sun", "Björk"
    tagged.save()
    stems, _, _ = split(song, format="flac")
    assert mutagen.File(stems["vocals"])["title"] == ["Sun (vocals)"]
    assert mutagen.File(stems["vocals"])["artist"] == ["Björk"]


def test_the_cover_goes_along_unless_it_is_not_wanted(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.flac", sound(2, 9000))
    image = b"\x89PNG\r\n\x1a\n" + bytes(20)
    write_tags(song, Tags({"title": ("T",)}, Cover(image, "image/png")), "flac")
    stems, _, warnings = split(song, format="mp3")
    assert all(read_tags(path).cover == Cover(image, "image/png") for path in stems.values())
    with_cover, without = SeparateOptions(format="mp3"), SeparateOptions(format="mp3", cover=False)
    assert with_cover.settings() != without.settings(), "asked for otherwise, it is done again"
    stems, _, _ = split(song, format="mp3", cover=False)
    assert all(read_tags(path).cover is None and read_tags(path).fields["title"] for path in stems.values())
    assert not warnings


def test_tags_that_a_stem_cannot_hold_are_a_warning(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mutagen

    song = write_song(tmp_path / "song.flac", sound(2, 9000))
    tagged = mutagen.File(song)
    tagged["title"] = "Sun"
    tagged.save()
    monkeypatch.setattr("stemsplit.audio.tags._ID3_LIMIT", 0)
    _, _, warnings = split(song, stems="vocals", format="wav")
    assert any("vocals.wav: tags could not be written" in warning for warning in warnings)


# --- whole or not at all


def test_the_manifest_says_what_was_made(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "sóng.wav", sound(2, 9000))
    stems, manifest, _ = split(song, stems="vocals,bass")
    assert read_manifest(tmp_path / "out" / "sóng" / "stemsplit.json") == {"format": 1, **manifest}
    assert manifest["input"]["sha256"] == sha256_of(song)
    assert manifest["input"] | {"sha256": ""} == {
        "path": str(song), "location": os.path.realpath(song), "sha256": "",
        "bytes": song.stat().st_size, "sample_rate": 44100, "channels": 2,
        "codec": "PCM_16",
    }  # fmt: skip
    assert manifest["model"] == {"reference": "fake", "sha256": "5" * 64}
    assert manifest["outputs"]["bass"]["sha256"] == sha256_of(stems["bass"])
    assert list(manifest["outputs"]) == ["vocals", "bass"]
    assert files_in(tmp_path / "out" / "sóng") == {"vocals.wav", "bass.wav", "stemsplit.json"}


def test_the_same_song_gives_the_same_bytes(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 30000), 48000)
    first = {name: path.read_bytes() for name, path in split(song, format="flac")[0].items()}
    assert {name: path.read_bytes() for name, path in split(song, format="flac")[0].items()} == first


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize("gains", [GAINS, (0.5, 0.25, 3.0, -1.5)])
def test_the_cores_change_no_byte(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch, format: str, gains: Sequence[float]
) -> None:
    """With one the gain is known before anything is encoded; with more it is guessed, and put right."""
    mixture = sound(2, 60000, amplitude=0.1)
    mixture[:, 40000:] *= 4  # what clips comes late
    song = write_song(tmp_path / "song.wav", mixture)
    stems, manifest, _ = split(song, gains=gains, format=format)
    several = {name: path.read_bytes() for name, path in stems.items()}
    for module in (pipeline, stem_files):
        monkeypatch.setattr(module, "usable_cores", lambda: 1)
    stems, alone, _ = split(song, gains=gains, format=format)
    assert {name: path.read_bytes() for name, path in stems.items()} == several
    assert (manifest["gain"], manifest["outputs"]) == (alone["gain"], alone["outputs"])
    assert (manifest["gain"] == 1.0) == (gains == GAINS)
    assert files_in(tmp_path / "out" / "song") == {*(f"{stem}.{format}" for stem in STEMS), "stemsplit.json"}


@any_cores
def test_a_disk_that_fills_while_the_network_works_says_so_once(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stemsplit.files.spool import Spool

    written, calls = Spool.write, []

    def full(self: Spool, block: np.ndarray) -> None:
        if self.frames > 20000:
            raise OutputError("cannot keep stems in /there: no space left on device")
        written(self, block)

    song = write_song(tmp_path / "song.wav", sound(1, 400000))  # unlike channels would be tried first
    monkeypatch.setattr(Spool, "write", full)
    with pytest.raises(OutputError, match=r"^cannot keep stems in /there: no space left on device$"):
        split(song, on_call=calls.append)
    assert len(calls) < 20  # of 74: the network does not go on for nothing
    assert files_in(tmp_path) == {"song.wav"}


class _ThirdCall:
    """Fails when the network is called for the third time."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.calls = error, 0

    def __call__(self, mixture: object) -> None:
        self.calls += 1
        if self.calls == 3:
            raise self.error


@any_cores
@pytest.mark.parametrize("depth", ["16", "32f"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("no"), ValueError("a bug")])
def test_nothing_is_left_of_a_failure(tmp_path: Path, sound: Sound, error: BaseException, depth: str) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 60000))
    with pytest.raises(type(error)):
        split(song, on_call=_ThirdCall(error), bit_depth=depth)
    assert files_in(tmp_path) == {"song.wav"}


@any_cores
def test_a_failure_leaves_the_stems_of_an_earlier_run(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 60000))
    split(song)
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "song").iterdir()}
    with pytest.raises(ModelError):
        split(song, on_call=_ThirdCall(ModelError("no")))
    assert {path: path.read_bytes() for path in (tmp_path / "out" / "song").iterdir()} == before


@any_cores
def test_a_song_that_breaks_off_leaves_nothing(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.flac", sound(2, 60000))
    song.write_bytes(song.read_bytes()[: song.stat().st_size // 2])
    with pytest.raises(DecodeError):
        split(song)
    assert files_in(tmp_path) == {"song.flac"}


def test_a_song_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyAudioError):
        split(write_song(tmp_path / "song.wav", np.zeros((2, 0))))
    assert files_in(tmp_path) == {"song.wav"}


@any_cores
@pytest.mark.parametrize("depth", ["16", "32f"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch, depth: str) -> None:
    from stemsplit.audio.wav import WavEncoder

    def full(self: WavEncoder, frames: np.ndarray) -> int:
        raise OSError(28, "No space left on device")

    song = write_song(tmp_path / "song.wav", sound(2, 30000))
    monkeypatch.setattr(WavEncoder, "write", full)
    with pytest.raises(OutputError, match="no space left"):
        split(song, bit_depth=depth)
    assert files_in(tmp_path) == {"song.wav"}


@pytest.mark.parametrize("turn", [1, 3, 5])
@pytest.mark.parametrize("again", [False, True])
def test_a_failure_on_the_last_steps_leaves_everything_as_it_was(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch, turn: int, again: bool
) -> None:
    """Four stems and the manifest get their names one after the other."""
    song, real, left = write_song(tmp_path / "song.wav", sound(2, 9000)), Path.replace, [turn]
    if again:
        split(song)
    before = {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path) if (tmp_path / name).is_file()}

    def full(place: Path, target: Path) -> Path:
        if place.parent.name.startswith(".stemsplit") and target.parent.name == "song":
            left[0] -= 1
            if left[0] == 0:
                raise OSError(28, "No space left on device")
        return real(place, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="no space left"):
        split(song, clip="clamp")
    now = {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path) if (tmp_path / name).is_file()}
    assert now == before


# --- songs that are not whole, or have several tracks


def test_a_cut_off_song_is_salvaged_only_on_request(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 30000))
    whole = read_song(song)
    song.write_bytes(song.read_bytes()[: 44 + 20000 * 4])
    with pytest.raises(DamagedError, match="cut off: the last 40000 bytes are missing"):
        split(song)
    assert files_in(tmp_path) == {"song.wav"}
    stems, manifest, warnings = split(song, salvage=True)
    assert manifest["samples"] == 20000
    assert np.abs(read_song(stems["bass"]) - GAINS[STEMS.index("bass")] * whole[:, :20000]).max() < 2**-15
    assert manifest["salvaged"] == ["song.wav: cut off: the last 40000 bytes are missing"]
    assert warnings == manifest["warnings"] == ["salvaged: song.wav: cut off: the last 40000 bytes are missing"]


def test_what_was_salvaged_is_done_only_for_who_asks_for_it(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 30000))
    for salvage, missing in ((False, 0), (True, 40000)):
        song.write_bytes(song.read_bytes()[: 44 + 30000 * 4 - missing])
        split(song, salvage=salvage)
        for asked in (False, True):
            options = SeparateOptions(output=tmp_path / "out", salvage=asked)
            separator = fake_separator(options, gains=GAINS)
            (job,) = plan(find_inputs([song], options.output), separator, options)
            assert Separating(separator, options).is_finished(job) == (asked or not salvage)


def test_a_failure_names_the_way_on(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 30000))
    song.write_bytes(song.read_bytes()[:50000])
    options = SeparateOptions(output=tmp_path / "out")
    separator = fake_separator(options, gains=GAINS)
    (outcome,) = run(plan(find_inputs([song], options.output), separator, options), Separating(separator, options))
    assert outcome.message.endswith("bytes are missing; --salvage takes what is there")


def test_another_track_is_another_setting(tmp_path: Path, sound: Sound) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "song.mka"), "w") as out:
        tracks = [out.add_stream("flac", rate=8000, layout=layout) for layout in ("mono", "stereo")]
        for stream, frames in zip(tracks, (9000, 7000), strict=True):
            flat = (sound(len(stream.layout.channels), frames, 8000) * 2**15).astype(np.int16).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(flat), format="s16", layout=stream.layout.name)
            frame.sample_rate, frame.pts = 8000, 0
            fitting = av.AudioResampler("s16", stream.layout.name, 8000, frame_size=stream.codec_context.frame_size)
            for part in [*fitting.resample(frame), *fitting.resample(None)]:
                out.mux(stream.encode(part))
            out.mux(stream.encode(None))
    _, manifest, warnings = split(tmp_path / "song.mka")
    assert (manifest["samples"], manifest["input"]["channels"]) == (9000, 1)
    assert "1 is read: --audio-track chooses another" in warnings[0]
    assert "audio_track" not in manifest["settings"]
    _, manifest, warnings = split(tmp_path / "song.mka", audio_track=2)
    assert (manifest["samples"], manifest["input"]["channels"], warnings) == (7000, 2, [])
    assert manifest["settings"]["audio_track"] == 2


def test_a_pipe_states_the_length_that_a_song_has(tmp_path: Path, sound: Sound) -> None:
    """The header of the song states half of it."""
    song = tmp_path / "song.mp3"
    soundfile.write(song, sound(2, 40000).T, 44100)
    data = song.read_bytes()
    song.write_bytes(data + data)
    options = SeparateOptions(output=tmp_path, stems="bass", bit_depth="16")
    separator = fake_separator(options, gains=GAINS)
    stream = io.BytesIO()
    assert pipe_track(song, stream, separator, options, on_warning=lambda text: None)
    samples, _ = soundfile.read(io.BytesIO(stream.getvalue()))
    assert 80000 <= len(samples) < 85000
    assert len(stream.getvalue()) == len(samples) * 4 + 80


# --- streams


MEMORY = """
    import resource, sys
    from pathlib import Path
    from tiny import FakeConfig, fake_separator
    from stemsplit.runs import stem_files
    from stemsplit.machine import pipeline
    from stemsplit.runs.separate import plan
    from stemsplit.files.inputs import find_inputs
    from stemsplit.options import SeparateOptions
    from stemsplit.runs.separate import Separating
    pipeline.usable_cores = stem_files.usable_cores = lambda: 3
    song = Path(sys.argv[1])
    options = SeparateOptions(output=song.parent / song.stem, exact_sum=True)
    separator = fake_separator(options, config=FakeConfig(chunk_samples=132300))
    (job,) = plan(find_inputs([song], options.output), separator, options)
    Separating(separator, options).carry_out(job, on_warning=print)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    minute = np.random.default_rng(0).integers(-3000, 3000, (44100 * 60, 2), dtype=np.int16)
    peaks = []
    for name, minutes in (("short", 0.5), ("long", 5.0)):
        song = tmp_path / f"{name}.wav"
        with soundfile.SoundFile(song, "w", 44100, 2, "PCM_16") as file:
            for _ in range(max(1, int(minutes))):
                file.write(minute[: int(min(1.0, minutes) * len(minute))])
        command = [sys.executable, "-c", textwrap.dedent(MEMORY), str(song)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 40, peaks  # MiB; one stem of the difference alone would be 100
