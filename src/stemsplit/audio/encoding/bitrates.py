"""How many bits a lossy format spends on a second of sound, and how many are allowed.

A bit rate is that of a whole file, with all its channels, in bit/s.
"""

from __future__ import annotations

import re

import numpy as np

from stemsplit.errors import UsageError

LOSSY_FORMATS = ("mp3", "ogg", "opus", "m4a")
LOWEST, HIGHEST = 8_000, 4_000_000
_MPEG_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s, from 32 kHz on
_MPEG_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_LOWEST_MPEG_1_RATE, _LOWEST_MPEG_2_RATE = 32000, 16000  # Hz
_MPEG_2_5_LIMIT = 64  # kbit/s, below those
OPUS_PER_CHANNEL = (6_000, 256_000)
_AAC_PER_CHANNEL = (8_000, 128_000)  # the least; the usual
_AAC_BITS_PER_SAMPLE = 6  # of a channel: 6144 bits for 1024 samples, ISO/IEC 13818-7
# The rates at which Vorbis's qualities 0, 1, ... 10 of 44.1 kHz come out, per channel of a stereo file.
_VORBIS_PER_CHANNEL = (32_000, 40_000, 48_000, 56_000, 64_000, 80_000, 96_000, 112_000, 128_000, 160_000, 250_000)


def parse_bitrate(text: str | int | None) -> int | None:
    """Return bit/s of a text as 192k, 192 or 192000. Raises: UsageError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,7})(k?)", str(text).strip().lower())
    if found is not None:
        number = int(found[1])
        wanted = number * 1000 if found[2] or number < 1000 else number
        if LOWEST <= wanted <= HIGHEST:
            return wanted
    raise UsageError(f"--bitrate {str(text)[:40]}: give kbit/s, as in 192k, from 8k to 4000k")


def check_bitrate(format_name: str, bitrate: int | None) -> None:
    """Refuse a bit rate where the format has none. Raises: UsageError."""
    if bitrate is None or format_name.lower() in LOSSY_FORMATS:
        return
    lossy = ", ".join(LOSSY_FORMATS)
    raise UsageError(f"{format_name} keeps every bit and has no bit rate: leave out --bitrate, or choose {lossy}")


def output_bitrate(format_name: str, wanted: int | None, sample_rate: int, channels: int) -> int | None:
    """Return the bit rate at which a format is written: the one nearest to what is wanted that it can hold.

    None stands for the usual one. What is returned is None where the codec goes by quality, not by bits.
    """
    name = format_name.lower()
    if name == "mp3":
        return _of_mp3(wanted, sample_rate)
    if name == "m4a":
        lowest, usual = (rate * channels for rate in _AAC_PER_CHANNEL)
        return max(lowest, min(wanted or usual, _AAC_BITS_PER_SAMPLE * sample_rate * channels))
    if wanted is None or name not in LOSSY_FORMATS:
        return None
    lowest, highest = OPUS_PER_CHANNEL if name == "opus" else (_VORBIS_PER_CHANNEL[0], _VORBIS_PER_CHANNEL[-1])
    return max(lowest * channels, min(wanted, highest * channels))


def vorbis_quality(per_channel: float) -> float:
    """Return the quality, 0 to 1, at which Vorbis comes to about so many bit/s per channel."""
    return float(np.interp(per_channel, _VORBIS_PER_CHANNEL, np.linspace(0, 1, len(_VORBIS_PER_CHANNEL))))


def _of_mp3(wanted: int | None, sample_rate: int) -> int:
    known: tuple[int, ...] = _MPEG_1 if sample_rate >= _LOWEST_MPEG_1_RATE else _MPEG_2
    if sample_rate < _LOWEST_MPEG_2_RATE:
        known = tuple(rate for rate in known if rate <= _MPEG_2_5_LIMIT)
    return 1000 * min(known, key=lambda rate: abs(rate * 1000 - (wanted or HIGHEST)))
