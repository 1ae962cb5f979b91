"""What each format holds, and how that is refused before the work."""

from __future__ import annotations

import pytest

from stemsplit.audio import FORMATS, check_encodable, choose_depth, format_named, output_rate
from stemsplit.errors import OutputError, UsageError


@pytest.mark.parametrize(
    ("format", "source", "depth"),
    [
        ("wav", "16", "16"), ("wav", "24", "24"), ("wav", "32f", "32f"), ("wav", "lossy", "24"),
        ("flac", "16", "16"), ("flac", "24", "24"), ("flac", "32f", "24"), ("flac", "lossy", "24"),
        ("aiff", "32f", "24"), ("mp3", "16", "lossy"), ("ogg", "lossy", "lossy"), ("opus", "32f", "lossy"),
    ],
)  # fmt: skip
def test_auto_keeps_the_depth_of_the_source(format: str, source: str, depth: str) -> None:
    assert choose_depth(format, "auto", source) == depth


def test_a_depth_asked_for_is_given_or_refused() -> None:
    assert choose_depth("WAV", "16", "32f") == "16"
    with pytest.raises(UsageError, match="flac cannot hold bit depth '32f': choose auto, 24, 16"):
        choose_depth("flac", "32f")
    with pytest.raises(UsageError, match="mp3 has no bit depth"):
        choose_depth("mp3", "16")
    with pytest.raises(UsageError, match="'8'"):
        choose_depth("wav", "8")
    with pytest.raises(UsageError, match="unknown format 'wma': choose one of wav, flac"):
        format_named("wma")


@pytest.mark.parametrize(
    ("format", "rate", "written"),
    [
        ("opus", 44100, 48000), ("opus", 96000, 48000), ("opus", 22050, 24000), ("opus", 8000, 8000),
        ("mp3", 44100, 44100), ("mp3", 96000, 48000), ("mp3", 7000, 8000), ("mp3", 37800, 44100),
        ("ogg", 192000, 192000), ("ogg", 384000, 200000), ("flac", 88201, 88210), ("flac", 65535, 65535),
        ("flac", 655350, 655350), ("flac", 768000, 655350), ("wav", 768001, 768001), ("aiff", 1, 1),
    ],
)  # fmt: skip
def test_rates_that_a_format_lacks_go_to_the_next_that_it_has(format: str, rate: int, written: int) -> None:
    assert output_rate(format, rate) == written
    assert output_rate(format, written) == written
    check_encodable(format, written, 1, None, FORMATS[format].depths[0])
    if rate != written:
        with pytest.raises(OutputError, match=f"cannot hold {rate} Hz: use --sample-rate {written}"):
            check_encodable(format, rate, 1, None, FORMATS[format].depths[0])


@pytest.mark.parametrize(("format", "most"), [("mp3", 2), ("flac", 8), ("ogg", 255), ("opus", 255), ("wav", 1024)])
def test_channels_that_a_format_lacks(format: str, most: int) -> None:
    depth = FORMATS[format].depths[0]
    check_encodable(format, 48000, most, None, depth)
    with pytest.raises(OutputError, match=f"{format} holds {most} channels, not {most + 1}"):
        check_encodable(format, 48000, most + 1, None, depth)


def test_lengths_and_depths_that_a_format_lacks() -> None:
    check_encodable("wav", 44100, 2, 10**12, "32f")
    check_encodable("flac", 44100, 2, 10**10, "24")
    with pytest.raises(OutputError, match=r"aiff holds 4 GiB, and this would be 5\.6"):
        check_encodable("aiff", 44100, 2, 10**9, "24")
    with pytest.raises(OutputError, match="'32f', only 24, 16"):
        check_encodable("flac", 44100, 2, None, "32f")
