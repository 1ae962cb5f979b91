"""Every command with standard streams that are closed or full, and with names that would command a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from said import Run
from tiny import STEMS, files_in, save_tiny, write_song

posix = pytest.mark.skipif(os.name != "posix", reason="/dev/full, and names that Windows cannot have")

CALLS = """
import json, os, sys
from stemsplit.cli import main
codes = {}
for number, command in enumerate(json.loads(sys.argv[1])):
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 2)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    sys.stdout = open(1, "w", closefd=False)
    code = main(command)
    codes[" ".join(command)] = code, open("said").read()
json.dump(codes, open("codes", "w"))
os._exit(0)
"""


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    save_tiny(Path("tiny"))
    write_song(Path("song.wav"), np.random.default_rng(0).normal(0, 0.1, (2, 4000)), 8000)


@posix
def test_a_full_stdout_is_said_by_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    separate = ["separate", "song.wav", "-m", "./tiny", "-q"]
    commands = [
        ["--version"], ["--help"], ["models"], ["models", "list"], ["models", "list", "--json"],
        ["models", "info", "./tiny"], ["models", "path", "./tiny"], ["models", "verify", "./tiny"],
        ["models", "download", "./tiny"], ["models", "convert", "./tiny", "copy"], [*separate, "--dry-run"],
        [*separate, "--json"], [*separate, "-o", "-", "--stems", "bass"], ["evaluate", "separated", "separated"],
    ]  # fmt: skip
    subprocess.run([sys.executable, "-c", CALLS, json.dumps(commands)], check=True)
    codes = json.loads(Path("codes").read_text())
    assert len(codes) == len(commands)
    for command, (code, said) in codes.items():
        assert (code, said.count("\n")) == (1, 1), (command, said)
        assert said == "stemsplit: error: cannot write to standard output: no space left on device\n", command


@posix
@pytest.mark.parametrize(("streams", "code"), [("<&- >&- 2>err", 0), ("2>&- >out", 0), ("--json >&-", 1)])
def test_stems_are_written_whatever_is_closed(streams: str, code: int) -> None:
    for name in ("out", "err"):
        Path(name).touch()
    line = f'"$0" -m stemsplit separate song.wav -m ./tiny {streams}'
    assert subprocess.run(["sh", "-c", line, sys.executable], stderr=subprocess.DEVNULL).returncode == code
    assert Path("out").read_text() == ""
    if code:
        assert not Path("separated").exists()  # refused before anything was written
    else:
        assert files_in(Path("separated/song")) == {"stemsplit.json", *(f"{stem}.wav" for stem in STEMS)}
        assert Path("err").read_text() == "" or Path("err").read_text().startswith("song.wav → ")


@posix
def test_no_message_lands_in_the_audio(run: Run) -> None:
    write_song(Path("song.wav"), np.zeros((2, 4000)), 8000)  # silent, which is warned of
    line = '"$0" -m stemsplit separate song.wav -m ./tiny --stems bass -o - 2>&-'
    done = subprocess.run(["sh", "-c", line, sys.executable], stdout=subprocess.PIPE, check=True)
    assert b"warning" not in done.stdout
    assert int.from_bytes(done.stdout[4:8], "little") + 8 == len(done.stdout)


NAMES = ["\x1b[31mred", "new\nline", "\x9b2J", "\u202egpj", "caf\udce9"]


@posix
@pytest.mark.parametrize("name", NAMES)
def test_names_cannot_command_a_terminal(run: Run, name: str) -> None:
    Path("song.wav").rename(f"{name}.wav")
    shown = name.encode("unicode_escape", "surrogatepass").decode()
    planned = run("separate", f"{name}.wav", "-m", "tiny", "--dry-run", "--stems", "bass")
    assert planned.out == f"would write  separated/{shown}/bass.wav\n"
    done = run("separate", f"{name}.wav", "-m", "tiny", "--json", "--stems", "bass")
    assert done.objects[0]["outputs"] == {"bass": f"separated/{name}/bass.wav"}  # exactly
    again = run("separate", f"{name}.wav", "-m", "tiny", "--stems", "bass")
    assert again.err.startswith(f"{shown}.wav: done already in separated/{shown} ")
    missing = run("separate", f"no {name}.wav", "-m", "tiny")
    assert missing.err == f"stemsplit: error: no {shown}.wav: no such file or folder\n"
    debug = run("separate", f"no {name}.wav", "-m", "tiny", "--debug")
    assert all(letter.isprintable() or letter == "\n" for letter in debug.err)


def test_configs_cannot_command_a_terminal(run: Run) -> None:
    config = json.loads(Path("tiny/config.json").read_text())
    evil = "\x1b]0;owned\x07\u202e\x9b2J"
    config |= {
        "name": evil,
        "description": f"a\n{evil}",
        "license": evil,
        "scores": [{"metric": evil, "values": {evil: 1}}],
    }
    Path("tiny/config.json").write_text(json.dumps(config))
    said = run("models", "info", "./tiny")
    assert said.code == 0
    assert all(letter.isprintable() or letter == "\n" for letter in said.out)
    assert "description:  a\\n\\x1b]0;owned\\x07\\u202e\\x9b2J\n" in said.out
    assert json.loads(run("models", "info", "./tiny", "--json").out)["license"] == evil
