"""A layer that a backend may compute at inference, with weights that it has packed for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

Self = TypeVar("Self", bound="Bindable")

Bound = Callable[[Tensor], Tensor]
"""What a layer computes, by a backend and without gradients; of a bidirectional block rows (N, L, D) → (N, L, D)."""


class Bindable(nn.Module):
    """Keeps what a backend bound, as `bound`, until the weights change, move or are trained; then it is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.bound: Bound | None = None

    def train(self: Self, mode: bool = True) -> Self:
        """Set training or evaluation, as every module does; training changes the weights."""
        if mode:
            self.bound = None
        return super().train(mode)

    def _apply(self: Self, *args: Any, **settings: Any) -> Self:
        self.bound = None  # weights move or change their type
        return super()._apply(*args, **settings)

    def _load_from_state_dict(self, *args: Any, **settings: Any) -> None:
        self.bound = None
        super()._load_from_state_dict(*args, **settings)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is bound: packed weights are not a copy's or a pickle's."""
        return {**self.__dict__, "bound": None}
