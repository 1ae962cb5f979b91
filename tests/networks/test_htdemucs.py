"""HTDemucs computes what its authors' code computes, for four stems and for six."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data.htdemucs import EVERY, SHORT, seeded
from seeded_state import seeded_audio

from stemsplit.networks.contract import Supervision
from stemsplit.networks.htdemucs import HTDemucs, HTDemucsConfig, spectrum, waveform

GOLDEN = Path(__file__).parents[1] / "data" / "htdemucs.npz"
STEMS = ("drums", "bass", "other", "vocals", "guitar", "piano")
SEGMENT = 11025
CONFIGS = {
    "four": HTDemucsConfig(
        chunk_samples=SEGMENT, channels_first=8, bottom_channels=16, transformer_layers=3, transformer_heads=4
    ),
    "six": HTDemucsConfig(
        stems=STEMS, chunk_samples=SEGMENT, n_fft=2048, channels_first=8, bottom_channels=0, residual_decoder=False,
        transformer_layers=2, transformer_heads=4,
    ),
}  # fmt: skip


def network(case: str) -> HTDemucs:
    built = HTDemucs(CONFIGS[case]).eval()
    state = {name: torch.from_numpy(seeded(name, tuple(value.shape))) for name, value in built.state_dict().items()}
    built.load_state_dict(state)
    return built


@pytest.mark.parametrize("case", CONFIGS)
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
@pytest.mark.parametrize("short", [False, True])
def test_parity(case: str, kind: torch.dtype, tolerance: float, short: bool) -> None:
    mixture = torch.from_numpy(seeded_audio(0.25)).to(kind)[None]
    if short:
        mixture = mixture[..., :SHORT]
    with np.load(GOLDEN) as golden:
        expected = golden[f"{case}_short" if short else case]
    with torch.inference_mode():
        stems = network(case).to(kind)(mixture)
    assert stems.shape[-1] == mixture.shape[-1]
    assert np.abs(expected).max() > 0.05
    assert np.abs(stems[0, ..., ::EVERY].numpy() - expected).max() < tolerance


def test_the_published_networks_have_their_size() -> None:
    with torch.device("meta"):
        four, six = HTDemucs(HTDemucsConfig()), HTDemucs(HTDemucsConfig(stems=STEMS, bottom_channels=0))
    assert sum(value.numel() for value in four.parameters()) == 41_984_456
    assert len(six.state_dict()) == len(four.state_dict()) - 8


@pytest.mark.parametrize("samples", [1024, 4001, SEGMENT])
def test_the_transform_is_undone(samples: int) -> None:
    mixture = torch.randn(1, 2, samples, dtype=torch.float64, generator=torch.Generator().manual_seed(samples))
    parts = spectrum(mixture, 1024)
    assert parts.shape == (1, 4, 512, -(-samples // 256))
    back = waveform(parts[:, None], 1024, samples)[:, 0]
    inside = slice(256, -256)  # frames beyond the ends are left out, as by the authors; so is the Nyquist frequency
    assert (back - mixture)[..., inside].square().mean() < 0.01


@pytest.mark.parametrize("samples", [1, 2, 999, SEGMENT])
def test_odd_lengths_silence_and_mono(samples: int) -> None:
    built = network("four")
    with torch.inference_mode():
        assert built(torch.zeros(2, 2, samples)).isfinite().all()
        mono = torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(0)) * 0.1
        stems = built(mono)
    assert stems.shape == (1, 4, 1, samples)
    assert stems.isfinite().all()


def test_more_than_a_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="a segment has 11025 samples, not 11026"):
        network("four")(torch.zeros(1, 2, SEGMENT + 1))


def test_it_can_be_trained() -> None:
    built = network("four").train()
    stems = 0.1 * torch.randn(1, 4, 2, SEGMENT, generator=torch.Generator().manual_seed(0))
    (pair,) = built.training_pairs(stems, Supervision())
    pair.error.sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in built.parameters())


@pytest.mark.parametrize("wrong", [{"n_fft": 1000}, {"transformer_heads": 7}, {"stems": ("a", "a")}, {"overlap": 1.0}])
def test_configs_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        HTDemucsConfig(**wrong)
