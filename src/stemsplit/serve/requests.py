"""What a client may ask for, and what that means for a run: names only, never a path or an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from stemsplit.audio import FORMATS
from stemsplit.errors import UsageError
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.options import PRESETS, SELECTING, SeparateOptions
from stemsplit.runs.models import asked_models, separator_for
from stemsplit.runs.separate import check_options
from stemsplit.separation.ensemble import AnySeparator
from stemsplit.separation.separator import outputs_for
from stemsplit.weights import catalog
from stemsplit.weights.model import Model, load_model

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Request(BaseModel):
    """What is wanted of a song. What is left out is the preset's, or else as `stemsplit separate` has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Name | None = None
    stems: Name | None = None
    two_stems: Name | None = None
    without: Name | None = None
    mix: tuple[Name, ...] = ()
    exact_sum: bool | None = None
    format: Name | None = None
    model: Name | None = None

    def options(self, output: Path, device: str = "auto") -> SeparateOptions:
        """Return the options of a run. Its files lie in a folder of the song, with a page that plays them.

        Raises: UsageError.
        """
        given = {name: value for name, value in self.model_dump().items() if value not in (None, ())}
        preset = dict(_preset(given.pop("preset", None)))
        given.pop("model", None)
        if any(name in given for name in SELECTING):
            preset = {name: value for name, value in preset.items() if name not in SELECTING}
        chosen = preset | given
        options = SeparateOptions(
            output=output, player=True, device=device, **{**chosen, "mix": tuple(chosen.get("mix", ()))}
        )
        check_options(options)
        return options


def _preset(name: str | None) -> Mapping[str, Any]:
    if name is None:
        return {}
    if name.lower() not in PRESETS:
        raise UsageError(f"no preset is called {name!r}: there are {', '.join(PRESETS)}")
    return PRESETS[name.lower()].options


@dataclass(frozen=True)
class Offer:
    """A model that clients may choose by its name: `reference` is what `--model` takes, several for a mean."""

    name: str
    reference: tuple[str, ...]
    about: str
    stems: tuple[str, ...]


class Models:
    """The models on offer. The one that was used last stays loaded.

    Args:
        default: what `--model` was given.
        device: where they run.
        load: a reference → its model.
    """

    def __init__(
        self,
        default: Sequence[str],
        device: str = "auto",
        load: Callable[[str], Model[SeparatorNetwork]] = lambda reference: load_model(reference, "separate"),
    ) -> None:
        self.device, self._load = device, load
        self._loaded: dict[str, Model[SeparatorNetwork]] = {}
        stems = self.separator(tuple(default), SeparateOptions(device=device)).stems
        known = {offer.reference: offer for offer in _offers()}
        first = known.pop(tuple(default), None) or Offer(" + ".join(default), tuple(default), "", tuple(stems))
        self.offers = {offer.name: offer for offer in (first, *known.values())}
        self.default = first.name

    def offer(self, request: Request) -> Offer:
        """Return the model that a request names. Raises: UsageError if it is not on offer."""
        name = request.model or self.default
        if name not in self.offers:
            raise UsageError(f"no model {name!r} is here: there are {', '.join(self.offers)}")
        return self.offers[name]

    def check(self, request: Request, output: Path) -> None:
        """Refuse what cannot be made, before it waits for its turn. Raises: UsageError and its kinds."""
        outputs_for(self.offer(request).stems, request.options(output, self.device))

    def separator(self, reference: tuple[str, ...], options: SeparateOptions) -> AnySeparator:
        """Return a separator; only what is not loaded is loaded. Raises: ModelError, UsageError and their kinds."""
        wanted = {str(asked.model) for asked in asked_models(reference)}
        self._loaded = {name: model for name, model in self._loaded.items() if name in wanted}

        def load(name: str) -> Model[SeparatorNetwork]:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

        return separator_for(reference, options, load)


def _offers() -> list[Offer]:
    """Return the separators of the catalog that are here, and the levels of quality that need nothing else."""
    cards = {card.name: card for card in catalog.list_models() if card.local in ("shipped", "cached")}
    offers = []
    for level, reference in catalog.qualities().items():
        names = [str(asked.model) for asked in asked_models(reference)]
        if len(names) > 1 and all(name in cards for name in names):
            stems = dict.fromkeys(stem for name in reversed(names) for stem in cards[name].stems)
            offers.append(Offer(level, (reference,), f"--quality {level}", tuple(stems)))
    separators = [card for card in cards.values() if card.stems]
    return [*offers, *(Offer(card.name, (card.name,), card.description, card.stems) for card in separators)]


FORMAT_NAMES = tuple(FORMATS)
