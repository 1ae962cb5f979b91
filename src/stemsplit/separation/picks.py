"""Models, and which of their stems are asked for → the share that each has in every stem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from stemsplit.errors import UnknownStemError, UsageError
from stemsplit.networks.contract import SeparatorConfig, SeparatorNetwork
from stemsplit.separation.stems import RESIDUAL_STEMS, find_stem

if TYPE_CHECKING:
    from stemsplit.weights.model import Model

REST = "rest"
"""In place of a stem: all stems of a model that are named for no model."""


class Pick(NamedTuple):
    """A model, and the stem that is taken from it: one of its own, `REST`, or all of them for None."""

    stem: str | None
    model: Model[SeparatorNetwork]

    def __str__(self) -> str:
        return self.model.reference if self.stem is None else f"{self.stem}={self.model.reference}"


def distinct_models(picks: Sequence[Pick]) -> list[Model[SeparatorNetwork]]:
    """Return the models, each once.

    Raises: UsageError for one that has no order of stems, or that is there twice.
    """
    models: list[Model[SeparatorNetwork]] = []
    for pick in picks:
        if not pick.model.network.config.aligned:
            raise UsageError(
                f"{pick.model.reference} separates speakers, whose order is arbitrary: it cannot be combined with "
                "other models, use it alone"
            )
        if not any(pick.model is model for model in models):
            _require_new(pick.model, models)
            models.append(pick.model)
    named = [(id(pick.model), (pick.stem or "").casefold()) for pick in picks]
    for pick, name in zip(picks, named, strict=True):
        if named.count(name) > 1:
            raise UsageError(f"{pick} is there twice: leave one out, or name another model")
    return models


def _require_new(model: Model[SeparatorNetwork], models: Sequence[Model[SeparatorNetwork]]) -> None:
    for other in models:
        if model.sha256 and model.sha256 == other.sha256:
            both = f"{other.reference} and {model.reference}"
            raise UsageError(f"{both} are the same model, with SHA-256 {model.sha256[:12]}…: name it once")


def shares_of(picks: Sequence[Pick], models: Sequence[Model[SeparatorNetwork]]) -> list[dict[str, float]]:
    """Return for every model which stems are taken from it, and their weights."""
    named = {pick.stem.casefold() for pick in picks if pick.stem is not None} - {REST}
    taken: list[list[str]] = [[] for _ in models]
    names: dict[str, str] = {}  # in lower case → as first written
    givers: dict[str, list[Model[SeparatorNetwork]]] = {}
    for pick in picks:
        number = next(n for n, model in enumerate(models) if model is pick.model)
        for stem in _stems_of(pick, named):
            name = names.setdefault(stem.casefold(), stem)
            taken[number].append(name)
            givers.setdefault(name, []).append(pick.model)
    for name, several in givers.items():
        _require_alike(name, [model.reference for model in several], [model.network.config for model in several])
    return [{name: 1 / len(givers[name]) for name in stems} for stems in taken]


def _stems_of(pick: Pick, named: set[str]) -> list[str]:
    """Return what is taken from a pick's model. Raises: UnknownStemError, UsageError if that is nothing."""
    own, reference = pick.model.network.config.stems, pick.model.reference
    if pick.stem is None:
        return list(own)
    if pick.stem.casefold() != REST:
        stem = find_stem(pick.stem, own)
        if stem is None:
            raise UnknownStemError(f"{pick}: {reference} has no stem {pick.stem!r}: it separates {', '.join(own)}")
        return [stem]
    left = [stem for stem in own if stem.casefold() not in named]
    if not left:
        raise UsageError(f"{pick}: nothing is left of it, its {', '.join(own)} are named already: leave it out")
    return left


def _require_alike(stem: str, references: Sequence[str], configs: Sequence[SeparatorConfig]) -> None:
    """Refuse the mean of what different stems leave of a song. Raises: UsageError."""
    if not any(stem in (*RESIDUAL_STEMS, getattr(config, "rest", None)) for config in configs):
        return
    others = [sorted(own.casefold() for own in config.stems if own.casefold() != stem) for config in configs]
    if all(other == others[0] for other in others):
        return
    fewest, most = (others.index(find(others, key=len)) for find in (min, max))
    one, other = references[fewest], references[most]
    raise UsageError(
        f"{stem} of {one} is all but {', '.join(others[fewest]) or 'nothing'}, that of {other} is all but "
        f"{', '.join(others[most])}: they have no mean. Take stems from one each, as in "
        f"-m {(others[fewest] or others[most])[0]}={one},rest={other}"
    )
