"""Layers on NVIDIA GPUs by Triton kernels, which need neither nvcc nor mamba-ssm. See `backends.gpu.layers`."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import nn

from stemsplit.networks.backends.gpu.layers import bind_by
from stemsplit.networks.kernels.gpu.settings import Settings
from stemsplit.networks.layers.bindable import Bound

OLDEST_CAPABILITY = (8, 0)
"""Ampere. Older GPUs have neither bfloat16 nor TF32 products."""


class TritonBackend:
    """The backend that uses Triton. See `contract.Backend`.

    Args:
        settings: by default they are chosen by the type of the arrays and the memory of the GPU.
    """

    name = "triton"

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings

    def missing(self, device: torch.device) -> str | None:
        """Return None if Triton works on this device, otherwise the reason in one line.

        It works on a CPU if Triton is interpreted, as it is to test the kernels.
        """
        if find_spec("triton") is None:
            return "Triton is not installed (it comes with PyTorch for CUDA on Linux)"
        if device.type == "cpu" and interpreted():
            return None
        if device.type != "cuda" or torch.version.hip is not None:
            return "its kernels are written for NVIDIA GPUs"
        if torch.cuda.get_device_capability(device) < OLDEST_CAPABILITY:
            return "the GPU is older than Ampere (compute capability 8.0)"
        return start_problem()

    def bind(self, layer: nn.Module) -> Bound | None:
        """Pack the weights of a layer in float32. Copies in other types are made when they are needed."""
        from stemsplit.networks.kernels.gpu import launches

        return bind_by(launches, layer, self.settings)


def interpreted() -> bool:
    """Return whether Triton runs kernels as Python on the CPU. Triton reads the variable when it is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def start_problem() -> str | None:
    """Return None if Triton can run kernels here, otherwise the reason in one line.

    Triton needs a C compiler, with which it builds a small program that launches kernels.
    """
    try:
        import_module("triton.runtime").driver.active.get_current_target()
    except Exception as error:  # of any kind: of the driver, of the compiler, or about the cache folder
        return f"Triton cannot start: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
    return None
