"""The network against the authors' outputs, and against what the paper says of it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from seeded_state import seeded_audio, seeded_tensor
from torch import Tensor

from stemsplit.networks.backends.choose import BACKENDS, bind
from stemsplit.networks.bsmamba import CONFIGS, BSMamba, BSMambaConfig
from stemsplit.networks.contract import Supervision
from stemsplit.networks.kernels import ssd
from stemsplit.networks.layers import mamba2
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.bindable import Bindable
from stemsplit.weights.checkpoint import load_network, save
from stemsplit.weights.layouts.ts_bsmamba2 import config as published_config
from stemsplit.weights.layouts.ts_bsmamba2 import convert as from_published
from stemsplit.weights.layouts.ts_bsmamba2 import shapes as published_shapes

DATA = Path(__file__).parents[1] / "data"
TINY = BSMambaConfig(
    n_fft=128, hop_length=32, bands=(2, 3, 10, 50), dim=16, blocks_mask=1, blocks_map=1, d_state=4, expand=2, headdim=8
)


def tiny(**settings: object) -> BSMamba:
    torch.manual_seed(0)
    return BSMamba(BSMambaConfig(**{**vars(TINY), **settings})).eval()


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def golden(name: str) -> tuple[BSMamba, Tensor, dict[str, Tensor]]:
    """The network under the seeded weights, the seeded mixture, and the authors' outputs."""
    stored = np.load(DATA / f"{name}.npz")
    meta = ast.literal_eval(str(stored["meta"]))
    config = BSMambaConfig(blocks_mask=meta["num_repeat_mask"], blocks_map=meta["num_repeat_map"])
    shapes = published_shapes(config)
    state = {key: torch.from_numpy(seeded_tensor(key, shape, meta["seed"])) for key, shape in shapes.items()}
    assert published_config(state) == config
    network = BSMamba(config).eval()
    network.load_state_dict(from_published(state, config))
    mixture = torch.from_numpy(seeded_audio(meta["seconds"], meta["channels"], seed=meta["seed"]))[None]
    return network, mixture, {key: torch.from_numpy(stored[key]).double()[None] for key in ("final", "masked")}


@pytest.mark.parametrize("name", ["ts_bsmamba2_2x2", "l_ts_bsmamba2"])
@torch.inference_mode()
def test_the_authors_outputs_are_met(name: str) -> None:
    network, mixture, expected = golden(name)
    found = network.estimates(mixture)
    assert _relative(found.two_stage.double(), expected["final"]) < 1e-5
    assert _relative(found.masked.double(), expected["masked"]) < 1e-5


@torch.inference_mode()
def test_float64_meets_the_authors_to_the_golden_files_rounding() -> None:
    network, mixture, expected = golden("ts_bsmamba2_2x2")
    found = network.double().estimates(mixture.double())
    assert _relative(found.two_stage, expected["final"]) < 5e-8
    assert _relative(found.masked, expected["masked"]) < 5e-8


@torch.inference_mode()
def test_float64_agrees_with_the_recurrence(monkeypatch: pytest.MonkeyPatch) -> None:
    network, mixture, _ = golden("ts_bsmamba2_2x2")
    network, mixture = network.double(), mixture[..., :2100].double()
    fast = network.estimates(mixture)
    monkeypatch.setattr(mamba2, "ssd_chunked", ssd.ssd_recurrence)
    monkeypatch.setattr(ResidualBiMamba, "forward", ResidualBiMamba.forward_unfused)
    slow = network.estimates(mixture)
    assert not torch.equal(fast.two_stage, slow.two_stage)  # really another way
    assert _relative(fast.two_stage, slow.two_stage) < 1e-10
    assert _relative(fast.masked, slow.masked) < 1e-10


@pytest.mark.parametrize(("name", "parameters"), [("ts-bsmamba2", 35_517_480), ("l-ts-bsmamba2", 27_708_648)])
def test_published_parameter_counts(name: str, parameters: int) -> None:
    with torch.device("meta"):
        network = BSMamba(CONFIGS[name])
    assert sum(value.numel() for value in network.parameters()) == parameters


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [1, 31, 64, 65, 1000])
@torch.inference_mode()
def test_masked_stems_add_up_to_the_mixture_at_any_length(samples: int, channels: int, joint: bool) -> None:
    mixture = torch.randn(2, channels, samples, dtype=torch.float64)
    found = tiny(joint=joint).double().estimates(mixture)
    assert found.two_stage.shape == found.masked.shape == (2, 4, channels, samples)
    torch.testing.assert_close(found.masked.sum(1), mixture)


@torch.inference_mode()
def test_one_channel_is_two_equal_channels() -> None:
    network, mono = tiny().double(), torch.randn(1, 1, 700, dtype=torch.float64)
    stereo = network(mono.expand(1, 2, -1))
    torch.testing.assert_close(stereo[:, :, :1], network(mono))
    torch.testing.assert_close(stereo[:, :, 0], stereo[:, :, 1])


@torch.inference_mode()
def test_examples_of_a_batch_do_not_touch_each_other() -> None:
    network, mixtures = tiny().double(), torch.randn(3, 2, 900, dtype=torch.float64)
    alone = torch.cat([network(mixture[None]) for mixture in mixtures])
    torch.testing.assert_close(network(mixtures), alone)


@torch.inference_mode()
def test_a_normalising_network_scales_with_its_input_and_keeps_silence() -> None:
    network, mixture = tiny(normalize=True).double(), torch.randn(1, 2, 900, dtype=torch.float64)
    torch.testing.assert_close(network(1e-3 * mixture), 1e-3 * network(mixture))
    assert not network(torch.zeros(1, 2, 900, dtype=torch.float64)).any()
    assert torch.isfinite(network.float()(torch.full((1, 2, 900), 1e-30))).all()


