"""The models that a request names → the separator that they make: one model, or several as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from stemsplit.errors import UsageError
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.options import SeparateOptions
from stemsplit.separation.ensemble import AnySeparator, make_ensemble
from stemsplit.separation.picks import Pick
from stemsplit.separation.separator import make_separator
from stemsplit.weights.model import Model, as_model

OneModel = str | Path | SeparatorNetwork
"""A reference, or a network that the caller has."""
ModelChoice = OneModel | Sequence[OneModel] | Mapping[str, OneModel | Sequence[OneModel]]
"""One model; several, whose stems are averaged; or models by stem, with `rest` for all other stems."""

_STEM = r"[^=,/\\:.#~\s][^=,/\\:.#~]*="
"""How the part of a text begins that names a stem: no path or address has a = before such signs."""


class Asked(NamedTuple):
    """A model that was named, and the stem that was asked of it: None for all of them."""

    stem: str | None
    model: OneModel


def asked_models(choice: ModelChoice) -> tuple[Asked, ...]:
    """Return what a choice names, in its order. A text may be a reference, or "STEM=REF,rest=REF".

    Raises: UsageError if that is nothing, or both whole models and single stems.
    """
    found = tuple(_asked(choice))
    if not found:
        raise UsageError("no model was named: `stemsplit models list` shows the names")
    whole = [asked for asked in found if asked.stem is None]
    if whole and len(whole) < len(found):
        raise UsageError(
            f"{whole[0].model} is named without a stem, {next(one.stem for one in found if one.stem)}= with one: "
            f"name the stems of every model, as in rest={whole[0].model}"
        )
    return found


def _asked(choice: ModelChoice) -> Iterator[Asked]:
    if isinstance(choice, str):
        yield from _read(choice)
    elif isinstance(choice, Mapping):
        for stem, models in choice.items():
            several = models if isinstance(models, Sequence) and not isinstance(models, str) else [models]
            yield from (Asked(stem, model) for model in several)
    elif isinstance(choice, Sequence):
        for one in choice:
            yield from _asked(one)
    else:
        yield Asked(None, choice)


def _read(text: str) -> Iterator[Asked]:
    if not re.match(_STEM, text):
        yield Asked(None, text)
        return
    for part in re.split(f",(?=\\s*{_STEM})", text):
        stem, _, reference = (piece.strip() for piece in part.partition("="))
        yield Asked(stem, reference)


def separator_for(
    choice: ModelChoice,
    options: SeparateOptions,
    load: Callable[[Any], Model[SeparatorNetwork]] | None = None,
) -> AnySeparator:
    """Load models, each once, and make them ready for a request. `load` is `as_model` unless it is given.

    Raises: UsageError and its kinds, ModelError and its kinds.
    """
    asked, loaded = asked_models(choice), dict[str | int, Model[SeparatorNetwork]]()
    load = load or partial(as_model, task="separate")
    for _, model in asked:
        if (key := _key(model)) not in loaded:
            loaded[key] = load(model)
    if len(asked) == 1 and asked[0].stem is None:
        return make_separator(loaded[_key(asked[0].model)], options)
    return make_ensemble([Pick(stem, loaded[_key(model)]) for stem, model in asked], options)


def _key(model: OneModel) -> str | int:
    return str(model) if isinstance(model, (str, Path)) else id(model)
