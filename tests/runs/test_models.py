"""What is written after -m, or given from Python, is read as meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import FakeConfig, FakeNetwork

from stemsplit.errors import UsageError
from stemsplit.options import SeparateOptions
from stemsplit.runs.models import asked_models, separator_for
from stemsplit.separation.ensemble import Ensemble
from stemsplit.separation.separator import Separator
from stemsplit.weights.model import Model

HASH = "#sha256=" + "0" * 64


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        ("a", [(None, "a")]),
        (Path("vocals=a"), [(None, Path("vocals=a"))]),
        (["a", Path("b")], [(None, "a"), (None, Path("b"))]),
        ("vocals=a,rest=b", [("vocals", "a"), ("rest", "b")]),
        (["vocals=a", "rest=b"], [("vocals", "a"), ("rest", "b")]),
        ("vocals = a , lead guitar=b", [("vocals", "a"), ("lead guitar", "b")]),
        ("vocals=runs/a,b,rest=hf:o/r@main:x,y", [("vocals", "runs/a,b"), ("rest", "hf:o/r@main:x,y")]),
        (f"https://h/w.ckpt{HASH}", [(None, f"https://h/w.ckpt{HASH}")]),
        (f"drums=https://h/w.ckpt{HASH},rest=b", [("drums", f"https://h/w.ckpt{HASH}"), ("rest", "b")]),
        ("./a=b", [(None, "./a=b")]),
        ("runs/a=b", [(None, "runs/a=b")]),
        (r"C:\runs\a=b", [(None, r"C:\runs\a=b")]),
        ("~/a=b", [(None, "~/a=b")]),
        ({"vocals": "a", "rest": ["b", Path("c")]}, [("vocals", "a"), ("rest", "b"), ("rest", Path("c"))]),
    ],
    ids=str,
)
def test_what_is_asked(choice: Any, asked: list[tuple[str | None, Any]]) -> None:
    assert list(asked_models(choice)) == asked


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ([], "no model was named"),
        ({}, "no model was named"),
        (["a", "vocals=b"], "a is named without a stem, vocals= with one: .* rest=a"),
    ],
)
def test_what_is_refused(choice: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        asked_models(choice)


def test_every_model_is_loaded_once() -> None:
    loaded: list[str] = []

    def load(reference: str) -> Model[Any]:
        loaded.append(reference)
        return Model(reference, reference * 64, FakeNetwork(FakeConfig()))

    options = SeparateOptions(device="cpu")
    made = separator_for("vocals=a,drums=b,bass=a,rest=b", options, load)
    assert loaded == ["a", "b"]
    assert isinstance(made, Ensemble)
    assert [list(member.shares) for member in made.members] == [["vocals", "bass"], ["drums", "other"]]
    assert isinstance(separator_for("a", options, load), Separator)
    assert isinstance(separator_for(["a"], options, load), Separator)


def test_networks_that_a_caller_has_are_taken_as_they_are() -> None:
    one, other = (FakeNetwork(FakeConfig()) for _ in range(2))
    made = separator_for([one, other], SeparateOptions(device="cpu"))
    assert isinstance(made, Ensemble)
    assert [member.separator.model.network for member in made.members] == [one, other]
    with pytest.raises(UsageError, match="twice"):
        separator_for([one, one], SeparateOptions(device="cpu"))
