"""How results are shown: a line in a shell, players in a notebook."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

LONGEST_SECONDS = 600
"""So much of a stem is embedded in a page: ten minutes of four stems are some 35 MB."""


def described(shape: tuple[int, int], sample_rate: int) -> str:
    """Return the length, rate and channels of samples (channels, n)."""
    channels, samples = shape
    return f"{samples / sample_rate:.1f} s, {sample_rate} Hz, {channels} channel{'s' if channels != 1 else ''}"


def players(stems: Mapping[str, NDArray[np.float32]], sample_rate: int) -> str:
    """Return HTML with a player for each stem, which holds its sound as Ogg Vorbis."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td><audio controls preload='metadata' "
        f"src='data:audio/ogg;base64,{_ogg(samples, sample_rate)}'></audio></td></tr>"
        for name, samples in stems.items()
    )
    return f"<table>{rows}</table>"


def _ogg(samples: NDArray[np.float32], sample_rate: int) -> str:
    import soundfile

    heard = samples[:2, : LONGEST_SECONDS * sample_rate]
    data = io.BytesIO()
    with soundfile.SoundFile(data, "w", sample_rate, len(heard), format="OGG", subtype="VORBIS") as file:
        for start in range(0, heard.shape[1], sample_rate):  # libsndfile cannot encode minutes in one call
            file.write(np.clip(heard[:, start : start + sample_rate].T, -1.0, 1.0))
    return base64.b64encode(data.getvalue()).decode("ascii")
