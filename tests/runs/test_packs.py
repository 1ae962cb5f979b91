"""A stem file: one MP4 with the song and its four stems, exact in length, and in ALAC exact in every sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import mutagen.mp4
import numpy as np
import pytest
from tiny import GAINS, STEMS, FakeConfig, fake_separator, read_song, write_song

from stemsplit.analysis.beats import Beat, Tempo
from stemsplit.analysis.key import Key
from stemsplit.analysis.song import Analysis
from stemsplit.audio import PackWriter, blocks, probe
from stemsplit.audio.containers.stem_box import add_stem_box, read_stem_box
from stemsplit.audio.tags import Tags, write_tags
from stemsplit.errors import OutputError, UsageError
from stemsplit.files.inputs import find_inputs
from stemsplit.files.manifest import MANIFEST_NAME
from stemsplit.machine.together import written_together
from stemsplit.options import PACK_STEMS, PACK_TEMPLATE, SeparateOptions
from stemsplit.runs.separate import Separating, check_options, plan
from stemsplit.runs.stem_tags import tag_stems

Sound = Callable[..., np.ndarray]
FAKE = dict(zip(STEMS, GAINS, strict=True))


def pack(source: Path, *, format: str = "stem.alac", config: Any = None, **asked: Any) -> tuple[Path, dict[str, Any]]:
    """Separate one file with a fake network into one file: it, and the manifest."""
    options = SeparateOptions(output=source.parent / "out", template=PACK_TEMPLATE, format=format, **asked)
    check_options(options)
    separator = fake_separator(options, config=config)
    (job,) = plan(find_inputs([source], options.output), separator, options)
    warnings: list[str] = []
    manifest = Separating(separator, options).carry_out(job, on_warning=warnings.append)
    (path,) = job.targets.values()
    return path, manifest


def track(path: Path, number: int) -> np.ndarray:
    """The samples of a sound track, from 1."""
    return np.concatenate(list(blocks(probe(path, track=number))), axis=1)


def grid(samples: np.ndarray, bits: int = 16) -> np.ndarray:
    full = 2 ** (bits - 1)
    return (np.rint(samples * np.float64(full)) / full).astype(np.float32)


@pytest.mark.parametrize(("bits", "subtype"), [(16, "PCM_16"), (24, "PCM_24")])
def test_alac_holds_the_song_and_the_stems_exactly(tmp_path: Path, sound: Sound, bits: int, subtype: str) -> None:
    song = grid(sound(2, 50001), bits)
    path, manifest = pack(write_song(tmp_path / "song.wav", song, subtype=subtype))
    assert path == tmp_path / "out" / "song.stem.mp4"
    np.testing.assert_array_equal(track(path, 1), song)
    for number, stem in enumerate(PACK_STEMS, 2):
        assert np.abs(track(path, number) - FAKE[stem] * song).max() < 1.3 / 2**bits, stem
    assert (manifest["bit_depth"], manifest["samples"], manifest["gain"]) == (str(bits), 50001, 1.0)


@pytest.mark.parametrize("frames", [1, 1024, 44100, 70001])
@pytest.mark.parametrize("format", ["stem.mp4", "stem.alac"])
def test_all_tracks_have_the_length_of_the_song(tmp_path: Path, sound: Sound, frames: int, format: str) -> None:
    path, _ = pack(write_song(tmp_path / "song.wav", sound(2, frames, amplitude=0.1)), format=format)
    with av.open(str(path)) as file:
        assert [(s.type, s.duration, float(s.time_base)) for s in file.streams] == [("audio", frames, 1 / 44100)] * 5
    assert [track(path, number).shape for number in range(1, 6)] == [(2, frames)] * 5


def test_aac_keeps_every_track_in_its_place(tmp_path: Path) -> None:
    song = np.tile(0.4 * np.sin(np.arange(60000) / 20), (2, 1)).astype(np.float32)
    path, manifest = pack(write_song(tmp_path / "song.wav", song), format="stem.mp4")
    for number, gain in enumerate([1.0, *(FAKE[stem] for stem in PACK_STEMS)], 1):
        heard = track(path, number)
        assert abs((heard * song).sum() / (song * song).sum() - gain) < 0.02
    assert manifest["bit_depth"] == "lossy"


def test_it_is_a_stem_file_for_players_and_djs(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.flac", sound(2, 20000))
    write_tags(song, Tags({"title": ("Tune",), "artist": ("Somebody",)}), "flac")
    path, _ = pack(song)
    with path.open("rb") as file:
        said = json.loads(read_stem_box(file) or b"")
    assert [stem["name"] for stem in said["stems"]] == ["Drums", "Bass", "Other", "Vocals"]
    assert len({stem["color"] for stem in said["stems"]}) == 4
    assert said["version"] == 1
    assert not any(said["mastering_dsp"][kind]["enabled"] for kind in ("compressor", "limiter"))
    with av.open(str(path)) as file:
        on = [bool(stream.disposition & av.stream.Disposition.default) for stream in file.streams]
    assert on == [True, False, False, False, False]  # a player plays the song
    tags = mutagen.mp4.MP4(path).tags
    assert (tags["\xa9nam"], tags["\xa9ART"]) == (["Tune"], ["Somebody"])


def test_mono_becomes_stereo_and_surround_is_refused(tmp_path: Path, sound: Sound) -> None:
    song = grid(sound(1, 9000))
    path, _ = pack(write_song(tmp_path / "mono.wav", song, subtype="PCM_16"))
    np.testing.assert_array_equal(track(path, 1), np.repeat(song, 2, axis=0))
    with pytest.raises(OutputError, match="holds 2 channels, not 6: use --format wav"):
        pack(write_song(tmp_path / "six.wav", sound(6, 9000)))
    assert not list((tmp_path / "out").glob("**/six*"))


def test_an_exact_sum_holds_in_one_file_too(tmp_path: Path, sound: Sound) -> None:
    song = grid(sound(2, 30000, amplitude=0.3))
    path, _ = pack(write_song(tmp_path / "song.wav", song, subtype="PCM_16"), exact_sum=True)
    np.testing.assert_array_equal(sum(track(path, number) for number in range(2, 6)), track(path, 1))


def test_one_gain_turns_the_song_down_with_its_stems(tmp_path: Path, sound: Sound) -> None:
    song = 6 * sound(2, 20000)  # 32-bit floats beyond full scale
    path, manifest = pack(write_song(tmp_path / "song.wav", song, subtype="FLOAT"), bit_depth="24")
    assert manifest["gain"] < 0.6
    assert np.abs(track(path, 1) - manifest["gain"] * song).max() < 1e-6


@pytest.mark.parametrize(
    "asked", [{"stems": "vocals"}, {"two_stems": "vocals"}, {"without": "vocals"}, {"mix": ("a=drums+bass",)}]
)
def test_it_holds_four_stems_and_no_others(tmp_path: Path, sound: Sound, asked: dict[str, Any]) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 100))
    with pytest.raises(UsageError, match="a stem file holds drums, bass, other and vocals: leave out --stems"):
        pack(song, **asked)


@pytest.mark.parametrize("stems", [("vocals", "other"), ("drums", "bass", "other", "vocals", "guitar", "piano")])
def test_a_model_of_other_stems_is_refused(tmp_path: Path, sound: Sound, stems: tuple[str, ...]) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 100))
    with pytest.raises(UsageError, match=f"fake separates {', '.join(stems)}: choose a model of just those four"):
        pack(song, config=FakeConfig(stems=stems))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"exact_sum": True}, "--exact-sum needs"),
        ({"player": True}, "--player needs a file per stem"),
        ({"daw": "reaper"}, "--daw needs a file per stem"),
        ({"bit_depth": "16"}, "has no bit depth"),
        ({"format": "stem.alac", "bitrate": 192000}, "has no bit rate"),
    ],
)
def test_what_does_not_go_together_is_refused(asked: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_options(SeparateOptions(**({"format": "stem.mp4"} | asked)))


def test_it_is_made_of_stems_that_are_there_and_nothing_of_it(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", grid(sound(2, 30000)), subtype="PCM_16")
    _, packed = pack(song)
    options = SeparateOptions(output=tmp_path / "out")
    separator = fake_separator(options)
    (job,) = plan(find_inputs([song], options.output), separator, options)
    manifest = Separating(separator, options).carry_out(job, on_warning=lambda text: None)
    assert "derived_from" not in packed.keys() | manifest.keys()
    path, again = pack(song, format="stem.mp4", force=False)
    assert set(again["derived_from"]) == set(STEMS)
    assert np.corrcoef(track(path, 1).ravel(), read_song(song).ravel())[0, 1] > 0.9


def test_the_same_song_gives_the_same_bytes_and_is_not_done_twice(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 30000))
    first = pack(song, format="stem.mp4")[0].read_bytes()
    assert pack(song, format="stem.mp4", force=True)[0].read_bytes() == first
    options = SeparateOptions(output=tmp_path / "out", template=PACK_TEMPLATE, format="stem.mp4")
    separator = fake_separator(options)
    (job,) = plan(find_inputs([song], options.output), separator, options)
    assert Separating(separator, options).is_finished(job)
    assert all(item.made for item in find_inputs([song.parent / "out" / "song.stem.mp4", song], tmp_path / "out")[:1])


def test_a_box_needs_the_tables_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x08moov\0\0\0\x08mdat")
    with (tmp_path / "a.mp4").open("r+b") as file:
        with pytest.raises(ValueError, match="not the last"):
            add_stem_box(file, b"{}")
        assert read_stem_box(file) is None


def test_a_failed_file_leaves_nothing(tmp_path: Path, sound: Sound) -> None:
    def fail() -> None:
        with PackWriter(tmp_path / "a.stem.mp4", 44100, 2, "stem.mp4", "lossy", stems=PACK_STEMS) as writer:
            writer.write(np.stack([sound(2, 5000)] * 5))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_tempo_and_key_go_into_its_tags_and_nothing_else_changes(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "song.wav", sound(2, 9000))
    path, manifest = pack(song)
    with path.open("rb") as file:
        box = read_stem_box(file)
    before = track(path, 3)
    found = Analysis(Beat(Tempo(90.0), 1.0), np.zeros(0), Key(9, "minor", 0.9), [], 440.0, 0.2)
    warnings: list[str] = []
    with written_together() as together:
        tag_stems(
            tmp_path / "out" / "song" / MANIFEST_NAME, manifest["input"]["sha256"], found, together, warnings.append
        )
    assert warnings == []
    tags = mutagen.mp4.MP4(path).tags
    assert tags["tmpo"] == [90]
    with path.open("rb") as file:
        assert read_stem_box(file) == box
    np.testing.assert_array_equal(track(path, 3), before)
