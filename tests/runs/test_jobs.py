"""Many songs: refused before anything is written, done one by one, and not done twice."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import fake_separator, files_in, write_song

from stemsplit.errors import DecodeError, EmptyAudioError, OutputError, TargetCollisionError, UsageError
from stemsplit.files.inputs import find_inputs
from stemsplit.files.naming import check_template, stem_path, track_name
from stemsplit.options import SeparateOptions
from stemsplit.runs.jobs import Job, Outcome, Watcher, run
from stemsplit.runs.plan import check_writable
from stemsplit.runs.separate import Separating, check_options, plan

Sound = Callable[..., np.ndarray]


def jobs_for(paths: list[Path], options: SeparateOptions) -> tuple[Job, ...]:
    return plan(find_inputs(paths, options.output), fake_separator(options), options)


def separate(paths: list[Path], options: SeparateOptions, **kind: Any) -> list[Outcome]:
    separator = fake_separator(options, **kind)
    return list(run(plan(find_inputs(paths, options.output), separator, options), Separating(separator, options)))


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# --- what is an input


def test_folders_are_searched_for_audio(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("b.WAV", "a.mp3", "c/d/e.flac", ".hidden.wav", ".git/x.wav", "cover.jpg")))
    found = find_inputs([tmp_path], tmp_path / "separated")
    assert [item.track for item in found] == ["a", "b", "c/d/e"]
    assert [item.path for item in found] == [tmp_path / "a.mp3", tmp_path / "b.WAV", tmp_path / "c/d/e.flac"]


def test_our_own_stems_are_no_inputs(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.wav", "separated/vocals/a.wav", "old/a/stemsplit.json", "old/a/bass.wav")))
    assert [item.track for item in find_inputs([tmp_path], tmp_path / "separated")] == ["a"]
    assert [item.track for item in find_inputs([tmp_path], tmp_path)] == ["a", "separated/vocals/a"]


def test_a_file_that_is_named_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "song", tmp_path / "v1.2", tmp_path / ".hidden.wav")
    tracks = [item.track for item in find_inputs(sorted(tmp_path.iterdir()), tmp_path / "out")]
    assert tracks == [".hidden", "song", "v1.2"]


def test_a_file_that_is_named_twice_is_separated_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    assert len(find_inputs([tmp_path / "a.wav", tmp_path, tmp_path / "." / "a.wav"], tmp_path / "out")) == 1


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "a.wav", tmp_path / "in" / "b.wav")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "broken.wav").symlink_to(tmp_path / "nowhere.wav")
    assert [item.track for item in find_inputs([tmp_path / "in"], tmp_path / "out")] == ["b", "link/a"]


def test_what_is_no_input_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "notes.txt")
    nope, folder = find_inputs([tmp_path / "nope.wav", tmp_path / "in"], tmp_path / "out")
    assert str(nope.error) == f"{tmp_path}/nope.wav: no such file or folder"
    assert str(folder.error) == f"{tmp_path}/in: no audio in this folder"
    with pytest.raises(UsageError, match="nothing to separate"):
        find_inputs([], tmp_path / "out")


# --- names


@pytest.mark.parametrize(
    ("file", "track"),
    [
        ("song.mp3", "song"),
        ("a.b.flac", "a.b"),
        ("Mr. Blue", "Mr. Blue"),
        ("...wav", "track"),
        ("..wav", "track"),
        ("end. .wav", "end"),
        ("日本.ogg", "日本"),
    ],
)
def test_track_names(file: str, track: str) -> None:
    assert track_name(Path(file), frozenset({".mp3", ".flac", ".wav", ".ogg"})) == track


def test_templates(tmp_path: Path) -> None:
    assert stem_path(tmp_path, "{stem}/{track}.{ext}", "a/b", "vocals", "wav") == tmp_path / "vocals/a/b.wav"
    assert stem_path(tmp_path, "{{{track}}}.{ext}", "a", "vocals", "wav") == tmp_path / "{a}.wav"


@pytest.mark.parametrize(
    "template",
    ["{nope}.{ext}", "{}.{ext}", "{track.x}.{ext}", "{track!r}.{ext}", "{track:>9}.{ext}", "{track", "{track}/{stem}",
     "{stem}.wav", "../{stem}.{ext}", "{track}/../../{stem}.{ext}", "/{track}/{stem}.{ext}"],
)  # fmt: skip
def test_templates_that_are_refused(template: str) -> None:
    with pytest.raises(UsageError, match="--template"):
        check_template(template)


@pytest.mark.parametrize("stem", ["../../evil", "a/b", "..", "", "a\\b", "a\0"])
def test_a_model_cannot_write_where_it_wants(tmp_path: Path, stem: str) -> None:
    with pytest.raises(UsageError, match="a stem cannot be called"):
        stem_path(tmp_path, "{track}/{stem}.{ext}", "song", stem, "wav")


# --- the plan


def test_songs_of_one_name_in_different_folders_do_not_collide(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "one" / "song.wav", tmp_path / "in" / "two" / "song.wav")
    options = SeparateOptions(output=tmp_path / "out", stems="vocals")
    targets = [job.targets["vocals"] for job in jobs_for([tmp_path / "in"], options)]
    assert targets == [tmp_path / "out/one/song/vocals.wav", tmp_path / "out/two/song/vocals.wav"]
    assert files_in(tmp_path) == {"in", "in/one", "in/two", "in/one/song.wav", "in/two/song.wav"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("song.wav", "song.mp3"),
        ("one/song.wav", "two/song.wav"),
        ("one/Song.wav", "two/sonG.wav"),
        (unicodedata.normalize("NFC", "one/é.wav"), unicodedata.normalize("NFD", "two/é.wav")),
    ],
)
def test_two_inputs_for_one_target_are_refused(tmp_path: Path, first: str, second: str) -> None:
    touch(tmp_path / first, tmp_path / second)
    one, other = jobs_for([tmp_path / first, tmp_path / second], SeparateOptions(output=tmp_path / "out"))
    assert isinstance(one.error, TargetCollisionError)
    assert "would both write" in str(one.error)
    assert other.error is one.error


def test_a_template_that_mixes_stems_up_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "b.wav")
    options = SeparateOptions(output=tmp_path / "out", template="{track}.{ext}")
    with pytest.raises(TargetCollisionError, match=r"put \{stem\} into --template"):
        jobs_for([tmp_path / "a.wav"], options)
    options = SeparateOptions(output=tmp_path / "out", template="{stem}.{ext}")
    assert all(
        "would both write" in str(job.error) for job in jobs_for([tmp_path / "a.wav", tmp_path / "b.wav"], options)
    )


def test_a_source_is_never_written_over(tmp_path: Path) -> None:
    touch(tmp_path / "song.wav", tmp_path / "vocals.wav")
    options = SeparateOptions(output=tmp_path, template="{stem}.{ext}")
    assert "would be written over" in str(jobs_for([tmp_path / "vocals.wav"], options)[0].error)
    options = SeparateOptions(output=tmp_path, template="{track}.{ext}", stems="vocals")
    assert "would be written over" in str(jobs_for([tmp_path / "song.wav"], options)[0].error)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"format": "wma"}, "unknown format"),
        ({"format": "flac", "bit_depth": "32f"}, "flac"),
        ({"format": "mp3", "bit_depth": "16"}, "mp3"),
        ({"format": "mp3", "exact_sum": True}, "--exact-sum needs"),
        ({"format": "opus", "sample_rate": 44100}, "use --sample-rate 48000"),
        ({"sample_rate": 0}, "--sample-rate 0"),
        ({"clip": "loud"}, "--clip"),
        ({"template": "{x}.{ext}"}, "--template"),
    ],
)
def test_options_that_cannot_work_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_options(SeparateOptions(**asked))


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot write to"):
            check_writable(output)
    check_writable(tmp_path / "new" / "folder")
    assert files_in(tmp_path) == {"file"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        check_writable(tmp_path / "out")


# --- the run


def test_a_bad_file_stops_no_other(tmp_path: Path, sound: Sound) -> None:
    folder = tmp_path / "in"
    for name in ("a", "d"):
        write_song(folder / f"{name}.wav", sound(2, 9000))
    (folder / "b.mp3").write_bytes(b"this is no song")
    (folder / "c.wav").touch()
    outcomes = separate([folder], SeparateOptions(output=tmp_path / "out"))
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "failed", "done"]
    assert [type(outcome.error) for outcome in outcomes[1:3]] == [DecodeError, EmptyAudioError]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "d"}
    assert outcomes[0].audio_seconds == pytest.approx(9000 / 44100)
    assert all(path.exists() for path in outcomes[0].outputs.values())


def test_a_bug_in_one_song_stops_no_other(tmp_path: Path, sound: Sound) -> None:
    calls: list[object] = []

    def fail_once(mixture: object) -> None:
        calls.append(mixture)
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")

    for name in ("a", "b"):
        write_song(tmp_path / f"{name}.wav", sound(2, 9000))
    options = SeparateOptions(output=tmp_path / "out")
    outcomes = separate([tmp_path / "a.wav", tmp_path / "b.wav"], options, on_call=fail_once)
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert isinstance(outcomes[0].error, ZeroDivisionError)


def test_ctrl_c_ends_the_run(tmp_path: Path, sound: Sound) -> None:
    def interrupt(mixture: object) -> None:
        raise KeyboardInterrupt

    write_song(tmp_path / "a.wav", sound(2, 9000))
    with pytest.raises(KeyboardInterrupt):
        separate([tmp_path / "a.wav"], SeparateOptions(output=tmp_path / "out"), on_call=interrupt)
    assert files_in(tmp_path) == {"a.wav"}


def test_a_second_run_skips_what_holds(tmp_path: Path, sound: Sound) -> None:
    song, options = write_song(tmp_path / "a.wav", sound(2, 9000)), SeparateOptions(output=tmp_path / "out")
    separate([song], options)
    (again,) = separate([song], options)
    assert again.status == "skipped"
    assert again.outputs["vocals"] == tmp_path / "out/a/vocals.wav"
    assert again.audio_seconds == pytest.approx(9000 / 44100)


@pytest.mark.parametrize(
    "change", ["force", "song", "stem", "model", "precision", "overlap", "chunks", "template", "stems", "depth", "clip"]
)
def test_a_second_run_redoes_what_no_longer_holds(tmp_path: Path, sound: Sound, change: str) -> None:
    song = write_song(tmp_path / "a.wav", sound(2, 9000))
    asked: dict[str, Any] = {"output": tmp_path / "out"}
    separate([song], SeparateOptions(**asked))
    if change == "song":
        write_song(song, sound(2, 9000, amplitude=0.1))
    elif change == "stem":
        (tmp_path / "out/a/bass.wav").unlink()
    other = {
        "force": {"force": True}, "precision": {"precision": "bf16"}, "overlap": {"overlap": 0.25},
        "chunks": {"chunk_seconds": 0.5}, "template": {"template": "{track}/{stem}_.{ext}"},
        "stems": {"stems": "bass"}, "depth": {"bit_depth": "24"}, "clip": {"clip": "clamp"},
    }.get(change, {})  # fmt: skip
    (again,) = separate([song], SeparateOptions(**asked, **other), sha256=("6" if change == "model" else "5") * 64)
    assert again.status == "done"
    assert separate([song], SeparateOptions(**asked, **other), sha256=again.manifest["model"]["sha256"])[  # type: ignore[index]
        0
    ].status == ("done" if change == "force" else "skipped")


def test_what_changes_no_byte_is_no_reason_to_redo(tmp_path: Path, sound: Sound) -> None:
    song = write_song(tmp_path / "a.wav", sound(2, 9000))
    separate([song], SeparateOptions(output=tmp_path / "out"))
    (again,) = separate([song], SeparateOptions(output=tmp_path / "out", batch_size=3, device="cpu"))
    assert again.status == "skipped"


def test_a_watcher_is_told_everything(tmp_path: Path, sound: Sound) -> None:
    class Notes(Watcher):
        def __init__(self) -> None:
            self.events: list[tuple[str, Any]] = []

        def on_start(self, job: Job, seconds: float | None) -> None:
            self.events.append(("start", seconds))

        def on_progress(self, job: Job, seconds: float) -> None:
            self.events.append(("progress", seconds))

        def on_warning(self, job: Job, text: str) -> None:
            self.events.append(("warning", text))

    song = write_song(tmp_path / "a.wav", sound(2, 22050, 8000), 8000)
    options, notes = SeparateOptions(output=tmp_path / "out"), Notes()
    separator = fake_separator(options, gains=(1, 1, 1, 0))
    list(run(plan(find_inputs([song], options.output), separator, options), Separating(separator, options), notes))
    assert notes.events[0] == ("start", 22050 / 8000)
    seconds = [value for kind, value in notes.events if kind == "progress"]
    assert seconds == sorted(seconds)
    assert seconds[-1] == pytest.approx(22050 / 8000, abs=1e-3)
    assert notes.events[-1] == ("warning", "silent: vocals")
