"""CUDA graphs: all launches of a pass are recorded once, and then repeated by a single call.

A small network's kernels take less time than the host needs to launch them. A graph holds for one shape of the mixture
and one precision. It reads its mixture from a buffer, and writes the stems to another.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST_GRAPHS = 4
"""Graphs that are kept: each keeps the memory of its mixture and its stems, and all together that of a pass."""

Network = Callable[[Tensor], Tensor]
Capture = Callable[[Network, Tensor], tuple[Callable[[], object], Tensor]]
"""Records a pass: network and buffer of the mixture → a function that repeats the pass, and the buffer of the stems."""


@dataclass(frozen=True)
class Recorded:
    """A pass that can be repeated."""

    mixture: Tensor
    replay: Callable[[], object]
    stems: Tensor


class CudaCapture:
    """Records passes on a CUDA device. All of them use the same memory for what lies between mixture and stems."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, network: Network, mixture: Tensor) -> tuple[Callable[[], object], Tensor]:
        """Record a pass of a network. The mixture (B, C, S) stays the buffer that the pass reads.

        Raises:
            RuntimeError: an operation cannot be recorded, because it waits for the device, or memory runs out.
        """
        with torch.cuda.device(mixture.device):
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # libraries allocate what they need at their first call on a stream
                network(mixture)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # Only this thread's calls are recorded: others may allocate pinned memory meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                stems = network(mixture)
        return graph.replay, stems


class Graphs:
    """A network whose passes are repeated as graphs: mixture (B, C, S) → stems (B, K, C, S).

    The first pass of a shape runs as usual, which compiles kernels. The second is recorded, and all others repeat it.
    If recording fails, all passes of that shape run as usual. The graphs least recently used are dropped. Several
    threads may call it: one launches after the other.

    Args:
        network: its weights and its bound layers must stay as they are.
        capture: records a pass; by default on CUDA.
        most: graphs that are kept.
    """

    def __init__(self, network: Network, capture: Capture | None = None, most: int = MOST_GRAPHS) -> None:
        self.network, self.capture, self.most = network, capture or CudaCapture(), most
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, Recorded | None] = OrderedDict()  # None: run as usual
        self._seen: set[Hashable] = set()

    def __call__(self, mixture: Tensor) -> Tensor:
        """Return the stems of a mixture. They belong to the caller: later calls do not overwrite them."""
        kind = mixture.device.type
        precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else mixture.dtype
        key = (tuple(mixture.shape), mixture.dtype, precision)
        with self._lock:
            if key not in self._seen:
                stems = self.network(mixture)
                self._seen.add(key)
                return stems
            recorded = self._recorded(key, mixture)
            if recorded is None:
                return self.network(mixture)
            recorded.mixture.copy_(mixture)
            recorded.replay()
            return recorded.stems.clone()

    def _recorded(self, key: Hashable, mixture: Tensor) -> Recorded | None:
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        while sum(one is not None for one in self._known.values()) >= self.most:
            oldest = next(key for key, one in self._known.items() if one is not None)
            del self._known[oldest]
        try:
            buffer = mixture.clone()
            self._known[key] = Recorded(buffer, *self.capture(self.network, buffer))
        except RuntimeError:  # the same pass as usual may still work; if not, that raises the error
            self._known[key] = None
        return self._known[key]
