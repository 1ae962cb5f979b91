"""The best weights of a run, and their mean.

After Saijo & Bando (arXiv 2602.08671), who average the 5 checkpoints with the best development score. Here a
checkpoint is the running average of the weights at the time of a development score.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stemsplit.machine.disk import write_whole, written_aside

INDEX_NAME = "best.json"


class Kept(NamedTuple):
    """One checkpoint: the steps done, and its score. Lower is better."""

    step: int
    score: float


class Best:
    """The `count` best weights of a run, as files of a folder, which survive the process.

    New weights are written first, then the index that names them, then the weights that it no longer names are
    removed. So what the index names is there, whenever the process is killed.
    """

    def __init__(self, folder: Path, count: int) -> None:
        """Take up what an earlier process of the run has kept in `folder`."""
        self.folder, self.count = folder, count
        self.kept = _read_index(folder)

    def offer(self, step: int, figures: Mapping[str, float], weights: nn.Module) -> bool:
        """Keep the weights if they are among the best so far, and return whether they are.

        Args:
            step: The steps done.
            figures: The task's development figures, see `score_of`.
            weights: The network that they are of.

        Raises:
            OutputError: The disk refuses a file; what was kept before is still there.
        """
        found = Kept(step, score_of(figures))
        others = [kept for kept in self.kept if kept.step != step]
        best = sorted([*others, found], key=lambda kept: (kept.score, kept.step))[: self.count]
        if found not in best or not math.isfinite(found.score):
            return False
        _write(self._path(step), weights.state_dict())
        self._keep(best)
        return True

    def clear(self) -> None:
        """Remove what another run left in the folder."""
        if self.kept:
            self._keep([])

    def mean(self, like: nn.Module) -> nn.Module:
        """Return a network like `like` with the mean of the kept weights.

        Values that are not floating point, such as counts, are those of the best.
        """
        states = [torch.load(self._path(kept.step), map_location="cpu", weights_only=True) for kept in self.kept]
        network = copy.deepcopy(like)
        network.load_state_dict({key: _mean([state[key] for state in states]) for key in states[0]})
        return network

    def _keep(self, best: list[Kept]) -> None:
        write_whole(self.folder / INDEX_NAME, json.dumps([kept._asdict() for kept in best]) + "\n")
        self.kept = best
        named = {self._path(kept.step) for kept in best}
        for path in self.folder.glob("step-*.pt"):
            if path not in named:
                path.unlink()

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.pt"


def score_of(figures: Mapping[str, float]) -> float:
    """Return one number for a task's development figures: the `loss` if there is one, else their mean.

    Lower is better.
    """
    return figures["loss"] if "loss" in figures else sum(figures.values()) / len(figures)


def _read_index(folder: Path) -> list[Kept]:
    path = folder / INDEX_NAME
    if not path.is_file():
        return []
    return [Kept(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def _write(path: Path, state: Mapping[str, Tensor]) -> None:
    with written_aside(path) as partial, partial.open("wb") as file:
        torch.save(dict(state), file)


def _mean(values: list[Tensor]) -> Tensor:
    if not values[0].is_floating_point():
        return values[0]
    return torch.stack([value.double() for value in values]).mean(0).to(values[0].dtype)
