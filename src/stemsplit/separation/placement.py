"""Channels that a network has hardly ever heard, brought into a form that it knows; and its stems brought back.

Older records, karaoke and broken cables have a silent channel, or one of the other polarity. Networks learn from mixes
of two alike channels, and lose the voice there. Every chunk is decided on by itself. That makes no seam: what is done
to the mixture is undone in its stems, so neighbours that were decided on differently still fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

SILENT = 1e-7
"""Power of a channel, relative to the other's, below which it counts as silent: −70 dB."""
OPPOSITE = -0.3
"""Correlation of the channels below which one is taken to be turned over."""


def placement(mixtures: np.ndarray) -> np.ndarray | None:
    """Return what each channel of mixtures (B, C, S) is multiplied by, (B, C); None if a network knows all such."""
    if mixtures.shape[1] != 2:
        return None
    gains = np.stack([channel_gains(mixture) for mixture in mixtures])
    return None if (gains == 1).all() else gains


def placed(mixtures: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return mixtures (B, 2, S) as a network knows them. `gains` (B, 2) also bring its stems back."""
    known: np.ndarray = mixtures * gains[:, :, None]
    alone = (gains == 0).any(1)
    known[alone] = known[alone].sum(1, keepdims=True)  # the one channel that sounds, twice
    return known


def channel_gains(mixture: np.ndarray) -> np.ndarray:
    """Return what each channel of (2, S) is multiplied by: 1; 0 if it is silent beside the other; −1 if turned over."""
    left, right = np.square(mixture, dtype=np.float64).sum(-1)
    gains = np.ones(2, np.float32)
    if min(left, right) < SILENT * max(left, right):
        gains[int(left > right)] = 0
    elif correlation(mixture) < OPPOSITE:
        gains[1] = -1
    return gains


class Channels:
    """Counts the pieces of a song in which a channel is silent or turned over, to say so."""

    def __init__(self) -> None:
        self._pieces, self._turned = 0, 0
        self._silent = np.zeros(2, np.int64)

    def look(self, piece: np.ndarray) -> None:
        """Take note of a piece (channels, n)."""
        if len(piece) != 2 or not piece.any():
            return
        gains = channel_gains(piece)
        self._pieces += 1
        self._silent += gains == 0
        self._turned += bool((gains < 0).any())

    def found(self) -> str | None:
        """Return what is to be said, if it is so in most pieces."""
        for name, silent in zip(("left", "right"), self._silent.tolist(), strict=True):
            if 2 * silent > self._pieces:
                return f"its {name} channel is silent: the other one is heard in mono"
        if 2 * self._turned > self._pieces:
            return "its channels have opposite polarity: one of them is heard turned over"
        return None


def correlation(mixture: np.ndarray) -> float:
    """Return the correlation of two channels (2, S), from −1 to 1; 0 if one is silent."""
    left, right = mixture.astype(np.float64)
    power = float(np.sqrt(np.dot(left, left) * np.dot(right, right)))
    return float(np.dot(left, right)) / power if power else 0.0


def to_mono(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the mean (1, n) of the channels of blocks (channels, n), of two that are turned over half their difference.

    Near the border between the two the way of the block before is kept, because a change is heard as a click.
    """
    turned = False
    for block in blocks:
        if len(block) != 2:
            yield block.mean(axis=0, keepdims=True)
            continue
        likeness = correlation(block)
        turned = likeness < OPPOSITE or (turned and likeness < -OPPOSITE)
        yield (block[:1] - block[1:]) / 2 if turned else block.mean(axis=0, keepdims=True)
