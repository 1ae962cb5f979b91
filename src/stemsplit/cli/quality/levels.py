"""What `--quality` stands for, and the line that says that there is more than the default."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from stemsplit.errors import UsageError


def models_for(quality: str | None, models: Sequence[str] | None) -> list[str]:
    """Return what a request separates with, as `--model` takes it.

    Raises: UsageError for both a quality and a model, or a quality that there is not.
    """
    from stemsplit.weights.catalog import DEFAULT_MODEL, qualities

    if quality is None:
        return list(models or [DEFAULT_MODEL])
    if models:
        raise UsageError(f"--quality {quality} chooses the models, and so does -m {models[0]}: use one of the two")

    levels = qualities()
    if quality.lower() not in levels:
        raise UsageError(f"there is no --quality {quality}: choose one of {', '.join(levels)}")
    return [levels[quality.lower()]]


def hint_for(paths: Sequence[Path]) -> str:
    """Return the line about better models, for who has separated with the default; "" if one of them is here."""
    from stemsplit.cli.quality.consent import cards_of
    from stemsplit.weights.catalog import DEFAULT_MODEL, qualities

    cards = [card for models in qualities().values() for card in cards_of([models]) if card.name != DEFAULT_MODEL]
    if any(card.local != "to download" for card in cards):
        return ""
    return f"better stems, but slower: stemsplit separate {shlex.quote(str(paths[0]))} --quality good, or best"
