"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): momentum, made orthogonal, for matrices.

A step of a matrix is its momentum with every singular value brought near 1, so that directions that the gradient
hardly ever takes are learnt as fast as the common ones. Its size follows Liu et al. 2025 (arXiv 2502.16982): an RMS
of 0.2 per entry, about that of an AdamW step, so that both share a learning rate and a decay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

STEP_RMS = 0.2
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic that drives singular values of (0, 1] into about (0.7, 1.2); its slope at 0 is steep."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised over the last two axes; the axes before them count matrices."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        iterations: int = 5,
    ) -> None:
        settings = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "iterations": iterations}
        super().__init__(parameters, settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Follow the gradients. Matrices of one shape are orthogonalised together: small products are slow alone."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for value in group["params"]:
                if value.grad is not None:
                    shapes[value.shape[-2:]].append(value)
            for alike in shapes.values():
                self._step_alike(alike, group)

    def _step_alike(self, values: list[nn.Parameter], group: dict[str, Any]) -> None:
        rows, columns = values[0].shape[-2:]
        ahead = torch.cat([self._ahead(value, group["momentum"]).reshape(-1, rows, columns) for value in values])
        size = group["lr"] * STEP_RMS * max(rows, columns) ** 0.5
        steps = orthogonal(ahead, group["iterations"]) * size
        counts = [value.numel() // (rows * columns) for value in values]
        for value, step in zip(values, steps.split(counts), strict=True):
            value.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step.view_as(value))

    def _ahead(self, value: nn.Parameter, momentum: float) -> Tensor:
        """Where the momentum will be after the next gradient, if that is like this one."""
        state = self.state[value]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(value)
        kept: Tensor = state["momentum"]
        assert value.grad is not None
        kept.lerp_(value.grad, 1 - momentum)
        return value.grad.lerp(kept, momentum)


def orthogonal(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Return (N, rows, columns) with the same singular vectors, and singular values near 1; zeros stay zeros."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-20)
    a, b, c = NEWTON_SCHULZ
    for _ in range(iterations):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Together:
    """Several optimisers as one, each with its own parameters."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """All groups, to be written to."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)

    def step(self) -> None:
        """Follow the gradients."""
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """What a save holds."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a save; before there were several optimisers it was the only one's state."""
        for optimizer, state in zip(self.optimizers, saved.get("optimizers", [saved]), strict=True):
            optimizer.load_state_dict(state)
