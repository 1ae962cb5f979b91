"""What FFmpeg encodes, and bit rates: exact lengths, refusals, and sizes that follow what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stemsplit.audio import StemWriter, blocks, probe
from stemsplit.audio.encoding.bitrates import check_bitrate, output_bitrate, parse_bitrate
from stemsplit.errors import OutputError, UsageError


def noise(channels: int, frames: int) -> np.ndarray:
    return np.random.default_rng(frames).uniform(-0.5, 0.5, (channels, frames)).astype(np.float32)


def written(path: Path, samples: np.ndarray, format: str, depth: str = "lossy", **how: int | None) -> np.ndarray:
    with StemWriter(path, 44100, len(samples), format, depth, **how) as writer:  # type: ignore[arg-type]
        writer.write(samples)
    return np.concatenate(list(blocks(path)), axis=1)


@pytest.mark.parametrize("frames", [1, 46, 1151, 1152 * 3 + 20, 1152 * 9 + 47])
def test_an_mp3_states_its_length_also_where_its_padding_is_long(tmp_path: Path, frames: int) -> None:
    assert written(tmp_path / "a.mp3", noise(2, frames), "mp3").shape == (2, frames)
    assert probe(tmp_path / "a.mp3").frames == frames


@pytest.mark.parametrize("frames", [1, 4095, 4096, 4097, 8195])
@pytest.mark.parametrize("depth", ["16", "24"])
def test_alac_is_exact(tmp_path: Path, frames: int, depth: str) -> None:
    full = 2 ** (int(depth) - 1)
    samples = (np.rint(noise(2, frames) * np.float64(full)) / full).astype(np.float32)
    np.testing.assert_array_equal(written(tmp_path / "a.m4a", samples, "alac", depth), samples)


@pytest.mark.parametrize("channels", range(1, 9))
def test_aac_has_every_channel_in_its_place(tmp_path: Path, channels: int) -> None:
    tones = np.sin(np.arange(20000) * np.linspace(0.005, 0.012, channels)[:, None]).astype(np.float32) / 2
    decoded = written(tmp_path / "a.m4a", tones, "m4a")
    assert decoded.shape == tones.shape
    likeness = np.abs(np.corrcoef(tones, decoded)[:channels, channels:])
    np.testing.assert_array_equal(likeness.argmax(axis=1), np.arange(channels))


def test_alac_refuses_surround(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="alac holds 2 channels, not 6"):
        written(tmp_path / "a.m4a", noise(6, 100), "alac", "24")


@pytest.mark.parametrize("format", ["mp3", "ogg", "opus", "m4a"])
def test_more_bits_make_larger_files(tmp_path: Path, format: str) -> None:
    sizes = []
    for kbits in (96, 192):
        with StemWriter(tmp_path / "a", 48000, 2, format, "lossy", bitrate=kbits * 1000) as writer:
            writer.write(noise(2, 96000))
        sizes.append((tmp_path / "a").stat().st_size * 8 / 2 / kbits / 1000)
    assert all(0.6 < size < 1.6 for size in sizes), sizes


def test_bit_rates_are_read_and_refused() -> None:
    assert [parse_bitrate(text) for text in ("192k", "192", "192000", " 320K ", None)] == [192000] * 3 + [320000, None]
    for text in ("", "high", "-1", "1", "99999k", "1.5k"):
        with pytest.raises(UsageError, match="--bitrate"):
            parse_bitrate(text)
    for format in ("wav", "flac", "alac", "aiff"):
        with pytest.raises(UsageError, match="has no bit rate: leave out --bitrate"):
            check_bitrate(format, 192000)
    check_bitrate("mp3", 192000)


def test_a_bit_rate_is_the_nearest_that_the_format_has() -> None:
    assert output_bitrate("mp3", None, 44100, 2) == 320000
    assert output_bitrate("mp3", 200000, 44100, 2) == 192000
    assert output_bitrate("mp3", None, 22050, 2) == 160000
    assert output_bitrate("mp3", 320000, 8000, 1) == 64000
    assert output_bitrate("m4a", None, 44100, 2) == 256000
    assert output_bitrate("m4a", 256000, 8000, 1) == 48000
    assert output_bitrate("opus", 900000, 48000, 2) == 512000
    assert output_bitrate("ogg", None, 44100, 2) is None
    assert output_bitrate("flac", None, 44100, 2) is None
