"""A run goes a short way: its model is hashed, parsed and read once, through few calls and few files."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from tiny import save_tiny, write_song

import stemsplit
from stemsplit.cli import main
from stemsplit.networks.bsmamba import BSMamba
from stemsplit.weights import catalog, checkpoint


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a model's file was hashed, its config parsed, and its tensors were read."""
    counts: Counter[str] = Counter()
    hashed, parsed, read = catalog.sha256_of, json.loads, checkpoint.open_safetensors

    def count_hash(path: Path) -> str:
        counts[f"hashed {path.name}"] += 1
        return hashed(path)

    def count_parse(text: str | bytes, **how: Any) -> Any:
        value = parsed(text, **how)
        if isinstance(value, dict) and "architecture" in value:
            counts["parsed config.json"] += 1
        return value

    def count_read(path: Path) -> Any:
        counts[f"read {path.name}"] += 1
        return read(path)

    monkeypatch.setattr(catalog, "sha256_of", count_hash)
    monkeypatch.setattr(json, "loads", count_parse)
    monkeypatch.setattr(checkpoint, "open_safetensors", count_read)
    return counts


def test_a_model_is_hashed_parsed_and_read_once(tmp_path: Path, counted: Counter[str]) -> None:
    model = save_tiny(tmp_path / "tiny")
    songs = tmp_path / "songs"
    for name in ("a", "b"):
        write_song(songs / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, (2, 4000)), 8000)
    counted.clear()
    assert main(["separate", str(songs), "-m", str(model), "-o", str(tmp_path / "out"), "-q"]) == 0
    assert counted == {"hashed model.safetensors": 1, "parsed config.json": 1, "read model.safetensors": 1}


DEEPEST = 15
"""Calls of ours, from `main` to the network's forward."""
MOST_FILES = 84
"""Files of ours of which a function runs."""


def test_the_way_to_the_network_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one thread, where the network runs in the thread of the command."""
    package = str(Path(stemsplit.__file__).parent)
    files: set[str] = set()
    depths: list[int] = []

    def ours(frame: FrameType | None) -> int:
        count = 0
        while frame is not None:
            count += frame.f_code.co_filename.startswith(package)
            frame = frame.f_back
        return count

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            files.add(frame.f_code.co_filename)
            if frame.f_code is BSMamba.forward.__code__:
                depths.append(ours(frame))

    model = save_tiny(tmp_path / "tiny")
    write_song(tmp_path / "song.wav", np.random.default_rng(0).normal(0, 0.1, (2, 20000)), 8000)
    arguments = ["separate", str(tmp_path / "song.wav"), "-m", str(model), "-o", str(tmp_path / "out"), "-q"]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        code = main(arguments)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert code == 0
    assert depths
    assert max(depths) <= DEEPEST
    assert len(files) <= MOST_FILES
