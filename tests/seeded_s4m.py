"""Seeded weights for checking S4M against its authors' network, where `seeded_state` does not know a tensor."""

import math
import zlib

import numpy as np
from seeded_state import seeded_tensor

KERNEL = "sm.unet.s4.layer.kernel.kernel."
SPREADS = {"B": 1.0, "C": math.sqrt(0.5), "P": 0.7}


def seeded_s4m_tensor(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return the array that stands for the parameter `name`; gains that keep 16 passes of one block bounded."""
    rng = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode()) + (seed << 32)))
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "L":
        return np.zeros(shape, np.int64)
    if leaf == "weight" and shape == (1,):
        return (0.25 + 0.05 * rng.standard_normal(shape)).astype(np.float32)
    if leaf == "gamma":
        return (1.0 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    if name == "sm.concat_block.0.weight":
        return (0.5 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    return _of_s4(leaf, shape, rng) if name.startswith(KERNEL) else seeded_tensor(name, shape, seed)


def _of_s4(leaf: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if leaf == "log_dt":
        return rng.uniform(math.log(1e-3), math.log(1e-1), shape).astype(np.float32)
    spread = rng.standard_normal(shape)
    if leaf == "inv_w_real":
        return (math.log(0.5) + 0.1 * spread).astype(np.float32)
    if leaf == "w_imag":
        order = np.arange(shape[-1])
        return (-(1.5 + 5.0 * order + order**2) * (1.0 + 0.05 * spread)).astype(np.float32)
    return (spread * SPREADS[leaf]).astype(np.float32)
