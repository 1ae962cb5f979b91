"""Write the mean of two models, tensor by tensor: of the one that a training started from, and of what it left.

    python recipes/mean_of_models.py OLD NEW --out DIR                # half way
    python recipes/mean_of_models.py OLD NEW --share 0.7 --out DIR    # seven tenths of NEW

After more training on other songs this keeps much of what was gained, and what was known of the old songs (Wortsman et
al. 2022, arXiv 2109.01903). benchmarks/LOG.md has figures. OLD and NEW are any references to models. What config.json
says besides the weights is NEW's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from stemsplit.errors import StemsplitError, UsageError
from stemsplit.training.loop import update_average
from stemsplit.weights.catalog import locate
from stemsplit.weights.checkpoint import load_network, save

KEPT = ("name", "description", "license", "trained_on")
"""What the mean's config.json has of NEW's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the mean; return the exit code."""
    options = _parse(arguments)
    try:
        print(write_mean(options.old, options.new, options.share, options.out))
    except StemsplitError as error:
        print(f"mean_of_models: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def write_mean(old: str, new: str, share: float, folder: Path) -> Path:
    """Write (1 − share) · old + share · new in half precision to a folder, and return it.

    Raises:
        UsageError: The two are different networks.
        StemsplitError: A model cannot be read, or the disk refuses a file.
    """
    files = locate(new)
    mean, other = load_network(old), load_network(files)
    if type(mean) is not type(other) or mean.config != other.config:
        raise UsageError(f"{old} and {new} are different networks: only weights of one network have a mean")
    update_average(mean, other, decay=1 - share)
    about = {key: value for key, value in (files.config or {}).items() if key in KEPT}
    return save(mean, folder, dtype=torch.float16, **about)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW")
    parser.add_argument("--share", type=float, default=0.5, help="of NEW, from 0 to 1 (0.5)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    if not 0 <= options.share <= 1:
        parser.error(f"--share is a number from 0 to 1, not {options.share}")
    return options


if __name__ == "__main__":
    sys.exit(main())
