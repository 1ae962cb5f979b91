"""config.json → what a person wants to know of a model before using it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemsplit.errors import CheckpointError, reason
from stemsplit.networks.rules import (
    SAMPLE_RATE,
    STEM_NAMES,
    Maybe,
    Number,
    Rule,
    Several,
    Text,
    Whole,
    broken_rule,
    shown,
)

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CHECKPOINT_SUFFIXES = (".ckpt", ".pth", ".pt", ".th")
"""Files written by torch.save: pickles, to be converted once."""

MOST_BYTES = 1 << 20
"""Of a config.json: those of real models have thousands."""
MOST_DIGITS, DEEPEST = 20, 16

_SHA256 = Text(64, "[0-9a-f]{64}", "64 hexadecimal digits in lower case")
ABOUT: Mapping[str, Rule] = {
    "format": Whole(0, 1_000_000),
    "architecture": Text(100),
    "name": Maybe(Text(200)),
    "description": Maybe(Text(10_000)),
    "license": Maybe(Text(1000)),
    "trained_on": Maybe(Text(10_000)),
    "parameters": Maybe(Whole(0, 10**13)),
}
WEIGHTS: Mapping[str, Rule] = {
    "size": Maybe(Whole(0, 1 << 50)),
    "sha256": Maybe(_SHA256),
    "dtype": Maybe(Text(40)),
    "url": Maybe(Text(4000)),
    "more": Maybe(Several(Text(4000), 1, 16)),
    "source": Maybe(Text(4000)),
    "source_sha256": Maybe(_SHA256),
}
NETWORK: Mapping[str, Rule] = {"stems": STEM_NAMES, "sample_rate": SAMPLE_RATE}
"""Rules of what config.json says, in all, of the weights, and of the network, as far as its card shows it."""
_SCORE = {"dataset": Text(1000), "metric": Text(1000)}


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
    """Read the JSON object in a config.json, and check what it states of the model. Its network is checked when built.

    Raises: CheckpointError if it is no model's config.
    """
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        config = parse_config(data)
    except (OSError, ValueError, RecursionError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} cannot be read: {why}.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a model's config: it holds no JSON object.")
    for part, rules in {"": ABOUT, "weights": WEIGHTS, "network": NETWORK}.items():
        values = config.get(part, {}) if part else config
        if not isinstance(values, dict):
            raise CheckpointError(f'{path}: "weights" and "network" must be JSON objects.')
        if problem := broken_rule(rules, values):
            raise CheckpointError(f"{path}: {part}{part and ': '}{problem}.")
    return config


def parse_config(data: bytes) -> Any:
    """Return the value of a JSON text that every JSON library reads the same. Raises: ValueError, RecursionError."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start})") from error
    value = json.loads(
        text, object_pairs_hook=_distinct, parse_constant=_no_constant, parse_float=_finite, parse_int=_short
    )
    _check_plain(value)
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{shown(next(name for name in names if names.count(name) > 1))} stands in it twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _short(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _check_plain(value: Any, depth: int = 0) -> None:
    """Refuse what cannot be written again: deep nesting, and halves of characters."""
    if depth > DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError("a text in it holds half of a character") from error
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_plain(name, depth)
            _check_plain(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, depth + 1)


def weights_file(folder: Path) -> Path:
    """Return the weights that the folder's config.json names; the file may be missing.

    Raises: CheckpointError if the name leaves the folder.
    """
    return folder / weights_name(read_config(folder / CONFIG_NAME), str(folder))


def weights_name(config: dict[str, Any], where: str) -> str:
    """Return the file name of the weights. `where` is for the message."""
    name = config.get("weights", {}).get("file") or WEIGHTS_NAME
    if (
        not isinstance(name, str)
        or len(name.encode()) > 255
        or Path(name).name != name
        or set(name) & {"\\", "\0"}
        or name in (".", "..")
    ):
        raise CheckpointError(f"{where}: the weights' file must be a name in the same folder, not {shown(name)}.")
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
    for table in tables:
        rules = _SCORE | dict.fromkeys(table.get("values", {}), Number(-1e9, 1e9))
        if problem := broken_rule(rules, table | table.get("values", {})):
            raise ValueError(problem)
    return tuple(
        Score(table.get("dataset", ""), table.get("metric", ""), stem, float(value))
        for table in tables
        for stem, value in table.get("values", {}).items()
    )
