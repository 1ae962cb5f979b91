"""`stemsplit melody` as a user meets it: streams, exit codes, pipes, signals, and everything that is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from said import Run
from tiny import files_in, save_tiny, write_song
from tiny_melody import save_tiny_melody, voice

from stemsplit.cli import main
from stemsplit.cli.flags import shared
from stemsplit.melody.decode import SMOOTHINGS
from stemsplit.melody.formats import FORMATS, read_contour
from stemsplit.options import ContourFormat, Smoothing
from stemsplit.weights.catalog import DEFAULT_MELODY_MODEL

Sound = Callable[..., np.ndarray]
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("melody-models")
    save_tiny(folder / "separator")
    save_tiny_melody(folder / "melody")
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path.parent / "cache"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    (tmp_path / "m").symlink_to(models)
    write_song(Path("song.wav"), np.stack([voice(1.0, rate=8000)] * 2), 8000)


M = ("-m", "../m/melody", "--device", "cpu")
BOTH = (*M, "--separator", "../m/separator")


@pytest.fixture
def run(run: Run) -> Run:
    return partial(run, "melody")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "stemsplit", "melody", *(str(argument) for argument in arguments)]


# --- files


def test_a_song_s_melody_is_written(run: Run) -> None:
    said = run("song.wav", *BOTH)
    assert (said.code, said.out) == (0, "")
    assert said.err.splitlines()[-1].startswith("song.wav → melody: f0 (")
    assert files_in(Path("melody")) == {"song.f0.csv", "song.melody.json"}
    assert len(read_contour(Path("melody/song.f0.csv"))) == 101
    again = run("song.wav", *BOTH)
    assert (again.code, again.out) == (0, "")
    assert "done already in melody" in again.err


def test_every_option_reaches_the_files(run: Run) -> None:
    pytest.importorskip("matplotlib")
    asked = (
        "song.wav", "--vocals", *M, "-o", "out", "--format", "mirex", "--hop-ms", "20", "--fmin", "100",
        "--fmax", "400", "--voicing-threshold", "0", "--smooth", "none", "--notes", "--midi", "--plot",
        "--tuning", "442", "--json",
    )  # fmt: skip
    said = run(*asked)
    assert said.code == 0
    (done,) = said.objects
    assert done["outputs"] == {
        "f0": "out/song.f0.txt", "notes": "out/song.notes.csv", "midi": "out/song.mid", "plot": "out/song.melody.png"
    }  # fmt: skip
    assert (done["status"], done["hop_ms"], done["frames"], done["tuning_hz"]) == ("done", 20.0, 51, 442.0)
    assert (done["voiced"], done["manifest"], done["error"]) == (1.0, "out/song.melody.json", None)
    assert "gain" not in done
    settings = json.loads(Path("out/song.melody.json").read_text())["settings"]
    assert settings == {
        "separator": None, "voicing_threshold": 0.0, "vocals": True, "format": "mirex", "hop_ms": 20.0, "fmin": 100.0,
        "fmax": 400.0, "smooth": "none", "tuning": 442.0,
    }  # fmt: skip
    hertz = read_contour(Path("out/song.f0.txt")).frequency
    assert hertz.min() >= 100
    assert hertz.max() <= 400
    (again,) = run(*asked).objects
    assert again == done | {"status": "skipped", "seconds": 0.0}


def test_json_is_one_object_a_song_and_a_bad_one_stops_no_other(run: Run) -> None:
    Path("bad.mp3").write_bytes(b"no song")
    said = run("bad.mp3", "song.wav", "--vocals", *M, "--json")
    assert said.code == 1
    failed, done = said.objects
    assert (failed["status"], failed["error"]["type"], failed["frames"]) == ("failed", "DecodeError", None)
    assert (done["status"], done["frames"], done["audio_seconds"]) == ("done", 101, 1.0)
    assert said.err.count("\n") == 1
    assert said.err.startswith("stemsplit: error: bad.mp3: ")


def test_a_dry_run_writes_nothing(run: Run) -> None:
    said = run("song.wav", *BOTH, "--dry-run", "--notes")
    assert said.out.splitlines() == ["would write  melody/song.f0.csv", "would write  melody/song.notes.csv"]
    assert (said.code, files_in(Path())) == (0, {"song.wav"})
    assert run("song.wav", *BOTH, "--dry-run", "--json").objects[0]["status"] == "planned"


def test_quiet_says_nothing_and_verbose_more(run: Run) -> None:
    assert run("song.wav", *BOTH, "-q") == (0, "", "")
    said = run("song.wav", *BOTH, "-v", "--force")
    assert "model ../m/melody, SHA-256" in said.err
    assert "model ../m/separator, SHA-256" in said.err
    assert "voicing threshold 0.5" in said.err


def test_silence_is_one_warning(run: Run) -> None:
    write_song(Path("quiet.wav"), np.zeros((1, 4000)), 8000)
    said = run("quiet.wav", "--vocals", *M, "--json")
    assert said.err == "stemsplit: warning: quiet.wav: silent: nothing is sung\n"
    assert (said.code, said.objects[0]["voiced"]) == (0, 0.0)


def test_the_vocals_that_separate_wrote_are_inputs(run: Run) -> None:
    assert main(["separate", "song.wav", "-m", "../m/separator", "-q", "--device", "cpu"]) == 0
    said = run("separated", "--vocals", *M, "--json")
    assert [one["source"] for one in said.objects] == ["separated/song/vocals.wav"]
    assert Path("melody/song/vocals.f0.csv").exists()


# --- pipes


class _Bytes(io.TextIOWrapper):
    """Standard input as a test fills it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))

    def isatty(self) -> bool:
        return False


