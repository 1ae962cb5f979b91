"""The separator with small fake networks: any length, channel count and shortage of memory, in no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY
from torch import Tensor, nn

from stemsplit.errors import DecodeError, ModelError, OutOfMemoryError, UsageError
from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig
from stemsplit.separation.inference import is_out_of_memory
from stemsplit.separation.stream import Chunking, channel_groups, chunking_for, separate_array, separate_blocks


@dataclass(frozen=True)
class Config:
    stems: tuple[str, ...] = ("copy", "half")
    sample_rate: int = 10
    channels: int = 2
    chunk_samples: int = 40
    overlap: float = 0.5
    plain_chunks: bool = False
    centred_chunks: bool = False
    levelled: bool = False
    one_chunk_on_cpu: bool = False
    shortest_samples: int = 1
    thread_safe: bool = True
    aligned: bool = True


@dataclass
class Fake:
    """Stems are the mixture and half of it; counts its calls and fails where told to."""

    config: Config = Config()
    fails: Callable[[Tensor], BaseException | None] = lambda mixture: None

    def __post_init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, mixture: Tensor) -> Tensor:
        self.calls.append(tuple(mixture.shape))
        if error := self.fails(mixture):
            raise error
        return torch.stack([mixture, mixture / 2], dim=1)


class Module(nn.Module):
    """Depends on the whole chunk like a GroupNorm does, and makes something out of silence."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Config(stems=("a", "b", "c"))
        self.gain = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))

    def forward(self, mixture: Tensor) -> Tensor:
        scale = mixture.std(dim=(1, 2), keepdim=True) + mixture.mean(dim=(1, 2), keepdim=True) + 1
        return (mixture * scale)[:, None] * self.gain[:, None, None] + 0.1


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from threads, and lose seconds to them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(length: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(length).standard_normal((channels, length)).astype(np.float32)


def oom() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def separate(network: object, mixture: np.ndarray, warnings: list[str] | None = None, **options) -> np.ndarray:
    on_warning = pytest.fail if warnings is None else warnings.append
    return separate_array(network, mixture, on_warning=on_warning, **options)


@settings(deadline=None)  # a busy machine is no failure
@given(
    length=st.integers(1, 300),
    chunk=st.integers(1, 50),
    overlap=st.floats(0, 1, exclude_max=True),
    batch=st.integers(1, 5),
    size=st.integers(1, 400),
    channels=st.integers(1, 9),
)
def test_an_identity_network_gives_the_mixture_back(
    length: int, chunk: int, overlap: float, batch: int, size: int, channels: int
) -> None:
    mixture = noise(length, channels)
    mixture += np.sign(mixture) / 10  # no chunk has a channel 70 dB below the other, which would count as silent
    nothing = mixture[:, :0]
    blocks = [nothing, *(mixture[:, at : at + size] for at in range(0, length, size)), nothing]
    chunking = Chunking(chunk, overlap, batch)
    stems = np.concatenate(list(separate_blocks(Fake(), blocks, channels=channels, chunking=chunking)), axis=-1)
    assert stems.dtype == np.float32
    np.testing.assert_allclose(stems, np.stack([mixture, mixture / 2]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [1, 20, 40, 41, 133, 400])
def test_the_batch_size_changes_nothing_but_the_calls(length: int) -> None:
    mixture, network = noise(length), Module()
    one, many = (separate(network, mixture, chunking=Chunking(40, 0.5, batch)) for batch in (1, 7))
    np.testing.assert_allclose(many, one, atol=1e-6)
    fake = Fake()
    separate(fake, noise(200), chunking=Chunking(40, 0.5, 4))
    assert fake.calls == [(4, 2, 40), (4, 2, 40), (3, 2, 40)]


@pytest.mark.parametrize(
    ("length", "calls"),
    [
        (1, [7]),  # the network takes no less
        (6, [7]),
        (7, [7]),
        (20, [20]),
        (39, [39]),
        (40, [40]),  # a whole chunk
        (41, [40] * 4),  # from −20, 0, 20 and 40 on
    ],
)
def test_what_fits_into_a_chunk_is_one_call(length: int, calls: list[int]) -> None:
    fake, mixture = Fake(Config(shortest_samples=7)), noise(length)
    stems = separate(fake, mixture)
    np.testing.assert_allclose(stems, np.stack([mixture, mixture / 2]), rtol=1e-5)
    assert fake.calls == [(1, 2, samples) for samples in calls]


@pytest.mark.parametrize("length", [1, 33, 63, 64, 65, 799, 800, 801])
def test_a_short_file_gets_what_the_network_says_of_it(length: int) -> None:
    """The real one, around its window of 64 samples and its chunk of 800."""
    network, mixture = BSMamba(replace(TINY, chunk_samples=800)).eval(), torch.from_numpy(noise(length))
    stems = separate(network, mixture.numpy())
    assert stems.shape == (4, 2, length)
    if 64 <= length <= 800:
        with torch.inference_mode():
            np.testing.assert_allclose(stems, network(mixture[None])[0].numpy(), atol=1e-6)


def test_no_samples_give_no_samples() -> None:
    fake = Fake()
    assert separate(fake, np.zeros((2, 0), np.float32)).shape == (2, 2, 0)
    assert list(separate_blocks(fake, [], channels=2, chunking=Chunking(40))) == []
    assert fake.calls == []


def test_progress_ends_at_the_length() -> None:
    seen: list[int] = []
    separate(Fake(), noise(133), on_progress=seen.append)
    assert seen == sorted(set(seen))
    assert seen[0] > 0
    assert seen[-1] == 133


def test_a_module_is_evaluated_without_gradients() -> None:
    network = Module().train()
    separate(network, noise(50))
    assert not network.training
    assert network.gain.grad is None
    assert torch.is_grad_enabled()


def test_inference_mode_does_not_leak_to_the_caller() -> None:
    stream = separate_blocks(Module(), [noise(200)], channels=2, chunking=Chunking(40))
    next(stream)
    assert not torch.is_inference_mode_enabled()


# Channels


@pytest.mark.parametrize("channels", range(1, 20))
def test_groups_hold_every_channel_once_and_in_order(channels: int) -> None:
    groups = channel_groups(channels)
    assert [channel for group in groups for channel in group] == list(range(channels))
    assert channel_groups(channels, widest=1) == tuple((channel,) for channel in range(channels))


def test_the_groups_of_the_standard_layouts() -> None:
    assert channel_groups(1) == ((0,),)
    assert channel_groups(2) == ((0, 1),)
    assert channel_groups(6) == ((0, 1), (2,), (3,), (4, 5))
    assert channel_groups(8) == ((0, 1), (2,), (3,), (4, 5), (6, 7))


def test_surround_is_separated_in_its_groups() -> None:
    mixture, fake = noise(30, channels=6), Fake()
    separate(fake, mixture, chunking=Chunking(30, 0))
    assert [shape[1] for shape in fake.calls] == [2, 1, 1, 2]
    network = Module()
    whole = separate(network, mixture)
    for group in channel_groups(6):
        np.testing.assert_allclose(whole[:, group], separate(network, mixture[list(group)]), atol=1e-6)


def test_a_mono_network_gets_one_channel_at_a_time() -> None:
    fake = Fake(Config(channels=1))
    separate(fake, noise(30), chunking=Chunking(30, 0))
    assert fake.calls == [(1, 1, 30)] * 2


def test_blocks_of_another_shape_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"\(3, 5\)"):
        list(separate_blocks(Fake(), [noise(5, 3)], channels=2, chunking=Chunking(40)))


# Silence and numbers that are none


def test_silence_stays_silent_and_costs_nothing() -> None:
    calls = []
    network = Module()
    network.register_forward_hook(lambda *_: calls.append(1))
    assert not separate(network, np.zeros((2, 500), np.float32)).any()
    assert calls == []


def test_silent_chunks_are_skipped_among_others() -> None:
    mixture = noise(400)
    mixture[:, 100:300] = 0
    fake = Fake()
    stems = separate(fake, mixture, chunking=Chunking(40, 0.5, 4))
    np.testing.assert_allclose(stems[0], mixture, atol=1e-6)
    assert sum(shape[0] for shape in fake.calls) == 21 - 9


def test_a_channel_may_be_silent_next_to_another() -> None:
    mixture = noise(100)
    mixture[0] = 0
    np.testing.assert_allclose(separate(Fake(), mixture)[0], mixture, atol=1e-6)


def test_a_silent_channel_group_is_skipped() -> None:
    mixture, fake = noise(30, channels=6), Fake()
    mixture[3] = 0
    assert not separate(fake, mixture, chunking=Chunking(30, 0))[:, 3].any()
    assert len(fake.calls) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_mixture_with_nan_is_refused_with_its_time(bad: float) -> None:
    mixture = noise(400)
    mixture[1, 123] = bad
    blocks = [mixture[:, :100], mixture[:, 100:]]
    with pytest.raises(DecodeError, match=r"12\.30 s"):
        list(separate_blocks(Fake(), blocks, channels=2, chunking=Chunking(40)))


@dataclass
class Overflowing(Fake):
    """Returns NaN or infinity for chunks that hold a 7, always or only in half precision."""

    value: float = float("nan")
    always: bool = True

    def __call__(self, mixture: Tensor) -> Tensor:
        stems = super().__call__(mixture)
        if self.always or torch.is_autocast_enabled("cpu"):
            stems[(mixture == 7).any(dim=(1, 2))] = self.value
        return stems


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_from_the_network_never_gets_out(precision: torch.dtype | None, value: float) -> None:
    mixture = noise(400)
    mixture[0, 210] = 7
    stems: list[np.ndarray] = []
    warnings: list[str] = []
    stream = separate_blocks(
        Overflowing(value=value),
        [mixture],
        channels=2,
        chunking=Chunking(40, 0.5, 3),
        precision=precision,
        on_warning=warnings.append,
    )
    with pytest.raises(ModelError, match=r"chunk at 18\.00 s"):
        stems.extend(stream)
    np.testing.assert_allclose(np.concatenate(stems, axis=-1)[0], mixture[:, :180], atol=1e-6)
    assert len(warnings) == (precision is not None)


def test_the_time_of_a_bad_chunk_is_never_before_the_song() -> None:
    mixture = noise(400)
    mixture[0, 0] = 7
    with pytest.raises(ModelError, match=r"chunk at 0\.00 s"):
        separate(Overflowing(), mixture)


def test_half_precision_that_overflows_is_repeated_in_fp32() -> None:
    mixture, warnings = noise(400), []
    mixture[0, ::100] = 7
    network = Overflowing(always=False)
    stems = separate(network, mixture, warnings, precision=torch.bfloat16, chunking=Chunking(40, 0.5, 3))
    np.testing.assert_allclose(stems[0], mixture, atol=1e-6)
    assert warnings == ["bfloat16 overflowed in the network: such chunks are repeated in fp32"]
    repeated = sum(shape[0] for shape in network.calls) - 21
    assert repeated == 8  # two chunks for each 7, one more that is mirrored: nothing else was done twice


def test_precision_reaches_the_network() -> None:
    seen = []

    def look(_: Tensor) -> None:
        seen.append(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None)

    separate(Fake(fails=look), noise(10), precision=torch.bfloat16)
    separate(Fake(fails=look), noise(10))
    assert seen == [torch.bfloat16, None]


def test_stems_are_float32_whatever_goes_in_and_comes_out() -> None:
    class Half(Fake):
        def __call__(self, mixture: Tensor) -> Tensor:
            assert mixture.dtype == torch.float32
            return super().__call__(mixture).bfloat16()

    mixture = noise(100).astype(np.float64)
    stems = separate(Half(), mixture)
    assert stems.dtype == np.float32
    np.testing.assert_allclose(stems[0], mixture, rtol=0.01)


@pytest.mark.parametrize("shape", [(1, 2, 40), (1, 3, 2, 40), (1, 2, 2, 39), (1, 2, 1, 40)])
def test_a_network_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    class Wrong(Fake):
        def __call__(self, mixture: Tensor) -> Tensor:
            return torch.zeros(shape)

    with pytest.raises(ModelError, match="the network returned"):
        separate(Wrong(), noise(40))


# Memory


def test_a_short_file_that_does_not_fit_is_cut_too() -> None:
    mixture, warnings = noise(39), []
    fake = Fake(fails=lambda x: oom() if x.shape[-1] > 20 else None)
    stems = separate(fake, mixture, warnings)
    np.testing.assert_allclose(stems[0], mixture, rtol=1e-5)
    assert fake.calls[0] == (1, 2, 39)
    assert max(shape[-1] for shape in fake.calls[1:]) == 19
    assert len(warnings) == 1


def test_the_batch_is_halved_until_it_fits() -> None:
    mixture, warnings = noise(400), []
    fake = Fake(fails=lambda x: oom() if len(x) > 2 else None)
    stems = separate(fake, mixture, warnings, chunking=Chunking(40, 0.5, 8))
    np.testing.assert_allclose(stems[0], mixture, atol=1e-6)
    assert warnings == [
        "out of memory on cpu: batches of 4 chunks from here on",
        "out of memory on cpu: batches of 2 chunks from here on",
    ]
    batches = [shape[0] for shape in fake.calls]
    assert batches[:2] == [8, 4]
    assert max(batches[2:]) == 2
    assert sum(batches[2:]) == 21  # every chunk once


def test_a_smaller_batch_does_not_change_the_stems() -> None:
    mixture, network, warnings = noise(400), Module(), []
    expected = separate(network, mixture, chunking=Chunking(40, 0.5, 1))
    forward = network.forward
    network.forward = lambda x: (_ for _ in ()).throw(oom()) if len(x) > 3 else forward(x)
    np.testing.assert_allclose(separate(network, mixture, warnings, chunking=Chunking(40, 0.5, 8)), expected, atol=1e-6)
    assert warnings


@pytest.mark.parametrize(("fits", "rungs"), [(20, 1), (10, 2)])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
def test_the_chunk_is_halved_and_the_seams_still_fit(fits: int, rungs: int, overlap: float) -> None:
    mixture, warnings = noise(333), []
    fake = Fake(fails=lambda x: oom() if x.shape[-1] > fits else None)
    stems = separate(fake, mixture, warnings, chunking=Chunking(40, overlap))
    np.testing.assert_allclose(stems, np.stack([mixture, mixture / 2]), rtol=1e-5, atol=1e-6)
    assert len(warnings) == rungs
    assert warnings[-1] == (
        f"out of memory on cpu: chunks of {fits / 10:.2f} s from here on, which changes the stems a little"
    )
    assert sum(shape[-1] > fits for shape in fake.calls) == rungs  # the limit is remembered


def test_a_halved_chunk_is_separated_as_a_song_of_its_own() -> None:
    mixture, network, warnings = noise(40), Module(), []
    expected = separate(network, mixture, chunking=Chunking(20, 0))
    forward = network.forward
    network.forward = lambda x: (_ for _ in ()).throw(oom()) if x.shape[-1] > 20 else forward(x)
    stems = separate(network, mixture, warnings, chunking=Chunking(40, 0))
    np.testing.assert_allclose(stems, expected, atol=1e-6)


def test_memory_that_runs_out_in_the_middle_loses_nothing() -> None:
    mixture, warnings = noise(1000), []
    fake = Fake()
    fake.fails = lambda x: oom() if len(fake.calls) > 5 and (len(x) > 1 or x.shape[-1] > 20) else None
    stems = separate(fake, mixture, warnings, chunking=Chunking(40, 0.5, 4))
    np.testing.assert_allclose(stems[0], mixture, rtol=1e-5, atol=1e-6)
    assert len(warnings) == 3


def test_the_last_rung_is_the_cpu() -> None:
    """A `meta` device stands for a GPU that has no memory left."""
    mixture, warnings = noise(100), []
    fake = Fake(fails=lambda x: oom() if x.device.type == "meta" else None)
    stems = separate(fake, mixture, warnings, device="meta", precision=None, chunking=Chunking(40, 0.5, 2))
    np.testing.assert_allclose(stems[0], mixture, atol=1e-6)
    assert [warning.split(": ")[1][:12] for warning in warnings] == [
        "batches of 1",
        "chunks of 2.",
        "chunks of 1.",
        "going on wit",
    ]
    on_cpu = [shape for shape in fake.calls if shape not in {(2, 2, 40), (1, 2, 40), (1, 2, 20), (1, 2, 10)}]
    assert on_cpu == []
    assert fake.calls[-1] == (1, 2, 40)  # whole chunks again


def test_a_network_that_does_not_even_fit_on_the_device_runs_on_the_cpu() -> None:
    class Heavy(Module):
        def to(self, device: torch.device) -> Heavy:  # type: ignore[override]
            if torch.device(device).type != "cpu":
                raise oom()
            return super().to(device)

        def forward(self, mixture: Tensor) -> Tensor:
            assert not torch.is_autocast_enabled("cpu")
            return super().forward(mixture)

    mixture, warnings = noise(100), []
    stems = separate(Heavy(), mixture, warnings, device="meta", precision=torch.float16)
    np.testing.assert_array_equal(stems, separate(Module(), mixture))
    assert len(warnings) == 1
    assert "the CPU" in warnings[0]


def test_when_nothing_fits_the_error_says_what_to_do() -> None:
    warnings: list[str] = []
    with pytest.raises(OutOfMemoryError, match=r"chunks of 1\.00 s: .*--chunk-seconds"):
        separate(Fake(fails=lambda _: MemoryError()), noise(100), warnings, chunking=Chunking(40, 0.5, 4))
    assert len(warnings) == 4


@pytest.mark.parametrize(
    "error",
    [
        oom(),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 400000000000 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.05 GB, other allocations: 12.75 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_how_allocators_say_it(error: BaseException) -> None:
    assert is_out_of_memory(error)


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)


@pytest.mark.cuda
def test_a_full_gpu_gives_smaller_batches() -> None:
    class Greedy(Module):
        def forward(self, mixture: Tensor) -> Tensor:
            torch.empty(2 ** (46 if len(mixture) > 1 else 10), device=mixture.device)
            return super().forward(mixture)

    mixture, warnings = noise(400), []
    stems = separate(Greedy(), mixture, warnings, device="cuda", chunking=Chunking(40, 0.5, 4))
    np.testing.assert_allclose(stems, separate(Module(), mixture), rtol=1e-4, atol=1e-5)
    assert [warning.split(": ")[1][:12] for warning in warnings] == ["batches of 2", "batches of 1"]


def test_other_errors_are_not_swallowed() -> None:
    fake = Fake(fails=lambda _: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        separate(fake, noise(50))
    assert len(fake.calls) == 1


# Settings


def test_the_chunking_of_the_network_and_of_the_user() -> None:
    assert chunking_for(Config()) == Chunking(40, 0.5, 1)
    assert chunking_for(Config(), chunk_seconds=2.5, overlap=0, batch_size=3) == Chunking(25, 0, 3)


@pytest.mark.parametrize("seconds", [0, -1, 0.01, float("nan"), float("inf")])
def test_chunks_without_a_length_are_refused(seconds: float) -> None:
    with pytest.raises(UsageError):
        chunking_for(Config(), chunk_seconds=seconds)


def test_a_chunk_shorter_than_the_analysis_window_is_refused() -> None:
    @dataclass(frozen=True)
    class Spectral(Config):
        shortest_samples: int = 30

    with pytest.raises(UsageError, match=r"chunks of 2 s .* 3\.000 s"):
        chunking_for(Spectral(), chunk_seconds=2)
    assert chunking_for(Spectral(), chunk_seconds=3).chunk_samples == 30


# The real network


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_the_real_network_runs_in_every_width(precision: torch.dtype | None) -> None:
    config = BSMambaConfig(
        stems=("drums", "vocals"),
        chunk_samples=1200,
        n_fft=64,
        hop_length=32,
        bands=(3, 10, 20),
        dim=16,
        blocks_mask=1,
        blocks_map=1,
        d_state=8,
        headdim=16,
    )
    torch.manual_seed(0)
    network = BSMamba(config)
    mixture = noise(2999, channels=3)
    stems = separate(network, mixture, chunking=chunking_for(config, batch_size=2), precision=precision)
    assert stems.shape == (2, 3, 2999)
    assert np.isfinite(stems).all()
    exact = separate(network, mixture)
    np.testing.assert_allclose(stems, exact, atol=1e-5 if precision is None else 0.2 * np.abs(exact).max())
