"""The band split and the heads in the native library: their calls, and their weights. See kernels/native/heads.h."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from stemsplit.networks.backends.native_packing import ByPrecision, Packer, check, thread_scratch
from stemsplit.networks.kernels.native_library import Finish, Head, Heads, Library, Split, SplitBand
from stemsplit.networks.layers.bands import BandHeads, BandSplit

OUTPUTS_AT_ONCE = 256
"""How many outputs of each of the four groups of the last map are computed at once, so that they stay in the cache."""


class BoundSplit:
    """A bound band split: spectrum (B, C, F, T) → tokens (B, G, K, T, D) in float32.

    A spectrum in double precision is computed by the layer itself, as more precise than the library.
    """

    def __init__(self, layer: BandSplit, library: Library, instructions: str | None) -> None:
        self.layer, self.library = layer, library
        self._weights = ByPrecision(library, instructions, layer, pack_split)

    def __call__(self, spectrum: Tensor) -> Tensor:
        """Compute the band split.

        Raises:
            DeviceError: the library reports an error.
            ValueError: the spectrum has a wrong number of bins or channels.
        """
        if spectrum.dtype == torch.complex128:
            return self.layer.encode_plain(spectrum)
        name, weights = self._weights.now()
        batch, channels, bins, steps = spectrum.shape
        if bins != weights.bins or channels % weights.channels:
            raise ValueError(f"a spectrum of {channels} channels and {bins} bins, the layer has {weights.bins} bins")
        rows = bins_last(spectrum)
        groups = batch * channels // weights.channels
        tokens = torch.empty(batch, channels // weights.channels, weights.bands, steps, weights.features)
        threads = min(torch.get_num_threads(), max(1, groups * weights.bands))
        words = threads * self.library.layer_scratch("split", name, weights, steps)
        scratch = thread_scratch(words).data_ptr()
        where = (rows.data_ptr(), tokens.data_ptr())
        check(name, self.library.layer("split", name, weights, *where, groups, steps, threads, scratch, words))
        return tokens


class BoundHeads:
    """Bound heads: tokens (B, G, K, T, D) → complex (B, S, C, F, T), whose bins are contiguous in memory.

    Tokens in float64 are computed by the layer itself.
    """

    def __init__(self, layer: BandHeads, library: Library, instructions: str | None) -> None:
        self.layer, self.library = layer, library
        self._weights = ByPrecision(library, instructions, layer, pack_heads)

    def __call__(self, tokens: Tensor, mixture: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        """Compute the heads.

        Args:
            tokens: (B, G, K, T, D).
            mixture: a spectrum (B, C, F, T); the output is then that of masks for it, which add up to 1.
            onto: spectra (B, S, C, F, T), which are overwritten; the output is added to them.

        Raises:
            DeviceError: the library reports an error.
            ValueError: a wrong shape.
        """
        if tokens.dtype == torch.float64:
            return self.layer.finished(self.layer.decode_plain(tokens), mixture, onto)
        name, weights = self._weights.now()
        batch, groups, bands, steps, features = tokens.shape
        shape = (batch, weights.stems, groups * weights.channels, weights.bins, steps)
        wrong = (bands, features) != (weights.bands, weights.features)
        wrong |= mixture is not None and mixture.shape != (batch, *shape[2:])
        if wrong or (onto is not None and onto.shape != shape):
            raise ValueError(f"tokens of shape {tuple(tokens.shape)}; the layer has {weights.bands} bands")
        values = tokens.detach().to(torch.float32).contiguous()
        out = torch.empty(*shape[:3], steps, shape[3], dtype=torch.complex64) if onto is None else bins_last(onto)
        spectrum = None if mixture is None else bins_last(mixture)
        finish = Finish.MASK if spectrum is not None else Finish.PLAIN if onto is None else Finish.ADD
        threads = min(torch.get_num_threads(), max(1, batch * groups * bands))
        words = threads * self.library.layer_scratch("heads", name, weights, steps)
        where = (values.data_ptr(), 0 if spectrum is None else spectrum.data_ptr(), out.data_ptr())
        sizes = (batch, groups, steps, threads, thread_scratch(words).data_ptr(), words)
        check(name, self.library.layer("heads", name, weights, finish, *where, *sizes))
        return out.transpose(-1, -2)


def bins_last(spectra: Tensor) -> Tensor:
    """Return spectra (…, F, T) as contiguous (…, T, F), without a copy if they lie so."""
    return spectra.detach().transpose(-1, -2).to(torch.complex64).contiguous()


def pack_split(layer: BandSplit, packer: Packer) -> Split:
    """Pack the weights of a band split. The values of a band are in the order (channel, bin, re | im)."""
    bands = (SplitBand * len(layer.widths))()
    for index, (first, width) in enumerate(_bins(layer.widths)):
        own = slice(first, first + width)
        weight, norm_weight, norm_bias = (
            part[..., own].unflatten(-2, (layer.group, 2)).transpose(-1, -2).flatten(-3)
            for part in (layer.weight, layer.norm_weight, layer.norm_bias)
        )
        bands[index] = SplitBand(
            first=first,
            width=width,
            norm_weight=packer.vector(norm_weight),
            norm_bias=packer.vector(norm_bias),
            map=packer.matrix(weight),
            bias=packer.keep(layer.bias[index]),
        )
    features, bins = layer.weight.shape[0], sum(layer.widths)
    return Split(features=features, channels=layer.group, bins=bins, bands=len(bands), band=bands)


def pack_heads(layer: BandHeads, packer: Packer) -> Heads:
    """Pack the weights of heads. What has the same size in all bands is packed at once."""
    outputs, bins = layer.weight3.shape[1:3]
    heads = Heads(
        features=layer.norm_weight.shape[1],
        inner=packer.padded(layer.weight2.shape[-1]),
        stems=outputs // layer.group,
        channels=layer.group,
        bins=bins,
        bands=len(layer.widths),
        slice=max(1, OUTPUTS_AT_ONCE // outputs),
    )
    by_group = (layer.GROUPS, -1)
    of_bands = {
        "norm_weight": packer.each(packer.pad(layer.norm_weight, dim=1)),
        "norm_bias": packer.each(packer.pad(layer.norm_bias, dim=1)),
        "map1": packer.matrices(packer.pad(layer.weight1.unflatten(1, by_group), dim=2).flatten(1, 2)),
        "bias1": packer.each(packer.pad(layer.bias1.unflatten(1, by_group), dim=2)),
        "map2": packer.matrices(packer.pad(packer.pad(layer.weight2, dim=2), dim=3)),
        "bias2": packer.each(packer.pad(layer.bias2.unflatten(1, by_group), dim=2)),
    }
    heads.band = (Head * heads.bands)()
    last = layer.weight3.detach().to(packer.dtype)  # most of the weights, so they are rounded before they are moved
    for index, (first, width) in enumerate(_bins(layer.widths)):
        band = slice(first, first + width)
        weights = [packer.pad(part, dim=-1) for part in _slices(last[:, :, band], heads.slice)]
        biases = [packer.pad_to_panel(part).flatten() for part in _slices(layer.bias3[:, :, band], heads.slice)]
        heads.band[index] = Head(
            first=first,
            width=width,
            **{name: pointers[index] for name, pointers in of_bands.items()},
            map3=packer.in_a_row(weights),
            bias3=packer.keep(torch.cat(biases)),
        )
    return heads


def _slices(values: Tensor, at_once: int) -> Iterator[Tensor]:
    """Cut values (GROUPS, outputs, width, …) into slices of bins, (n, GROUPS, outputs · bins, …).

    The slices of `at_once` bins come together, and then the narrower one that is left.
    """
    whole = values.shape[2] // at_once * at_once
    for part, size in ((values[:, :, :whole], at_once), (values[:, :, whole:], values.shape[2] - whole)):
        if part.shape[2]:
            yield part.unflatten(2, (-1, size)).movedim(2, 0).flatten(2, 3)


def _bins(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first bin and the width of each band."""
    return [(end - width, width) for end, width in zip(accumulate(widths), widths, strict=True)]
