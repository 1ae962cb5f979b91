"""A reference → a network ready for its task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from stemsplit.errors import UsageError
from stemsplit.networks.registry import Task, architecture_of
from stemsplit.weights.catalog import DEFAULT_MELODY_MODEL, DEFAULT_MODEL, locate
from stemsplit.weights.checkpoint import load_network
from stemsplit.weights.transfer import Progress

N = TypeVar("N")

_WORK = {
    "separate": ("is a separator", f"separate needs a separator, such as {DEFAULT_MODEL}"),
    "melody": ("reads melodies", f"melody needs a melody network, such as {DEFAULT_MELODY_MODEL}"),
}
"""Task → what a network of it does, and what a command for it needs."""


@dataclass(frozen=True)
class Model(Generic[N]):
    """A network in its form for inference, and where it came from."""

    reference: str
    sha256: str  # of its weights; "" of a network that the caller brought
    network: N


def load_model(
    reference: str | Path, task: Task, *, offline: bool = False, progress: Progress | None = None
) -> Model[Any]:
    """Find or fetch a model, check its hash and load its network, for one task.

    Raises: UnknownModelError, UsageError for a network of another task, ModelError and its kinds.
    """
    files = locate(reference, offline=offline, progress=progress)
    network = load_network(files)
    row = architecture_of(network)
    if row.task != task:
        raise UsageError(f"{files.reference} {_WORK[row.task][0]}: {_WORK[task][1]}")
    return Model(files.reference, files.sha256, row.for_inference(network))


def as_model(model: str | Path | N, task: Task) -> Model[Any]:
    """Return the model that a reference names, see `load_model`; or a network that the caller has, as a model."""
    if isinstance(model, (str, Path)):
        return load_model(model, task)
    if not callable(model):
        raise UsageError(f"a model is a name, a path or a network, not {model!r:.60}")
    return Model(type(model).__name__, "", model)
