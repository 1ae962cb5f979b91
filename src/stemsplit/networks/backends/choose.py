"""The choice of a backend, which computes layers of a network at inference.

A backend binds a layer: it packs the layer's weights in its own way, and returns a function that computes the layer,
for inference only. A layer for which it has no function computes itself, as in training. Tests compare every backend
with `ResidualBiMamba.forward_unfused`.

The environment variable STEMSPLIT_BACKEND=auto|torch|native|triton|mamba chooses the backend. auto is the fastest one
that works on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import cast

import torch
from torch import nn

from stemsplit.errors import DeviceError, UsageError
from stemsplit.machine.device import BACKEND_VARIABLE, choose_precision, wanted_backend
from stemsplit.networks.contract import Backend
from stemsplit.networks.kernels.native_library import has_bfloat16
from stemsplit.networks.layers.bindable import Bindable


def _load(module: str, name: str) -> Backend:
    return cast(Backend, getattr(import_module(f"stemsplit.networks.backends.{module}"), name)())


BACKENDS: dict[str, Callable[[], Backend]] = {
    "torch": partial(_load, "torch", "TorchBackend"),
    "native": partial(_load, "native", "NativeBackend"),
    "triton": partial(_load, "triton", "TritonBackend"),
    "mamba": partial(_load, "mamba", "MambaBackend"),
}
"""Name → a function that makes the backend. Its module is imported only then."""

FASTEST_FIRST = {"cpu": ("native", "torch"), "cuda": ("triton", "mamba", "torch")}
"""Kind of device → the backends that auto tries, in this order. On other devices it takes "torch"."""


def choose(device: torch.device | str, wanted: str | None = None) -> Backend:
    """Return a backend for a device.

    Args:
        device: where layers are computed.
        wanted: its name, or auto; None takes that of the environment variable.

    Raises:
        UsageError: the name is unknown.
        DeviceError: the backend does not work on this device. Only auto may take another one.
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
    """Let a backend compute those layers of a network for which it has a function, with the weights of now.

    None lets all layers compute themselves. When weights are loaded, moved or trained, the layers compute themselves
    again, until this function is called again. A layer that is bound in the same way already keeps its function:
    packing its weights again would take longer than a short song.
    """
    for layer in network.modules():
        if not isinstance(layer, Bindable):
            continue
        if backend is None:
            layer.bound = None
            continue
        wanted = (type(backend), dict(vars(backend)), layer.weights_as_of_now())
        if layer.bound is None or layer.bound_as != wanted:
            layer.bound, layer.bound_as = backend.bind(layer), wanted


def precision_for(network: object, name: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype for autocast with which a network computes; None means plain fp32.

    This is `machine.device.choose_precision`, but on a CPU auto is bf16 if the processor is faster in it, and
    the native backend computes the network, or the network says by `bfloat16_on_cpu` that PyTorch should. Sums, decays,
    states and norms stay in fp32, and so does what blocks add to. So the error is far below that of the separation.

    Raises:
        DeviceError: the name is unknown, or the device does not compute in that precision.
    """
    chosen = choose_precision(name, device)
    if name != "auto" or device.type != "cpu" or not isinstance(network, nn.Module):
        return chosen
    if getattr(network, "bfloat16_on_cpu", False):
        return torch.bfloat16 if has_bfloat16() else chosen
    bindable = any(isinstance(layer, Bindable) for layer in network.modules())
    return torch.bfloat16 if bindable and cpu_has_bfloat16() else chosen


def cpu_has_bfloat16() -> bool:
    """Return whether layers that the CPU's backend computes are multiplied in bfloat16."""
    return choose("cpu").name == "native" and has_bfloat16()


def why_not(name: str, device: torch.device) -> str | None:
    """Return None if the backend of that name works on the device, otherwise the reason in one line."""
    try:
        backend = BACKENDS[name]()
    except ImportError as error:
        return f"it cannot be imported ({error})"
    return backend.missing(device)
