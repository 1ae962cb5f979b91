"""The versions that the tests are run with are those that users may have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from stemsplit.training.recipe import tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GROUPS = PROJECT["dependency-groups"]
NEEDED = [Requirement(line) for line in (*PROJECT["project"]["dependencies"], *GROUPS["test"], *GROUPS["lint"])]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def version(pin: Requirement) -> str:
    return re.sub("^==", "", str(pin.specifier))


@pytest.mark.parametrize("needed", NEEDED, ids=lambda needed: needed.name)
def test_every_version_that_is_tested_is_one_that_users_may_have(needed: Requirement) -> None:
    pins = [pin for pin in PINS if pin.name.replace("_", "-") == needed.name.replace("_", "-")]
    assert pins, f"{needed.name} is not in constraints.txt: make constraints"
    assert all(needed.specifier.contains(version(pin)) for pin in pins)


def test_pytorch_may_be_as_new_as_its_next_major() -> None:
    """A lower cap makes a second pip command take away the PyTorch that the first one installed."""
    torch = next(needed for needed in NEEDED if needed.name == "torch")
    assert torch.specifier.contains("2.99")
