"""Muon, an optimiser for matrices (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).

A step of a matrix is its momentum with every singular value brought near 1. So directions that the gradient hardly
ever takes are learnt as fast as the common ones. The size of a step follows Liu et al. 2025 (arXiv 2502.16982): an RMS
of 0.2 per entry. That is about the size of an AdamW step, so both can share a learning rate and a decay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

STEP_RMS = 0.2
"""RMS of a step's entries at a learning rate of 1."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the polynomial of degree 5 that brings singular values in (0, 1] to about (0.7, 1.2).

Its slope at 0 is steep, so that few iterations are enough for small ones.
"""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal over the last two axes; the axes before them count matrices."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        iterations: int = 5,
        products: torch.dtype | None = None,
    ) -> None:
        """Optimise `parameters`, with `iterations` of the polynomial to make a step orthogonal.

        The polynomial is computed in the type `products`, or in that of the gradients. bfloat16 is enough: it moves the
        singular values by less than the polynomial itself leaves them apart.
        """
        settings = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "iterations": iterations}
        super().__init__(parameters, settings)
        self.products = products  # none of the settings, which a save holds and a resumed run takes from it

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Follow the gradients.

        Matrices of one shape are made orthogonal in one batch, because small products are slow one by one.
        """
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for value in group["params"]:
                if value.grad is not None:
                    shapes[value.shape[-2:]].append(value)
            for alike in shapes.values():
                self._step_alike(alike, group)

    def _step_alike(self, values: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Follow the gradients of parameters whose matrices have one shape."""
        rows, columns = values[0].shape[-2:]
        ahead = torch.cat([self._ahead(value, group["momentum"]).reshape(-1, rows, columns) for value in values])
        size = group["lr"] * STEP_RMS * max(rows, columns) ** 0.5
        steps = orthogonal(ahead, group["iterations"], self.products) * size
        counts = [value.numel() // (rows * columns) for value in values]
        for value, step in zip(values, steps.split(counts), strict=True):
            value.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step.view_as(value))

    def _ahead(self, value: nn.Parameter, momentum: float) -> Tensor:
        """Return where the momentum will be after the next gradient, if that is like this one (Nesterov)."""
        state = self.state[value]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(value)
        kept: Tensor = state["momentum"]
        assert value.grad is not None
        kept.lerp_(value.grad, 1 - momentum)
        return value.grad.lerp(kept, momentum)


def orthogonal(matrices: Tensor, iterations: int = 5, products: torch.dtype | None = None) -> Tensor:
    """Return matrices (N, rows, columns) with the same singular vectors and with singular values near 1.

    Zeros stay zeros. The iterations are computed in the type `products`; the result has the type of `matrices`.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = (x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-20)).to(products or matrices.dtype)
    a, b, c = NEWTON_SCHULZ
    for _ in range(iterations):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Together:
    """Several optimisers as one, each with its own parameters."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        """Take the optimisers in the order in which they are saved."""
        self.optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all, to be written to."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to zero, or remove them."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)

    def step(self) -> None:
        """Follow the gradients."""
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a save holds."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a save. A save of an older version is the state of its only optimiser."""
        for optimizer, state in zip(self.optimizers, saved.get("optimizers", [saved]), strict=True):
            optimizer.load_state_dict(state)