@torch.inference_mode()
def test_a_joint_network_hears_one_channel_in_the_other_and_takes_one_or_all() -> None:
    network, mixture = tiny(joint=True).double(), torch.randn(1, 2, 700, dtype=torch.float64)
    changed = network(torch.stack([mixture[:, 0], torch.randn(1, 700, dtype=torch.float64)], dim=1))
    assert not torch.allclose(changed[:, :, 0], network(mixture)[:, :, 0])
    mono = mixture[:, :1]
    torch.testing.assert_close(network(mono), network(mono.expand(-1, 2, -1)).mean(2, keepdim=True))
    with pytest.raises(ValueError, match="3 channels"):
        network(torch.randn(1, 3, 700, dtype=torch.float64))


@pytest.mark.parametrize("joint", [False, True])
def test_every_parameter_learns(joint: bool) -> None:
    network = tiny(joint=joint)
    found = network.estimates(torch.randn(1, 2, 900))
    (found.two_stage.square().sum() + found.masked.square().sum()).backward()
    idle = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert idle == []


@torch.inference_mode()
def test_bfloat16_autocast_is_close() -> None:
    network, mixture = tiny(), torch.randn(1, 2, 2000)
    expected = network(mixture)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(mixture)
    assert found.dtype == torch.float32
    assert _relative(found, expected) < 0.03


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"bands": (1, 2)}, "bands hold 3 bins"),
        ({"stems": ("a", "a")}, "distinct"),
        ({"overlap": 1.0}, "overlap"),
        ({"headdim": 5}, "headdim 5"),
        ({"dim": 3, "expand": 8, "head_expand": 1}, "head_expand"),
        ({"chunk_samples": 0}, "chunk_samples"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_config_that_makes_no_network_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BSMambaConfig.from_dict({**vars(TINY), **settings})


# --- SFC's codecs in the place of the band split

CODECS: dict[str, dict[str, object]] = {
    "ca": {"codec": "sfc-ca"},
    "ca-adaptive": {"codec": "sfc-ca", "codec_adaptive": True},
    "mamba": {"codec": "sfc-mamba"},
    "mamba-adaptive": {"codec": "sfc-mamba", "codec_adaptive": True},
}


def with_codec(name: str, **settings: object) -> BSMamba:
    sizes = {"codec_bands": 8, "codec_inner": 8, "codec_heads": 2, "codec_state": 2}
    return tiny(**{"joint": True, **sizes, **CODECS[name], **settings})


@pytest.mark.parametrize("name", CODECS)
@torch.inference_mode()
def test_a_codec_is_a_band_split_to_the_rest_of_the_network(name: str) -> None:
    network = with_codec(name, normalize=True).double()
    for channels, samples in ((2, 900), (1, 33)):
        mixture = torch.randn(2, channels, samples, dtype=torch.float64)
        found = network.estimates(mixture)
        assert found.two_stage.shape == found.masked.shape == (2, 4, channels, samples)
        torch.testing.assert_close(found.masked.sum(1), mixture)
        torch.testing.assert_close(network(mixture), found.two_stage)
        torch.testing.assert_close(network(1e-3 * mixture), 1e-3 * found.two_stage)


@pytest.mark.parametrize("name", CODECS)
def test_every_parameter_of_a_codec_learns_from_spectra(name: str) -> None:
    network = with_codec(name)
    pairs = network.training_pairs(torch.randn(1, 4, 2, 900), Supervision(spectra=True))
    torch.stack([pair.weight * pair.error.sum() for pair in pairs]).sum().backward()
    idle = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert idle == []


@pytest.mark.parametrize("name", ["ca", "mamba-adaptive"])
@torch.inference_mode()
def test_every_backend_of_the_cpu_computes_the_blocks_between_codecs(name: str) -> None:
    network, mixture = with_codec(name), torch.randn(1, 2, 900)
    expected = network(mixture)
    native = BACKENDS["native"]()
    for backend in (BACKENDS["torch"](), *([native] if native.missing(torch.device("cpu")) is None else [])):
        bind(network, backend)
        bound = [layer for layer in network.modules() if isinstance(layer, Bindable) and layer.bound is not None]
        assert sum(isinstance(layer, ResidualBiMamba) for layer in bound) == 4
        assert _relative(network(mixture), expected) < 1e-4


@torch.inference_mode()
def test_bfloat16_autocast_of_a_codec_is_close() -> None:
    network, mixture = with_codec("ca"), torch.randn(1, 2, 900)
    expected = network(mixture)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(mixture)
    assert found.dtype == torch.float32
    assert _relative(found, expected) < 0.03


def test_a_codec_has_no_use_for_bands_and_is_stored(tmp_path: Path) -> None:
    network = with_codec("mamba-adaptive", bands=(1, 2))
    again = load_network(save(network, tmp_path / "model"))
    assert isinstance(again, BSMamba)
    assert again.config == network.config
    state = again.state_dict()
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"joint": False}, "the codec sfc-ca makes one token of all channels: set joint to true"),
        ({"codec": "sfc"}, "codec must be band-split or sfc-ca or sfc-mamba"),
        ({"codec_inner": 9}, "codec_heads 2 do not divide codec_inner = 9"),
        ({"codec_bands": 66}, "codec_bands 66 are more than the 65 bins"),
        ({"n_fft": 129}, "even n_fft"),
        ({"codec_state": 0}, "codec_state must be a whole number"),
    ],
)
def test_a_codec_that_makes_no_sense_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        with_codec("ca", **settings)
