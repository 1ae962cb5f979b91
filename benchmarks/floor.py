"""How fast a network could be at best: its products, counted, over the products that one core does in a second.

    python benchmarks/floor.py [--models mini L full]

Multiplications are counted by PyTorch on tensors without memory, and are those of the path in plain PyTorch: all matrix
products, with no elementwise work, transform or convolution. A backend that multiplies less can be below this floor.
The peak is that of a loop that does nothing but multiply and add in registers; it is compiled here, so it needs a C
compiler. It holds for one thread, the width of vectors that the compiler chooses for this machine, and the clock of the
moment.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import shutil
import subprocess
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from stemsplit.networks.bsmamba import CONFIGS, BSMamba, BSMambaConfig

ROOT = Path(__file__).parents[1]
MODELS = {"mini": "ts-bsmamba2-mini", "L": "l-ts-bsmamba2", "full": "ts-bsmamba2"}
LANES, SUMS = 16, 12
ROUNDS, REPEATS = 10_000_000, 5
SOURCE = """
#include <stdint.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
float bf16_loop(int64_t rounds) {
    __m512 sums[%d], found = _mm512_setzero_ps();
    __m512bh factor = (__m512bh)_mm512_set1_epi32(0x3c003c00);
    for (int k = 0; k < %d; k++) sums[k] = _mm512_set1_ps(0.5f);
    for (int64_t round = 0; round < rounds; round++)
        #pragma GCC unroll %d
        for (int k = 0; k < %d; k++) sums[k] = _mm512_dpbf16_ps(sums[k], factor, factor);
    for (int k = 0; k < %d; k++) found = _mm512_add_ps(found, sums[k]);
    return _mm512_reduce_add_ps(found);
}
#endif
#ifdef __AVX512VNNI__
#include <immintrin.h>
float int8_loop(int64_t rounds) {
    __m512i sums[%d], found = _mm512_setzero_si512(), factor = _mm512_set1_epi8(1);
    for (int k = 0; k < %d; k++) sums[k] = _mm512_set1_epi32(k);
    for (int64_t round = 0; round < rounds; round++)
        #pragma GCC unroll %d
        for (int k = 0; k < %d; k++) sums[k] = _mm512_dpbusd_epi32(sums[k], factor, factor);
    for (int k = 0; k < %d; k++) found = _mm512_add_epi32(found, sums[k]);
    return (float)_mm512_reduce_add_epi32(found);
}
#endif
typedef float vec __attribute__((vector_size(64)));
float fp32_loop(int64_t rounds) {
    vec sums[%d], factor = {0}, found = {0};
    factor += 0.999f;
    for (int k = 0; k < %d; k++) sums[k] = factor;
    for (int64_t round = 0; round < rounds; round++)
        #pragma GCC unroll %d
        for (int k = 0; k < %d; k++) sums[k] = sums[k] * factor + factor;
    for (int k = 0; k < %d; k++) found += sums[k];
    return found[0];
}
""".replace("%d", str(SUMS))
PER_LANE = {"fp32": 1, "bf16": 2, "int8": 4}
"""Multiplications per 32-bit lane and instruction."""


def main() -> None:
    """Print the peaks and the floors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options = parser.parse_args()
    found = peaks()
    print(f"{processor()}; one thread: {told(found)}")
    print(f"{'':8}{'GMAC/s':>9}" + "".join(f"{f'floor {name}':>13}" for name in found))
    for model in options.models:
        work = gmacs(model)
        print(f"{model:8}{work:9.2f}" + "".join(f"{2 * work / peak:13.4f}" for peak in found.values()))


def told(found: dict[str, float]) -> str:
    """Return peaks as text."""
    return ", ".join(f"{name} {peak:.0f} G{'OP' if name == 'int8' else 'FLOP'}/s" for name, peak in found.items())


def config_of(model: str) -> BSMambaConfig:
    """Return the config of a model of `MODELS`."""
    if MODELS[model] in CONFIGS:
        return CONFIGS[MODELS[model]]
    stored = json.loads((ROOT / "models" / MODELS[model] / "config.json").read_text(encoding="utf-8"))
    return BSMambaConfig.from_dict(stored["network"])


@lru_cache
def gmacs(model: str, channels: int = 2) -> float:
    """Return the multiplications, in 10⁹, of a second of audio in one chunk."""
    config = config_of(model)
    with torch.device("meta"):
        network, mixture = BSMamba(config).eval(), torch.zeros(1, channels, config.chunk_samples)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(mixture)
    return counter.get_total_flops() / 2e9 / (config.chunk_samples / config.sample_rate)


def peaks() -> dict[str, float]:
    """Return the most operations of one thread in 10⁹ per second, by type of number; empty without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "peak.c", Path(folder) / "peak.so"
        source.write_text(SOURCE, encoding="utf-8")
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-w", "-shared", "-fPIC"]
        if subprocess.run([compiler, *flags, source, "-o", library], capture_output=True).returncode:
            return {}
        loops = ctypes.CDLL(str(library))
        named = {name: getattr(loops, f"{name}_loop", None) for name in PER_LANE}
        return {name: _peak(loop, PER_LANE[name]) for name, loop in named.items() if loop is not None}


def _peak(loop: ctypes._NamedFuncPointer, per_lane: int) -> float:
    loop.restype, loop.argtypes = ctypes.c_float, [ctypes.c_int64]
    best = 0.0
    for _ in range(REPEATS):
        began = time.process_time()
        loop(ROUNDS)
        best = max(best, 2e-9 * ROUNDS * SUMS * LANES * per_lane / (time.process_time() - began))
    return best


def processor() -> str:
    """Return what tells this machine's kind of core from others."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    names = ("model name", "cpu family", "model")
    return f"{said.get(names[0], platform.machine())} (family {said.get(names[1])}, model {said.get(names[2])})"


if __name__ == "__main__":
    main()
