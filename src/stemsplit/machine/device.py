"""Names of devices, precisions and backends → what torch is to use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stemsplit.errors import DeviceError
from stemsplit.machine.cores import usable_cores

SMALL_PARAMETERS = 16_000_000
"""The products of networks below this are not worth sharing among threads: they compute chunks side by side instead."""
MOST_SIDE_BY_SIDE = 8
"""Each chunk under way takes memory."""

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

BACKEND_VARIABLE = "STEMSPLIT_BACKEND"
"""Which backend computes the networks' layers: auto, or a name of `networks.backends`."""


def wanted_backend() -> str:
    """Return the backend that the environment asks for, or "auto"."""
    return os.environ.get(BACKEND_VARIABLE) or "auto"


@contextmanager
def threads_within_cores() -> Iterator[None]:
    """Inside, let PyTorch use no more threads than cores are left to this process.

    PyTorch minds the scheduler's word and not the control group's: in a container with two cores' worth of time on a
    large machine it would start a thread per core, which then wait for one another.
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
    """How many chunks a network of this size computes at once: on a CPU, if it is small, one per thread of PyTorch's.

    `parameters` is None where nothing is known of the network, such as whether threads may share it.
    """
    if device.type != "cpu" or parameters is None or parameters >= SMALL_PARAMETERS:
        return 1
    return min(torch.get_num_threads(), usable_cores(), MOST_SIDE_BY_SIDE)


def available_devices() -> tuple[str, ...]:
    """What `choose_device` accepts here, the fastest first: ("cuda:0", …, "mps", "cpu")."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return (*(f"cuda:{index}" for index in range(gpus)), *mps, "cpu")


def choose_device(name: str = "auto") -> torch.device:
    """The device called auto, cpu, cuda, cuda:N or mps; auto is the fastest one.

    Raises:
        DeviceError: no such name, or no such device here; an explicit choice is never replaced by another.
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
    """The dtype for autocast on this device, None for plain fp32.

    auto is fp32 on the CPU and on MPS; on CUDA it is bf16 from Ampere (compute capability 8) on, fp16 on
    Volta and Turing, fp32 on what came before.

    Raises:
        DeviceError: no such name, or a precision that this device does not compute in.
    """
    if name not in PRECISIONS:
        raise DeviceError(f"unknown precision {name!r}: choose one of {', '.join(PRECISIONS)}")
    if name == "auto":
        return _fastest_safe(device)
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("no fp16 on the CPU: choose --precision bf16 or fp32")
    if name == "bf16" and device.type == "cuda" and _generation(device) < 8:
        raise DeviceError(f"no bf16 on {torch.cuda.get_device_name(device)}: choose --precision fp16 or fp32")
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _fastest_safe(device: torch.device) -> torch.dtype | None:
    if device.type != "cuda" or _generation(device) < 7:
        return None
    return torch.bfloat16 if _generation(device) >= 8 else torch.float16


def _generation(device: torch.device) -> int:
    """Major compute capability: 7 Volta and Turing, 8 Ampere and Ada, 9 Hopper."""
    return torch.cuda.get_device_capability(device)[0]
