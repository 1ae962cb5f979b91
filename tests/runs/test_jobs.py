"""Many songs: refused before anything is written, done one by one, and not done twice."""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import STEMS, fake_separator, files_in, write_song

from stemsplit.errors import DecodeError, EmptyAudioError, OutputError, TargetCollisionError, UsageError
from stemsplit.files.inputs import find_inputs
from stemsplit.files.leftovers import claim_path
from stemsplit.files.naming import check_template, stem_path, track_name
from stemsplit.machine.claims import claimed
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
    assert str(nope.error) == f"{tmp_path / 'nope.wav'}: no such file or folder"
    assert str(folder.error) == f"{tmp_path / 'in'}: no audio in this folder"
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


# --- what is somebody else's


def saved(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder) if (folder / name).is_file()}


def test_the_stems_of_another_song_are_not_written_over(tmp_path: Path, sound: Sound) -> None:
    for folder in ("A", "B"):
        write_song(tmp_path / folder / "track01.wav", sound(2, 9000, amplitude=0.1 if folder == "A" else 0.2))
    options = SeparateOptions(output=tmp_path / "out")
    separate([tmp_path / "A" / "track01.wav"], options)
    before = saved(tmp_path / "out")
    for other in (options, replace(options, format="flac"), replace(options, stems="bass")):
        (refused,) = separate([tmp_path / "B" / "track01.wav"], other)
        assert isinstance(refused.error, TargetCollisionError)
        assert "not made of" in refused.message
        assert saved(tmp_path / "out") == before
    (done,) = separate([tmp_path / "B" / "track01.wav"], replace(options, force=True))
    assert done.status == "done"
    (refused,) = separate([tmp_path / "A" / "track01.wav"], options)
    assert refused.status == "failed"


