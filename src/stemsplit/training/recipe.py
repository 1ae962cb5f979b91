"""A recipe: everything that a training run depends on, in one TOML file; its `kind` says what is trained."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from stemsplit.errors import UsageError
from stemsplit.machine.disk import write_whole, written_aside
from stemsplit.networks.registry import ARCHITECTURES, Task
from stemsplit.training.curve import LOG_NAME, read_log
from stemsplit.training.examples.clips import MelodyMixing
from stemsplit.training.examples.mixes import Mixing
from stemsplit.training.examples.speakers import SpeakerMixing
from stemsplit.training.melody_task import MelodyRecipe
from stemsplit.training.schedule import Schedule
from stemsplit.training.separator_task import Recipe
from stemsplit.training.speakers_task import SpeakersRecipe

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
    "speakers": Kind(SpeakersRecipe, SpeakerMixing, "separate", "s4m"),
}
AnyRecipe = Recipe | MelodyRecipe | SpeakersRecipe

SEVERAL = ("songs", "backing", "solo", "loose", "dev_folder", "dev_backing", "speakers")
"""Keys that name a folder or a list of folders."""
PLAN_NAME = "decay.json"
PATHS = (*SEVERAL, "clips", "heldout", "rooms", "output")


def load_recipe(path: Path) -> AnyRecipe:
    """Read a TOML recipe; UsageError names what is missing, unknown or out of range."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; recipes are in recipes/") from error
    except (ValueError, RecursionError) as error:  # of tomllib, or no text at all
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    try:
        return _recipe(values)
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: {error.args[0] if error.args else error}") from error


def decay_of(recipe: AnyRecipe, run: Path, minutes: float) -> AnyRecipe:
    """Return a recipe whose run goes on from another run's last save while the learning rate falls to zero.

    The first call copies the save into the new run's folder, and leaves the other run as it is. How many steps the
    minutes are it learns from that run's log, and writes it down: what is counted in steps can be stopped and resumed.

    Args:
        recipe: the other run's, with the new run's folder as its `output`.
        run: the other run's folder.
        minutes: of training at the speed that the other run logged last.

    Raises:
        UsageError: The other run has saved or logged nothing, or is the new one.
        OutputError: The disk refuses a file.
    """
    plan = recipe.output / PLAN_NAME
    if not plan.is_file():
        write_whole(plan, json.dumps(_branch(recipe, run, minutes)) + "\n")
    first, steps = (json.loads(plan.read_text(encoding="utf-8"))[key] for key in ("from_step", "steps"))
    return replace(recipe, schedule=replace(recipe.schedule, steps=first + steps, decay_steps=steps))


def _branch(recipe: AnyRecipe, run: Path, minutes: float) -> dict[str, Any]:
    """Copy a run's last save, and return where the decay begins and how many steps it takes."""
    saved = run / "last.pt"
    rates = [event["audio_per_second"] for event in read_log(run / LOG_NAME) if "audio_per_second" in event]
    if not saved.is_file() or not rates:
        raise UsageError(f"{run} holds no run to decay: it has saved or logged nothing yet")
    if run.resolve() == recipe.output.resolve():
        raise UsageError(f"a decay needs a folder of its own: choose another than {run}")
    with written_aside(recipe.output / saved.name) as partial:
        shutil.copyfile(saved, partial)
    step = torch.load(recipe.output / saved.name, map_location="cpu", weights_only=True, mmap=True)["step"]
    audio = recipe.schedule.batch_size * recipe.crop_seconds
    steps = max(1, round(60 * minutes * statistics.median(rates[-20:]) / audio))
    return {"from": str(run), "from_step": step, "steps": steps}


def _recipe(values: dict[str, Any]) -> AnyRecipe:
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
    recipe: AnyRecipe = _build(chosen.recipe, {**values, **lists, **paths, **parts})
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
