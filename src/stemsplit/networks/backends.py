"""Who computes the bidirectional Mamba-2 blocks at inference: one signature, several ways, chosen once.

A backend binds a block: it packs the block's weights as it likes and returns a function of rows (N, L, D) → (N, L, D),
residual included, for inference only. `ResidualBiMamba.forward_unfused` is the truth that every backend is tested
against; training goes through `ResidualBiMamba.forward`, which autograd understands.

STEMSPLIT_BACKEND=auto|torch|native|triton|mamba chooses; auto is the fastest that works on the device.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from stemsplit.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from stemsplit.networks.bsmamba import ResidualBiMamba

VARIABLE = "STEMSPLIT_BACKEND"

Bound = Callable[[Tensor], Tensor]
"""Rows (N, L, D) → rows (N, L, D), every sequence by itself, residual included; needs no gradient."""


class Backend(Protocol):
    """One way to compute a block."""

    name: str

    def missing(self, device: torch.device) -> str | None:
        """Return None if it works on this device here, else one line that says why not."""

    def bind(self, block: ResidualBiMamba) -> Bound:
        """Pack the block's weights as they are now; later changes of them are not seen."""


def _load(module: str, name: str) -> Backend:
    return cast(Backend, getattr(import_module(f"stemsplit.networks.{module}"), name)())


BACKENDS: dict[str, Callable[[], Backend]] = {
    "torch": partial(_load, "torch_backend", "TorchBackend"),
    "native": partial(_load, "native", "NativeBackend"),
    "triton": partial(_load, "ssd_triton", "TritonBackend"),
    "mamba": partial(_load, "mamba_backend", "MambaBackend"),
}
"""By name. A backend's module is imported when it is asked for, not before."""

FASTEST_FIRST = {"cpu": ("native", "torch"), "cuda": ("triton", "mamba", "torch")}
"""What auto tries on a kind of device; "torch" everywhere else."""


def choose(device: torch.device | str, wanted: str | None = None) -> Backend:
    """The backend called `wanted`, or by the environment's STEMSPLIT_BACKEND; auto is the fastest one that works.

    Raises:
        UsageError: no such name.
        DeviceError: it does not work here; an explicit choice is never replaced by another.
    """
    device = torch.device(device)
    name = wanted or os.environ.get(VARIABLE) or "auto"
    if name == "auto":
        for candidate in FASTEST_FIRST.get(device.type, ("torch",)):
            if why_not(candidate, device) is None:
                return BACKENDS[candidate]()
    if name not in BACKENDS:
        raise UsageError(f"unknown backend {name!r}: set {VARIABLE} to one of auto, {', '.join(BACKENDS)}")
    if (reason := why_not(name, device)) is not None:
        raise DeviceError(f"no backend {name!r} on {device}: {reason}; {VARIABLE}=auto takes what there is")
    return BACKENDS[name]()


def why_not(name: str, device: torch.device) -> str | None:
    """Return None if the backend of that name works on the device, else the reason in one line."""
    try:
        backend = BACKENDS[name]()
    except ImportError as error:
        return f"it cannot be imported ({error})"
    return backend.missing(device)
