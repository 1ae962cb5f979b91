"""Two beliefs about the same frames → one.

A song is heard twice: its separated vocals, from which a separator may have taken some of the voice and left some of
the music, and the song itself, in which nothing is missing and much is in the way. Where the two err they err at
different frames, so what both find likely is right more often than what either does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

TINY = np.finfo(np.float32).tiny


def together(first: Iterable[np.ndarray], second: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The geometric mean of two streams of posteriors, normalised: blocks (n, 1 + bins) float32, as `first` comes.

    The streams may be cut differently. Where `second` ends early (a conversion of the rate may cost it a frame),
    `first` stands alone.
    """
    others, held = iter(second), None
    for rows in first:
        while held is None or len(held) < len(rows):
            if (block := next(others, None)) is None:
                break
            held = block if held is None else np.concatenate([held, block])
        other = rows[:0] if held is None else held[: len(rows)]
        held = None if held is None else held[len(other) :]
        mean = np.sqrt((rows[: len(other)] + TINY) * (other + TINY))
        yield np.concatenate([mean / mean.sum(1, keepdims=True), rows[len(other) :]]).astype(np.float32, copy=False)
