"""Songs and stems at addresses: what is asked of a store, what is half uploaded, what is done already."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stores import Counted, emptied, put_songs
from tiny import STEMS, fake_separator

from stemsplit.files.inputs import find_inputs
from stemsplit.files.places import as_address
from stemsplit.machine.together import STAGE_PREFIX
from stemsplit.options import MelodyOptions, SeparateOptions
from stemsplit.runs.jobs import Job, Outcome, run
from stemsplit.runs.plan import check_writable
from stemsplit.runs.separate import plan, work_for
from stemsplit.runs.transcribe import plan_melodies
from stemsplit.runs.workers.mirror import attempt, foreseen

SONGS, OUT = "counted://songs", "counted://out"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Counted]]:
    """A store with two songs; nothing may be left in the temporary folder."""
    made = emptied()
    put_songs(tmp_path, SONGS, ["a/one.wav", "two.wav"])
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield made
    assert not list((tmp_path / "tmp").iterdir())


class Told:
    def __init__(self) -> None:
        self.started: list[tuple[str, float | None]] = []
        self.warnings: list[str] = []

    def on_start(self, job: Job, seconds: float | None) -> None:
        self.started.append((job.name, seconds))

    def on_progress(self, job: Job, seconds: float) -> None: ...

    def on_warning(self, job: Job, text: str) -> None:
        self.warnings.append(f"{job.name}: {text}")


def separated(watcher: Any = None, *, songs: str = SONGS, output: str = OUT, **options: Any) -> dict[str, Outcome]:
    """A run of its own, as a process would have it: track → outcome."""
    asked = SeparateOptions(output=as_address(output) or Path(output), **options)
    separator = fake_separator(asked)
    jobs = plan(find_inputs([as_address(songs) or Path(songs)], asked.output), separator, asked)
    check_writable(asked.output)
    Counted.asked.clear()
    return {o.track: o for o in run(jobs, work_for(separator, asked), watcher, do=attempt)}


def statuses(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {track: outcome.status for track, outcome in outcomes.items()}


def stored(name: str) -> Any:
    return json.loads(Counted.store[name].getvalue())


def kinds() -> dict[str, int]:
    return dict(Counter(asked.split()[0] for asked in Counted.asked))


def test_few_requests_for_a_song(store: type[Counted]) -> None:
    told = Told()
    first = separated(told)
    assert statuses(first) == {"a/one": "done", "two": "done"}, first
    songs, uploads = 2, len(STEMS) + 2  # a manifest twice
    assert kinds() == {"list": 1, "get": songs, "put": songs * uploads, "remove": songs}
    puts = [asked.rpartition("/")[2] for asked in store.asked if asked.startswith("put /out/two")]
    assert (puts[0], puts[-1]) == (".stemsplit.json.uploading", "stemsplit.json")
    assert set(puts[1:-1]) == {f"{stem}.wav" for stem in STEMS}
    assert sorted(name for name in store.store if name.startswith("/out/two")) == sorted(
        f"/out/two/{name}" for name in ("stemsplit.json", *(f"{stem}.wav" for stem in STEMS))
    )
    assert told.started == [(f"{SONGS}/a/one.wav", 0.25), (f"{SONGS}/two.wav", 0.25)]
    assert {name: str(path) for name, path in first["two"].outputs.items()} == {
        stem: f"{OUT}/two/{stem}.wav" for stem in STEMS
    }
    about = stored("/out/two/stemsplit.json")
    assert about["input"]["location"] == about["input"]["path"] == f"{SONGS}/two.wav"
    assert about["outputs"]["bass"]["bytes"] == len(store.store["/out/two/bass.wav"].getvalue())
    again = separated()
    assert statuses(again) == {"a/one": "skipped", "two": "skipped"}
    assert again["two"].outputs == first["two"].outputs
    assert kinds() == {"list": 4, "get": songs}  # the root, a/, and a listing and a manifest for each


def test_a_dry_run_fetches_no_song_and_writes_nothing(store: type[Counted]) -> None:
    separated(stems="vocals")
    asked = SeparateOptions(output=as_address(OUT) or Path(), stems="vocals")
    separator = fake_separator(asked)
    jobs = plan(find_inputs([as_address(SONGS) or ""], asked.output), separator, asked)
    before = dict(store.store)
    store.asked.clear()
    assert {foreseen(job, work_for(separator, asked)).status for job in jobs} == {"skipped"}
    drums = SeparateOptions(output=asked.output, stems="drums")
    separator = fake_separator(drums)
    jobs = plan(find_inputs([as_address(SONGS) or ""], drums.output), separator, drums)
    assert {foreseen(job, work_for(separator, drums)).status for job in jobs} == {"planned"}
    assert store.store == before
    assert not [asked for asked in store.asked if asked.startswith(("put", "get /songs"))]


@pytest.mark.parametrize("number", range(6))
def test_a_song_that_is_half_uploaded_is_done_again(store: type[Counted], number: int) -> None:
    """The upload of a song ends after so many files; before that there were stems of other settings, as long."""
    separated(clip="none")
    left = [number]

    def fail(what: str, path: str) -> None:
        if what == "put" and path.startswith("/out/two"):
            left[0] -= 1
            if left[0] < 0:
                raise ConnectionError("reset by peer")

    store.before.append(fail)
    outcomes = separated(clip="clamp")
    assert statuses(outcomes) == {"a/one": "done", "two": "failed"}
    assert outcomes["two"].message.startswith(f"{SONGS}/two.wav: {OUT}/two/")
    assert outcomes["two"].message.endswith("it cannot be reached, or stopped answering (reset by peer)")
    store.before.clear()
    changed = number > 0  # nothing had been uploaded
    assert statuses(separated(clip="none"))["two"] == ("done" if changed else "skipped")
    assert statuses(separated(clip="none")) == {"a/one": "skipped", "two": "skipped"}
    assert not [name for name in store.store if name.endswith(".uploading")]


def test_a_new_song_that_is_half_uploaded_is_no_stranger(store: type[Counted]) -> None:
    def fail(what: str, path: str) -> None:
        if path.endswith("two/stemsplit.json") and what == "put":
            raise PermissionError("Access Denied")

    store.before.append(fail)
    assert statuses(separated())["two"] == "failed"
    assert "/out/two/vocals.wav" in store.store
    store.before.clear()
    assert statuses(separated()) == {"a/one": "skipped", "two": "done"}


def test_files_of_others_are_not_written_over(store: type[Counted]) -> None:
    store.store["/out/two/vocals.wav"] = store.store["/songs/two.wav"]
    outcomes = separated()
    assert statuses(outcomes) == {"a/one": "done", "two": "failed"}
    assert outcomes["two"].message.startswith(f"{OUT}/two/vocals.wav is there, and not made of {SONGS}/two.wav")
    assert statuses(separated(force=True)) == {"a/one": "done", "two": "done"}


def test_a_changed_song_is_done_again_and_a_touched_one_is_not(store: type[Counted]) -> None:
    separated()
    data = store.store["/songs/two.wav"].getvalue()
    store().pipe_file("/songs/two.wav", data)
    assert statuses(separated())["two"] == "skipped"
    assert "get /songs/two.wav" in store.asked
    store().pipe_file("/songs/two.wav", data[:-400] + bytes(400))
    assert statuses(separated()) == {"a/one": "skipped", "two": "done"}


def test_a_stem_that_is_gone_or_cut_is_made_again(store: type[Counted]) -> None:
    separated()
    del store.store["/out/two/bass.wav"]
    store().pipe_file("/out/a/one/bass.wav", b"RIFF")
    assert statuses(separated()) == {"a/one": "done", "two": "done"}


def test_other_stems_join_those_that_are_there(store: type[Counted]) -> None:
    for stem, status in (("vocals", "done"), ("drums", "done"), ("vocals", "skipped"), ("drums", "skipped")):
        assert set(statuses(separated(stems=stem)).values()) == {status}, stem


def test_songs_of_this_machine_go_to_a_store_and_back(store: type[Counted], tmp_path: Path) -> None:
    assert set(statuses(separated(songs=str(tmp_path / "made"))).values()) == {"done"}
    assert set(statuses(separated(songs=str(tmp_path / "made"))).values()) == {"skipped"}
    away = tmp_path / "away"
    assert set(statuses(separated(output=str(away))).values()) == {"done"}
    assert (away / "two" / "bass.wav").read_bytes() == store.store["/out/two/bass.wav"].getvalue()
    assert set(statuses(separated(output=str(away))).values()) == {"skipped"}
    assert kinds() == {}  # the manifests here say it all


def test_a_song_that_cannot_be_fetched_fails_by_name(store: type[Counted]) -> None:
    def fail(what: str, path: str) -> None:
        if path == "/songs/a/one.wav":
            del store.store[path]

    store.before.append(fail)
    outcomes = separated()
    assert statuses(outcomes) == {"a/one": "failed", "two": "done"}
    assert outcomes["a/one"].message == f"{SONGS}/a/one.wav: no such file or folder there"
    store().pipe_file("/songs/a/one.wav", b"no audio")
    store.before.clear()
    assert separated()["a/one"].message.startswith(f"{SONGS}/a/one.wav: not audio")


def test_what_a_killed_run_left_is_cleared_away(store: type[Counted], tmp_path: Path) -> None:
    from stemsplit.runs.workers import mirror

    left = tmp_path / "tmp" / f"{STAGE_PREFIX}00000000"
    (left / "out").mkdir(parents=True)
    (left / "song.wav").touch()
    mirror._clear_once.cache_clear()
    separated()
    assert not left.exists()


def test_melodies_are_planned_at_an_address(store: type[Counted]) -> None:
    output = as_address(OUT) or Path()
    jobs = plan_melodies(find_inputs([as_address(SONGS) or ""], output), MelodyOptions(output=output, notes=True))
    assert [str(job.manifest) for job in jobs] == [f"{OUT}/a/one.melody.json", f"{OUT}/two.melody.json"]
    assert jobs[1].location == jobs[1].name == f"{SONGS}/two.wav"
    assert all(job.mark for job in jobs)


def test_a_song_that_another_run_is_at_comes_last(store: type[Counted], tmp_path: Path) -> None:
    from stemsplit.files.leftovers import claim_path
    from stemsplit.machine.claims import claimed

    away = tmp_path / "away"
    options = SeparateOptions(output=away)
    separator = fake_separator(options)
    job = plan(find_inputs([as_address(f"{SONGS}/two.wav") or ""], away), separator, options)[0]
    with claimed(claim_path(job.manifest)) as ours:
        assert ours
        assert attempt(job, work_for(separator, options), Told(), began=time.time()) is None
