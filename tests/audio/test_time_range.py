"""A part of a file is what it is in the whole file, to the sample, whatever decodes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import write_song

from stemsplit.audio import blocks, probe
from stemsplit.errors import EmptyAudioError, UsageError
from stemsplit.options import SeparateOptions, TimeRange

RATE = 44100
SUFFIXES = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}


def read(path: Path, time_range: TimeRange | None = None) -> np.ndarray:
    return np.concatenate(list(blocks(probe(path, time_range=time_range))), axis=1)


@pytest.fixture(params=list(SUFFIXES))
def song(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 3 * RATE + 17))
    return write_song(tmp_path / f"song.{request.param}", samples, RATE, SUFFIXES[request.param])


@pytest.mark.parametrize("part", [(1.0, 2.5), (0.0, 1.5), (1.501, None), (0.5, 0.50003)])
def test_a_part_is_a_part_of_the_whole(song: Path, part: tuple[float, float | None]) -> None:
    whole, (start, end) = read(song), part
    stop = whole.shape[1] if end is None else round(end * RATE)
    found = read(song, TimeRange(*part))
    assert np.array_equal(found, whole[:, round(start * RATE) : stop])
    stated = probe(song, time_range=TimeRange(*part)).frames
    assert stated in (None, found.shape[1])


def test_beyond_the_end(song: Path) -> None:
    warnings: list[str] = []
    info = probe(song, time_range=TimeRange(2.0, 60.0))
    found = np.concatenate(list(blocks(info, warn=warnings.append)), axis=1)
    assert np.array_equal(found, read(song)[:, 2 * RATE :])
    assert any("ends at 3.0" in text and "before the range does" in text for text in warnings)
    with pytest.raises(EmptyAudioError, match=r"lasts 3\.0"):
        read(song, TimeRange(60.0, None))


@pytest.mark.parametrize(
    ("text", "found"),
    [("1:00-2:30", (60.0, 150.0)), ("1:00-", (60.0, None)), ("-2:30", (0.0, 150.0)), ("5-7.25", (5.0, 7.25)),
     ("1:02:03.5-", (3723.5, None)), (" 0:01 - 0:02 ", (1.0, 2.0))],
)  # fmt: skip
def test_texts(text: str, found: tuple[float, float | None]) -> None:
    assert TimeRange.parsed(text) == found


@pytest.mark.parametrize("text", ["", "-", "1:00", "2-1", "1-1", "a-b", "1:2:3:4-", "--5", "1e3-", "٣-٥x", "nan-"])
def test_no_ranges(text: str) -> None:
    with pytest.raises(UsageError, match="--time-range"):
        TimeRange.parsed(text)


def test_only_a_part_is_among_the_settings() -> None:
    assert "time_range" not in SeparateOptions().settings()
    assert SeparateOptions(time_range=TimeRange(1, 2)).settings()["time_range"] == [1, 2]
