"""What `--quality` stands for, and the line that says that there is more than the default."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from stemsplit.cli.flags import DEFAULT_MODEL, RUN_PANEL
from stemsplit.errors import UsageError

QualityOption = Annotated[
    str | None,
    typer.Option(
        "--quality",
        metavar="fast|good|best",
        help="In place of -m: fast ships with stemsplit; good and best are public models, better and much slower, "
        "downloaded once.",
        show_default="fast",
        rich_help_panel=RUN_PANEL,
    ),
]
YesOption = Annotated[
    bool,
    typer.Option("-y", "--yes", help="Let --quality download without asking.", rich_help_panel=RUN_PANEL),
]


def models_for(quality: str | None, models: Sequence[str] | None) -> list[str]:
    """Return what a request separates with, as `--model` takes it.

    Raises: UsageError for both a quality and a model, or a quality that there is not.
    """
    if quality is None:
        return list(models or [DEFAULT_MODEL])
    if models:
        raise UsageError(f"--quality {quality} chooses the models, and so does -m {models[0]}: use one of the two")
    from stemsplit.weights.catalog import qualities

    levels = qualities()
    if quality.lower() not in levels:
        raise UsageError(f"there is no --quality {quality}: choose one of {', '.join(levels)}")
    return [levels[quality.lower()]]


def hint_for(paths: Sequence[Path]) -> str:
    """Return the line about better models, for who has separated with the default; "" if one of them is here."""
    from stemsplit.cli.quality.consent import cards_of
    from stemsplit.weights.catalog import qualities

    cards = [card for models in qualities().values() for card in cards_of([models]) if card.name != DEFAULT_MODEL]
    if any(card.local != "to download" for card in cards):
        return ""
    return f"better stems, but slower: stemsplit separate {shlex.quote(str(paths[0]))} --quality good, or best"
