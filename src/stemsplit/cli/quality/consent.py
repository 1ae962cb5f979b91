"""Models that are not here yet: how large, under which licence, how slow here; and whether they may be fetched."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stemsplit.cli.screen import Screen, duration, is_watched
from stemsplit.errors import StemsplitError, UsageError
from stemsplit.machine.streams import is_terminal

if TYPE_CHECKING:
    from stemsplit.files.inputs import Input
    from stemsplit.weights.card import ModelCard

WAY_BACK = "--quality fast needs no download"
USUAL_SECONDS = 240
"""Of a song whose length is not known."""
MOST_PROBED = 50
"""So many files are asked how long they are."""


@dataclass(frozen=True)
class Consent:
    """Asks before the models of a level of quality are downloaded.

    Attributes:
        level: the level.
        models: its models, as `--model` takes them.
        yes: whether the user has agreed already.
        device: the name of the device that they would run on.
    """

    level: str
    models: Sequence[str]
    yes: bool
    device: str

    def require(self, inputs: Sequence[Input], screen: Screen) -> None:
        """Return once everything is here, or may be downloaded.

        Raises: UsageError if it may not; DownloadError if it cannot.
        """
        missing = [card for card in cards_of(self.models) if card.local == "to download"]
        if not missing:
            return
        if not self.yes and (screen.quiet or not is_watched() or not is_terminal(sys.stdin)):
            commands = " && ".join(f"stemsplit models download {shlex.quote(card.name)}" for card in missing)
            raise UsageError(
                f"--quality {self.level} has to download {' and '.join(card.name for card in missing)}, and nobody can "
                f"be asked here: add --yes, or fetch them first: {commands}. {WAY_BACK}"
            )
        sizes = [_size_of(card) for card in missing]
        if not screen.quiet:
            self._tell(missing, sizes, inputs, screen)
        if not self.yes and not _agreed():
            raise UsageError(f"nothing was downloaded, nothing was written; {WAY_BACK}")

    def _tell(
        self, missing: Sequence[ModelCard], sizes: Sequence[int | None], inputs: Sequence[Input], screen: Screen
    ) -> None:
        screen.note(f"--quality {self.level} needs what is not here yet; it is downloaded once:")
        for card, size in zip(missing, sizes, strict=True):
            amount = "size unknown" if size is None else f"{size / 1e6:.1f} MB"
            screen.note(f"  {card.name}: {amount}, licence {card.license}, from {card.url}")
        with screen.busy("measuring how long it takes here"):
            text = self._time(inputs)
        screen.note(text)

    def _time(self, inputs: Sequence[Input]) -> str:
        """Say how long the songs will take here."""
        from stemsplit.doctor import seconds_per_second

        try:
            work = sum(seconds_per_second(card.name, self.device) for card in cards_of(self.models))
        except StemsplitError as error:
            return f"How long it takes here is not known: {error}"
        seconds, what = _length(inputs)
        took = duration(_rounded(seconds * work))
        return f"Separating {what} will take roughly {took} here, as busy as this machine is now."


def cards_of(models: Sequence[str]) -> list[ModelCard]:
    """Return the cards of models of the catalog, as `--model` takes them, each once."""
    from stemsplit.runs.models import asked_models
    from stemsplit.weights.catalog import card

    return [card(name) for name in dict.fromkeys(str(asked.model) for asked in asked_models(list(models)))]


def with_way_back(error: StemsplitError) -> StemsplitError:
    """Return an error of a model that cannot be had, with what to do instead."""
    return type(error)(f"{str(error).rstrip('.')}. {WAY_BACK}")


def _size_of(card: ModelCard) -> int | None:
    """Return the bytes that have to be fetched; None if nobody says. Raises: DownloadError."""
    from stemsplit.weights.catalog import download_size

    return download_size(card)


def _length(inputs: Sequence[Input]) -> tuple[float, str]:
    """Return the seconds of all songs, and what they are called."""
    from stemsplit.runs.jobs import known_seconds

    songs = [item for item in inputs if item.error is None and not item.made]
    known = [known_seconds(item.path) for item in songs[:MOST_PROBED] if item.name != "-"]
    stated = [seconds for seconds in known if seconds]
    if not stated:
        return USUAL_SECONDS, f"a song of {USUAL_SECONDS // 60} minutes"
    seconds = sum(stated) / len(stated) * len(songs)
    what = songs[0].name if len(songs) == 1 else f"{len(songs)} songs"
    return seconds, f"{what} ({duration(seconds)})"


def _rounded(seconds: float) -> float:
    """Round to what a short measurement is worth: a second, 10 seconds, minutes."""
    step = 1 if seconds < 30 else 10 if seconds < 300 else 60
    return max(1.0, round(seconds / step) * step)


def _agreed() -> bool:
    print("Download, and go on? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    return answer.strip().lower() in ("y", "yes")
