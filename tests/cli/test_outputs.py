"""What a user meets who runs it again, twice at once, on a mixed folder, or after a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from said import Run
from tiny import STEMS, files_in, save_tiny, write_song

Sound = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(autouse=True)
def _songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: Sound) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate("abc"):
        write_song(Path("in") / f"{name}.wav", sound(2, 4000 + number, 8000), 8000)


def test_what_is_wrong_with_one_input_is_told_and_the_rest_is_done(run: Run, tiny: str) -> None:
    Path("in/b.flac").write_bytes(Path("in/b.wav").read_bytes())
    said = run("separate", "nope.wav", "in", "in/a.wav", "x" * 300, "-m", tiny, "--stems", "bass", "--json")
    assert said.code == 1
    assert [(one["source"][:8], one["status"]) for one in said.objects] == [
        ("nope.wav", "failed"), ("in/a.wav", "done"), ("in/b.fla", "failed"), ("in/b.wav", "failed"),
        ("in/c.wav", "done"), ("xxxxxxxx", "failed"),
    ]  # fmt: skip
    kinds = ["UsageError", "TargetCollisionError", "TargetCollisionError", "UsageError"]
    assert [one["error"]["type"] for one in said.objects if one["error"]] == kinds
    lines = [line for line in said.err.splitlines() if "error: " in line]
    assert [line.split("error: ")[1].split(" ")[0] for line in lines] == ["nope.wav:", "in/b.flac", f"{'x' * 300}:"]
    assert "{suffix}" in lines[1]


def test_a_dry_run_foresees_what_is_refused(run: Run, tiny: str) -> None:
    Path("separated/a").mkdir(parents=True)
    Path("separated/a/bass.wav").write_bytes(b"mine")
    Path("in/words.wav").write_text("no song")
    said = run("separate", "in", "nope.wav", "-m", tiny, "--stems", "bass", "--dry-run")
    assert said.code == 1
    assert said.out.splitlines() == [f"would write  separated/{name}/bass.wav" for name in "bc"]
    assert "separated/a/bass.wav is there, and not made of in/a.wav" in said.err
    assert "nope.wav: no such file" in said.err
    assert "in/words.wav: not audio" in said.err
    statuses = [one["status"] for one in run("separate", "in", "-m", tiny, "--dry-run", "--json").objects]
    assert statuses == ["failed", "planned", "planned", "failed"]


@pytest.mark.parametrize("command", ["separate", "melody"])
def test_an_unset_variable_is_no_folder(run: Run, command: str) -> None:
    for arguments in (("", "in/a.wav"), ("in/a.wav", "-o", "")):
        said = run(command, *arguments)
        assert (said.code, said.out) == (2, "")
        assert "is a variable of the shell unset?" in said.err


def test_an_empty_pipe_stops_no_file(run: Run, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as empty:
        monkeypatch.setattr(sys, "stdin", empty)
        said = run("separate", "-", "in/a.wav", "-m", tiny, "--stems", "bass", "--json")
    assert said.code == 1
    assert [(one["source"], one["status"]) for one in said.objects] == [("in/a.wav", "done"), ("-", "failed")]
    assert "standard input: nothing came" in said.err


@pytest.mark.parametrize("what", ["folder", "files"])
def test_flat_names_beside_the_songs_can_be_run_again(run: Run, tiny: str, what: str) -> None:
    flat = ("-o", "in", "--template", "{track} - {stem}.{ext}", "-m", tiny, "--stems", "bass")
    assert run("separate", "in", *flat).code == 0
    write_song(Path("in/d.wav"), np.full((2, 4000), 0.1), 8000)
    paths = ["in"] if what == "folder" else sorted(Path("in").glob("*.wav"))
    said = run("separate", *paths, *flat)
    assert said.code == 0
    assert said.err.count("done already") == 3
    assert said.err.count("in/a - bass.wav: a stem of an earlier run: left out") == (what == "files")
    assert sorted(path.name for path in Path("in").glob("*.wav")) == sorted(
        f"{name}{end}.wav" for name in "abcd" for end in ("", " - bass")
    )


def test_the_demo_writes_over_no_song_but_its_own(run: Run, tiny: str) -> None:
    mine = Path("song.wav")
    mine.write_bytes(b"mine")
    said = run("demo", "-m", tiny, "--seconds", "0.5", "-o", ".")
    assert (said.code, mine.read_bytes()) == (1, b"mine")
    assert "song.wav is there, and no song of the demo" in said.err
    for seed in (0, 1):
        assert run("demo", "-m", tiny, "--seconds", "0.2", "-o", "here", "--seed", seed, "-q").code == 0
    assert files_in(Path("here")) == {
        "song.wav", "song", "song/stemsplit.json", "song/player.html", *(f"song/{stem}.wav" for stem in STEMS)
    }  # fmt: skip


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from stemsplit.cli import main
    real, left = Path.replace, [int(sys.argv[1])]
    def replace(place, target):
        if place.parent.name.startswith(".stemsplit") and target.parent.name == "a":
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(place, target)
    Path.replace = replace
    main(sys.argv[2:])
"""


