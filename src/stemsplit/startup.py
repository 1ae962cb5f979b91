"""Importing PyTorch for a command that only infers, in two thirds of the time.

A third of the import is spent on what only a compiler asks for: the shapes that a thousand operators would give, in
`torch._meta_registrations`, and passes of the garbage collector over objects that all stay. The former is run when
something in it is asked for, or a compiler is imported; the latter waits until the imports are done. Until then there
is no `torch.Generator` either; where there is a GPU, whose libraries may need more than that, nothing stays deferred.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

DEFERRED = frozenset({"torch._meta_registrations"})
COMPILERS = frozenset({"torch._dynamo", "torch._inductor"})


class _DeferredModule(ModuleType):
    """Not run yet. What every module has, it has; anything else runs it."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # asked of all modules by `inspect`
            raise AttributeError(name)
        _run(self)
        return getattr(self, name)


def _run(module: ModuleType) -> None:
    spec = module.__spec__
    assert spec is not None
    assert isinstance(spec.loader, _DeferringLoader)
    module.__class__ = ModuleType
    spec.loader.real.exec_module(module)


class _DeferringLoader(Loader):
    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As of the real loader."""
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Not now."""
        module.__class__ = _DeferredModule


class _Deferring(MetaPathFinder):
    """Finds the modules that are to be deferred, as long as it is `active`, and runs them before a compiler comes."""

    active = True

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in COMPILERS:
            run_deferred()
        if not self.active or name not in DEFERRED:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader)
        return spec


def run_deferred() -> None:
    """Make up for what was left out."""
    for module in [sys.modules.get(name) for name in DEFERRED]:
        if isinstance(module, _DeferredModule):
            _run(module)


def _has_gpu(torch: ModuleType) -> bool:
    return bool(torch.cuda.is_available() or torch.backends.mps.is_available())


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import PyTorch and what builds on it inside the block; for commands, whose process is their own.

    Where PyTorch has been imported already nothing is deferred.
    """
    if "torch" in sys.modules:
        yield
        return
    finder, collecting = _Deferring(), gc.isenabled()
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
        if "torch" in sys.modules and _has_gpu(sys.modules["torch"]):
            run_deferred()
    finally:
        finder.active = False
        if collecting:
            gc.enable()  # no gc.freeze(): what is frozen is not taken down at the end, which nanobind calls a leak
