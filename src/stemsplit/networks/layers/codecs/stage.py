"""What is at both ends of a stage of TS-BSMamba2: a band split and its heads, or one of SFC's codecs in their places.

    CodecSplit.encoded  spectrum (B, C, F, T) complex  → tokens (B, 1, K, T, D), and what the heads need beside them
    CodecHeads.decode   tokens, and that               → masks (B, S, C, F, T) complex

The methods are those of `layers.bands.BandSplit` and `BandHeads`. Bands are the "musical" ones of arXiv 2602.08671. A
network with a band split loads no code of the other codecs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stemsplit.networks.layers.bands import BandHeads, BandSplit, finished
from stemsplit.networks.layers.codecs.musical import Band, musical_bands

BAND_SPLIT, ATTENTION, MAMBA = "band-split", "sfc-ca", "sfc-mamba"
CODECS = (BAND_SPLIT, ATTENTION, MAMBA)


@dataclass(frozen=True)
class CodecSizes:
    """What a codec is made of.

    Attributes:
        bands: K of them.
        channels: of the audio, M.
        inner: D', features of a bin inside.
        dim: D, features of a token.
        heads: of the attention; None for Mamba.
        d_state: of Mamba.
        adaptive: make queries of the input instead of learning them.
    """

    bands: list[Band]
    channels: int
    inner: int
    dim: int
    heads: int | None
    d_state: int
    adaptive: bool

    @classmethod
    def of(cls, config: Any) -> CodecSizes:
        """Return the sizes that a `BSMambaConfig` states."""
        c = config
        bands = musical_bands(c.codec_bands, c.sample_rate, c.n_fft)
        heads = c.codec_heads if c.codec == ATTENTION else None
        return cls(bands, c.channels, c.codec_inner, c.dim, heads, c.codec_state, c.codec_adaptive)

    def encoder(self) -> nn.Module:
        """Return rows (B, T, F, 2M) → tokens (B, T, K, D), and what the decoder needs beside them."""
        sizes = (2 * self.channels, self.bands, self.inner, self.dim)
        if self.heads is None:
            from stemsplit.networks.layers.codecs.mamba import MambaEncoder

            return MambaEncoder(*sizes, d_state=self.d_state, expand=1, adaptive=self.adaptive)
        from stemsplit.networks.layers.codecs.attention import AttentionEncoder

        return AttentionEncoder(*sizes, self.heads, adaptive=self.adaptive)

    def decoder(self, stems: int) -> nn.Module:
        """Return tokens, and what the encoder kept → masks (B, T, F, 2 · stems · M)."""
        sizes = (2 * stems * self.channels, self.bands, self.inner, self.dim)
        if self.heads is None:
            from stemsplit.networks.layers.codecs.mamba import MambaDecoder

            return MambaDecoder(*sizes, d_state=self.d_state, expand=1, adaptive=self.adaptive)
        from stemsplit.networks.layers.codecs.attention import AttentionDecoder

        return AttentionDecoder(*sizes, self.heads, adaptive=self.adaptive)


class CodecSplit(nn.Module):
    """The encoder in the place of a band split."""

    def __init__(self, sizes: CodecSizes) -> None:
        super().__init__()
        self.encoder = sizes.encoder()

    def encoded(self, spectrum: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the tokens (B, 1, K, T, D) of a complex spectrum (B, C, F, T), and what the heads need."""
        rows = torch.view_as_real(spectrum).permute(0, 3, 2, 4, 1).flatten(3)
        tokens, side = self.encoder(rows)
        return tokens.transpose(1, 2).unsqueeze(1).contiguous(), side


class CodecHeads(nn.Module):
    """The decoder in the place of the heads.

    Args:
        sizes: those of the encoder.
        stems: how many.
    """

    def __init__(self, sizes: CodecSizes, stems: int) -> None:
        super().__init__()
        self.stems = stems
        self.decoder = sizes.decoder(stems)

    def decode(self, tokens: Tensor, side: Tensor | None = None) -> Tensor:
        """Return the complex output (B, S, C, F, T) of tokens (B, 1, K, T, D)."""
        rows = self.decoder(tokens.squeeze(1).transpose(1, 2), side)  # (B, T, F, 2SC)
        rows = rows if rows.dtype == torch.float64 else rows.float()
        parts = rows.permute(0, 3, 1, 2).unflatten(1, (2, self.stems, -1))
        return torch.complex(parts[:, 0], parts[:, 1]).transpose(-1, -2)

    def masked(self, tokens: Tensor, mixture: Tensor, side: Tensor | None = None) -> Tensor:
        """Return the stems (B, S, C, F, T) that the output cuts out of a mixture; they add up to it."""
        return finished(self.decode(tokens, side), mixture, None)

    def added(self, tokens: Tensor, spectra: Tensor, side: Tensor | None = None) -> Tensor:
        """Return the output plus spectra (B, S, C, F, T)."""
        return finished(self.decode(tokens, side), None, spectra)


def split_of(config: Any) -> BandSplit | CodecSplit:
    """Return what makes tokens of a spectrum, as a `BSMambaConfig` states it."""
    if config.codec == BAND_SPLIT:
        return BandSplit(config.bands, config.dim, config.channels if config.joint else 1)
    return CodecSplit(CodecSizes.of(config))


def heads_of(config: Any) -> BandHeads | CodecHeads:
    """Return what makes spectra of tokens, as a `BSMambaConfig` states it."""
    c = config
    if c.codec == BAND_SPLIT:
        return BandHeads(c.bands, c.dim, len(c.stems), c.head_expand, c.channels if c.joint else 1)
    return CodecHeads(CodecSizes.of(c), len(c.stems))


def misfits_of_codec(config: Any) -> Iterator[str]:
    """Yield what does not fit together in a `BSMambaConfig`'s codec; see `contract.Config`."""
    c, bins = config, config.n_fft // 2 + 1
    if c.codec == BAND_SPLIT:
        if sum(c.bands) != bins:
            yield f"the bands hold {sum(c.bands)} bins, n_fft {c.n_fft} has {bins}"
        if c.head_expand * c.dim % BandHeads.GROUPS:
            yield f"head_expand · dim = {c.head_expand * c.dim} is no multiple of {BandHeads.GROUPS}"
        return
    if not c.joint:
        yield f"the codec {c.codec} makes one token of all channels: set joint to true"
    if c.n_fft % 2:
        yield f"the codec {c.codec} needs an even n_fft, not {c.n_fft}"
    if c.codec_bands > bins:
        yield f"codec_bands {c.codec_bands} are more than the {bins} bins of n_fft {c.n_fft}"
    if c.codec == ATTENTION and c.codec_inner % c.codec_heads:
        yield f"codec_heads {c.codec_heads} do not divide codec_inner = {c.codec_inner}"
