"""`stemsplit serve`, as a user calls it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from unittest.mock import patch

import pytest
from said import Run
from serving import multipart, wav
from tiny import save_tiny


def test_what_is_missing_is_told_with_the_command_for_it(run: Run, tmp_path: Path) -> None:
    with patch.object(sys.modules["stemsplit.cli.serve"], "find_spec", lambda name: None):
        said = run("serve", "-o", tmp_path / "out")
    assert (said.code, said.out) == (2, "")
    assert "pip install 'stemsplit-mamba[serve]'" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--token"),
        (["--host", "0.0.0.0", "--token", "1234"], "nobody can guess"),
        (["--host", "nowhere.invalid"], "cannot listen at nowhere.invalid"),
        (["--port", "99999"], "at most 65535"),
        (["--host", "a..b"], "cannot listen at a..b"),
        (["--host", "x" * 300], "cannot listen at x"),
        (["--host", "a\0b"], "cannot listen at a"),
        (["--max-upload", "nan"], "--max-upload"),
        (["--max-minutes", "inf"], "--max-minutes"),
        (["-o", "-"], "needs a folder"),
        (["-o", ""], "a path is empty"),
        (["--model", "nope"], "nope"),
        (["--quality", "fast", "--model", "ts-bsmamba2-mini"], "chooses the models"),
    ],
)
def test_refusals(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    said = run("serve", "-o", tmp_path / "out", *arguments)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert not (tmp_path / "out").exists()


def test_a_folder_has_one_server(run: Run, tmp_path: Path) -> None:
    from stemsplit.machine.claims import claimed

    with claimed(tmp_path / "out" / ".queue" / ".claim"):
        said = run("serve", "-o", tmp_path / "out")
    assert said.code == 2
    assert "another stemsplit serve" in said.err


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_it_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    model, out = save_tiny(tmp_path / "tiny"), tmp_path / "out"
    command = [sys.executable, "-m", "stemsplit", "serve", "-o", out, "-m", model, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", process.stdout.readline())
        assert address is not None
        connection = HTTPConnection("127.0.0.1", int(address[1]), timeout=100)
        body, kind = multipart(wav(seconds=100), "song.wav", {})
        connection.request("POST", "/separate", body, {"Content-Type": kind})
        assert connection.getresponse().status == 202
        connection.close()
        events = HTTPConnection("127.0.0.1", int(address[1]), timeout=100)  # a page that listens
        events.request("GET", "/events")
        stream = events.getresponse()
        while b'"running"' not in stream.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=200)
        events.close()
    finally:
        process.kill()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "stemsplit: interrupted: stopped; what was finished is kept"
    assert "Traceback" not in said
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert left == {".queue/1/job.json", ".queue/1/song.wav"}
    assert '"state": "queued"' in (out / ".queue" / "1" / "job.json").read_text()
