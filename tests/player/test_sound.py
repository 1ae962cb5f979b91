"""Stems as a page has them: levels and Opus."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from conftest import Sound
from tiny import write_song

from stemsplit.audio import blocks, probe, resampled_length
from stemsplit.player.sound import OPUS_RATE, PARTS, Levels, encode_opus, measured


def unpacked(text: str) -> np.ndarray:
    """(parts, 2): the peak and the mean of each."""
    return (np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(-1, 2) / 255) ** 2


def decoded(data: bytes, folder: Path) -> np.ndarray:
    (folder / "x.opus").write_bytes(data)
    return np.concatenate(list(blocks(folder / "x.opus")), axis=1)


def test_levels_are_the_peak_and_the_mean_of_every_part() -> None:
    levels, rate = Levels(8000), 8000
    samples = np.zeros((2, 16 * rate), dtype=np.float32)
    samples[1, : 8 * rate] = 0.25
    samples[0, 12 * rate] = -0.81
    for block in np.array_split(samples, 7, axis=1):
        levels.add(block)
    found = unpacked(levels.packed())
    assert found.shape == (PARTS, 2)
    np.testing.assert_allclose(found[: PARTS // 2, 0], 0.25, atol=0.003)
    np.testing.assert_allclose(found[: PARTS // 2, 1], np.sqrt(0.25**2 / 2), atol=0.003)
    assert found[PARTS * 12 // 16, 0] == pytest.approx(0.81, abs=0.004)
    assert (np.delete(found[PARTS // 2 :], PARTS * 4 // 16, axis=0) == 0).all()


@pytest.mark.parametrize("frames", [0, 1, 39, 40, 8000])
def test_levels_of_short_songs(frames: int) -> None:
    levels = Levels(8000)
    levels.add(np.full((1, frames), 0.5, dtype=np.float32))
    found = unpacked(levels.packed())
    assert 1 <= len(found) <= PARTS
    assert found[0, 0] == pytest.approx(0.5 if frames else 0, abs=0.003)


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 44100), (6, 48000)])
def test_a_stem_becomes_opus_of_its_length(sound: Sound, tmp_path: Path, channels: int, rate: int) -> None:
    samples = sound(channels, rate, rate)
    path = write_song(tmp_path / "stem.wav", samples, rate, subtype="FLOAT")
    levels, opus = measured(path, rate, rate, embed=True)
    assert opus is not None
    found = decoded(opus, tmp_path)
    assert found.shape == (min(channels, 2) if channels <= 2 else 1, OPUS_RATE)
    wanted = samples if channels <= 2 else samples.mean(axis=0, keepdims=True)
    middle = slice(OPUS_RATE // 4, OPUS_RATE // 2)
    if rate == OPUS_RATE:
        agreement = np.corrcoef(found[0, middle], wanted[0, middle])[0, 1]
        assert agreement > 0.9  # in time, too
    assert measured(path, rate, rate, embed=True) == (levels, opus)
    assert measured(path, rate, rate, embed=False) == (levels, None)


@pytest.mark.parametrize("samples", [1, 5000, 8100])
def test_a_stem_is_made_as_long_as_its_song(tmp_path: Path, samples: int) -> None:
    path = write_song(tmp_path / "stem.wav", np.full((1, 8000), 0.1, dtype=np.float32), 8000)
    _, opus = measured(path, samples, 8000, embed=True)
    assert decoded(opus or b"", tmp_path).shape[1] == resampled_length(samples, 8000, OPUS_RATE)
    assert probe(tmp_path / "x.opus").sample_rate == OPUS_RATE


def test_nothing_at_all_is_a_file_too(tmp_path: Path) -> None:
    assert decoded(encode_opus(iter(()), OPUS_RATE), tmp_path).shape == (1, 1)
