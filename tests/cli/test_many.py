"""--shard, --jobs and --engine: the same files, rows and exit codes as one process gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from said import Run
from tiny import STEMS, fake_separator, files_in, save_tiny, write_song

from stemsplit.cli.batch import many as many_module
from stemsplit.cli.batch.many import Many
from stemsplit.cli.layout.screen import Screen
from stemsplit.machine import memory
from stemsplit.options import SeparateOptions
from stemsplit.runs.workers.setup import Asked, SeparateSetup, worker_bytes

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("models") / "tiny"))


def write_songs(folder: Path, count: int, seconds: float = 0.5) -> Path:
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 0.1, (2, int(8000 * seconds)))
        write_song(folder / f"{number % 3}" / f"song {number}.wav", noise, 8000)
    return folder


def rows(out: str) -> list[dict[str, Any]]:
    """The JSON objects in the order of their tracks, without what differs from run to run."""
    found = [json.loads(line) for line in out.splitlines()]
    for row in found:
        del row["seconds"]
    return sorted(found, key=lambda row: row["track"])


def test_the_parts_of_a_folder_are_all_of_it(run: Run, tiny: str, tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "songs", 12)
    parts = []
    for index in (1, 2, 3):
        said = run(
            "separate", songs, "-m", tiny, "-o", tmp_path / "out", "--shard", f"{index}/3", "--dry-run", "--json"
        )
        assert said.code == 0
        assert f"part {index}/3: " in said.err
        parts += [json.loads(line)["track"] for line in said.out.splitlines()]
    assert sorted(parts) == sorted(f"{n % 3}/song {n}" for n in range(12))
    said = run("separate", songs / "0" / "song 0.wav", "-m", tiny, "-o", tmp_path / "out", "--shard", "1/1000")
    assert (said.code, said.err) == (0, "part 1/1000: 0 of 1 songs\n")


def test_processes_give_the_same_files_and_rows(run: Run, tiny: str, tmp_path: Path, monkeypatch: Any) -> None:
    songs = write_songs(tmp_path / "songs", 5)
    (songs / "bad.wav").write_text("no")
    told, bytes_of = [], []
    for jobs in (1, 2):
        monkeypatch.chdir((tmp_path / f"{jobs}").absolute().parent)
        (tmp_path / f"{jobs}").mkdir()
        monkeypatch.chdir(tmp_path / f"{jobs}")
        said = run("separate", "../songs", "-m", tiny, "-o", "out", "--jobs", jobs, "--json", "--bit-depth", "16")
        assert said.code == 1
        assert said.err == "stemsplit: error: ../songs/bad.wav: not audio, damaged, or of an unknown format\n"
        told.append(rows(said.out))
        manifests = {path: json.loads(path.read_text()) for path in sorted(Path("out").rglob("stemsplit.json"))}
        for manifest in manifests.values():
            del manifest["seconds"]
        waves = {path: path.read_bytes() for path in sorted(Path("out").rglob("*.wav"))}
        assert len(waves) == 5 * len(STEMS)
        bytes_of.append((files_in(Path("out")), manifests, waves))
    assert told[0] == told[1]
    assert bytes_of[0] == bytes_of[1]
    again = run("separate", "../songs", "-m", tiny, "-o", "out", "--jobs", 2, "--json", "--bit-depth", "16")
    assert [row["status"] for row in rows(again.out)] == ["skipped"] * 5 + ["failed"]


def test_melodies_are_read_by_processes_too(run: Run, tiny: str, tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "songs", 2)
    contours = []
    for jobs in (1, 2):
        output = tmp_path / f"out{jobs}"
        said = run("melody", songs, "--vocals", "-o", output, "--jobs", jobs)
        assert said.code == 0, said.err
        contours.append({path.name: path.read_bytes() for path in output.rglob("*.csv")})
    assert len(contours[0]) == 2
    assert contours[0] == contours[1]


@posix
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_run_of_processes_ends_without_traces(sent: signal.Signals, tiny: str, tmp_path: Path) -> None:
    songs, output = write_songs(tmp_path / "songs", 40, seconds=3), tmp_path / "out"
    arguments = ["separate", str(songs), "-m", tiny, "-o", str(output), "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "stemsplit", *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not any(output.rglob("stemsplit.json")):
        assert process.poll() is None
        time.sleep(0.02)
    (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)
    _, err = process.communicate(timeout=60)
    assert nobody_is_left_of(process.pid)
    if sent == signal.SIGKILL:  # nobody told the workers; what they leave, the next run clears away
        return
    assert process.returncode == 128 + sent, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith("stopped; what was finished is kept")
    assert not [name for name in files_in(output) if "/." in name or name.startswith(".")]


def nobody_is_left_of(session: int) -> bool:
    """Whether all processes of a session end within half a minute."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a.wav", "--shard", "0/2"], "parts count from 1 to 2"),
        (["-", "--shard", "1/2"], "standard input is one input"),
        (["a.wav", "-o", "-", "--jobs", "2"], "excludes --shard, --jobs and --engine"),
        (["-", "--engine", "ray"], "does not reach the machines of a cluster"),
        (["a.wav", "--ray-address", "10.0.0.1:6379"], "add --engine ray"),
        (["a.wav", "--jobs", "0"], "--jobs"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, arguments: list[str], told: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys.modules["stemsplit.cli.separate"], "refuse_stdin_misuse", lambda *_: None)
    said = run("separate", *arguments)
    assert said.code == 2
    assert told in said.err


def test_as_many_processes_as_memory_holds(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    options = SeparateOptions()
    separator = fake_separator(options)
    needed = worker_bytes(separator)
    monkeypatch.setattr(memory, "available_bytes", lambda: 3 * needed + 5)
    crew = many_module._processes(
        SeparateSetup(Asked("m", "m", ""), options), separator, 8, needed, Screen(verbose=True)
    )
    err = capsys.readouterr().err
    assert "--jobs 8 lowered to 3: 1." in err
    assert "3 processes with 1 threads each" in err
    crew.close()
    assert Many(jobs=1).has_crew is False
