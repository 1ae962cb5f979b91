"""Names of devices and precisions that the user gave → what torch is to use; and its number of threads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stemsplit.errors import DeviceError
from stemsplit.machine.cores import usable_cores

SMALL_PARAMETERS = 16_000_000
"""Networks with fewer parameters compute several chunks at once on a CPU, one per thread.

Their matrix products are too small to be divided among threads.
"""
MOST_SIDE_BY_SIDE = 8
"""The most chunks at once, because each of them takes memory."""

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

BACKEND_VARIABLE = "STEMSPLIT_BACKEND"
"""The environment variable that chooses the backend: auto, or a name in `networks.backends.choose`."""


def wanted_backend() -> str:
    """Return the backend that the environment variable names, or "auto"."""
    return os.environ.get(BACKEND_VARIABLE) or "auto"


@contextmanager
def threads_within_cores() -> Iterator[None]:
    """Limit PyTorch, inside the block, to as many threads as this process may use cores.

    PyTorch respects the scheduler's limit, but not that of the control group. In a container that may use two cores of
    a large machine, it would start a thread for every core of the machine, and these would wait for one another.
    """
    before = torch.get_num_threads()
    if before <= (most := usable_cores()):
        yield
        return
    torch.set_num_threads(most)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chunks_side_by_side(device: torch.device, parameters: int | None) -> int:
    """Return how many chunks to compute at once: on a CPU with a small network one per thread, otherwise 1.

    Args:
        device: where the network is.
        parameters: how many the network has; None if several threads may not call it at once, or nothing is known.
    """
    if device.type != "cpu" or parameters is None or parameters >= SMALL_PARAMETERS:
        return 1
    return min(torch.get_num_threads(), usable_cores(), MOST_SIDE_BY_SIDE)


def available_devices() -> tuple[str, ...]:
    """Return the devices of this machine, the fastest first: ("cuda:0", …, "mps", "cpu")."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return (*(f"cuda:{index}" for index in range(gpus)), *mps, "cpu")


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called auto, cpu, cuda, cuda:N or mps; auto is the fastest one here.

    Raises:
        DeviceError: the name is unknown, or this machine has no such device. Only auto may fall back to another one.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(available[0])
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise DeviceError(f"unknown device {name!r}: choose auto, cpu, cuda, cuda:N or mps")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in available:
        raise DeviceError(
            f"no {name} here, only {', '.join(available)}: "
            "`stemsplit doctor` says why, --device auto takes what there is"
        )
    return torch.device(wanted)


def choose_precision(name: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype for autocast on this device; None means plain fp32.

    On the CPU and on MPS, auto is fp32; `networks.backends.choose.precision_for` knows when the CPU can do better. On
    CUDA it is bf16 for Ampere (compute capability 8) and newer, fp16 for Volta and Turing, and fp32 for older GPUs.

    Raises:
        DeviceError: the name is unknown, or the device does not compute in that precision.
    """
    if name not in PRECISIONS:
        raise DeviceError(f"unknown precision {name!r}: choose one of {', '.join(PRECISIONS)}")
    if name == "auto":
        return _fastest_safe(device)
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("no fp16 on the CPU: choose --precision bf16 or fp32")
    if name == "bf16" and device.type == "cuda" and _generation(device) < 8:
        raise DeviceError(f"no bf16 on {torch.cuda.get_device_name(device)}: choose --precision fp16 or fp32")
    return _DTYPES[name]


_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def precision_name(dtype: torch.dtype | None) -> str:
    """Return the name of a dtype that `choose_precision` returned."""
    return next(name for name, known in _DTYPES.items() if known == dtype)


def _fastest_safe(device: torch.device) -> torch.dtype | None:
    if device.type != "cuda" or _generation(device) < 7:
        return None
    return torch.bfloat16 if _generation(device) >= 8 else torch.float16


def _generation(device: torch.device) -> int:
    """Return the major compute capability: 7 is Volta and Turing, 8 Ampere and Ada, 9 Hopper."""
    return torch.cuda.get_device_capability(device)[0]
