"""The expander: what is faint goes into another stem, what sounds stays to the bit, nothing is lost."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny import TINY

from stemsplit.networks.bsmamba import BSMamba
from stemsplit.networks.expander import FLOOR_DB, RATIO, expand_, expander_gain

FRAMES_PER_SECOND = 20.0


def spectra(level_db: torch.Tensor) -> torch.Tensor:
    """Three stems (1, 3, 2, 50, T): the first at 0 dB, the second at `level_db` (T,) per frame, the third silent."""
    torch.manual_seed(0)
    noise = torch.randn(1, 3, 2, 50, len(level_db), dtype=torch.complex128)
    noise = noise / torch.view_as_real(noise).square().sum(dim=(2, 3, 5), keepdim=False).sqrt()[:, :, None, None]
    noise[:, 1] *= 10 ** (level_db / 20)
    noise[:, 2] = 0
    return noise


def test_what_is_loud_enough_stays_to_the_bit() -> None:
    stems = spectra(torch.full((100,), -6.0))
    assert torch.equal(expand_(stems.clone(), 1, 2, -12.0, FRAMES_PER_SECOND), stems)


def test_where_the_bins_lie_in_memory_makes_no_difference() -> None:
    stems = spectra(torch.full((100,), -20.0))
    elsewhere = stems.transpose(-1, -2).contiguous().transpose(-1, -2)
    found, other = (expand_(each.clone(), 1, 2, -12.0, FRAMES_PER_SECOND) for each in (stems, elsewhere))
    torch.testing.assert_close(found, other)
    assert not torch.equal(found, stems)


def test_what_is_faint_loses_the_ratio_and_another_stem_gets_it() -> None:
    stems = spectra(torch.full((100,), -20.0))
    found = expand_(stems.clone(), 1, 2, -12.0, FRAMES_PER_SECOND)
    lost = 20 * torch.log10(found[:, 1].abs() / stems[:, 1].abs())
    assert lost.mean().item() == pytest.approx(
        -RATIO * 8, abs=1.0
    )  # the mixture is a little louder than the first stem
    torch.testing.assert_close(found.sum(1), stems.sum(1))
    assert torch.equal(found[:, 0], stems[:, 0])


def test_it_follows_the_level_in_time() -> None:
    level = torch.full((200,), -40.0)
    level[:60] = -3.0
    found = expand_(spectra(level), 1, 2, -12.0, FRAMES_PER_SECOND)
    kept = found[:, 1].abs().square().sum((1, 2)) / spectra(level)[:, 1].abs().square().sum((1, 2))
    assert kept[0, :60].min() == 1  # a word's end is within the window
    assert 10 * torch.log10(kept[0, 100:]).max() < -50


def test_it_never_takes_more_than_the_floor() -> None:
    gain = expander_gain(torch.tensor([-90.0]), torch.tensor([0.0]), -12.0)
    assert 20 * torch.log10(gain).item() == pytest.approx(FLOOR_DB)


def test_silence_stays_silent_and_finite() -> None:
    stems = torch.zeros(2, 3, 1, 5, 7, dtype=torch.complex64)
    assert torch.equal(expand_(stems.clone(), 1, 2, -12.0, FRAMES_PER_SECOND), stems)


@pytest.mark.parametrize("samples", [1, 8000])
def test_a_network_with_an_expander_is_the_network_and_the_expander(samples: int) -> None:
    torch.manual_seed(0)
    plain = BSMamba(TINY).eval()
    network = BSMamba(dataclasses.replace(TINY, expander_db=100.0)).eval()  # everything is faint
    network.load_state_dict(plain.state_dict())
    mixture = torch.randn(1, 2, samples)
    with torch.no_grad():
        before, after = plain(mixture), network(mixture)
    vocals, other = TINY.stems.index("vocals"), TINY.stems.index("other")
    torch.testing.assert_close(after[:, vocals], 1e-3 * before[:, vocals])
    torch.testing.assert_close(after[:, other], before[:, other] + (1 - 1e-3) * before[:, vocals])
    with torch.no_grad():  # training sees what the network itself makes
        torch.testing.assert_close(network.estimates(mixture).two_stage, plain.estimates(mixture).two_stage)


def test_it_needs_vocals_and_other() -> None:
    with pytest.raises(ValueError, match="expander_db needs vocals and other"):
        dataclasses.replace(TINY, stems=("drums", "vocals"), expander_db=-12.0)
