"""A recipe: everything that a training run depends on, in one TOML file; its `kind` says what is trained."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from stemsplit.errors import UsageError
from stemsplit.networks.bsmamba import BSMambaConfig
from stemsplit.networks.melody_cnn import MelodyCNNConfig
from stemsplit.training.data import Mixing
from stemsplit.training.melody_data import MelodyMixing
from stemsplit.training.melody_task import MelodyRecipe
from stemsplit.training.schedule import Schedule
from stemsplit.training.separator_task import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KINDS: dict[str, tuple[type[Any], type[Any], type[Any], str]] = {
    "separator": (Recipe, BSMambaConfig, Mixing, "songs"),
    "melody": (MelodyRecipe, MelodyCNNConfig, MelodyMixing, "clips"),
}
"""Kind → recipe, network, mixing, and the key that names the folder of data."""


def load_recipe(path: Path) -> Recipe | MelodyRecipe:
    """Read a TOML recipe; UsageError names what is missing, unknown or out of range."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; recipes are in recipes/") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    try:
        return _recipe(values)
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: {error.args[0] if error.args else error}") from error


def _recipe(values: dict[str, Any]) -> Any:
    if (kind := values.pop("kind", "separator")) not in KINDS:
        raise ValueError(f"kind is {' or '.join(KINDS)}, not {kind}")
    recipe, network, mixing, data = KINDS[kind]
    parts = {
        "network": network.from_dict(values.pop("network", {})),
        "mixing": _build(mixing, values.pop("mixing", {})),
        "schedule": _build(Schedule, values.pop("schedule", {})),
    }
    paths = {key: Path(values.pop(key)).expanduser() for key in (data, "output")}
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return _build(recipe, {**values, **lists, **paths, **parts})


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    known = {item.name for item in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"unknown settings {', '.join(unknown)} for {kind.__name__.lower()}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
