"""A network on a device: precision, silence, and what happens when memory runs out.

The ladder, one rung per failure: halve the batch, down to 1; halve the chunk, to no less than a quarter; move
to the CPU in fp32. A chunk that is too long is itself separated as a short stream of smaller chunks, so the
chunks around it never change and nothing that is done is done again. A rung holds for the rest of the stream;
the next stream starts at the top, where memory may be free again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import nn

from stemsplit.errors import ModelError, OutOfMemoryError
from stemsplit.machine.copies import to_device, to_host
from stemsplit.machine.device import threads_within_cores
from stemsplit.networks.backends.choose import bind, choose
from stemsplit.networks.backends.gpu.graphs import Graphs
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.separation.chunks import Chunking, chunks
from stemsplit.separation.stitch import joiner

SMALLEST_CHUNK_PARTS = 4  # below a quarter of the length it was trained with, a network has too little context
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "status_alloc_failed")


class Inference:
    """Mixtures (B, C, S) → stems (B, K, C, S), in numpy, within the memory there is.

    Args:
        network: a module is moved to `device`, set to evaluation, and its layers are bound to the backend that
            `choose` finds; any other callable stays as it is.
        chunking: its chunk and overlap are where the ladder starts.
        device: where to run first.
        precision: dtype of autocast, or None for fp32.
        warn: told about every rung, in one line each.
    """

    def __init__(
        self,
        network: SeparatorNetwork,
        chunking: Chunking,
        device: torch.device,
        precision: torch.dtype | None,
        warn: Callable[[str], object],
    ) -> None:
        self.network, self.chunking, self.warn = network, chunking, warn
        self.device, self.precision = device, precision
        self.most_chunks, self.most_samples = chunking.batch_size, chunking.chunk_samples
        self._overflowed = False
        self._forward: Callable[[torch.Tensor], torch.Tensor] = network
        try:
            self._place(device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._move_to_cpu()

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        """Estimate, on a lower rung if need be.

        Raises:
            OutOfMemoryError: the last rung failed too.
            ModelError: the network returned another shape than promised.
        """
        batch, _, samples = mixture.shape
        if batch > self.most_chunks:
            half = (batch + 1) // 2
            return np.concatenate([self(mixture[:half]), self(mixture[half:])])
        if samples > self.most_samples:
            return np.stack([self._in_smaller_chunks(one) for one in mixture])
        try:
            return self.once(mixture)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        self._step_down(batch, samples)  # out here: inside the handler the traceback keeps failed tensors alive
        return self(mixture)

    def once(self, mixture: np.ndarray) -> np.ndarray:
        """Estimate on the highest rung, from any thread; what memory runs out with is raised.

        One call for what is not silent: the stems of silence are silence, whatever the network says.
        """
        batch, channels, samples = mixture.shape
        audible = mixture.any(axis=(1, 2))
        if audible.all():
            stems = self._run(mixture, self.precision)  # not copied: a chunk's stems are large
        else:
            stems = np.zeros((batch, len(self.network.config.stems), channels, samples), np.float32)
            if audible.any():
                stems[audible] = self._run(mixture[audible], self.precision)
        overflowed = ~np.isfinite(stems).all(axis=(1, 2, 3))
        if self.precision is not None and overflowed.any():
            self._warn_of_overflow()
            stems[overflowed] = self._run(mixture[overflowed], None)
        return stems

    def one(self, mixture: np.ndarray) -> np.ndarray:
        """Estimate the stems (K, C, S) of one mixture (C, S); see `__call__`."""
        stems: np.ndarray = self(mixture[None])[0]
        return stems

    def _run(self, mixture: np.ndarray, precision: torch.dtype | None) -> np.ndarray:
        autocast = nullcontext() if precision is None else torch.autocast(self.device.type, dtype=precision)
        with torch.inference_mode(), autocast, threads_within_cores():
            stems = self._forward(to_device(mixture, self.device))
        batch, channels, samples = mixture.shape
        expected = (batch, len(self.network.config.stems), channels, samples)
        if tuple(stems.shape) != expected:
            raise ModelError(f"the network returned {tuple(stems.shape)}, its config promises {expected}")
        return to_host(stems)

    def _in_smaller_chunks(self, mixture: np.ndarray) -> np.ndarray:
        """Separate one chunk (C, S) as a stream of its own."""
        smaller = replace(self.chunking, chunk_samples=self.most_samples, batch_size=1)
        joined = joiner(self.network.config, smaller, self.one)
        blocks = [joined.add(chunk, self(chunk.samples[None])[0]) for chunk in chunks([mixture], smaller)]
        return np.concatenate([block for block in blocks if block is not None], axis=-1)

    def _step_down(self, batch: int, samples: int) -> None:
        self._forward = self._replayed()
        _release_cached_memory(self.device)
        if batch > 1:
            self.most_chunks = batch // 2
            self.warn(f"out of memory on {self.device}: batches of {batch // 2} chunks from here on")
        elif samples // 2 >= max(1, self.chunking.chunk_samples // SMALLEST_CHUNK_PARTS):
            self.most_samples = samples // 2
            self.warn(
                f"out of memory on {self.device}: chunks of {self._seconds(samples // 2)} from here on, "
                "which changes the stems a little"
            )
        elif self.device.type != "cpu":
            self._move_to_cpu()
        else:
            raise OutOfMemoryError(
                f"out of memory on the CPU, even with chunks of {self._seconds(samples)}: "
                "free some memory, or choose shorter chunks with --chunk-seconds"
            )

    def _move_to_cpu(self) -> None:
        self.warn(f"out of memory on {self.device}: going on with the CPU, which is slower")
        self.device, self.precision = torch.device("cpu"), None
        self.most_chunks, self.most_samples = 1, self.chunking.chunk_samples
        self._place(self.device, "auto")  # what was asked for may be no choice here

    def _place(self, device: torch.device, backend: str | None = None) -> None:
        if isinstance(self.network, nn.Module):
            if any(value.device != device for value in chain(self.network.parameters(), self.network.buffers())):
                self.network.to(device)  # even if nothing moves, this would drop what is bound
            self.network.eval()
            bind(self.network, choose(device, backend))
        self._forward = self._replayed()

    def _replayed(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the network, on CUDA as graphs, without any that hold memory yet."""
        on_cuda = self.device.type == "cuda" and isinstance(self.network, nn.Module)
        return Graphs(self.network) if on_cuda else self.network

    def _warn_of_overflow(self) -> None:
        if not self._overflowed:
            name = str(self.precision).removeprefix("torch.")
            self.warn(f"{name} overflowed in the network: such chunks are repeated in fp32")
        self._overflowed = True

    def _seconds(self, samples: int) -> str:
        return f"{samples / self.network.config.sample_rate:.2f} s"


def _release_cached_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA, MPS and CPU allocators each say it in their own way."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY)