def test_a_song_comes_in_on_stdin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("song.wav", "--vocals", *M, "-q")
    monkeypatch.setattr(sys, "stdin", _Bytes(Path("song.wav").read_bytes()))
    (done,) = run("-", "--vocals", *M, "--json").objects
    assert (done["source"], done["track"]) == ("-", "stdin")
    assert Path("melody/stdin.f0.csv").read_bytes() == Path("melody/song.f0.csv").read_bytes()
    samples = (voice(1.0, rate=8000) * 32767).astype("<i2")
    monkeypatch.setattr(sys, "stdin", _Bytes(samples.tobytes()))
    assert run("-", "--raw", "8000:1:s16le", "--vocals", *M, "-q", "--force").code == 0
    assert len(read_contour(Path("melody/stdin.f0.csv"))) == 101


def test_a_contour_goes_out_on_stdout(run: Run) -> None:
    run("song.wav", *BOTH, "-q")
    done = subprocess.run(
        command("-", *BOTH, "-o", "-"), input=Path("song.wav").read_bytes(), capture_output=True, check=True
    )
    assert done.stdout.replace(b"\r", b"") == Path("melody/song.f0.csv").read_bytes()
    assert done.stderr == b""
    assert run("song.wav", "--vocals", *M, "-o", "-", "--format", "mirex").out.splitlines()[0].startswith("0.000\t")
    assert run("song.wav", "--vocals", *M, "-o", "-", "--format", "sv", "--voicing-threshold", "1").out == ""
    assert files_in(Path()) == {"song.wav", "melody", "melody/song.f0.csv", "melody/song.melody.json"}


@posix
def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    write_song(Path("long.wav"), np.stack([voice(60.0, rate=8000)]), 8000)
    process = subprocess.Popen(
        command("long.wav", "--vocals", *M, "-o", "-", "-q"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.read(4) == b"time"
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 141


@posix
def test_ctrl_c_keeps_what_is_finished_and_leaves_nothing_else() -> None:
    write_song(Path("long.wav"), np.tile(voice(60.0, rate=8000), (2, 10)), 8000)
    arguments = ("song.wav", "long.wav", *BOTH, "--notes")
    process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not Path("melody/song.melody.json").exists():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith(b"stemsplit: interrupted")
    assert b"Traceback" not in err
    assert files_in(Path("melody")) == {"song.f0.csv", "song.notes.csv", "song.melody.json"}


# --- what is refused

REFUSED = [
    (2, "nope.wav: no such file or folder", ("nope.wav", *BOTH)),
    (2, "both write", ("song.wav", "other/song.wav", *BOTH)),
    (2, "is not one of", ("song.wav", "--format", "xml", *BOTH)),
    (2, "is not one of", ("song.wav", "--smooth", "sandpaper", *BOTH)),
    (2, "--fmin 300 is not below --fmax 200", ("song.wav", "--fmin", "300", "--fmax", "200", *BOTH)),
    (2, "--fmax 90000", ("song.wav", "--fmax", "90000", *BOTH)),
    (2, "hop", ("song.wav", "--hop-ms", "0", *BOTH)),
    (2, "threshold", ("song.wav", "--voicing-threshold", "nan", *BOTH)),
    (2, "--tuning 44", ("song.wav", "--tuning", "44", *BOTH)),
    (2, "unknown device 'tpu'", ("song.wav", "--vocals", "-m", "../m/melody", "--device", "tpu")),
    (2, "leave out --separator", ("song.wav", "--vocals", *BOTH)),
    (2, "separator", ("song.wav", "--vocals", "-m", "../m/separator")),
    (2, "reads melodies", ("song.wav", *M, "--separator", "../m/melody")),
    (2, "There is no model tinny", ("song.wav", "-m", "tinny")),
    (1, "cannot write to song.wav", ("song.wav", "-o", "song.wav", *BOTH)),
    (2, "takes one input, not 2", ("song.wav", "other/song.wav", "-o", "-", *BOTH)),
    (2, "excludes --notes, --midi", ("song.wav", "-o", "-", "--midi", *BOTH)),
    (2, "excludes --notes, --midi", ("song.wav", "-o", "-", "--json", *BOTH)),
    (2, "--raw describes standard input", ("song.wav", "--raw", "8000:1:s16le", *BOTH)),
    (2, "only once", ("-", "-", *BOTH)),
    (2, "Missing argument", ()),
]


@pytest.mark.parametrize(("expected", "text", "arguments"), REFUSED)
def test_it_is_refused_in_one_line(run: Run, expected: int, text: str, arguments: tuple[str, ...]) -> None:
    write_song(Path("other/song.wav"), voice(0.1)[None], 16000)
    before = files_in(Path())
    said = run(*arguments)
    assert said.code == expected, said.err
    assert said.out == ""
    assert text in said.err
    assert said.err.startswith("stemsplit: error: ")
    assert said.err.count("\n") == 1, said.err
    assert files_in(Path()) == before


def test_a_model_for_melodies_does_not_separate(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["separate", "song.wav", "-m", "../m/melody"]) == 2
    err = capfd.readouterr().err
    assert "reads melodies" in err
    assert err.count("\n") == 1


def test_choices_are_those_of_the_modules_behind() -> None:
    assert get_args(ContourFormat) == tuple(FORMATS)
    assert get_args(Smoothing) == SMOOTHINGS
    assert shared.DEFAULT_MELODY_MODEL == DEFAULT_MELODY_MODEL
