"""State dicts held against what a network has: which keys are missing, unknown or of another shape."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from stemsplit.errors import CheckpointError


def check_fit(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the keys and shapes of a state dict with those that are needed.

    Raises: CheckpointError naming missing, unknown and misshapen keys.
    """
    refuse(
        missing=[key for key in shapes if key not in state],
        unknown=[key for key in state if key not in shapes],
        misshapen=[
            f"{key} {tuple(state[key].shape)} instead of {shape}"
            for key, shape in shapes.items()
            if key in state and tuple(state[key].shape) != shape
        ],
    )


def refuse(**found: list[str]) -> None:
    """Raise one CheckpointError that names what does not fit, by kind; do nothing if all lists are empty."""
    problems = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for kind, keys in found.items()
        if keys
    ]
    if problems:
        raise CheckpointError(f"the weights do not fit the network: {'; '.join(problems)}")
