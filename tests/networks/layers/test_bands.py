"""Band split and heads against a readable version, band by band."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stemsplit.networks.bsmamba import BANDS_57
from stemsplit.networks.layers.bands import BandHeads, BandSplit, grouped_linear
from stemsplit.networks.layers.norm import group_norm


def test_the_papers_bands_fill_1025_bins() -> None:
    assert len(BANDS_57) == 57
    assert sum(BANDS_57) == 1025


def test_group_norm_of_rows_is_group_norm_of_channels() -> None:
    rows, weight, bias = torch.randn(3, 9, 6), torch.randn(6), torch.randn(6)
    expected = F.group_norm(rows.transpose(1, 2), 1, weight, bias, eps=torch.finfo(torch.float32).eps)
    torch.testing.assert_close(group_norm(rows, weight, bias).transpose(1, 2), expected)


def test_grouped_linear_is_a_grouped_convolution() -> None:
    rows, weight, bias = torch.randn(5, 12), torch.randn(4, 2, 3), torch.randn(4, 2)
    expected = F.conv1d(rows.T, weight.flatten(0, 1)[..., None], bias.flatten(), groups=4).T
    found = grouped_linear(rows.unflatten(1, (4, 3)).transpose(0, 1), weight, bias)
    torch.testing.assert_close(found.transpose(0, 1).flatten(1), expected)


def test_a_band_sees_its_own_bins_only() -> None:
    split = BandSplit((3, 4, 2), dim=5)
    spectrum = torch.randn(2, 2, 9, 6, dtype=torch.complex64)
    tokens = split.encode(spectrum)
    assert tokens.shape == (2, 2, 3, 6, 5)
    spectrum[:, :, 3:7] += 1
    changed = split.encode(spectrum)
    assert torch.equal(tokens[:, :, [0, 2]], changed[:, :, [0, 2]])
    assert not torch.equal(tokens[:, :, 1], changed[:, :, 1])


def test_heads_give_each_band_its_bins() -> None:
    heads = BandHeads((3, 4, 2), dim=8, stems=3, expand=2)
    tokens = torch.randn(2, 2, 3, 6, 8)
    masks = heads.decode(tokens)
    assert masks.shape == (2, 3, 2, 9, 6)
    assert masks.dtype == torch.complex64
    tokens[:, :, 1] += torch.randn(8)
    changed = heads.decode(tokens)
    assert torch.equal(masks[:, :, :, [0, 1, 2, 7, 8]], changed[:, :, :, [0, 1, 2, 7, 8]])
    assert not torch.equal(masks[:, :, :, 3:7], changed[:, :, :, 3:7])


def test_a_group_of_channels_shares_its_tokens_and_its_masks_come_apart() -> None:
    split, heads = BandSplit((3, 4), dim=8, group=2), BandHeads((3, 4), dim=8, stems=3, expand=2, group=2)
    spectrum = torch.randn(2, 2, 7, 6, dtype=torch.complex64)
    tokens = split.encode(spectrum)
    assert tokens.shape == (2, 1, 2, 6, 8)
    spectrum[:, 1, 3:] += 1
    changed = split.encode(spectrum)
    assert torch.equal(tokens[:, :, 0], changed[:, :, 0])
    assert not torch.equal(tokens[:, :, 1], changed[:, :, 1])
    assert heads.decode(tokens).shape == (2, 3, 2, 7, 6)


def test_a_group_of_channels_lies_side_by_side_in_a_band() -> None:
    """What a grouped split and its heads compute is what those of a band of twice the bins compute."""
    split, wide = BandSplit((3,), dim=8, group=2), BandSplit((6,), dim=8)
    with torch.no_grad():
        # (channel, re|im, bin) of the one is (re|im, channel and bin) of the other.
        wide.weight.copy_(split.weight.unflatten(1, (2, 2)).transpose(1, 2).flatten(2))
    spectrum = torch.randn(1, 2, 3, 5, dtype=torch.complex64)
    torch.testing.assert_close(split.encode(spectrum), wide.encode(spectrum.flatten(1, 2).unsqueeze(1)))
    heads, wide_heads = BandHeads((3,), 8, 2, 2, group=2), BandHeads((6,), 8, 2, 2)
    with torch.no_grad():
        for name, value in heads.named_parameters():
            shape = wide_heads.get_parameter(name).shape
            wide_heads.get_parameter(name).copy_(value.reshape(shape))
    tokens = torch.randn(1, 1, 1, 5, 8)
    expected = wide_heads.decode(tokens).squeeze(2).unflatten(2, (2, 3))
    torch.testing.assert_close(heads.decode(tokens), expected)
