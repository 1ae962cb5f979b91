"""The best weights of a run, and their mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from toy_task import Toy

from stemsplit.training.averaging import Best, score_of


def toy(value: float, count: int = 0) -> Toy:
    network = Toy()
    with torch.no_grad():
        network.weight.copy_(value * torch.tensor([1.0, 2.0, 3.0]))
        network.steps.fill_(count)  # type: ignore[operator]
    return network


def test_the_best_are_kept_and_averaged(tmp_path: Path) -> None:
    best = Best(tmp_path / "best", 3)
    for step, score in enumerate([5.0, 1.0, float("nan"), 4.0, 2.0, 9.0, 3.0, float("inf")]):
        best.offer(step, {"a": score - 1, "b": score + 1}, toy(score, step))
    assert [(kept.step, kept.score) for kept in best.kept] == [(1, 1.0), (4, 2.0), (6, 3.0)]
    again = Best(tmp_path / "best", 3)
    assert again.kept == best.kept
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [
        "best.json", "step-000000001.pt", "step-000000004.pt", "step-000000006.pt",
    ]  # fmt: skip
    mean = again.mean(toy(0))
    assert torch.equal(mean.weight, 2 * torch.tensor([1.0, 2.0, 3.0]))
    assert mean.steps == 1  # the best one's
    again.clear()
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["best.json"]


def test_the_mean_is_that_of_float64(tmp_path: Path) -> None:
    best, rng = Best(tmp_path, 3), np.random.default_rng(0)
    values = (rng.random((3, 3)) * [1, 1e4, 1e-4]).astype(np.float32)
    for step, value in enumerate(values):
        network = Toy()
        network.weight.data = torch.from_numpy(value)
        best.offer(step, {"loss": 0.0}, network)
    expected = values.astype(np.float64).mean(0).astype(np.float32)
    assert np.array_equal(best.mean(Toy()).weight.detach().numpy(), expected)


def test_a_step_that_is_done_again_counts_once(tmp_path: Path) -> None:
    best = Best(tmp_path, 2)
    for step in (4, 8, 8):
        best.offer(step, {"loss": -step}, toy(step))
    assert [kept.step for kept in best.kept] == [8, 4]


def test_none_are_kept_if_none_are_wanted(tmp_path: Path) -> None:
    best = Best(tmp_path / "best", 0)
    assert not best.offer(1, {"loss": 1.0}, toy(1))
    assert not (tmp_path / "best").exists()


def test_the_score_is_the_loss_or_the_mean() -> None:
    assert score_of({"loss": 2.0, "overall": 90.0}) == 2.0
    assert score_of({"drums": -4.0, "bass": -6.0}) == -5.0
