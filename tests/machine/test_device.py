from __future__ import annotations

import pytest
import torch

from stemsplit.errors import DeviceError
from stemsplit.machine import device
from stemsplit.machine.device import available_devices, choose_device, choose_precision


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretend to be a machine with so many GPUs of a compute capability, or with MPS."""

    def pretend(gpus: int = 0, capability: tuple[int, int] = (8, 0), mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA Test")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("gpus", "mps", "expected"),
    [(0, False, "cpu"), (2, False, "cuda:0"), (0, True, "mps"), (1, True, "cuda:0")],
)
def test_auto_takes_the_fastest(machine, gpus: int, mps: bool, expected: str) -> None:
    machine(gpus, mps=mps)
    assert choose_device() == torch.device(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1"), ("mps", "mps")],
)
def test_a_device_by_name(machine, name: str, expected: str) -> None:
    machine(gpus=2, mps=True)
    assert choose_device(name) == torch.device(expected)


def test_what_there_is(machine) -> None:
    machine(gpus=2, mps=True)
    assert available_devices() == ("cuda:0", "cuda:1", "mps", "cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_missing_device_is_refused_and_names_the_doctor(machine, name: str) -> None:
    machine()
    with pytest.raises(DeviceError, match=rf"no {name} here, only cpu: `stemsplit doctor`"):
        choose_device(name)


def test_a_gpu_too_many_is_refused_and_names_the_others(machine) -> None:
    machine(gpus=2)
    with pytest.raises(DeviceError, match="no cuda:2 here, only cuda:0, cuda:1, cpu"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "meta", "xpu"])
def test_unknown_devices_are_refused(machine, name: str) -> None:
    machine(gpus=1, mps=True)
    with pytest.raises(DeviceError, match="unknown device"):
        choose_device(name)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((6, 1), None),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((12, 0), torch.bfloat16),
    ],
)
def test_auto_precision_by_generation(machine, capability: tuple[int, int], expected: torch.dtype | None) -> None:
    machine(1, capability)
    assert choose_precision("auto", torch.device("cuda:0")) is expected


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_auto_precision_is_exact_elsewhere(name: str) -> None:
    assert choose_precision("auto", torch.device(name)) is None


@pytest.mark.parametrize(
    ("precision", "name", "expected"),
    [
        ("fp32", "cuda:0", None),
        ("bf16", "cuda:0", torch.bfloat16),
        ("fp16", "cuda:0", torch.float16),
        ("bf16", "cpu", torch.bfloat16),
        ("fp16", "mps", torch.float16),
    ],
)
def test_an_explicit_precision(machine, precision: str, name: str, expected: torch.dtype | None) -> None:
    machine(1, (9, 0))
    assert choose_precision(precision, torch.device(name)) is expected


def test_precisions_that_a_device_lacks_are_refused(machine) -> None:
    machine(1, (7, 5))
    with pytest.raises(DeviceError, match="no bf16 on NVIDIA Test"):
        choose_precision("bf16", torch.device("cuda:0"))
    with pytest.raises(DeviceError, match="no fp16 on the CPU"):
        choose_precision("fp16", torch.device("cpu"))
    with pytest.raises(DeviceError, match=r"unknown precision 'half'.*auto, fp32, bf16, fp16"):
        choose_precision("half", torch.device("cpu"))


def test_this_machine_has_a_cpu() -> None:
    assert device.available_devices()[-1] == "cpu"


@pytest.fixture
def three_threads():
    """PyTorch set to three threads, and back."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 2), (64, 3)])
def test_torch_gets_no_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch, cores: int, expected: int) -> None:
    monkeypatch.setattr(device, "usable_cores", lambda: cores)
    with device.threads_within_cores():
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("name", "wanted", "expected"), [("cuda:1", None, 8), ("cpu", None, 1), ("mps", None, 1), ("cuda", 3, 3)]
)
def test_a_batch_is_large_on_cuda_unless_the_user_chooses(name: str, wanted: int | None, expected: int) -> None:
    assert device.chunks_in_a_batch(torch.device(name), wanted) == expected


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(
    ("cores", "name", "parameters", "expected"),
    [
        (2, "cpu", 4_000_000, 2),
        (64, "cpu", 4_000_000, 3),
        (2, "cpu", 35_000_000, 1),  # its products are shared among threads
        (2, "cpu", None, 1),  # a callable that may not bear it
        (2, "mps", 4_000_000, 1),
        (2, "cuda", 35_000_000, 2),  # the host works while the GPU does
        (2, "cuda", None, 1),
    ],
)
def test_small_networks_compute_a_chunk_per_thread_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, cores: int, name: str, parameters: int | None, expected: int
) -> None:
    monkeypatch.setattr(device, "usable_cores", lambda: cores)
    assert device.chunks_side_by_side(torch.device(name), parameters) == expected
