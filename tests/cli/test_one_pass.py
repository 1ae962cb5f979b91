"""What a run does once: the weights are hashed once, the config is parsed once, and the tensors are read once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import save_tiny, write_song

from stemsplit.cli import main
from stemsplit.weights import catalog, checkpoint


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a model's file was hashed, its config parsed, and its tensors were read."""
    counts: Counter[str] = Counter()
    hashed, parsed, read = catalog.sha256_of, json.loads, checkpoint._read_safetensors

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
    monkeypatch.setattr(checkpoint, "_read_safetensors", count_read)
    return counts


def test_a_model_is_hashed_parsed_and_read_once(tmp_path: Path, counted: Counter[str]) -> None:
    model = save_tiny(tmp_path / "tiny")
    songs = tmp_path / "songs"
    for name in ("a", "b"):
        write_song(songs / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, (2, 4000)), 8000)
    counted.clear()
    assert main(["separate", str(songs), "-m", str(model), "-o", str(tmp_path / "out"), "-q"]) == 0
    assert counted == {"hashed model.safetensors": 1, "parsed config.json": 1, "read model.safetensors": 1}
