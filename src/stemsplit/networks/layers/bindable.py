"""The base of layers that a backend may compute at inference, with its own copy of the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Self = TypeVar("Self", bound="Bindable")

Bound = Callable[..., Tensor]
"""A function by which a backend computes a layer, without gradients.

Its arguments are tensors, as the layer's methods describe them. For a bidirectional block it maps rows (N, L, D) →
(N, L, D). If it has an attribute `strided` that is true, it takes tokens (…, L, D) with any strides instead, which
saves copies.
"""


class Bindable(nn.Module):
    """A module with a place for the function of a backend, `bound`, and for what it was made from, `bound_as`.

    The function has its own copy of the weights. So it is dropped when the weights are loaded, moved or trained.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bound: Bound | None = None
        self.bound_as: object = None

    def backend(self) -> Bound | None:
        """Return `bound` at inference, and None in training."""
        return None if self.training or torch.is_grad_enabled() else self.bound

    def weights_as_of_now(self) -> tuple[object, ...]:
        """Return a state that differs after every change of a weight."""
        # Weights made in inference mode do not count their changes: an object of its own equals no other.
        return tuple(object() if weight.is_inference() else weight._version for weight in self.parameters())

    def train(self: Self, mode: bool = True) -> Self:
        """Set the mode of training or evaluation, as in every module. Training drops `bound`."""
        if mode:
            self.bound = None
        return super().train(mode)

    def _apply(self: Self, *args: Any, **settings: Any) -> Self:
        self.bound = None  # the weights are moved, or their type is changed
        return super()._apply(*args, **settings)

    def _load_from_state_dict(self, *args: Any, **settings: Any) -> None:
        self.bound = None
        super()._load_from_state_dict(*args, **settings)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without `bound`, because a copy or a pickle must not hold packed weights."""
        return {**self.__dict__, "bound": None}
