"""Models that are not here yet: how large, under which licence, how slow here; and whether they may be fetched."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stemsplit.errors import StemsplitError, UsageError

if TYPE_CHECKING:
    from stemsplit.cli.layout.screen import Screen
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
        if not (self.yes or screen.can_ask()):
            commands = " && ".join(f"stemsplit models download {shlex.quote(card.name)}" for card in missing)
            raise UsageError(
                f"--quality {self.level} has to download {' and '.join(card.name for card in missing)}, and nobody can "
                f"be asked here: add --yes, or fetch them first: {commands}. {WAY_BACK}"
            )
        from stemsplit.weights.hub import download_size

        sizes = [download_size(card) for card in missing]
        if not screen.quiet:
            self._tell(missing, sizes, inputs, screen)
        if not (self.yes or screen.agrees("Download, and go on?")):
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
        return f"Separating {what} will take roughly {_rough(seconds * work)} here, as busy as this machine is now."


def cards_of(models: Sequence[str]) -> list[ModelCard]:
    """Return the cards of models of the catalog, as `--model` takes them, each once."""
    from stemsplit.runs.models import asked_models
    from stemsplit.weights.catalog import card

    return [card(name) for name in dict.fromkeys(str(asked.model) for asked in asked_models(list(models)))]


def with_way_back(error: StemsplitError) -> StemsplitError:
    """Return an error of a model that cannot be had, with what to do instead."""
    return type(error)(f"{str(error).rstrip('.')}. {WAY_BACK}")


def _length(inputs: Sequence[Input]) -> tuple[float, str]:
    """Return the seconds of all songs, and what they are called."""
    from stemsplit.runs.pace import known_seconds

    songs = [item for item in inputs if item.error is None and not item.made]
    known = [known_seconds(item.path) for item in songs[:MOST_PROBED] if item.name != "-"]
    stated = [seconds for seconds in known if seconds]
    if not stated:
        return USUAL_SECONDS, f"a song of {USUAL_SECONDS // 60} minutes"
    seconds = sum(stated) / len(stated) * len(songs)
    return seconds, f"{songs[0].name if len(songs) == 1 else f'{len(songs)} songs'} ({_rough(seconds)})"


def _rough(seconds: float) -> str:
    """Return a time for people, to about a tenth: 4 s, 50 s, 12 minutes, 1.5 hours."""
    if seconds < 30:
        return f"{max(1, round(seconds))} s"
    if seconds < 120:
        return f"{round(seconds, -1):.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
