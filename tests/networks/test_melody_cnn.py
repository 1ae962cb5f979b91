"""The melody network: shapes, what a frame depends on, how its kernels start, and files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from stemsplit.errors import CheckpointError
from stemsplit.networks.melody_cnn import (
    FLOOR,
    KernelBank,
    MelodyCNN,
    MelodyCNNConfig,
    PitchProbe,
    folded,
    irregular_offsets,
    peak_frequencies,
    sort_kernels,
    start_with_cosines,
)
from stemsplit.weights import checkpoint

SMALL = MelodyCNNConfig(
    kernels=16, positions=(4, 3), module_channels=(3, 4), bottleneck=2, time_channels=8, time_dilations=(1, 2), bins=30
)  # fmt: skip


@pytest.fixture
def network() -> MelodyCNN:
    torch.manual_seed(0)
    return MelodyCNN(SMALL).eval().requires_grad_(False)


def test_the_network_that_ships_has_the_published_resolutions_and_a_bounded_size() -> None:
    config = MelodyCNNConfig()
    assert config.kernel_samples == (64, 960)
    assert config.lowest_hz * 2 ** ((config.bins - 1) * config.bin_cents / 1200) > 1396  # F6
    assert sum(value.numel() for value in MelodyCNN(config).parameters()) < 4e6


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161, 4000])
def test_a_frame_every_hop_from_time_zero(network: MelodyCNN, samples: int) -> None:
    assert network(torch.randn(2, samples)).shape == (2, 1 + samples // 160, 31)


def test_frame_t_of_a_bank_is_centred_at_t_hops() -> None:
    bank = KernelBank(4, 64, 160, 16)
    with torch.no_grad():
        for frame in (0, 3, 6):
            click = torch.zeros(1, 1000)
            click[0, min(frame * 160, 999)] = 1.0
            answer = (bank(click)[0] - torch.tensor(FLOOR).log()).mean(0)
            assert answer.argmax() == frame


def test_a_bank_is_a_convolution_an_absolute_value_and_a_maximum() -> None:
    """The truth of stage 1: the convolution at every sample, of which the bank takes some."""
    torch.manual_seed(0)
    bank = KernelBank(5, 64, 160, 160).double()  # at every place of a hop
    waveform = torch.randn(1, 1600, dtype=torch.float64)
    padded = torch.nn.functional.pad(waveform, (112, 112 + 160))
    every = torch.nn.functional.conv1d(padded[None], bank.weight[:, None]).abs()[0]
    expected = torch.stack([every[:, t * 160 : t * 160 + 160].amax(1) for t in range(11)], 1)
    torch.testing.assert_close(bank(waveform)[0].exp() - FLOOR, expected)


def test_places_in_a_hop_are_distinct_and_not_evenly_spaced() -> None:
    for count in (1, 6, 16, 160):
        places = irregular_offsets(160, count)
        assert len(set(places)) == count
        assert min(places) >= 0
        assert max(places) < 160
    gaps = {b - a for a, b in zip(irregular_offsets(160, 6), irregular_offsets(160, 6)[1:], strict=False)}
    assert len(gaps) > 1


def test_a_frame_depends_on_its_context_and_on_nothing_beyond(network: MelodyCNN) -> None:
    reach = SMALL.context_frames
    waveform = torch.randn(1, 160 * (4 * reach))
    changed = waveform.clone()
    frame = 2 * reach
    changed[:, : (frame - reach - 1) * 160] = 0
    changed[:, (frame + reach + 1) * 160 :] = 0
    torch.testing.assert_close(network(changed)[:, frame], network(waveform)[:, frame])
    changed[:, (frame - 2) * 160 : (frame + 2) * 160] = 0
    assert not torch.allclose(network(changed)[:, frame], network(waveform)[:, frame])


def test_folding_changes_nothing() -> None:
    torch.manual_seed(0)
    network = MelodyCNN(SMALL).double()
    for _ in range(3):
        network(torch.randn(2, 8000, dtype=torch.float64))
    for value in network.parameters():
        value.data.add_(0.1 * torch.randn_like(value))
    network.eval()
    waveform = torch.randn(1, 8000, dtype=torch.float64)
    torch.testing.assert_close(folded(network)(waveform), network(waveform))
    assert isinstance(network.stage2.norm, torch.nn.BatchNorm1d)  # the network itself is as it was


def test_silence_and_full_scale_give_finite_logits(network: MelodyCNN) -> None:
    for waveform in (torch.zeros(1, 3200), torch.ones(1, 3200), 1e4 * torch.randn(1, 3200)):
        assert torch.isfinite(network(waveform)).all()


def test_cosines_start_in_ascending_order_over_the_voices_range() -> None:
    network = MelodyCNN(SMALL)
    start_with_cosines(network.stage1, SMALL.sample_rate)
    for bank in network.stage1.banks:
        peaks = peak_frequencies(bank.weight, SMALL.sample_rate)  # type: ignore[arg-type]
        assert (peaks.diff() > 0).all()
        assert peaks[-1] == pytest.approx(7000, rel=0.02)


def test_sorting_moves_kernels_with_their_statistics() -> None:
    torch.manual_seed(0)
    probe = PitchProbe(SMALL)
    for _ in range(3):
        probe(torch.randn(2, 3200))
    probe.eval()
    waveform = torch.randn(1, 3200)
    before = probe.stage1(waveform)
    orders = [peak_frequencies(bank.weight, 16000).argsort(stable=True) for bank in probe.stage1.banks]  # type: ignore[arg-type]
    sort_kernels(probe.stage1, SMALL.sample_rate)
    after = probe.stage1(waveform)
    for index, (bank, order) in enumerate(zip(probe.stage1.banks, orders, strict=True)):
        assert (peak_frequencies(bank.weight, 16000).diff() >= 0).all()  # type: ignore[arg-type]
        torch.testing.assert_close(after[:, index], before[:, index][:, order])


def test_a_saved_network_is_the_same_when_loaded(network: MelodyCNN, tmp_path: Path) -> None:
    folder = checkpoint.save(network, tmp_path / "model", name="small")
    loaded = checkpoint.load_network(folder)
    assert isinstance(loaded, MelodyCNN)
    assert loaded.config == SMALL
    waveform = torch.randn(1, 3200)
    torch.testing.assert_close(loaded(waveform), network(waveform))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positions": (4,)}, "2 kernel lengths and 1"),
        ({"kernels": 18}, "halved"),
        ({"positions": (4, 161)}, "do not fit"),
        ({"voicing_threshold": 2.0}, "from 0 to 1"),
        ({"time_kernel": 4}, "even"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **settings)  # type: ignore[arg-type]


def test_a_config_with_unknown_fields_is_refused(network: MelodyCNN, tmp_path: Path) -> None:
    folder = checkpoint.save(network, tmp_path / "model")
    text = (folder / "config.json").read_text().replace('"bottleneck"', '"bottlenecks"')
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="unknown settings bottlenecks"):
        checkpoint.load_network(folder)
