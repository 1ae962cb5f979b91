"""A recipe: everything that a training run depends on, in one TOML file; its `kind` says what is trained."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from stemsplit.errors import UsageError
from stemsplit.networks.registry import ARCHITECTURES, Task
from stemsplit.training.examples.clips import MelodyMixing
from stemsplit.training.examples.mixes import Mixing
from stemsplit.training.melody_task import MelodyRecipe
from stemsplit.training.schedule import Schedule
from stemsplit.training.separator_task import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Kind(NamedTuple):
    """What recipes of a kind are made of, and which architecture they train unless they name another."""

    recipe: type[Any]
    mixing: type[Any]
    task: Task
    architecture: str


KINDS = {
    "separator": Kind(Recipe, Mixing, "separate", "ts-bsmamba2"),
    "melody": Kind(MelodyRecipe, MelodyMixing, "melody", "melody-cnn"),
}

SEVERAL = ("songs", "backing", "solo")
"""Keys that name a folder or a list of folders."""
PATHS = (*SEVERAL, "clips", "dev_folder", "output")


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


def _recipe(values: dict[str, Any]) -> Recipe | MelodyRecipe:
    if (kind := values.pop("kind", "separator")) not in KINDS:
        raise ValueError(f"kind is {' or '.join(KINDS)}, not {kind}")
    chosen = KINDS[kind]
    architecture = values.setdefault("architecture", chosen.architecture)
    known = [row.name for row in ARCHITECTURES.values() if row.task == chosen.task]
    if architecture not in known:
        raise ValueError(f"architecture is {' or '.join(known)}, not {architecture}")
    parts = {
        "network": ARCHITECTURES[architecture].config.from_dict(values.pop("network", {})),
        "mixing": _build(chosen.mixing, values.pop("mixing", {})),
        "schedule": _build(Schedule, values.pop("schedule", {})),
    }
    paths = {key: _paths(values.pop(key), key) for key in PATHS if key in values}
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    recipe: Recipe | MelodyRecipe = _build(chosen.recipe, {**values, **lists, **paths, **parts})
    return recipe


def _paths(value: str | list[str], key: str) -> Path | tuple[Path, ...]:
    if key not in SEVERAL:
        return Path(str(value)).expanduser()
    return tuple(Path(one).expanduser() for one in ([value] if isinstance(value, str) else value))


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    known = {item.name for item in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"unknown settings {', '.join(unknown)} for {kind.__name__.lower()}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
