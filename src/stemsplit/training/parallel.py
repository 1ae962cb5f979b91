"""Several processes that train one network on the CPUs of one machine, each on its share of the batch.

The matrix products of a small network are too small for several threads to gain by sharing them. Processes meet only
once a step, to average their gradients.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.nn import Parameter

PATIENCE = timedelta(days=30)
"""How long processes wait for each other: a run may be stopped for hours. One that dies is noticed at once."""


@contextmanager
def followers(workers: int, follow: Callable[..., None], *args: Any) -> Iterator[None]:
    """Make this process number 0 of `workers` while the others run `follow(*args)`.

    The others are ended when the block ends. `follow` and `args` are pickled.
    """
    if workers == 1:
        yield
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="stemsplit-train-") as folder:
        meeting = Path(folder) / "meeting"
        others = [
            context.Process(target=_follower, args=(meeting, rank, workers, follow, args), daemon=True)
            for rank in range(1, workers)
        ]
        for process in others:
            process.start()
        try:
            _join(meeting, 0, workers)
            yield
        finally:
            for process in others:
                process.terminate()
                process.join()
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


def rank() -> int:
    """Return this process's number: 0 where there is only one."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def average_gradients(parameters: Iterable[Parameter]) -> None:
    """Replace every gradient by its mean over the processes. Where there is only one process, do nothing."""
    if not torch.distributed.is_initialized():
        return
    gradients = [value.grad for value in parameters if value.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    means = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))


def _follower(meeting: Path, number: int, workers: int, follow: Callable[..., None], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: number 0 ends the others
    _join(meeting, number, workers)
    follow(*args)


def _join(meeting: Path, number: int, workers: int) -> None:
    """Take this process's share of the cores, and wait for the others at the file `meeting`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, cores // workers))
    torch.distributed.init_process_group(
        "gloo", init_method=meeting.as_uri(), rank=number, world_size=workers, timeout=PATIENCE
    )
