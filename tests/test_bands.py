"""Band split and heads against a readable version, band by band."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F

from stemsplit.networks.bands import BandHeads, BandSplit, band_edges, group_norm, grouped_linear
from stemsplit.networks.bsmamba import BANDS_57


def test_the_papers_bands_fill_1025_bins() -> None:
    edges = band_edges(BANDS_57)
    assert len(edges) == 57
    assert edges[0] == (0, 2)
    assert edges[-1] == (904, 1025)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(edges))


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
