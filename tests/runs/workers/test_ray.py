"""A Ray cluster of several nodes on this machine: poisoned files, a node and a driver that are killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crews import TextSetup, job_named
from tiny import STEMS, files_in, save_tiny, write_song

from stemsplit.cli import main
from stemsplit.errors import UsageError, WorkerError
from stemsplit.files.leftovers import clear_below
from stemsplit.options import SeparateOptions
from stemsplit.runs.jobs import Job, Outcome
from stemsplit.runs.workers.ray import Actors, _share_of, _why, elsewhere, here
from stemsplit.runs.workers.scheduler import run_among


def node(cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}}


@pytest.mark.parametrize(
    ("nodes", "count", "most", "share"),
    [
        ([node(16), node(16)], None, 100, (8, 4, 0)),
        ([node(16), node(16)], None, 3, (3, 4, 0)),
        ([node(2), node(2), node(0)], None, 100, (2, 2, 0)),
        ([node(16), node(16)], 2, 100, (2, 16, 0)),
        ([node(1), node(1)], 8, 100, (8, 1, 0)),
        ([node(64, 8), node(64, 8), node(64, 8, alive=False)], None, 1000, (16, 4, 1)),
        ([node(4, 4)], None, 1000, (4, 1, 1)),
        ([node(8, 2)], 1, 1000, (1, 4, 1)),
    ],
)
def test_machines_are_shared_out(nodes: list, count: int | None, most: int, share: tuple[int, int, int]) -> None:
    found = _share_of(nodes, count, most)
    assert (found.count, found.cores, found.gpus) == share


def test_a_job_goes_elsewhere_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = replace(job_named("a", Path("out")), source=Path("a.wav"))
    sent = elsewhere(job)
    assert (sent.source, sent.targets["text"]) == (tmp_path / "a.wav", tmp_path / "out/a/text")
    back = here(Outcome(sent, "done", sent.targets), job)
    assert (back.job, back.outputs) == (job, job.targets)
    manifest = {"outputs": {"text": {"path": "text"}}}
    assert here(Outcome(sent, "skipped", sent.targets, manifest), job).outputs == {"text": Path("out/a/text")}


def test_without_ray_there_is_a_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'stemsplit-mamba\[ray\]'"):
        Actors(TextSetup(SeparateOptions()), None, None, most=1, worker_bytes=0, warn=print)


def test_losses_are_told_in_words() -> None:
    assert _why(RuntimeError("The actor died because its node has died. Node Id: ab")) == "its machine is gone"
    assert _why(RuntimeError("The actor is dead because its worker process has died.")) == "its process died"
    text = "The actor died because of an error raised in its creation task, ray::x\n  in y\nModuleNotFoundError: no z\n"
    assert _why(RuntimeError(text)) == "ModuleNotFoundError: no z"
    assert _why(type("OutOfMemoryError", (Exception,), {})("")) == "its machine ran out of memory"
    assert _why(type("ActorUnavailableError", (Exception,), {})("died")) == "its machine does not answer"


# --- a real one

HOST = "127.0.0.2"  # 127.0.0.1 hangs
STORE = 80 << 20
PATIENCE = {"RAY_agent_register_timeout_ms": "300000"}
AGENTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def _ports() -> dict[str, int]:
    """Ports for a node's helpers: a node that does not know them waits for them, and not for long."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in AGENTS]
        for one in sockets:
            one.bind((HOST, 0))
        return {name: one.getsockname()[1] for name, one in zip(AGENTS, sockets, strict=True)}


class Nodes:
    """A head without cores, and nodes with one each."""

    def __init__(self) -> None:
        utils = pytest.importorskip("ray.cluster_utils")
        self.cluster = utils.Cluster(initialize_head=False, connect=False)
        self.add(0, include_dashboard=False)
        self.nodes = [self.add(1) for _ in range(2)]

    def add(self, cores: int, **more: Any) -> Any:
        for attempt in range(3):  # a busy machine may take longer than Ray waits
            try:
                return self.cluster.add_node(
                    num_cpus=cores, object_store_memory=STORE, node_ip_address=HOST, **_ports(), **more
                )
            except Exception:
                if attempt == 2:
                    raise
        raise AssertionError

    def kill_where(self, pid: int) -> None:
        """Kill the node that a process belongs to, with all its processes."""
        parents = {int(line.split()[0]): int(line.split()[1]) for line in _processes()}
        above = {pid}
        while pid in parents and pid > 1:
            pid = parents[pid]
            above.add(pid)
        for node in self.nodes:
            raylet = node.all_processes["raylet"][0].process.pid
            if raylet in above:
                self.cluster.remove_node(node, allow_graceful=False)
                self.nodes.remove(node)
                return
        raise AssertionError("no node of that process")


def _processes() -> list[str]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray")
    import ray

    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATIENCE.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # of the nodes, so that they find `crews`
        made = Nodes()
        yield made
        ray.shutdown()
        made.cluster.shutdown()


def actors(nodes: Nodes, output: Path) -> Actors:
    setup = TextSetup(SeparateOptions(output=output))
    return Actors(setup, nodes.cluster.address, None, most=10, worker_bytes=1 << 20, warn=print)


