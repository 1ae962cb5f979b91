"""The layers with all bands together, in PyTorch, against the layers' own methods; how sequences are cut."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stemsplit.networks.backends.choose import bind
from stemsplit.networks.backends.gpu.layers import BlockOnGpu, bind_by
from stemsplit.networks.backends.mamba import MambaBackend
from stemsplit.networks.backends.torch import TorchBackend
from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig
from stemsplit.networks.kernels.gpu import reference
from stemsplit.networks.kernels.gpu.settings import FLOAT32, SMALLER, Settings
from stemsplit.networks.layers.bindable import Bindable, Bound

MINI = Path(__file__).parents[3] / "models" / "ts-bsmamba2-mini" / "config.json"
FEW = {"blocks_mask": 1, "blocks_map": 1, "d_state": 8, "dim": 16, "expand": 1, "headdim": 8}


class Together:
    """All layers by the functions of `kernels.gpu.reference`."""

    def bind(self, layer: nn.Module) -> Bound | None:
        return bind_by(reference, layer)


def published(**changes: object) -> BSMambaConfig:
    return BSMambaConfig(**{**FEW, **changes})


def mini() -> BSMambaConfig:
    settings = json.loads(MINI.read_text(encoding="utf-8"))["network"]
    return BSMambaConfig.from_dict({**settings, "blocks_mask": 1, "blocks_map": 1})


def network_of(config: BSMambaConfig) -> BSMamba:
    """A network in float64 whose weights are all random, also those that start as ones and zeros."""
    torch.manual_seed(0)
    network = BSMamba(config).eval().double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def difference(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("config", "batch", "channels", "samples"),
    [
        (published(), 2, 2, 9001),  # 18 frames
        (published(), 1, 1, 7000),
        (published(joint=True, bands=(3, 5, 5, 1012)), 2, 2, 9001),
        (mini(), 1, 2, 40000),
        (mini(), 3, 1, 13000),  # 7 frames
    ],
)
def test_networks_compute_the_same(config: BSMambaConfig, batch: int, channels: int, samples: int) -> None:
    network, mixture = network_of(config), torch.randn(batch, channels, samples, dtype=torch.float64)
    with torch.inference_mode():
        expected = network(mixture)
        bind(network, Together())
        assert all(layer.bound is not None for layer in network.modules() if isinstance(layer, Bindable))
        assert difference(network(mixture), expected) < 1e-13


def test_half_precision_is_near_and_tokens_stay_float32() -> None:
    network = network_of(published()).float()
    mixture = torch.randn(1, 2, 9001)
    seen: list[torch.dtype] = []
    network.blocks_map[0].register_forward_hook(lambda layer, given, found: seen.append(found.dtype))
    with torch.inference_mode():
        expected = network(mixture)
        bind(network, Together())
        with torch.autocast("cpu", torch.bfloat16):
            found = network(mixture)
    assert 1e-6 < difference(found, expected) < 0.02
    assert seen[-1] == torch.float32


@pytest.mark.parametrize("part", ["split_mask", "heads_map", "blocks_mask.0.channel", "blocks_map.0.band"])
def test_the_weights_are_those_at_the_time_of_binding(part: str) -> None:
    network, mixture = network_of(published()), torch.randn(1, 2, 5000, dtype=torch.float64)
    with torch.inference_mode():
        expected = network(mixture)
    bind(network, Together())
    layer = network.get_submodule(part)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    with torch.inference_mode():
        assert difference(network(mixture), expected) < 1e-13


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 1, 3, 2, 4), (3, 2, 1, 0, 4), (0, 1, 2, 4, 3)])
def test_tokens_may_have_any_strides_and_keep_theirs(order: tuple[int, ...]) -> None:
    block = network_of(published()).blocks_mask[0].time
    tokens = torch.randn(2, 2, 3, 5, 16, dtype=torch.float64)
    tokens = tokens.permute(order).contiguous().permute([order.index(axis) for axis in range(5)])
    with torch.inference_mode():
        found = BlockOnGpu(block, reference, None)(tokens)
        assert difference(found, block.forward_unfused(tokens)) < 1e-13
        gaps = BlockOnGpu(block, reference, None)(tokens[:, :, ::2, 1:])
        assert difference(gaps, block.forward_unfused(tokens[:, :, ::2, 1:])) < 1e-13
    if order[-1] == 4 and order[:2] == (0, 1):
        assert found.stride() == tokens.stride()


def test_the_band_path_copies_nothing() -> None:
    """The tokens of all paths have one layout, so that no launch is spent on another."""
    network = network_of(published())
    bind(network, Together())
    with torch.inference_mode():
        tokens = network.blocks_mask[0](torch.randn(1, 2, 57, 4, 16, dtype=torch.float64))
    assert tokens.is_contiguous()


def test_on_a_cpu_layers_around_the_blocks_compute_themselves_and_on_a_gpu_together() -> None:
    network = network_of(published())
    assert TorchBackend().bind(network.split_mask) is None
    with torch.device("meta"):
        elsewhere = BSMamba(published())
    for backend in (TorchBackend(), MambaBackend()):
        assert isinstance(backend.bind(elsewhere.split_mask), type(bind_by(reference, network.split_mask)))


def test_a_copy_of_a_bound_network_is_not_bound() -> None:
    network = network_of(published())
    bind(network, Together())
    assert copy.deepcopy(network).split_mask.bound is None
    assert network.train().heads_mask.bound is None


@pytest.mark.parametrize(
    ("settings", "length", "expected"),
    [
        (Settings(), 65, 32),  # 96 steps and not 128
        (Settings(), 259, 32),  # 288 and not 320
        (Settings(), 320, 64),
        (Settings(), 948, 64),
        (FLOAT32, 65, 16),
        (FLOAT32, 259, 32),
        (SMALLER, 17, 16),  # products have no shorter sides
    ],
)
def test_chunks_fit_the_sequence(settings: Settings, length: int, expected: int) -> None:
    assert settings.chunk_of(length) == expected
