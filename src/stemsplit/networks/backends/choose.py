"""Who computes a network's layers at inference: one signature, several ways, chosen once.

A backend binds a layer: it packs the layer's weights as it likes and returns a function that computes the layer, for
inference only. A layer that it has nothing for computes itself, as in training. `ResidualBiMamba.forward_unfused` is
the truth that every backend is tested against.

STEMSPLIT_BACKEND=auto|torch|native|triton|mamba chooses; auto is the fastest that works on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import cast

import torch
from torch import nn

from stemsplit.errors import DeviceError, UsageError
from stemsplit.machine.device import BACKEND_VARIABLE, wanted_backend
from stemsplit.networks.contract import Backend
from stemsplit.networks.layers.bindable import Bindable


def _load(module: str, name: str) -> Backend:
    return cast(Backend, getattr(import_module(f"stemsplit.networks.backends.{module}"), name)())


BACKENDS: dict[str, Callable[[], Backend]] = {
    "torch": partial(_load, "torch", "TorchBackend"),
    "native": partial(_load, "native", "NativeBackend"),
    "triton": partial(_load, "triton", "TritonBackend"),
    "mamba": partial(_load, "mamba", "MambaBackend"),
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
    name = wanted or wanted_backend()
    if name == "auto":
        for candidate in FASTEST_FIRST.get(device.type, ("torch",)):
            if why_not(candidate, device) is None:
                return BACKENDS[candidate]()
    if name not in BACKENDS:
        raise UsageError(f"unknown backend {name!r}: set {BACKEND_VARIABLE} to one of auto, {', '.join(BACKENDS)}")
    if (reason := why_not(name, device)) is not None:
        raise DeviceError(f"no backend {name!r} on {device}: {reason}; {BACKEND_VARIABLE}=auto takes what there is")
    return BACKENDS[name]()


def bind(network: nn.Module, backend: Backend | None) -> None:
    """Let a backend compute the layers of a network that it has something for, with the weights as they are now.

    None lets all layers compute themselves. Loading or moving weights and training undo it; bind again afterwards.
    """
    for layer in network.modules():
        if isinstance(layer, Bindable):
            layer.bound = None if backend is None else backend.bind(layer)


def why_not(name: str, device: torch.device) -> str | None:
    """Return None if the backend of that name works on the device, else the reason in one line."""
    try:
        backend = BACKENDS[name]()
    except ImportError as error:
        return f"it cannot be imported ({error})"
    return backend.missing(device)
