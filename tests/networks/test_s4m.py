"""The network against the authors' outputs, and what it promises."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from seeded_s4m import seeded_s4m_tensor
from seeded_state import seeded_audio
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.networks.contract import Supervision
from stemsplit.networks.layers.s4 import S4
from stemsplit.networks.orders import in_best_order
from stemsplit.networks.s4m import CONFIGS, S4M, S4MConfig
from stemsplit.weights.checkpoint import load_network
from stemsplit.weights.layouts import s4m as layout

DATA = Path(__file__).parents[1] / "data"
TINY = S4MConfig(kernel_size=8, stride=2, basis=5, dim=8, hidden=12, scales=3, passes=2, d_state=4)
SPECTROGRAM = replace(TINY, encoder="spectrogram")
ENCODERS = pytest.mark.parametrize("config", [TINY, SPECTROGRAM], ids=["learned", "spectrogram"])
STORED_LENGTH = 128


def tiny(config: S4MConfig = TINY) -> S4M:
    torch.manual_seed(0)
    return S4M(config).eval()


def published_state(name: str, seed: int) -> dict[str, Tensor]:
    shapes = layout.shapes(CONFIGS[name])
    return {key: torch.from_numpy(seeded_s4m_tensor(key, shape, seed)) for key, shape in shapes.items()}


@pytest.mark.parametrize(("name", "parameters"), [("s4m-tiny-8k", 1_828_967), ("s4m-tiny-16k", 1_843_015)])
@torch.inference_mode()
def test_the_authors_outputs_are_met(name: str, parameters: int) -> None:
    stored = np.load(DATA / f"{name.replace('-tiny-', '_')}.npz")
    meta = ast.literal_eval(str(stored["meta"]))
    state = published_state(name, meta["seed"])
    assert layout.config(state) == CONFIGS[name]
    network = S4M(CONFIGS[name]).eval()
    network.load_state_dict(layout.convert(state, CONFIGS[name]))
    assert sum(value.numel() for value in network.parameters()) == parameters
    mixture = torch.from_numpy(seeded_audio(meta["seconds"], 1, meta["sample_rate"], seed=meta["seed"]))[None]
    assert np.abs(network(mixture)[0, :, 0].numpy() - stored["final"]).max() < 1e-4
    assert np.abs(network.double()(mixture.double())[0, :, 0].numpy() - stored["final"]).max() < 1e-6
    if "kernel" in stored:
        found = network.block.s4.kernels(meta["s4_length"])[:, :32, :64]
        assert np.abs(found.numpy() - stored["kernel"]).max() < 1e-6


def test_a_stored_output_matrix_becomes_the_true_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authors' trainings keep (I − dAᴸ)ᵀ C in place of C."""
    plain = published_state("s4m-tiny-8k", 1)
    true = layout.convert(plain, CONFIGS["s4m-tiny-8k"])["block.s4.C"]
    key = f"{layout.KERNEL}C"
    s4 = S4(512).double()
    for name in ("log_dt", "P", "B"):
        getattr(s4, name).data = plain[f"{layout.KERNEL}{name}"].double().reshape(getattr(s4, name).shape)
    s4.log_rate.data, s4.frequency.data = (
        plain[f"{layout.KERNEL}{name}"].double() for name in ("inv_w_real", "w_imag")
    )
    dA = s4.discrete()[0].detach()
    rest = torch.eye(16, dtype=torch.float64) - torch.linalg.matrix_power(dA, STORED_LENGTH)
    row = torch.cat([true[..., 0], -true[..., 1]], -1).double()  # see layers.s4
    stored = torch.einsum("dhs,hst->dht", row, rest)
    changed = {**plain, key: torch.stack([stored[..., :8], -stored[..., 8:]], -1).float()}
    changed[layout.LENGTH] = torch.tensor(STORED_LENGTH)
    assert (changed[key] - plain[key]).abs().max() > 0.1
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    torch.save(changed, tmp_path / "public.pth")
    network = load_network(tmp_path / "public.pth")
    torch.testing.assert_close(network.block.s4.C.detach(), true, rtol=1e-4, atol=1e-4)


def test_a_state_dict_of_the_authors_that_lacks_something_is_named() -> None:
    state = published_state("s4m-tiny-8k", 1)
    del state["bottleneck.weight"]
    with pytest.raises(CheckpointError, match="bottleneck"):
        layout.config(state)


