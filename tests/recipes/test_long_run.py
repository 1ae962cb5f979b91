"""The script of the long run: what runs is known by its lock, is paused as a group, and says how far it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fcntl")

import long_run

WAIT = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nobody waits for a job
def test_a_job_runs_once_and_is_known_to_be_gone_after_a_kill(tmp_path: Path) -> None:
    job = long_run.Job("long", tmp_path / "long")
    assert job.number() is None
    job.start(WAIT, tmp_path, dict(os.environ))
    try:
        number = job.number()
        assert number is not None
        with pytest.raises(BlockingIOError):
            job.start(WAIT, tmp_path, dict(os.environ))
        assert job.signal(signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while long_run._state_of(number) != "paused" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert long_run._state_of(number) == "paused"
    finally:
        job.signal(signal.SIGKILL)
    os.waitpid(number, 0)
    assert job.number() is None
    assert not job.signal(signal.SIGCONT)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="only some systems group processes by session")
def test_a_session_of_low_priority_is_one_among_sessions_too(tmp_path: Path) -> None:
    show = [*long_run.IDLE, "sh", "-c", "cat /proc/self/autogroup; nice"]
    said = subprocess.run(show, start_new_session=True, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert said.split()[1:] == ["nice", "19", "19"]


def test_how_far_a_run_is(tmp_path: Path) -> None:
    assert long_run.how_far(tmp_path) == "no step yet"
    events = [
        {"step": 0, "dev": {"drums": -8.0, "house/drums": -7.0}},
        {"step": 50, "loss": -5.0, "audio_per_second": 18.0, "hours": 0.33, "dev": {"drums": -9.5}},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + '{"step": 60, "lo')
    said = long_run.how_far(tmp_path)
    assert said.startswith("step 50, 0.3 h of audio, 18.0 s of it a second")
    assert said.endswith("at first (step 0) drums -8.00; now (step 50) drums -9.50")


def test_rendering_goes_on_until_there_is_no_room_and_then_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = long_run.Place(tmp_path)
    (tmp_path / "rendering").mkdir()
    place.songs.mkdir()
    settings = {"gigabytes": 3e-6, "environment": {}, "name": "long", "recipe": "r.toml", "render": True}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "render.sh").write_text("head -c 1000 /dev/zero > songs/$SONGS")
    trained = []
    monkeypatch.setattr(long_run, "_train", trained.append)
    for _ in range(2):
        long_run.render(place, long_run._parse(["render"]))
        assert sorted(int(path.name) for path in place.songs.iterdir()) == [16, 32, 48]
        assert len(trained) == 3


def test_its_pytorch_is_the_one_that_the_checkout_is_tested_with(tmp_path: Path) -> None:
    known = (long_run.CHECKOUT / "constraints.txt").read_text(encoding="utf-8")
    assert long_run._tested_torch(long_run.CHECKOUT) + "\n" in known
    (tmp_path / "constraints.txt").write_text("numpy==2.0\ntorch==2.9.1 ; python_version < '4'\n    # via x\n")
    assert long_run._tested_torch(tmp_path) == "torch==2.9.1"