def test_a_song_of_the_same_name_from_another_folder_is_another_song(
    tmp_path: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("A", "B"):
        write_song(tmp_path / folder / "x.wav", sound(2, 9000, amplitude=0.1 if folder == "A" else 0.2))
    options = SeparateOptions(output=tmp_path / "out")
    for folder, status in (("A", "done"), ("B", "failed"), ("A", "skipped")):
        monkeypatch.chdir(tmp_path / folder)
        assert [one.status for one in separate([Path("x.wav")], options)] == [status]


def test_the_same_song_moved_is_the_same_song(tmp_path: Path, sound: Sound) -> None:
    song, options = write_song(tmp_path / "A" / "x.wav", sound(2, 9000)), SeparateOptions(output=tmp_path / "out")
    separate([song], options)
    moved = (tmp_path / "A").rename(tmp_path / "B") / "x.wav"
    assert separate([moved], options)[0].status == "skipped"
    assert separate([moved], replace(options, clip="clamp"))[0].status == "done"


@pytest.mark.parametrize("kind", ["file", "link", "broken link", "manifest", "unreadable manifest"])
def test_a_file_of_the_user_is_not_written_over(tmp_path: Path, sound: Sound, kind: str) -> None:
    song, folder = write_song(tmp_path / "x.wav", sound(2, 9000)), tmp_path / "out" / "x"
    folder.mkdir(parents=True)
    if kind == "file":
        (folder / "vocals.wav").write_bytes(b"mine")
    elif "link" in kind:
        (tmp_path / "mine.wav").write_bytes(b"mine")
        (folder / "vocals.wav").symlink_to(tmp_path / ("mine.wav" if kind == "link" else "gone.wav"))
    else:
        (folder / "stemsplit.json").write_text("{}" if kind == "manifest" else "mine")
    before = saved(tmp_path)
    options = SeparateOptions(output=tmp_path / "out")
    (refused,) = separate([song], options)
    assert isinstance(refused.error, TargetCollisionError)
    assert saved(tmp_path) == before
    assert files_in(folder) == {"stemsplit.json" if "manifest" in kind else "vocals.wav"}
    assert separate([song], replace(options, force=True))[0].status == "done"
    assert {name: data for name, data in saved(tmp_path).items() if name == "mine.wav"} == {
        name: data for name, data in before.items() if name == "mine.wav"
    }


@pytest.mark.parametrize("name", ["drums.wav", "vocals.wav", "stemsplit.json"])
@pytest.mark.parametrize("force", [True, False])
def test_a_folder_in_the_way_is_found_before_the_work(tmp_path: Path, sound: Sound, name: str, force: bool) -> None:
    (tmp_path / "out" / "x" / name).mkdir(parents=True)
    song, calls = write_song(tmp_path / "x.wav", sound(2, 9000)), []
    (refused,) = separate([song], SeparateOptions(output=tmp_path / "out", force=force), on_call=calls.append)
    assert "a folder of that name is there" in refused.message
    assert not calls
    assert files_in(tmp_path / "out") == {"x", f"x/{name}"}


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
@pytest.mark.parametrize("name", ["drums.wav", "stemsplit.json"])
def test_a_pipe_in_the_way_keeps_nobody_waiting(tmp_path: Path, sound: Sound, name: str) -> None:
    song, options = write_song(tmp_path / "x.wav", sound(2, 9000)), SeparateOptions(output=tmp_path / "out")
    separate([song], options)
    (tmp_path / "out" / "x" / name).unlink()
    os.mkfifo(tmp_path / "out" / "x" / name)
    (refused,) = separate([song], options)
    assert "no file of that name is there" in refused.message


def test_another_selection_and_back_is_all_of_one_song(tmp_path: Path, sound: Sound) -> None:
    song, options = write_song(tmp_path / "x.wav", sound(2, 9000)), SeparateOptions(output=tmp_path / "out")
    for asked in ({"stems": "vocals"}, {"stems": "bass", "format": "flac"}, {}):
        (done,) = separate([song], replace(options, **asked))
        assert done.status == "done"
    assert done.manifest is not None
    assert done.manifest["earlier"] == ["bass.flac"]
    (tmp_path / "out" / "x" / "bass.flac").unlink()
    (done,) = separate([song], replace(options, stems="drums"))
    assert done.manifest is not None
    assert sorted(done.manifest["earlier"]) == ["bass.wav", "other.wav", "vocals.wav"]


def test_only_what_collides_is_left_out(tmp_path: Path, sound: Sound) -> None:
    for name in ("a.wav", "a.flac", "a.aiff", "b.wav", "c.wav", "c.flac"):
        write_song(tmp_path / "in" / name, sound(2, 9000))
    options = SeparateOptions(output=tmp_path / "out", stems="bass")
    outcomes = separate([tmp_path / "in", tmp_path / "nope.wav"], options)
    assert [one.status for one in outcomes] == [*["failed"] * 3, "done", *["failed"] * 3]
    messages = list(dict.fromkeys(one.message for one in outcomes if one.error))
    assert "a.aiff, " in messages[0]
    assert "a.wav would all write" in messages[0]
    assert "c.wav would both write" in messages[1]
    assert "nope.wav: no such file" in messages[2]
    outcomes = separate([tmp_path / "in"], replace(options, template="{track}.{suffix}/{stem}.{ext}"))
    assert {one.status for one in outcomes} == {"done"}
    assert {"a.wav/bass.wav", "a.flac/bass.wav", "a.wav/stemsplit.json"} <= files_in(tmp_path / "out")


def test_a_song_that_needs_a_folder_where_another_writes_a_file_collides(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "in" / "a" / "bass.wav" / "b.wav")
    options = SeparateOptions(output=tmp_path / "out", stems="bass")
    jobs = jobs_for([tmp_path / "a.wav", tmp_path / "in"], options)
    assert [job.track for job in jobs] == ["a", "a/bass.wav/b"]
    assert all("would both write" in str(job.error) for job in jobs)


# --- two runs at once


@pytest.mark.parametrize("force", [True, False])
def test_a_track_that_another_run_is_at_comes_last_and_is_not_done_twice(
    tmp_path: Path, sound: Sound, force: bool
) -> None:
    for name in "ab":
        write_song(tmp_path / f"{name}.wav", sound(2, 9000, amplitude=0.1 if name == "a" else 0.2))
    options, calls = SeparateOptions(output=tmp_path / "out", force=force), []
    separator = fake_separator(options, on_call=calls.append)
    jobs = plan(find_inputs([tmp_path / "a.wav", tmp_path / "b.wav"], options.output), separator, options)
    told: list[tuple[str, str]] = []

    class Warnings(Watcher):
        def on_warning(self, job: Job, text: str) -> None:
            told.append((job.track, text))

    with claimed(claim_path(jobs[0].manifest)) as ours:
        assert ours
        outcomes = run(jobs, Separating(separator, options), Warnings())
        assert next(outcomes).track == "b"
        assert told == [("a", "another run is at this track, so it comes last")]
        Separating(separator, options).carry_out(jobs[0], on_warning=print)
        before = len(calls)
    (last,) = outcomes
    assert (last.track, last.status, len(calls)) == ("a", "skipped", before)
    assert files_in(tmp_path / "out") == {
        f"{track}/{name}" for track in "ab" for name in ("stemsplit.json", *(f"{stem}.wav" for stem in STEMS))
    } | {"a", "b"}


def test_a_track_whose_other_run_failed_is_done(tmp_path: Path, sound: Sound) -> None:
    song, options = write_song(tmp_path / "a.wav", sound(2, 9000)), SeparateOptions(output=tmp_path / "out")
    (job,) = jobs_for([song], options)
    got: list[Outcome] = []
    with claimed(claim_path(job.manifest)):
        waiting = threading.Thread(target=lambda: got.extend(separate([song], options)))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(60)
    assert [one.status for one in got] == ["done"]
