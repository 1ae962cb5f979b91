"""A bidirectional Mamba-2 block of each network on the CPU, by every way there is to compute it, in turns.

    OMP_NUM_THREADS=1 python benchmarks/blocks.py [--repeats 9] [--threads 1]

Prints CPU microseconds per position (one row of features), medians; how many times faster that is than plain PyTorch
(`fused`); and the SNR of what the block adds to its rows, against float64.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from stemsplit.networks.backends import choose as backends
from stemsplit.networks.backends.native import NativeBackend
from stemsplit.networks.bsmamba import CONFIGS, BSMambaConfig, bimamba_of
from stemsplit.networks.bsmamba2 import BSMamba2Config
from stemsplit.networks.bsmamba2 import block as block_of
from stemsplit.networks.kernels.native_library import Library, load_library
from stemsplit.networks.layers.bimamba import PreNormBiMamba, ResidualBiMamba

FULL = CONFIGS["ts-bsmamba2"]
MINI = BSMambaConfig(dim=64, d_state=32, expand=1, headdim=32)
Block = ResidualBiMamba | PreNormBiMamba
CASES: dict[str, tuple[BSMambaConfig | BSMamba2Config, int, int]] = {  # network, sequences, steps
    "full and L, over bands": (FULL, 32, 57),
    "full and L, over time (3 s)": (FULL, 8, 259),
    "full and L, over time (11 s)": (FULL, 2, 948),
    "BSMamba2, over bands": (BSMamba2Config(), 32, 62),
    "BSMamba2, over time (8 s)": (BSMamba2Config(), 2, 801),
    "mini, over bands": (MINI, 174, 27),
    "mini, over time": (MINI, 54, 87),
}


def main() -> None:
    """Time all cases."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, {torch.backends.cpu.get_cpu_capability()}, medians of {options.repeats}")
    with torch.inference_mode():
        for title, (config, sequences, steps) in CASES.items():
            _compare(title, config, torch.randn(sequences, steps, config.dim), options.repeats)


def _compare(title: str, config: BSMambaConfig | BSMamba2Config, rows: Tensor, repeats: int) -> None:
    torch.manual_seed(0)
    block: Block = (bimamba_of(config) if isinstance(config, BSMambaConfig) else block_of(config)).eval()
    exact = copy.deepcopy(block).double()
    truth = exact.forward_unfused if isinstance(exact, ResidualBiMamba) else exact.fused
    added = truth(rows.double()) - rows.double()
    ways = _ways(block)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way(rows)
            taken[name].append((time.process_time() - start) / (rows.shape[0] * rows.shape[1]) * 1e6)
    print(f"\n{title}: {rows.shape[0]} sequences of {rows.shape[1]} steps, {rows.shape[2]} features")
    plain = statistics.median(taken["plain torch"])
    for name, way in ways.items():
        noise = (way(rows).double() - rows.double() - added).square().sum()
        ratio = 10 * float(torch.log10(added.square().sum() / noise))
        median = statistics.median(taken[name])
        print(f"  {name:20s} {median:7.2f} us  {plain / median:5.1f} x  {ratio:6.1f} dB")


def _ways(block: Block) -> dict[str, Callable[[Tensor], Tensor]]:
    ways: dict[str, Callable[[Tensor], Tensor]] = {"plain torch": block.fused}
    if (bound := backends.choose("cpu", "torch").bind(block)) is not None:
        ways["backend torch"] = bound
    library = load_library()
    if not isinstance(library, Library):
        print(f"no native kernels: {library}")
        return ways
    return ways | {f"native {name}": NativeBackend(name).bind(block) for name in library.instruction_sets()}


if __name__ == "__main__":
    main()
