"""The RoFormers compute what lucidrains' package computes, band-split and mel-band."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data.roformer import BANDS, EVERY, LENGTHS, MEL_BANKS, noisy, seeded
from seeded_state import seeded_audio

from stemsplit.networks.contract import Supervision
from stemsplit.networks.layers.roformer import attention
from stemsplit.networks.layers.roformer.attention import rotated
from stemsplit.networks.layers.roformer.mel import mel_bands
from stemsplit.networks.roformer import CONFIGS, RoFormer, RoFormerConfig

GOLDEN = Path(__file__).parents[1] / "data" / "roformer.npz"
SMALL = RoFormerConfig(dim=16, depth=2, heads=2, head_dim=8, n_fft=512, hop_length=110, bands=BANDS, band_layers=2)
CASES = {
    "bands": SMALL,
    "mel": replace(
        SMALL, stems=("a", "b", "c"), rest=None, mel_bands=20, hop_length=128, band_layers=1, mask_maps=3
    ),
    "mono": replace(
        SMALL, stems=("a", "b"), rest=None, channels=1, sample_rate=22050, mel_bands=16, time_layers=2, band_layers=1
    ),
}  # fmt: skip


def network(case: str) -> RoFormer:
    built = RoFormer(CASES[case]).eval()
    built.load_state_dict({name: seeded(name, value) for name, value in built.state_dict().items()})
    return built


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
@pytest.mark.parametrize("length", LENGTHS)
def test_parity(case: str, kind: torch.dtype, tolerance: float, length: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "ROWS_AT_ONCE", 300)  # several sequences at a time, and a rest
    config, samples = CASES[case], LENGTHS[length]
    mixture = torch.from_numpy(noisy(config.channels, samples)).to(kind)
    with np.load(GOLDEN) as golden:
        expected = golden[f"{case}_{length}"]
    with torch.inference_mode():
        stems = network(case).to(kind)(mixture)
    assert stems.shape == (1, len(config.stems), config.channels, samples)
    found = stems[0, : len(config.estimated), :, ::EVERY].numpy()[..., : expected.shape[-1]]
    assert expected.shape[-1] * EVERY > samples - config.hop_length  # theirs leave out what fills no hop
    assert np.abs(expected).max() > 0.05
    assert np.abs(found - expected).max() < tolerance


def test_the_last_stem_is_the_rest() -> None:
    mixture = torch.from_numpy(seeded_audio(0.1))[None]
    with torch.inference_mode():
        stems = network("bands")(mixture)
    torch.testing.assert_close(stems.sum(1), mixture, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("bands", "rate", "n_fft"), MEL_BANKS)
def test_mel_bands_are_librosas(bands: int, rate: int, n_fft: int) -> None:
    with np.load(GOLDEN) as golden:
        expected = np.unpackbits(golden[f"mel_{bands}_{rate}_{n_fft}"], axis=1)[:, : n_fft // 2 + 1].astype(bool)
    expected[0, 0] = expected[-1, -1] = True  # where librosa's are zero
    for found, row in zip(mel_bands(bands, rate, n_fft), expected, strict=True):
        assert found.tolist() == np.flatnonzero(row).tolist()
        assert (np.diff(found) == 1).all()


@pytest.mark.parametrize("case", CASES)
def test_every_bin_has_a_band(case: str) -> None:
    assert np.unique(np.concatenate(CASES[case].bins())).tolist() == list(range(257))


def test_rotation_is_that_of_complex_numbers() -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for step, pair in np.ndindex(5, 4):
        turned = torch.view_as_complex(x.unflatten(-1, (4, 2)))[:, step, pair] * np.exp(
            1j * step * 10000 ** (-pair / 4)
        )
        torch.testing.assert_close(torch.view_as_complex(rotated(x).unflatten(-1, (4, 2)))[:, step, pair], turned)


def test_rotation_keeps_the_type_and_computes_in_float32() -> None:
    x = torch.randn(1, 900, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert rotated(x).dtype == torch.bfloat16
    torch.testing.assert_close(rotated(x), rotated(x.float()).bfloat16())


@pytest.mark.parametrize(("name", "parameters"), [("bs-roformer", 159_758_028), ("mel-band-roformer", 228_202_788)])
def test_the_published_networks_have_their_size(name: str, parameters: int) -> None:
    with torch.device("meta"):
        built = RoFormer(CONFIGS[name])
    assert sum(value.numel() for value in built.parameters()) == parameters


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("samples", [1, 2, 255, 999])
def test_short_lengths_and_silence(case: str, samples: int) -> None:
    built = network(case)
    mixture = torch.zeros(2, CASES[case].channels, samples)
    with torch.inference_mode():
        silent = built(mixture)
        heard = built(mixture.normal_(0, 0.1, generator=torch.Generator().manual_seed(0)))
    assert silent.shape == heard.shape == (2, len(CASES[case].stems), CASES[case].channels, samples)
    assert not silent.any()
    assert heard.isfinite().all()


def test_one_channel_is_heard_as_both() -> None:
    mono = torch.from_numpy(seeded_audio(0.1))[None, :1]
    with torch.inference_mode():
        built = network("mel")
        torch.testing.assert_close(built(mono), built(mono.expand(-1, 2, -1)).mean(2, keepdim=True))
        with pytest.raises(ValueError, match="a mixture of 3 channels; the network takes 2, or one"):
            built(torch.zeros(1, 3, 999))


def test_a_batch_is_its_mixtures_alone() -> None:
    mixtures = 0.1 * torch.randn(2, 2, 3000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        built = network("mel").double()
        torch.testing.assert_close(built(mixtures), torch.cat([built(one[None]) for one in mixtures]))


def test_half_precision_is_near() -> None:
    mixture = torch.from_numpy(noisy(2, 4001))
    with torch.inference_mode():
        exact = network("mel")(mixture)
        with torch.autocast("cpu", torch.bfloat16):
            near = network("mel")(mixture)
    assert near.dtype == torch.float32
    assert (near - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("case", ["bands", "mel"])
def test_it_can_be_trained(case: str) -> None:
    config = replace(CASES[case], dropout=0.1)
    built = RoFormer(config).train()
    stems = 0.1 * torch.randn(1, len(config.stems), 2, 3000, generator=torch.Generator().manual_seed(0))
    (pair,) = built.training_pairs(stems, Supervision())
    pair.error.sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in built.parameters())


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_fft": 1024}, {"bands": (0, 1025)}, {"bands": ()}, {"mel_bands": 600}, {"mel_bands": -1}, {"head_dim": 7},
        {"stems": ("a", "a")}, {"stems": ("vocals",)}, {"overlap": 1.0}, {"hop_length": 1025}, {"depth": 0},
        {"chunk_samples": 2000}, {"rest": "vocals"}, {"hop_length": 16, "chunk_samples": 1 << 24},
    ],
)  # fmt: skip
def test_configs_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        RoFormerConfig(**wrong)
