"""The GPU benchmark's steps, with tiny sizes on the CPU: on the day that a GPU is there, nothing but numbers is new."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from stemsplit.networks.backends import choose as backends
from stemsplit.networks.backends.torch import TorchBackend
from stemsplit.networks.layers.bimamba import ResidualBiMamba


class WrongBackend(TorchBackend):
    """Adds a little too much."""

    name = "wrong"

    def bind(self, block: ResidualBiMamba) -> backends.Bound:
        right = super().bind(block)
        return lambda rows: rows + 1.1 * (right(rows) - rows)


class FailingBackend(TorchBackend):
    name = "failing"

    def bind(self, block: ResidualBiMamba) -> backends.Bound:
        def fail(rows: Tensor) -> Tensor:
            raise RuntimeError("no kernel")

        return fail


class AbsentBackend(TorchBackend):
    name = "absent"

    def missing(self, device: torch.device) -> str | None:
        return "it is elsewhere"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.delitem(sys.modules, "gpu", raising=False)
    import gpu

    return gpu


def offer(monkeypatch: pytest.MonkeyPatch, *offered: type[TorchBackend]) -> None:
    for name in list(backends.BACKENDS):
        monkeypatch.delitem(backends.BACKENDS, name)
    for backend in offered:
        monkeypatch.setitem(backends.BACKENDS, backend.name, backend)


def test_every_step_is_taken_and_written(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, TorchBackend, AbsentBackend)
    assert gpu.run(gpu.DRY, tmp_path / "new", "cpu", list(gpu.STEPS)) == 0
    found = json.loads((tmp_path / "new" / "gpu.json").read_text())
    assert found["failed"] == []
    assert {row["length"] for row in found["correct"]} == set(gpu.DRY.lengths)
    assert all(row["ok"] for row in found["correct"])
    assert found["blocks"][0]["torch"] > 0
    assert found["networks"][0]["ms_per_second"] > 0
    assert found["streams"][0]["times_real_time"] > 0
    assert set(found["seconds"]) == set(gpu.STEPS)
    assert "without absent: it is elsewhere" in capsys.readouterr().out


def test_a_wrong_backend_fails_the_run(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, TorchBackend, WrongBackend)
    assert gpu.run(gpu.DRY, tmp_path, "cpu", ["correct"]) == 1
    rows = json.loads((tmp_path / "gpu.json").read_text())["correct"]
    assert {row["backend"] for row in rows if not row["ok"]} == {"wrong"}


def test_a_backend_that_fails_leaves_the_others_their_times(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, TorchBackend, FailingBackend)
    gpu.run(gpu.DRY, tmp_path, "cpu", ["correct", "blocks", "networks"])
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert "no kernel" in found["correct"][-1]["error"]
    assert found["blocks"][0]["torch"] > 0
    assert "no kernel" in found["blocks"][0]["failing"]
    assert "no kernel" in found["networks"][-1]["ms_per_second"]


def test_a_step_that_fails_is_told_and_late_ones_are_left_out(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, TorchBackend)

    def fail(bench: object) -> list[dict[str, object]]:
        raise ValueError("odd")

    monkeypatch.setitem(gpu.STEPS, "sweep", fail)
    assert gpu.run(gpu.DRY, tmp_path, "cpu", ["sweep", "blocks"]) == 1
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["failed"] == ["sweep: ValueError: odd"]
    assert found["blocks"]
    assert gpu.run(replace(gpu.DRY, minutes=-1.0), tmp_path, "cpu", ["blocks"]) == 1


def test_mamba_ssm_is_found_in_an_unpacked_archive(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)  # put back afterwards
    package = tmp_path / "mamba_ssm"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('selective_scan_cuda')")
    (package / "unlikely.py").write_text("ANSWER = 42")
    gpu.provide_mamba(tmp_path)
    from mamba_ssm import unlikely

    assert unlikely.ANSWER == 42
    monkeypatch.delitem(sys.modules, "mamba_ssm.unlikely")
