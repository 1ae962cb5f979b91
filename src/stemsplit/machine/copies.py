"""Arrays on the host ⇄ tensors on a device.

Copies between a GPU and pinned memory go on while the host works, so that it can cut the next chunks meanwhile.
"""

from __future__ import annotations

import numpy as np
import torch


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array as a tensor on a device, which may share its memory on a CPU."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as a float32 array. Other threads may run until it is computed."""
    tensor = tensor.float()
    if not tensor.is_cuda:
        return tensor.cpu().numpy()
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    pinned.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(tensor.device))
    done.synchronize()
    return pinned.numpy()
