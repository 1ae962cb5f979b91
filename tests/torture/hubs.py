"""A Hub that misbehaves: refuses, breaks off, sends other bytes, redirects in circles, answers nonsense."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from fake_hub import FakeHub, File

from torture.ended import Ended, run
from torture.world import half_written, leftovers, separating, sounds, undisturbed

REPOSITORY = "someone/tiny"


def misbehaving_hubs(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Separate with a model of a Hub that has a random fault, then of one that has none; yield the faults of each."""
    reference = undisturbed(world)
    files = {path.name: path.read_bytes() for path in (world / "model").iterdir()}
    for number in range(count):
        output, cache = f"hub-{number}", world / f"cache-{number}"
        with FakeHub() as hub:
            hub.add_model(REPOSITORY, files)
            rng.choice(FAULTS)(hub, files, rng)
            ended = _separate(world, output, hub, cache)
        found = ended.faults((0, 1, 2)) + half_written(world / output, reference)
        with FakeHub() as hub:
            hub.add_model(REPOSITORY, files)
            found += _separate(world, output, hub, cache).faults((0,))
        found += [f"{name} is missing" for name in reference.keys() - sounds(world / output).keys()]
        found += half_written(world / output, reference) + leftovers(world / output)
        shutil.rmtree(world / output, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)
        yield found


def _separate(world: Path, output: str, hub: FakeHub, cache: Path) -> Ended:
    arguments = [f"hf:{REPOSITORY}" if part == "model" else part for part in separating(output)]
    outside = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url, "NO_PROXY": "*", "STEMSPLIT_CACHE": str(cache)}
    return run(arguments, world, **outside)


def _weights(hub: FakeHub, files: dict[str, bytes]) -> File:
    return hub.storage(next(body for name, body in files.items() if name.endswith(".safetensors")))


def _busy(hub: FakeHub, files: dict[str, bytes], rng: random.Random) -> None:
    _weights(hub, files).statuses = [rng.choice((429, 500, 502, 503, 504, 418)) for _ in range(rng.randint(1, 9))]


def _breaking_off(hub: FakeHub, files: dict[str, bytes], rng: random.Random) -> None:
    file = _weights(hub, files)
    file.cuts = [rng.randrange(len(file.body)) for _ in range(rng.randint(1, 9))]
    file.ranges, file.chunked = rng.random() < 0.5, rng.random() < 0.3


def _other_bytes(hub: FakeHub, files: dict[str, bytes], rng: random.Random) -> None:
    name = rng.choice(sorted(files))
    body = bytearray(files[name])
    for _ in range(rng.randint(1, 20)):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    hub.corrupt[name] = bytes(body[: rng.choice((len(body), len(body) // 2, 0))])


def _in_circles(hub: FakeHub, files: dict[str, bytes], rng: random.Random) -> None:
    hub.moved = {REPOSITORY: "someone/else", "someone/else": rng.choice((REPOSITORY, "no/body"))}


def _closed(hub: FakeHub, files: dict[str, bytes], rng: random.Random) -> None:
    rng.choice((hub.gated, hub.forbidden)).add(REPOSITORY)


def _incomplete(hub: FakeHub, files: dict[str, bytes], rng: random.Random) -> None:
    gone = rng.choice(sorted(files))
    hub.add_model(REPOSITORY, {name: body for name, body in files.items() if name != gone})


def _nonsense(hub: FakeHub, files: dict[str, bytes], rng: random.Random) -> None:
    answer = rng.choice((b"", b"[]", b"null", b"{", b'{"siblings": 3}', b'{"sha": "x"}', rng.randbytes(100)))
    hub._info = lambda handler, *_: handler.answer(200, answer)  # type: ignore[method-assign]


FAULTS: tuple[Callable[[FakeHub, dict[str, bytes], random.Random], None], ...] = (
    _busy,
    _breaking_off,
    _other_bytes,
    _in_circles,
    _closed,
    _incomplete,
    _nonsense,
)
