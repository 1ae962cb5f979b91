"""The song itself beside its stems, as one more output."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import numpy as np

from stemsplit.audio import Rechunker, resample
from stemsplit.errors import UsageError
from stemsplit.options import PACK_STEMS
from stemsplit.separation.separator import Rendered
from stemsplit.separation.source import Source
from stemsplit.separation.stems import Output

SONG = Output("song", ())
"""What is beside the stems: no sum of them."""


def check_packable(model: str, stems: Iterable[str], outputs: Iterable[Output]) -> None:
    """Refuse to put other stems into one file than the four that its readers expect.

    Args:
        model: that separates, for the message.
        stems: all stems of the model.
        outputs: what was asked for.

    Raises: UsageError.
    """
    wanted, those = set(PACK_STEMS), f"{', '.join(PACK_STEMS[:-1])} and {PACK_STEMS[-1]}"
    if set(stems) != wanted:
        raise UsageError(
            f"a stem file holds {those}, and {model} separates {', '.join(stems)}: "
            "choose a model of just those four, or a --format with a file per stem"
        )
    if len(list(outputs)) != len(wanted) or {output.name for output in outputs} != wanted:
        raise UsageError(f"a stem file holds {those}: leave out --stems, --two-stems, --without and --mix")


def with_song(rendered: Iterable[Rendered], source: Source, sample_rate: int) -> Generator[Rendered, None, None]:
    """Yield blocks of outputs with one more behind them: the song that they are of.

    Args:
        rendered: blocks of the outputs at `sample_rate`, Hz.
        source: the song, which is read once more.
        sample_rate: Hz.
    """
    song = Rechunker(resample(source.blocks(None), source.sample_rate, sample_rate, source.channels))
    for block in rendered:
        taken = song.take(block.outputs.shape[-1])
        assert taken is not None
        missing = block.outputs.shape[-1] - taken.shape[-1]  # what a conversion of the rate may lack at the end
        taken = np.pad(taken, ((0, 0), (0, missing)))
        yield Rendered(np.concatenate([block.outputs, taken[None]]), block.mixture)
