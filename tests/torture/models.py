"""Models whose config or weights are damaged."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torture.damage import damaged
from torture.ended import run_many

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, 0.5, -0.0, "", "x", "8", [], [1], [[]], {}, {"a": 1}, [0] * 1000,
    "\u202e\x1b[31m", "../../x",
)  # fmt: skip


def malformed_models(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Load `count` damaged models; yield the faults of each."""
    folders = []
    for number in range(count):
        folder = world / f"model-{number}"
        shutil.copytree(world / "model", folder)
        _damage(folder, number, rng)
        folders.append(folder.name)
    song = ["separate", "songs/song 0.wav", "--device", "cpu", "-q"]
    calls = [[*song, "-m", name, "-o", f"{name}-out"] for name in folders]
    for name, ended in zip(folders, run_many(calls, world), strict=True):
        yield ended.faults((0, 1, 2))
        shutil.rmtree(world / name)


def _damage(folder: Path, number: int, rng: random.Random) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    if number % 4 == 0:
        weights.write_bytes(damaged(weights.read_bytes(), rng))
    elif number % 4 == 1:
        config.write_bytes(damaged(config.read_bytes(), rng))
    else:
        values = json.loads(config.read_text(encoding="utf-8"))
        for _ in range(rng.choice((1, 1, 2))):
            _spoil(values, rng)
        config.write_text(json.dumps(values), encoding="utf-8")


def _spoil(values: dict[str, Any], rng: random.Random) -> None:
    """Change, drop or add a value somewhere inside."""
    inside: Any = values
    while True:
        key = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        if isinstance(inside[key], (dict, list)) and inside[key] and rng.random() < 0.7:
            inside = inside[key]
            continue
        break
    kind = rng.random()
    if kind < 0.15:
        del inside[key]
    elif kind < 0.25 and isinstance(inside, dict):
        inside[f"{key}x"] = inside[key]
    else:
        inside[key] = rng.choice(ODD)
