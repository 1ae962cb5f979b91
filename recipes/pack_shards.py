r"""Pack training songs for a machine without audio libraries: a few files of a limited size in all.

    python recipes/pack_shards.py --songs DIR ... --backing DIR ... --dev DIR --megabytes 45 --out shards
    python -m stemsplit.training recipes/ts-bsmamba2-mini-gpu.toml --shards shards --minutes 25 --decay-minutes 8 \
        --device cuda

The first command packs the songs here, the second trains on them there. Of several folders songs are taken in turns.
`SHARES` says how much of the size goes to which kind of data.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from stemsplit.errors import StemsplitError
from stemsplit.training.examples import shards

SHARES = {"songs": 0.66, "backing": 0.26, "dev": 0.08}
"""Kind of data → its share of the size."""


def main(arguments: list[str] | None = None) -> int:
    """Pack every kind of data; return 1 if there are no songs of one, or they do not fit."""
    options = _parse(arguments)
    try:
        for kind, share in SHARES.items():
            songs = in_turns([song_folders(folder) for folder in getattr(options, kind)])
            limit = round(1e6 * options.megabytes * share)
            written = shards.pack(songs, options.out / kind, total_bytes=limit)
            if not written:
                raise StemsplitError(f"{songs[0]}: does not fit into {limit / 1e6:.1f} MB")
            packed = sum(path.stat().st_size for path in written)
            print(f"{kind}: {packed / 1e6:.1f} MB in {len(written)} files", file=sys.stderr)
    except StemsplitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def song_folders(folder: Path) -> list[Path]:
    """Return the folders that hold arrays or FLAC files, sorted by name.

    Raises:
        StemsplitError: There is none.
    """
    found = sorted({path.parent for kind in ("npy", "flac") for path in folder.glob(f"*/*.{kind}")})
    if not found:
        raise StemsplitError(f"no songs in {folder}")
    return found


def in_turns(lists: Sequence[Sequence[Path]]) -> list[Path]:
    """Return the first of each list, then the second of each, and so on."""
    return [song for row in itertools.zip_longest(*lists) for song in row if song is not None]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=Path, nargs="+", required=True)
    parser.add_argument("--backing", type=Path, nargs="+", required=True)
    parser.add_argument("--dev", type=Path, nargs=1, required=True)
    parser.add_argument("--megabytes", type=float, default=45.0, help="size of all shards together (45)")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
