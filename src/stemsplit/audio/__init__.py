"""Audio in and out: files and pipes ⇄ float32 blocks (channels, samples), in bounded memory."""

from stemsplit.audio.formats import (
    FORMATS,
    check_encodable,
    choose_depth,
    format_named,
    output_rate,
    shared_gain,
)
from stemsplit.audio.info import AUDIO_SUFFIXES, AudioInfo, is_audio
from stemsplit.audio.pipe import RawFormat, parse_raw, spool_stdin, write_stream
from stemsplit.audio.read import blocks, probe
from stemsplit.audio.rechunk import Rechunker, rechunked
from stemsplit.audio.resample import Resampler, resample, resampled_length
from stemsplit.audio.tags import Tags, read_tags
from stemsplit.audio.write import PackWriter, StemWriter

__all__ = [
    "AUDIO_SUFFIXES",
    "FORMATS",
    "AudioInfo",
    "PackWriter",
    "RawFormat",
    "Rechunker",
    "Resampler",
    "StemWriter",
    "Tags",
    "blocks",
    "check_encodable",
    "choose_depth",
    "format_named",
    "is_audio",
    "output_rate",
    "parse_raw",
    "probe",
    "read_tags",
    "rechunked",
    "resample",
    "resampled_length",
    "shared_gain",
    "spool_stdin",
    "write_stream",
]