@ENCODERS
@pytest.mark.parametrize("samples", [1, 2, 7, 8, 9, 100, 1001])
@torch.inference_mode()
def test_any_length_comes_back(samples: int, config: S4MConfig) -> None:
    found = tiny(config)(torch.randn(2, 1, samples))
    assert found.shape == (2, 2, 1, samples)
    assert torch.isfinite(found).all()


@torch.inference_mode()
def test_a_spectrogram_whose_masks_are_one_gives_the_mixture_back(monkeypatch: pytest.MonkeyPatch) -> None:
    network, mixture = tiny(SPECTROGRAM).double(), torch.randn(2, 1, 501, dtype=torch.float64)
    monkeypatch.setattr(S4M, "masks", lambda self, encoded: torch.ones_like(encoded)[:, :, None].expand(-1, -1, 2, -1))
    torch.testing.assert_close(network(mixture), mixture.unsqueeze(1).expand(-1, 2, -1, -1), rtol=0, atol=1e-12)


@ENCODERS
@torch.inference_mode()
def test_examples_of_a_batch_do_not_touch_each_other_and_levels_are_kept(config: S4MConfig) -> None:
    network, mixtures = tiny(config).double(), torch.randn(3, 1, 500, dtype=torch.float64)
    alone = torch.cat([network(mixture[None]) for mixture in mixtures])
    torch.testing.assert_close(network(mixtures), alone)
    torch.testing.assert_close(network(5 * mixtures), 5 * alone, rtol=1e-4, atol=1e-5)
    assert not network(torch.zeros(1, 1, 300, dtype=torch.float64)).any()


@torch.inference_mode()
def test_the_kernel_is_made_once_for_all_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    made, kernels = [], S4.kernels
    monkeypatch.setattr(S4, "kernels", lambda self, length: made.append(length) or kernels(self, length))
    tiny()(torch.randn(1, 1, 500))
    assert len(made) == 1


@torch.inference_mode()
def test_bfloat16_products_are_close_and_what_comes_out_is_float32() -> None:
    network, mixture = tiny(), torch.randn(1, 1, 2000)
    expected = network(mixture)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(mixture)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).norm() < 0.02 * expected.norm()


@ENCODERS
def test_every_parameter_learns_but_those_of_the_last_fusion_which_is_not_used(config: S4MConfig) -> None:
    network = tiny(config)
    sum(network(torch.randn(1, 1, 300))).square().sum().backward()
    idle = {name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()}
    assert idle == {name for name, _ in network.named_parameters() if name.startswith("block.fusions.2.")}


def test_training_compares_speakers_in_the_order_that_fits() -> None:
    network, stems = tiny(), torch.randn(2, 2, 1, 300)
    (pair,) = network.training_pairs(stems, Supervision())
    (turned,) = network.training_pairs(stems.flip(1), Supervision())
    torch.testing.assert_close(pair.error, turned.error.flip(1))
    torch.testing.assert_close(pair.reference, stems.square().sum(-1))
    assert pair.error.requires_grad


def test_each_example_has_its_own_best_order_and_silence_fits_silence() -> None:
    torch.manual_seed(0)
    reference = torch.randn(3, 3, 1, 50)
    reference[2, 1] = 0
    orders = torch.tensor([[0, 1, 2], [2, 0, 1], [1, 0, 2]])
    shuffled = torch.stack([one[order] for one, order in zip(reference, orders, strict=True)])
    noisy = shuffled + 0.1 * torch.randn_like(shuffled)
    found = in_best_order(noisy, reference)
    assert (found - reference).square().mean() < 0.02
    assert in_best_order(torch.zeros_like(reference), torch.zeros_like(reference)).shape == reference.shape


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"stems": ("a", "a")}, "distinct"),
        ({"stems": ("a",)}, "two stems or more"),
        ({"overlap": 0.0}, "overlap"),
        ({"scales": 2}, "scales"),
        ({"stride": 3}, "multiple of stride"),
        ({"d_state": 3}, "d_state"),
        ({"passes": 0}, "passes"),
        ({"encoder": "magic"}, "encoder"),
        ({"encoder": "spectrogram", "basis": 6}, "has a basis of 5"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_config_that_makes_no_network_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        S4MConfig.from_dict({**vars(TINY), **settings})
