"""The layers around the blocks in the native library, against the layers themselves in float64."""

from __future__ import annotations

import copy
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from stemsplit.errors import DeviceError
from stemsplit.networks.backends import native_bands
from stemsplit.networks.backends.native import NativeBackend
from stemsplit.networks.kernels.native_library import INSTRUCTION_SETS, Library, load_library
from stemsplit.networks.layers.bands import BandHeads, BandSplit
from stemsplit.networks.layers.tac import TransformAverageConcatenate

LIBRARY = load_library()
HERE: tuple[str, ...] = LIBRARY.instruction_sets() if isinstance(LIBRARY, Library) else ()
needs_library = pytest.mark.skipif(not HERE, reason=f"no native kernels: {LIBRARY}")
each_set = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(name not in HERE, reason=f"no {name} here: {LIBRARY}"))
        for name in INSTRUCTION_SETS
    ],
)
LEAST_SNR = {"avx512bf16": 38.0, "amx": 38.0}  # dB; with fp32 products it is 110
WIDTHS = (1, 2, 3, 37, 70)
BINS = sum(WIDTHS)


@torch.no_grad()
def filled(layer: nn.Module) -> nn.Module:
    """The layer with nothing left at zero or one."""
    for value in layer.parameters():
        value.add_(0.2 * torch.randn_like(value))
    return layer.eval()


def bound_to(layer: nn.Module, name: str | None) -> nn.Module:
    """A copy of the layer that the library computes."""
    made = copy.deepcopy(layer)
    made.bound = NativeBackend(name).bind(made)
    assert made.bound is not None
    return made


def snr(found: Tensor, truth: Tensor) -> float:
    return float(10 * torch.log10(truth.abs().square().sum() / (found - truth).abs().square().sum()))


def spectrum_of(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64)


@each_set
@pytest.mark.parametrize("steps", [1, 2, 56, 57, 131])
@pytest.mark.parametrize(("group", "features"), [(1, 16), (2, 21)])
def test_the_band_split(name: str, steps: int, group: int, features: int) -> None:
    torch.manual_seed(steps)
    split, spectrum = filled(BandSplit(WIDTHS, features, group)), spectrum_of(2, 2, BINS, steps)
    with torch.inference_mode():
        truth = copy.deepcopy(split).double().encode(spectrum.to(torch.complex128))
        found = bound_to(split, name).encode(spectrum)
    assert found.shape == truth.shape
    if steps == 1:  # a band of one bin has two values, whose norm is of their difference: rounding shows
        found, truth = found[:, :, 2:], truth[:, :, 2:]
    assert snr(found, truth) > LEAST_SNR.get(name, 105)


@each_set
def test_the_heads_finish_as_the_layer_does(name: str) -> None:
    dice = random.Random(3)
    for seed in range(8):
        torch.manual_seed(seed)
        group, stems, features = dice.choice([1, 2]), dice.randint(1, 5), 4 * dice.randint(1, 9)
        heads = filled(BandHeads(WIDTHS, features, stems, dice.randint(1, 3), group))
        groups, steps = dice.randint(1, 2), dice.choice([1, 3, 57, 120])
        tokens, mixture = (
            torch.randn(2, groups, len(WIDTHS), steps, features),
            spectrum_of(2, groups * group, BINS, steps),
        )
        onto = spectrum_of(2, stems, groups * group, BINS, steps)
        with torch.inference_mode():
            exact, bound = copy.deepcopy(heads).double(), bound_to(heads, name)
            wide = tokens.double(), mixture.to(torch.complex128), onto.to(torch.complex128)
            for found, truth in (
                (bound.decode(tokens), exact.decode(wide[0])),
                (bound.masked(tokens, mixture), exact.masked(wide[0], wide[1])),
                (bound.added(tokens, onto), exact.added(wide[0], wide[2])),
            ):
                assert found.shape == truth.shape
                assert snr(found, truth) > LEAST_SNR.get(name, 105), (seed, group, stems, features)


@each_set
def test_slices_of_the_last_map_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heads, tokens = filled(BandHeads(WIDTHS, 16, 4, 1)), torch.randn(1, 1, len(WIDTHS), 9, 16)
    with torch.inference_mode():
        whole = bound_to(heads, name).decode(tokens)
        for at_once in (1, 20, 10_000):
            monkeypatch.setattr(native_bands, "OUTPUTS_AT_ONCE", at_once)
            torch.testing.assert_close(bound_to(heads, name).decode(tokens), whole, rtol=1e-6, atol=1e-6)


