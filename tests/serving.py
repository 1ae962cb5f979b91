"""The server of `stemsplit serve` over real HTTP on loopback, with a network whose answer is known, and its client."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from tiny import GAINS, FakeConfig, FakeNetwork

from stemsplit.serve.app import Limits, Server, make_app
from stemsplit.serve.guard import Rules
from stemsplit.serve.queue import Queue
from stemsplit.serve.requests import Models
from stemsplit.serve.run import Running, bound
from stemsplit.serve.worker import Worker
from stemsplit.weights.model import Model

RATE = 44100
PATIENCE = 120  # seconds; machines can be busy
LIMITS = Limits(20_000_000, 60.0)
OVER = ("done", "failed", "cancelled")


def wav(seed: int = 0, seconds: float = 1.0) -> bytes:
    """A song: noise."""
    noise = np.random.default_rng(seed).normal(0, 0.1, (round(seconds * RATE), 2))
    file = io.BytesIO()
    soundfile.write(file, noise, RATE, format="WAV")
    return file.getvalue()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gate:
    """Lets the network go on, or makes it wait at a chunk."""

    opened: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    calls: int = 0

    def __call__(self, mixture: object) -> None:
        self.calls += 1
        self.reached.set()
        assert self.opened.wait(PATIENCE)


@dataclass
class Client:
    """What talks to a server."""

    port: int
    queue: Queue
    loads: list[str]

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def upload(
        self, song: bytes, name: str = "song.wav", *, headers: dict[str, str] | None = None, **form: str
    ) -> Answer:
        body, kind = multipart(song, name, form)
        return self.ask("POST", "/separate", body, Content_Type=kind, **(headers or {}))

    def job(self, number: int) -> dict[str, Any]:
        return dict(self.get(f"/jobs/{number}").json)

    def when_over(self, number: int) -> dict[str, Any]:
        """The job, once it is over."""
        return dict(wait(lambda: job if (job := self.job(number))["state"] in OVER else None))


def multipart(song: bytes, name: str, form: dict[str, str]) -> tuple[bytes, str]:
    """The body of a form with a file, and its Content-Type."""
    parts = [f'--XX\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in form.items()]
    head = f'--XX\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    return b"".join([*parts, head, song, b"\r\n--XX--\r\n"]), "multipart/form-data; boundary=XX"


def wait(found: Callable[[], Any]) -> Any:
    """What a function returns once that is true."""
    until = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)
    return value


@contextmanager
def serving(
    output: Path, gate: Gate | None = None, *, token: str | None = None, limits: Limits = LIMITS
) -> Iterator[Client]:
    """A server of an output folder; the network waits for the gate, if there is one."""
    loads: list[str] = []
    config = FakeConfig(sample_rate=RATE, chunk_samples=RATE // 4)

    def load(reference: str) -> Any:
        loads.append(reference)
        return Model("fake", "5" * 64, FakeNetwork(config, GAINS, gate or (lambda mixture: None)))

    errors: list[BaseException] = []
    queue, models = Queue(output), Models(["fake"], "cpu", load)
    rules = Rules.made(token, limits.file_bytes)

    def make(stopping: Callable[[], bool]) -> Any:
        return make_app(Server(queue, models, limits, stopping=stopping, on_error=errors.append), rules)

    with bound("127.0.0.1", 0, token) as listening, Worker(queue, models, limits.seconds):
        running = Running(make)
        thread = threading.Thread(target=running.run, args=(listening,))
        thread.start()
        try:
            yield Client(listening.getsockname()[1], queue, loads)
        finally:
            queue.close()
            if gate is not None:
                gate.opened.set()
            running.server.should_exit = True
            thread.join()
    assert errors == []
