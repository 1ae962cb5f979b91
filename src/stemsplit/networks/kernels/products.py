"""Float32 on a CPU: matrix products by the faster of torch's two libraries, and a faster tanh.

torch multiplies float32 matrices with MKL, which uses only half of the vector width on many CPUs that are not made by
Intel. torch uses its other library, oneDNN, only if it is permitted to round to bf16. But oneDNN actually rounds only
on CPUs with matrix units (AMX). A trial shows once whether it rounds on this CPU. If not, the permission is given.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

EXACT = 1e-6
"""The largest relative error of a product in float32. Rounding to bf16 would cause one of 2e-3."""


@contextmanager
def fast_products() -> Iterator[None]:
    """Let oneDNN compute float32 products on the CPU inside the block, if that costs no precision."""
    with _trial:  # only the first thread makes the trial, since that changes a setting of the whole process
        exact = _onednn_is_exact()
    if not exact:
        yield
        return
    with _permission:
        yield


_trial = threading.Lock()


def tanh_(x: Tensor) -> Tensor:
    """Return tanh x. On a CPU and without gradients, x itself is overwritten and returned.

    It is computed as 2 σ(2x) − 1, which takes a third of the time. The error is that of rounding the number 1.
    """
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return torch.tanh(x)
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


def _settings() -> Any:
    return getattr(torch.backends.mkldnn, "matmul", None)  # torch 2.9 and later


class _Permission:
    """The permission to round to bf16 inside a block, for the whole process.

    Several threads may be in the block. The first to enter gives the permission, and the last to leave takes it back.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._before = threading.Lock(), 0, ""

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = str(_settings().fp32_precision)
                _settings().fp32_precision = "bf16"
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                _settings().fp32_precision = self._before


_permission = _Permission()


@cache
def _onednn_is_exact() -> bool:
    settings = _settings()
    if settings is None or not torch.backends.mkldnn.is_available():
        return False
    rng = np.random.default_rng(0)
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        with torch.autocast("cpu", enabled=False):  # which would round, whatever oneDNN does
            return all(_error(size, rng) < EXACT for size in ((1, 57, 57, 64), (8, 57, 57, 64), (1, 256, 512, 128)))
    finally:
        settings.fp32_precision = before


def _error(size: tuple[int, int, int, int], rng: np.random.Generator) -> float:
    batch, m, k, n = size
    a, b = (torch.from_numpy(rng.standard_normal(shape, np.float32)) for shape in ((batch, m, k), (batch, k, n)))
    expected = a.double() @ b.double()
    found = torch.bmm(a, b) if batch > 1 else torch.mm(a[0], b[0]).unsqueeze(0)
    return float((found - expected).norm() / expected.norm())
