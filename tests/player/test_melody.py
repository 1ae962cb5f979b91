"""Melodies as a page draws them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from stemsplit.files.manifest import write_manifest
from stemsplit.melody.contour import Contour
from stemsplit.melody.formats import write_contour
from stemsplit.player.melody import MOST_FRAMES, find_melody, packed_melody, read_melody


def contour(semitones: np.ndarray, voiced: np.ndarray | None = None, hop: float = 0.01) -> Contour:
    sung = np.ones(len(semitones), dtype=bool) if voiced is None else voiced
    return Contour(hop, 440 * 2 ** ((semitones - 69) / 12), sung.astype(np.float32), sung)


def levels(packed: dict[str, object]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(str(packed["pitch"])), dtype=np.uint8)


def test_pitches_come_back_within_a_twentieth_of_a_semitone() -> None:
    semitones = np.linspace(48.3, 71.9, 900)
    voiced = np.arange(900) % 5 > 0
    packed = packed_melody(contour(semitones, voiced), None)
    assert packed is not None
    found = levels(packed)
    assert ((found > 0) == voiced).all()
    np.testing.assert_allclose(packed["low"] + (found[voiced] - 1.0) * packed["unit"], semitones[voiced], atol=0.051)


def test_a_wide_melody_and_a_long_one_fit() -> None:
    packed = packed_melody(contour(np.linspace(20, 110, 100_000), hop=0.005), None)
    assert packed is not None
    found = levels(packed)
    assert MOST_FRAMES / 2 < len(found) <= MOST_FRAMES
    assert packed["step"] * len(found) == pytest.approx(500, rel=0.01)
    assert packed["low"] + (found[-1] - 1) * packed["unit"] == pytest.approx(110, abs=0.2)
    assert len(json.dumps(packed)) < 150_000


def test_notes_are_told_by_the_time_between_them() -> None:
    semitones = np.repeat([60.0, 64.0], 60)
    packed = packed_melody(contour(semitones, np.tile(np.arange(60) < 50, 2)), 440.0)
    assert packed is not None
    assert packed["notes"] == [0, 50, 60, 60, 50, 64]
    assert packed["shift"] == 0


def test_silence_is_no_melody() -> None:
    assert packed_melody(contour(np.full(50, 60.0), np.zeros(50, dtype=bool)), None) is None


def write_melody(folder: Path, name: str, sha256: str) -> Path:
    write_contour(folder / f"{name}.f0.csv", contour(np.full(50, 60.0)))
    path = folder / f"{name}.melody.json"
    outputs = {"f0": {"path": f"{name}.f0.csv", "sha256": ""}}
    write_manifest(path, {"input": {"sha256": sha256}, "outputs": outputs, "tuning_hz": 442.5})
    return path


def test_a_melody_is_found_by_name_and_by_what_it_is_of(tmp_path: Path) -> None:
    path = write_melody(tmp_path, "song", "ab")
    assert find_melody(tmp_path, ("other", "song"), ("xy", "ab")) == path
    assert find_melody(tmp_path, ("song",), ("xy",)) is None
    assert find_melody(tmp_path / "nowhere", ("song",), ("ab",)) is None
    found = read_melody(path)
    assert found is not None
    assert (len(found[0]), found[1]) == (50, 442.5)


@pytest.mark.parametrize(
    "damage", ["{}", '{"format": 1, "outputs": 3}', '{"format": 1, "outputs": {"f0": {"path": 7}}}']
)
def test_a_damaged_melody_is_none(tmp_path: Path, damage: str) -> None:
    path = write_melody(tmp_path, "song", "ab")
    path.write_text(damage)
    assert read_melody(path) is None
    (tmp_path / "song.f0.csv").unlink()
    assert read_melody(write_melody(tmp_path, "song", "ab").with_name("none.melody.json")) is None