@pytest.mark.skipif(os.name != "posix", reason="kill")
@pytest.mark.parametrize("turn", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_a_run_killed_on_its_last_steps_is_done_again_and_leaves_nothing(run: Run, tiny: str, turn: int) -> None:
    arguments = ["separate", "in/a.wav", "-m", tiny, "-q"]
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(turn), *arguments]
    assert subprocess.run(command, check=False).returncode == -9
    assert len([name for name in files_in(Path("separated")) if ".partial-" in name]) > 1
    if turn == 2:  # another song comes first
        assert run("separate", "in/b.wav", "-m", tiny, "-q").code == 0
        assert not [name for name in files_in(Path("separated")) if "/." in name]
    assert run(*arguments) == (0, "", "")
    assert files_in(Path("separated/a")) == {"stemsplit.json", *(f"{stem}.wav" for stem in STEMS)}


@pytest.mark.slow
def test_two_runs_share_the_work(tiny: str, sound: Sound) -> None:
    for number in range(2):
        write_song(Path("in") / f"{number}.wav", sound(2, 16000 + number, 8000), 8000)
    command = [sys.executable, "-m", "stemsplit", "separate", "in", "-m", tiny, "--json", "-q", "--overlap", "0.9"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    statuses: list[str] = []
    for process in both:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, b"")
        statuses += [json.loads(line)["status"] for line in out.splitlines()]
    assert sorted(statuses) == ["done"] * 5 + ["skipped"] * 5
    assert not [name for name in files_in(Path("separated")) if "/." in name]


def test_all_stems_in_one_file_for_djs(run: Run, tiny: str) -> None:
    said = run("separate", "in/a.wav", "-m", tiny, "-f", "stem.mp4", "--json")
    assert (said.code, said.err) == (0, "")
    assert said.objects[0]["outputs"] == {"stem file": "separated/a.stem.mp4"}
    assert files_in(Path("separated")) == {".stemsplit", ".stemsplit/a.json", "a.stem.mp4"}
    assert run("separate", "in/a.wav", "-m", tiny, "-f", "stem.mp4", "--json").objects[0]["status"] == "skipped"
    assert run("separate", "in/a.wav", "-m", tiny, "--json").objects[0]["status"] == "done"  # beside it
    said = run("separate", "in/a.wav", "separated", "-m", tiny, "-f", "stem.alac", "--dry-run")
    assert "no audio in this folder but stems of earlier runs" in said.err  # the file is no song
    said = run("mix", "in/a.wav", "--without", "vocals", "-f", "stem.mp4")
    assert (said.code, "stemsplit separate --format stem.mp4 writes it" in said.err) == (2, True)
    said = run("separate", "in/a.wav", "-m", tiny, "-f", "stem.mp4", "--stems", "bass")
    assert (said.code, "a stem file holds drums, bass, other and vocals: leave out" in said.err) == (2, True)
