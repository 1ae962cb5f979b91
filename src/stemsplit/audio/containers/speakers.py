"""The order of channels. Ours is that of WAV, FLAC and FFmpeg; Vorbis and Opus have another one.

Vorbis I specification, section 4.3.9; RFC 7845, section 5.1.1.2 (Opus, mapping family 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stemsplit.audio.containers.view import View

_WAV = (
    "FL",
    "FR",
    "FC",
    "LFE",
    "BL",
    "BR",
    "FLC",
    "FRC",
    "BC",
    "SL",
    "SR",
    "TC",
    "TFL",
    "TFC",
    "TFR",
    "TBL",
    "TBC",
    "TBR",
)
"""The speakers in the order of the bits of a WAV's channel mask."""

_VORBIS = {
    3: ("FL", "FC", "FR"),
    5: ("FL", "FC", "FR", "BL", "BR"),
    6: ("FL", "FC", "FR", "BL", "BR", "LFE"),
    7: ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
    8: ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
}
"""Channels → their speakers, in the order of Vorbis and Opus, where it is not ours."""

WAV_MASKS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
"""Channels → the mask of 3.0, quadraphonic, 5.0, 5.1, 6.1 and 7.1; for other counts no speakers are named."""

LAYOUT_NAMES = {
    1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1",
}  # fmt: skip
"""Channels → what FFmpeg calls these speakers, in our order."""


def to_wav_order(speakers: Sequence[str]) -> list[int] | None:
    """Return where each channel of our order stands among `speakers`; None if the order is ours, or unknown."""
    if not set(speakers) <= set(_WAV) or len(set(speakers)) < len(speakers):
        return None
    order = sorted(range(len(speakers)), key=lambda at: _WAV.index(speakers[at]))
    return None if order == list(range(len(speakers))) else order


def from_vorbis(channels: int) -> list[int] | None:
    """Return which channels of a Vorbis or Opus stream make ours, in our order; None if they are in it already."""
    return to_wav_order(_VORBIS.get(channels, ()))


def to_vorbis(channels: int) -> list[int] | None:
    """Return which of our channels make those of a Vorbis or Opus stream, in its order; None if they do already."""
    order = from_vorbis(channels)
    return None if order is None else [order.index(at) for at in range(channels)]


def fit_channels(samples: np.ndarray, channels: int) -> np.ndarray:
    """Return samples (channels, n) with another number of channels.

    One channel is repeated, many become one by their mean. Else channels are left out, or silent ones added.
    """
    have = len(samples)
    if have == channels:
        return samples
    if channels == 1:
        return np.asarray(samples.mean(axis=0, keepdims=True, dtype=np.float32))
    if have == 1:
        samples = np.repeat(samples, 2, axis=0)
    fitted = np.zeros((channels, samples.shape[1]), dtype=np.float32)
    fitted[: len(samples)] = samples[:channels]
    return fitted


def names_speakers(path: Path, view: View) -> bool:
    """Return whether the first stream of an Ogg file has speakers: all do but Opus of other mapping families than 1."""
    with view.open(path) as file:
        page = file.read(4096)
    at = page.find(b"OpusHead")
    return at < 0 or at + 18 >= len(page) or page[at + 18] <= 1