@each_set
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_exchange_between_channels(name: str, channels: int) -> None:
    torch.manual_seed(channels)
    for features, steps in ((16, 1), (21, 57), (8, 200)):
        exchange = filled(TransformAverageConcatenate(features))
        tokens = torch.randn(2, channels, 3, steps, features)
        with torch.inference_mode():
            truth = copy.deepcopy(exchange).double()(tokens.double())
            found = bound_to(exchange, name)(tokens)
        assert snr(found - tokens, truth - tokens) > LEAST_SNR.get(name, 105)


def of_each_kind(seed: int = 0) -> list[tuple[nn.Module, Tensor]]:
    torch.manual_seed(seed)
    return [
        (filled(BandSplit(WIDTHS, 16, 2)), spectrum_of(1, 2, BINS, 61)),
        (filled(BandHeads(WIDTHS, 16, 3, 2)), torch.randn(1, 2, len(WIDTHS), 61, 16)),
        (filled(TransformAverageConcatenate(16)), torch.randn(1, 2, 5, 61, 16)),
    ]


@each_set
def test_any_number_of_threads_gives_the_same_bits(name: str) -> None:
    before = torch.get_num_threads()
    for layer, given in of_each_kind():
        bound, found = NativeBackend(name).bind(layer), []
        assert bound is not None
        try:
            for threads in (1, 2, 5):
                torch.set_num_threads(threads)
                with torch.inference_mode():
                    found.append(bound(given))
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(one, found[0]) for one in found)


@each_set
def test_silence_and_nothing_are_finite(name: str) -> None:
    for layer, given in of_each_kind():
        bound = NativeBackend(name).bind(layer)
        assert bound is not None
        with torch.inference_mode():
            assert torch.view_as_real(bound(torch.zeros_like(given)) + 0j).isfinite().all()
            assert bound(given[:0]).shape[0] == 0


@needs_library
def test_threads_that_come_first_together_share_one_packing() -> None:
    """What one thread packs must not be freed while another one reads it."""
    for layer, given in of_each_kind():
        for _ in range(5):
            bound = NativeBackend().bind(layer)
            assert bound is not None
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(torch.inference_mode()(bound), [given] * 8))
            assert all(torch.equal(one, found[0]) for one in found)


@needs_library
def test_double_precision_is_left_to_the_layer() -> None:
    for layer, given in of_each_kind():
        wide = layer.double()
        given = given.to(torch.complex128 if given.is_complex() else torch.float64)
        bound = NativeBackend().bind(wide)
        assert bound is not None
        with torch.inference_mode():
            assert snr(bound(given), given.new_zeros(()) + bound(given)) > 250
            assert bound(given).dtype in (torch.float64, torch.complex128)


@needs_library
def test_other_shapes_are_refused() -> None:
    split, heads, exchange = (NativeBackend().bind(layer) for layer, _ in of_each_kind())
    assert split is not None
    assert heads is not None
    assert exchange is not None
    with torch.inference_mode():
        with pytest.raises(ValueError, match="3 channels and 113 bins, the layer has 113"):
            split(spectrum_of(1, 3, BINS, 4))
        with pytest.raises(ValueError, match="the layer has 113 bins"):
            split(spectrum_of(1, 2, 7, 4))
        with pytest.raises(ValueError, match="the layer has 5 bands"):
            heads(torch.randn(1, 2, 4, 9, 16))
        with pytest.raises(ValueError, match="the layer has 5 bands"):
            heads(torch.randn(1, 2, 5, 9, 16), spectrum_of(1, 2, BINS, 8))
        with pytest.raises(ValueError, match="12 features, the layer has 16"):
            exchange(torch.randn(1, 2, 5, 9, 12))


@needs_library
def test_the_library_refuses_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Library, "layer", lambda self, *arguments: 2)
    for layer, given in of_each_kind():
        bound = NativeBackend().bind(layer)
        assert bound is not None
        with torch.inference_mode(), pytest.raises(DeviceError, match="refused"):
            bound(given)


@needs_library
def test_training_and_new_weights_drop_what_was_bound() -> None:
    for layer, given in of_each_kind():
        layer.bound = NativeBackend().bind(layer)
        layer.load_state_dict(layer.state_dict())
        assert layer.bound is None
        layer.bound = NativeBackend().bind(layer)
        run = layer.encode if isinstance(layer, BandSplit) else layer.decode if isinstance(layer, BandHeads) else layer
        assert run(given).requires_grad
        assert copy.deepcopy(layer).bound is None
