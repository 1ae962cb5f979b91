"""config.json → what a person wants to know of a model before using it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemsplit.errors import CheckpointError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CHECKPOINT_SUFFIXES = (".ckpt", ".pth", ".pt")
"""Files written by torch.save: pickles, to be converted once."""


@dataclass(frozen=True)
class Score:
    """One measured number, or one that the publisher states."""

    dataset: str
    metric: str
    stem: str  # or "mean"
    value: float


@dataclass(frozen=True)
class ModelCard:
    """The machine-readable part of a model's card; README.md beside it is the rest."""

    name: str
    description: str
    architecture: str
    license: str
    stems: tuple[str, ...]
    sample_rate: int | None  # Hz
    parameters: int | None
    size: int | None  # bytes of the weights; before a download, about
    sha256: str | None  # of the weights
    url: str | None  # where weights that do not ship come from: an address, or hf:OWNER/REPO
    source: str | None  # who made the weights, in words
    trained_on: str | None
    scores: tuple[Score, ...]
    local: str  # "shipped", "cached", "to download" or "missing"
    path: Path  # the folder with config.json and README.md


def read_config(path: Path) -> dict[str, Any]:
    """Read the JSON object in a config.json.

    Raises: CheckpointError if it is no model's config.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a model's config: it holds no JSON object.")
    if not isinstance(config.get("weights", {}), dict) or not isinstance(config.get("network", {}), dict):
        raise CheckpointError(f'{path}: "weights" and "network" must be JSON objects.')
    sha256 = config.get("weights", {}).get("sha256")
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", str(sha256)):
        raise CheckpointError(f'{path}: "sha256" must be 64 hexadecimal digits in lower case, or null.')
    return config


def weights_file(folder: Path) -> Path:
    """Return the weights that the folder's config.json names; the file may be missing.

    Raises: CheckpointError if the name leaves the folder.
    """
    return folder / weights_name(read_config(folder / CONFIG_NAME), str(folder))


def weights_name(config: dict[str, Any], where: str) -> str:
    """Return the file name of the weights. `where` is for the message."""
    name = config.get("weights", {}).get("file") or WEIGHTS_NAME
    if not isinstance(name, str) or Path(name).name != name or "\\" in name or name in (".", ".."):
        raise CheckpointError(f"{where}: the weights' file must be a name in the same folder, not {name!r}.")
    return name


def read_card(folder: Path) -> ModelCard:
    """Read the card of the model in a folder.

    Raises: CheckpointError if config.json is missing or malformed.
    """
    config = read_config(folder / CONFIG_NAME)
    try:
        return _card(folder, config)
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / CONFIG_NAME} does not describe a model: {error}.") from error


def _card(folder: Path, config: dict[str, Any]) -> ModelCard:
    weights, network = config.get("weights", {}), config.get("network", {})
    file = folder / weights_name(config, str(folder))
    present = file.is_file()
    url = weights.get("url") or (f"hf:{weights['hub']}" if weights.get("hub") else None)
    return ModelCard(
        name=str(config.get("name", folder.name)),
        description=str(config.get("description", "")),
        architecture=str(config.get("architecture", "")),
        license=str(config.get("license", "not stated")),
        stems=tuple(str(stem) for stem in network.get("stems", ())),
        sample_rate=network.get("sample_rate"),
        parameters=config.get("parameters"),
        size=file.stat().st_size if present else weights.get("size"),
        sha256=weights.get("sha256"),
        url=url,
        source=weights.get("source"),
        trained_on=config.get("trained_on"),
        scores=_scores(config.get("scores", [])),
        local="shipped" if present else "to download" if url else "missing",
        path=folder,
    )


def _scores(tables: list[dict[str, Any]]) -> tuple[Score, ...]:
    return tuple(
        Score(str(table.get("dataset", "")), str(table.get("metric", "")), stem, float(value))
        for table in tables
        for stem, value in table.get("values", {}).items()
    )