class Meddling:
    """Kills the node that works on a job when it has begun."""

    def __init__(self, nodes: Nodes, track: str) -> None:
        self.nodes, self.track, self.killed = nodes, track, False

    def on_start(self, job: Job, seconds: float | None) -> None: ...

    def on_warning(self, job: Job, text: str) -> None: ...

    def on_progress(self, job: Job, seconds: float) -> None:
        place = next(job.manifest.parent.glob(".stemsplit.partial-*/text"), None)
        if job.track == self.track and not self.killed and place is not None:
            self.nodes.kill_where(int(place.read_text()))
            self.killed = True


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_does_what_processes_do(nodes: Nodes, tmp_path: Path) -> None:
    output = tmp_path / "out"
    names = ["a", "bad", "once", "odd", "poison", "b", "c"]
    outcomes = {o.track: o for o in run_among([job_named(n, output) for n in names], actors(nodes, output))}
    assert {name: one.status for name, one in outcomes.items()} == {
        "a": "done", "b": "done", "c": "done", "once": "done", "bad": "failed", "odd": "failed", "poison": "failed",
    }  # fmt: skip
    assert isinstance(outcomes["poison"].error, WorkerError)
    assert "given up, since its worker was lost 3 times (its process died)" in outcomes["poison"].message
    assert outcomes["once"].attempts == 2
    assert outcomes["bad"].message == "bad.wav: not audio"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_work_of_a_lost_node_is_done_elsewhere(nodes: Nodes, tmp_path: Path) -> None:
    output = tmp_path / "out"
    meddling = Meddling(nodes, "first")
    jobs = [job_named(name, output) for name in ("first", "a", "b", "c")]
    outcomes = {o.track: o for o in run_among(jobs, actors(nodes, output), meddling)}
    assert meddling.killed
    assert {one.status for one in outcomes.values()} == {"done"}
    assert outcomes["first"].attempts == 2
    assert "so it is tried again" in outcomes["first"].warnings[0]
    nodes.nodes.append(nodes.add(1))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_separates_songs_as_one_process_does(
    nodes: Nodes, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command with a real network: the same bytes, rows and exit code, also where the output is an address."""
    monkeypatch.chdir(tmp_path)  # actors have other current folders
    save_tiny(Path("model"))
    for number in range(4):
        noise = np.random.default_rng(number).normal(0, 0.1, (2, 4000))
        write_song(Path("songs") / f"{number % 2}" / f"song {number}.wav", noise, 8000)
    Path("songs/bad.wav").write_bytes(b"no audio")
    cluster = ("--engine", "ray", "--ray-address", nodes.cluster.address)
    told, waves = [], []
    for output, more in (("one", ()), ("many", cluster), (f"file://{tmp_path}/address", cluster)):
        capfd.readouterr()
        assert main(["separate", "songs", "-m", "model", "-o", output, "--json", *more]) == 1
        rows = sorted((json.loads(line) for line in capfd.readouterr().out.splitlines()), key=lambda row: row["track"])
        told.append([(row["track"], row["status"], row["audio_seconds"], sorted(row["outputs"])) for row in rows])
        folder = Path(output.removeprefix("file://"))
        waves.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.wav")})
    assert [status for _, status, _, _ in told[0]] == ["done", "done", "done", "done", "failed"]
    assert len(waves[0]) == 4 * len(STEMS)
    assert told[0] == told[1] == told[2]
    assert waves[0] == waves[1] == waves[2]
    assert main(["separate", "songs", "-m", "model", "-o", "many", "--json", *cluster]) == 1
    again = [json.loads(line)["status"] for line in capfd.readouterr().out.splitlines()]
    assert sorted(again) == ["failed", *["skipped"] * 4]


DRIVER = """
import sys
from pathlib import Path
from crews import TextSetup, job_named
from stemsplit.options import SeparateOptions
from stemsplit.runs.workers.ray import Actors
from stemsplit.runs.workers.scheduler import run_among

output = Path(sys.argv[2])
crew = Actors(TextSetup(SeparateOptions(output=output)), sys.argv[1], None, most=10, worker_bytes=1 << 20, warn=print)
for outcome in run_among([job_named(name, output) for name in ("a", "b", "long first", "long second")], crew):
    print(outcome.track, outcome.status, flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_driver_that_is_killed_goes_on_from_what_is_there(nodes: Nodes, tmp_path: Path) -> None:
    output = tmp_path / "out"
    path = os.pathsep.join(sys.path)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, nodes.cluster.address, str(output)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    assert {driver.stdout.readline().split()[0] for _ in range(2)} == {"a", "b"}
    while len(list(output.glob("long*/.stemsplit.partial-*/text"))) < 2:
        time.sleep(0.1)
    workers = [int(place.read_text()) for place in output.glob("long*/.stemsplit.partial-*/text")]
    driver.kill()
    driver.communicate()
    end = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < end:
        time.sleep(0.5)
    clear_below(output)
    assert {name for name in files_in(output) if not name.endswith(".begun")} == {
        "a", "a/text", "a/stemsplit.json", "b", "b/text", "b/stemsplit.json",
    }  # fmt: skip
    jobs = [job_named(name, output) for name in ("a", "b", "c")]
    outcomes = {o.track: o.status for o in run_among(jobs, actors(nodes, output))}
    assert outcomes == {"a": "skipped", "b": "skipped", "c": "done"}
