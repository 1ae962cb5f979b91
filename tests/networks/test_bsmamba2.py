"""BSMamba2 against the authors' outputs."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seeded_sfc import noisy_audio, seeded
from torch import Tensor

from stemsplit.networks.bsmamba2 import BSMamba2, BSMamba2Config
from stemsplit.networks.contract import Supervision
from stemsplit.networks.layers import bimamba
from stemsplit.weights.layouts import bsmamba2 as layout

DATA = Path(__file__).parents[1] / "data"
TINY = BSMamba2Config(
    n_fft=128, hop_length=24, sample_rate=8000, bands=(2, 3, 10, 50), dim=8, layers=1, d_state=4, expand=2, headdim=4,
    hidden=12, chunk_samples=400,
)  # fmt: skip


def tiny(**settings: Any) -> BSMamba2:
    torch.manual_seed(0)
    return BSMamba2(replace(TINY, **settings)).eval()


def relative(found: Tensor, expected: Any) -> float:
    expected = torch.as_tensor(expected).double()
    return float((found.double() - expected).norm() / expected.norm())


@torch.inference_mode()
def test_the_authors_outputs_are_met() -> None:
    with np.load(DATA / "bsmamba2_2.npz") as file:
        arrays = dict(file)
    meta = ast.literal_eval(str(arrays["meta"]))
    config = BSMamba2Config(layers=meta["depth"])
    state = {key: torch.from_numpy(seeded(key, shape, meta["seed"])) for key, shape in layout.shapes(config).items()}
    assert layout.config(state) == config
    network = BSMamba2(config).eval()
    network.load_state_dict(layout.convert(state, config))
    mixture = torch.from_numpy(noisy_audio(meta["seconds"], meta["channels"], seed=meta["seed"]))[None]
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-4)):
        network.to(dtype)
        tokens = network.encode(network.transform(mixture.to(dtype)))
        time, band = network.layers[0]
        after_time = time(tokens)
        after_band = band(after_time.transpose(1, 2)).transpose(1, 2)
        hidden = network.final_norm(network.through(network.layers[1], after_band))
        for name, found in (("z", tokens), ("time0", after_time), ("band0", after_band), ("h", hidden)):
            assert relative(found[0, :, meta["frames"]].transpose(0, 1), arrays[name]) < tolerance, name
        mask = torch.view_as_real(network.decode(hidden))[0, 0, :, :: meta["every"], meta["mask_frame"]]
        assert relative(mask.transpose(0, 1), arrays["mask"]) < tolerance
        stems = network(mixture.to(dtype))
        assert relative(stems[0, :1, :, :: meta["every"]], arrays["final"]) < tolerance
        torch.testing.assert_close(stems.sum(1), mixture.to(dtype))


def test_the_published_parameter_count() -> None:
    with torch.device("meta"):
        network = BSMamba2(BSMamba2Config())
    assert sum(value.numel() for value in network.parameters()) == 48_098_188


@torch.inference_mode()
def test_any_length_any_batch_and_one_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny().double()
    for samples in (1, 31, 65, 500):
        mixtures = torch.randn(2, 2, samples, dtype=torch.float64)
        found = network(mixtures)
        assert found.shape == (2, 2, 2, samples)
        torch.testing.assert_close(found[1:], network(mixtures[1:]))
    monkeypatch.setattr(bimamba, "ROWS_AT_ONCE", 30)
    torch.testing.assert_close(network(mixtures), found)
    mono = torch.randn(1, 1, 300, dtype=torch.float64)
    torch.testing.assert_close(network(mono), network(mono.expand(1, 2, -1)).mean(2, keepdim=True))
    assert not network(torch.zeros(1, 2, 300, dtype=torch.float64)).any()


def test_every_parameter_learns_from_every_pair() -> None:
    network, stems = tiny(), torch.randn(2, 2, 2, 400)
    for spectra in (False, True):
        network.zero_grad()
        (pair,) = network.training_pairs(stems, Supervision(spectra=spectra))
        pair.error.sum().backward()
        idle = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
        assert idle == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"bands": (1, 2)}, "bands hold 3 bins"),
        ({"stems": ("vocals",)}, "rest 'other' must be the last"),
        ({"overlap": 1.0}, "overlap"),
        ({"headdim": 5}, "headdim 5"),
        ({"hidden": 0}, "hidden"),
    ],
)
def test_a_config_that_makes_no_network_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BSMamba2Config.from_dict({**vars(TINY), **settings})
