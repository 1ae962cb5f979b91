"""Launches of one pass on a GPU, counted without one: the budgets hold, and the counter misses nothing."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from stemsplit.networks.bsmamba import CONFIGS, BSMambaConfig
from stemsplit.networks.kernels.gpu import reference

SOURCE = Path(reference.__file__).with_name("launches.py")


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.delitem(sys.modules, "launches", raising=False)
    import launches

    return launches


def test_the_full_network_launches_at_most_150_kernels(launches: ModuleType) -> None:
    assert launches.count(CONFIGS["ts-bsmamba2"], half=True).total <= 150
    # In float32 57 bands do not fit into the shared memory at once: two more kernels in each of 12 blocks.
    assert launches.count(CONFIGS["ts-bsmamba2"]).total <= 150 + 24


@pytest.mark.parametrize("half", [False, True])
def test_the_mini_launches_at_most_100(launches: ModuleType, half: bool) -> None:
    assert launches.count(launches.mini(), half=half).total <= 100


def test_one_more_operation_is_one_more_launch(launches: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    config = BSMambaConfig(blocks_mask=1, blocks_map=1)
    before = launches.count(config).total
    own = launches.BSMamba.separated
    monkeypatch.setattr(launches.BSMamba, "separated", lambda self, spectrum: own(self, spectrum * 1.5))
    assert launches.count(config).total == before + 1


def test_views_and_allocations_are_no_launches_and_some_operations_are_several(launches: ModuleType) -> None:
    with torch.no_grad(), launches.LaunchCounter() as counter:
        x = torch.empty(4, 6, device="meta").t()[1:].unsqueeze(0)
        assert counter.total == 0
        x = x.contiguous()
        assert counter.total == 1
        x.add_(1)
        torch.fft.rfft(x)
        torch.nn.functional.pad(x, (0, 1))
    assert counter.total == 2 + 2 + 2


def test_without_bound_layers_there_are_thousands(launches: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "bind_by", lambda counted, layer: None)
    config = BSMambaConfig(blocks_mask=1, blocks_map=1, d_state=8, expand=1)
    assert launches.count(config, batch=1).total > 2500


def functions() -> list[ast.FunctionDef]:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def test_each_function_launches_one_kernel(launches: ModuleType) -> None:
    """The counter takes each for one launch. Besides the kernel they call only what is no launch."""
    allowed = {"torch.empty", "torch.empty_like", "projected.new_empty", "torch.view_as_real", "torch.view_as_complex"}
    allowed |= {"len", "min", "block_of", "_blocks", "_bins", "_precision", "_parts"}
    assert [function.name for function in functions()] == list(launches.LAUNCHES)
    for function in functions():
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        kernels = [call for call in calls if isinstance(call.func, ast.Subscript)]
        assert len(kernels) == 1, function.name
        assert not [node for node in ast.walk(function) if isinstance(node, (ast.While, ast.For))], function.name
        others = {ast.unparse(call.func) for call in calls if call not in kernels}
        methods = {name for name in others if name.endswith((".stride", ".transpose", ".items", ".chunk_of"))}
        assert others - methods <= allowed, (function.name, others - methods - allowed)


def test_the_reference_has_the_same_functions() -> None:
    for function in functions():
        own = getattr(reference, function.name)
        assert own.__code__.co_varnames[: own.__code__.co_argcount] == tuple(arg.arg for arg in function.args.args)
