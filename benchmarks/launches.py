"""How many kernels one pass of a network launches on a GPU, counted without one.

    python benchmarks/launches.py                   the full network and the mini, by module

The network runs on PyTorch's meta device: tensors have shapes, but no values. Every operation that is neither a view
nor an allocation counts as one launch, and those of `COSTS` as more. A function of `kernels.gpu.launches` counts as
one, since it launches one Triton kernel, which a test checks; that of `kernels.gpu.reference` stands in for it.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stemsplit.networks.backends.gpu.layers import bind_by
from stemsplit.networks.bsmamba import CONFIGS, BSMamba, BSMambaConfig
from stemsplit.networks.kernels.gpu import reference
from stemsplit.networks.layers.bindable import Bindable

ROOT = Path(__file__).parents[1]
LAUNCHES = ("normed", "short", "share", "scan", "outward", "split", "heads", "exchange")
COSTS = {"_fft_r2c": 2, "_fft_c2r": 3, "constant_pad_nd": 2}
"""Operations that launch several kernels: transform and twiddles, and a copy before the inverse; fill and copy."""
ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view"}


class LaunchCounter(TorchDispatchMode):
    """Counts launches by module and by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.module, self._silent = "network", False

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        views = func.is_view or torch.Tag.inplace_view in func.tags or name in ALLOCATIONS
        if not views and not self._silent:
            self.counts[self.module, name] += COSTS.get(name, 1)
        return func(*args, **(kwargs or {}))

    def once(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as one launch, whatever it does inside."""

        def launch(*args: Any) -> Any:
            assert not self._silent, f"{name} is launched inside of another launch"
            self.counts[self.module, name] += 1
            self._silent = True
            try:
                return function(*args)
            finally:
                self._silent = False

        return launch

    def inside(self, module: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with its launches booked to a module."""

        @functools.wraps(function)
        def booked(*args: Any) -> Any:
            self.module = module
            try:
                return function(*args)
            finally:
                self.module = "network"

        booked.strided = getattr(function, "strided", False)  # type: ignore[attr-defined]
        return booked

    def launches(self) -> Any:
        """A module like `kernels.gpu.launches`, which works on every device."""
        found = {name: self.once(name, getattr(reference, name)) for name in LAUNCHES}
        return SimpleNamespace(DOUBLE=False, **found)


def count(config: BSMambaConfig, *, batch: int = 8, half: bool = False) -> LaunchCounter:
    """One pass of a network with stereo chunks of its own length."""
    counter = LaunchCounter()
    with torch.device("meta"):
        network = BSMamba(config).eval()
        mixture = torch.empty(batch, config.channels, config.chunk_samples)
    launches = counter.launches()
    for name, layer in network.named_modules():
        if isinstance(layer, Bindable) and (bound := bind_by(launches, layer)) is not None:
            layer.bound = counter.inside(
                ".".join(part for part in name.split(".") if not part.isdigit()), _plain(bound)
            )
    with torch.no_grad(), autocast_on_meta(half):  # in inference mode, operations that consist of others come whole
        network(mixture)  # windows are computed once
        counter.counts.clear()
        with counter:
            stems = network(mixture)
    assert stems.shape == (batch, len(config.stems), config.channels, config.chunk_samples)
    return counter


def _plain(bound: Any) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return bound(*args)

    call.strided = getattr(bound, "strided", False)  # type: ignore[attr-defined]
    return call


def _no_autocast(device: str, **settings: Any) -> Any:
    return nullcontext()


@contextmanager
def autocast_on_meta(half: bool) -> Iterator[None]:
    """Let the network believe that autocast to bfloat16 is on, or off; the meta device has none."""
    with (
        mock.patch.object(torch, "autocast", _no_autocast),
        mock.patch.object(torch, "is_autocast_enabled", return_value=half),
        mock.patch.object(torch, "get_autocast_dtype", return_value=torch.bfloat16),
    ):
        yield


def mini() -> BSMambaConfig:
    text = (ROOT / "models" / "ts-bsmamba2-mini" / "config.json").read_text(encoding="utf-8")
    return BSMambaConfig.from_dict(json.loads(text)["network"])


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for name, config in (("ts-bsmamba2", CONFIGS["ts-bsmamba2"]), ("ts-bsmamba2-mini", mini())):
        counter = count(config)
        print(f"{name}: {counter.total} launches in fp32, {count(config, half=True).total} in bf16")
        for module in dict.fromkeys(module for module, _ in counter.counts):
            parts = {op: n for (where, op), n in counter.counts.items() if where == module}
            listed = ", ".join(f"{op} {n}" for op, n in sorted(parts.items(), key=lambda item: -item[1]))
            print(f"  {module:24} {sum(parts.values()):4}  {listed}")


if __name__ == "__main__":
    main()
