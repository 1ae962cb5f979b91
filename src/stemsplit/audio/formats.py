"""The formats that can be written, and the checks of a request against them before any work starts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stemsplit.audio.info import LOSSY
from stemsplit.errors import OutputError, UsageError
from stemsplit.options import PACKS, PICTURED

MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
FULL_SCALE = {"16": 2**15, "24": 2**23}
"""Bit depth → the integer that 1.0 stands for. The largest integer that can be stored is one less."""
SILENT_PEAK = 1e-5
"""A lower peak is silence: −100 dBFS, less than the last of 16 bits."""


@dataclass(frozen=True)
class Format:
    """One row of `FORMATS`.

    Attributes:
        name: what the user calls the format.
        suffix: of the files, without the dot.
        depths: the bit depths; "auto" takes the first one if the format does not have the source's depth.
        max_channels: the most channels that a file can hold.
        max_rate: the highest sample rate in Hz.
        rates: the only sample rates in Hz that the format knows; empty if it takes all rates up to `max_rate`.
        max_bytes: the most bytes that the format's header can count.
        packed: whether a file holds the song and its stems, each as a sound track; see `options.PACKS`.
    """

    name: str
    suffix: str
    depths: tuple[str, ...]
    max_channels: int
    max_rate: int
    rates: tuple[int, ...] = ()
    max_bytes: int | None = None
    packed: bool = False

    @property
    def lossy(self) -> bool:
        """Whether reading the file gives other samples than those that were written."""
        return self.depths == (LOSSY,)


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format("wav", "wav", ("24", "16", "32f"), 1024, 2**31 - 1),
        Format("flac", "flac", ("24", "16"), 8, 655350),
        Format("mp3", "mp3", (LOSSY,), 2, 48000, MPEG_RATES),
        Format("ogg", "ogg", (LOSSY,), 255, 200000),
        Format("opus", "opus", (LOSSY,), 255, 48000, OPUS_RATES),
        Format("m4a", "m4a", (LOSSY,), 8, 96000, AAC_RATES),
        Format("alac", "m4a", ("24", "16"), 2, 768000),  # FFmpeg aborts on short frames of surround
        Format("aiff", "aiff", ("24", "16"), 1024, 2**31 - 1, max_bytes=2**32 - 1024),
    )
}


def format_named(name: str) -> Format:
    """Return a row of `FORMATS`, or that of a format of one file. Raises: UsageError for an unknown name."""
    known = name.lower()
    if known in PACKS:  # its readers know stereo alone
        return replace(FORMATS[PACKS[known]], name=known, suffix="stem.mp4", max_channels=2, packed=True)
    if known in PICTURED:
        return replace(FORMATS[PICTURED[known]], name=known, suffix=known)
    if known not in FORMATS:
        raise UsageError(f"unknown format {name!r}: choose one of {', '.join([*FORMATS, *PACKS, *PICTURED])}")
    return FORMATS[known]


def track_format(name: str) -> str:
    """Return the format of the sound in a file that holds more than that of one stem; of others, their own."""
    return {**PACKS, **PICTURED}.get(name.lower(), name)


def choose_depth(format_name: str, wanted: str = "auto", source_depth: str = LOSSY) -> str:
    """Return the bit depth to write: "16", "24", "32f", or "lossy" for mp3, ogg, opus and m4a.

    "auto" keeps the source's depth if the format has it, and is 24 bits otherwise.

    Raises:
        UsageError: the format does not have the depth that is asked for.
    """
    row = format_named(format_name)
    if wanted == "auto":
        return source_depth if source_depth in row.depths else row.depths[0]
    if wanted in row.depths:
        return wanted
    if row.lossy:
        raise UsageError(f"{row.name} has no bit depth: leave out --bit-depth {wanted}, or write wav or flac")
    fitting = ", ".join(row.depths)
    raise UsageError(f"{row.name} cannot hold bit depth {wanted!r}: choose auto, {fitting} or another --format")


def output_rate(format_name: str, sample_rate: int) -> int:
    """Return the sample rate in Hz to write, which is `sample_rate` if the format has it.

    Otherwise it is the next higher rate of the format (48 kHz for Opus instead of 44.1 kHz), or its highest.
    """
    row = format_named(format_name)
    if row.rates:
        return min((rate for rate in row.rates if rate >= sample_rate), default=row.rates[-1])
    if row.name == "flac" and sample_rate > 65535 and sample_rate % 10:  # FLAC states such rates in tens of Hz
        return min(sample_rate + 10 - sample_rate % 10, row.max_rate)
    return min(sample_rate, row.max_rate)


def check_encodable(format_name: str, sample_rate: int, channels: int, frames: int | None, bit_depth: str) -> None:
    """Check, before any work, that a format can hold such audio. Raises: OutputError if it cannot."""
    row = format_named(format_name)
    if channels > row.max_channels:
        raise OutputError(f"{row.name} holds {row.max_channels} channels, not {channels}: use --format wav")
    if bit_depth not in row.depths:
        raise OutputError(f"{row.name} cannot hold bit depth {bit_depth!r}, only {', '.join(row.depths)}")
    rate = output_rate(row.name, sample_rate)
    if rate != sample_rate:
        raise OutputError(f"{row.name} cannot hold {sample_rate} Hz: use --sample-rate {rate}")
    size = (frames or 0) * channels * (int(bit_depth) // 8 if bit_depth.isdigit() else 4)
    if row.max_bytes is not None and size > row.max_bytes:
        raise OutputError(f"{row.name} holds 4 GiB, and this would be {size / 2**30:.1f}: use --format wav")


def shared_gain(peak: float, bit_depth: str) -> float:
    """Return the factor for all stems of a track that keeps the loudest of them from clipping.

    It is 1.0 if nothing clips, and always for "32f". A sample of exactly +1.0 does not count as clipped, although the
    largest integer is one step below it. Lossy formats are treated as 16 bits, since players decode them to integers.

    Args:
        peak: the largest absolute sample of all stems.
        bit_depth: what is written.
    """
    if bit_depth == "32f" or peak <= 1.0:
        return 1.0
    full = FULL_SCALE.get(bit_depth, 2**15)
    return (full - 1) / full / peak
