"""TS-BSMamba2: a two-stage band-split Mamba-2 network (Bai et al. 2024, arXiv 2409.06245).

waveform → STFT → band tokens → 8 blocks → mask ─┬→ masked spectrum ────────────────┐
                  band tokens ────────── fusion ─┴→ 4 blocks → map (added) ──────────┴→ + → iSTFT → stems

One block is Mamba-2 over time, Mamba-2 over bands, and an exchange between audio channels, each with a residual
connection. Tokens have the shape (B, C, K, T, D) everywhere: batch, audio channel, band, frame, feature.

The paper has a token per audio channel. A `joint` network (our variant) has one token for all channels: a band holds
the bins of all channels, C is 1, and there is no exchange. Instead of the band split, the `codec` of a joint network
may be one of SFC's (arXiv 2602.08671): `layers.codecs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.contract import Config, Pair, Supervision
from stemsplit.networks.expander import expand_
from stemsplit.networks.kernels import native_compare
from stemsplit.networks.kernels.products import fast_products, tanh_
from stemsplit.networks.kernels.stft import inverse_stft, window_of
from stemsplit.networks.layers.bands import BandHeads
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.codecs.stage import BAND_SPLIT, CODECS, heads_of, misfits_of_codec, split_of
from stemsplit.networks.layers.tac import TransformAverageConcatenate
from stemsplit.networks.rules import (
    SAMPLE_RATE,
    STEM_NAMES,
    Flag,
    Maybe,
    Number,
    OneOf,
    Rule,
    Several,
    Whole,
    oversized,
)

QUIETEST = 1e-8
"""Spectra with a lower RMS are not normalised further: they are silence with rounding errors."""

VOCALS, OTHER = "vocals", "other"
Codec = Literal["band-split", "sfc-ca", "sfc-mamba"]

BANDS_57 = (2,) * 20 + (4,) * 10 + (11,) * 8 + (23,) * 8 + (46,) * 8 + (92,) * 2 + (121,)
"""Widths of the paper's bands in bins, at 44.1 kHz and n_fft 2048: 50, 100, 250, 500 Hz, 1 and 2 kHz, and the rest."""


@dataclass(frozen=True)
class BSMambaConfig(Config):
    """Everything that is needed to build and run a network. The defaults are those of the published full model.

    Attributes:
        chunk_samples: the length of a chunk with which the published scores were measured.
        overlap: the overlap with which they were measured, as a fraction of a chunk.
        normalize: divide the spectrum by its RMS, and multiply the output by it (arXiv 2602.08671). So a louder mixture
            gives the same stems, only louder, and silence gives silence.
        joint: make one token of a band's bins in all channels, which halves the work for stereo. If the mixture has
            one channel, that is repeated.
        expander_db: where vocals are below this level relative to the mixture, move them to other; see `expander`.
        codec: how bins become tokens: the split into `bands`, or SFC's cross-attention or Mamba, which need `joint`.
        codec_bands: tokens K of a frame in SFC's codecs, as the following: the band split has `bands`, `head_expand`.
        codec_inner: features D' of a bin.
        codec_heads: of the attention.
        codec_state: size of Mamba's state.
        codec_adaptive: make queries of the input, instead of learning them.
    """

    stems: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    sample_rate: int = 44100
    channels: int = 2
    chunk_samples: int = 132300
    overlap: float = 0.5
    n_fft: int = 2048
    hop_length: int = 512
    bands: tuple[int, ...] = BANDS_57
    dim: int = 128
    blocks_mask: int = 8
    blocks_map: int = 4
    d_state: int = 128
    d_conv: int = 4
    expand: int = 4
    headdim: int = 64
    head_expand: int = 4
    normalize: bool = False
    joint: bool = False
    expander_db: float | None = None
    codec: Codec = "band-split"
    codec_bands: int = 64
    codec_inner: int = 64
    codec_heads: int = 4
    codec_state: int = 8
    codec_adaptive: bool = False

    thread_safe: ClassVar[bool] = True
    aligned: ClassVar[bool] = True
    rules: ClassVar[Mapping[str, Rule]] = {
        "stems": STEM_NAMES,
        "sample_rate": SAMPLE_RATE,
        "channels": Whole(1, 64),
        "chunk_samples": Whole(1, 1 << 24),
        "overlap": Number(0, 0.99),
        "n_fft": Whole(2, 1 << 16),
        "hop_length": Whole(1, 1 << 15),
        "bands": Several(Whole(1, 1 << 15), 1, 1024),
        "dim": Whole(1, 8192),
        "blocks_mask": Whole(0, 128),
        "blocks_map": Whole(0, 128),
        "d_state": Whole(1, 4096),
        "d_conv": Whole(1, 64),
        "expand": Whole(1, 64),
        "headdim": Whole(1, 8192),
        "head_expand": Whole(1, 64),
        "normalize": Flag(),
        "joint": Flag(),
        "expander_db": Maybe(Number(-200, 200)),
        "codec": OneOf(CODECS),
        "codec_bands": Whole(1, 1024),
        "codec_inner": Whole(1, 8192),
        "codec_heads": Whole(1, 256),
        "codec_state": Whole(1, 4096),
        "codec_adaptive": Flag(),
    }

    def misfits(self) -> Iterator[str]:
        """Yield what does not fit together; see `Config`."""
        yield from misfits_of_codec(self)
        if 2 * self.hop_length > self.n_fft:
            yield f"hop_length {self.hop_length} is more than half of n_fft {self.n_fft}"
        if self.chunk_samples < self.n_fft:
            yield f"chunk_samples {self.chunk_samples} are less than n_fft {self.n_fft}"
        if self.expander_db is not None and not {VOCALS, OTHER} <= {*self.stems}:
            yield f"expander_db needs {VOCALS} and {OTHER}, not {', '.join(self.stems)}"
        if self.expand * self.dim % self.headdim:
            yield f"headdim {self.headdim} does not divide expand · dim = {self.expand * self.dim}"
        frames = self.channels * (self.chunk_samples // self.hop_length + 1)
        tokens = len(self.bands) if self.codec == BAND_SPLIT else self.codec_bands
        values = max(tokens * self.dim, len(self.stems) * self.n_fft)
        yield from oversized(frames, values, self.chunk_samples, self.hop_length)

    def least_tensors(self) -> int:
        """Return a lower bound of the tensors of the weights: a block has 40 and more."""
        return 26 + 40 * (self.blocks_mask + self.blocks_map)

    @property
    def shortest_samples(self) -> int:
        """Samples of the shortest chunk that the network takes: one window of the STFT."""
        return self.n_fft


CONFIGS = {
    "ts-bsmamba2": BSMambaConfig(),
    "l-ts-bsmamba2": BSMambaConfig(blocks_mask=4, blocks_map=2),
}
"""The published variants, with 35,517,480 and 27,708,648 parameters."""


class Estimates(NamedTuple):
    """The estimated stems of both stages, (B, S, C, samples) each."""

    two_stage: Tensor  # the output of the network
    masked: Tensor  # stage 1 alone; these stems add up to the mixture


class BSMamba(nn.Module):
    """The network: mixture (B, C, samples) → stems (B, S, C, samples), in the order of `config.stems`."""

    def __init__(self, config: BSMambaConfig) -> None:
        super().__init__()
        self.config = c = config
        self.split_mask = split_of(c)
        self.blocks_mask = nn.ModuleList(Block(c) for _ in range(c.blocks_mask))
        self.heads_mask = heads_of(c)
        self.split_map = split_of(c)
        self.fusion = nn.Linear(2 * c.dim, c.dim)
        self.blocks_map = nn.ModuleList(Block(c) for _ in range(c.blocks_map))
        self.heads_map = heads_of(c)

    def matrices(self) -> list[Tensor]:
        """Return the weights that map hidden features to hidden features, for optimisers made for matrices."""
        linear = [part for part in self.modules() if isinstance(part, nn.Linear)]
        heads = [part for part in (self.heads_mask, self.heads_map) if isinstance(part, BandHeads)]
        return [
            *(part.weight for part in linear),
            *(weight for part in heads for weight in (part.weight1, part.weight2)),
        ]

    def forward(self, mixture: Tensor) -> Tensor:
        """Return the two-stage estimate (B, S, C, samples) of a mixture (B, C, samples)."""
        spectrum, scale = self.analyse(mixture)
        with fast_products():
            stems = self.separated(spectrum)
        return self.synthesise(self.finished(stems), scale, mixture.shape[-1])

    def finished(self, spectra: Tensor) -> Tensor:
        """Return spectra (B, S, C, F, T), which are overwritten, after the expander, if the config has one."""
        c = self.config
        if c.expander_db is None:
            return spectra
        stem, into = c.stems.index(VOCALS), c.stems.index(OTHER)
        return expand_(spectra, stem, into, c.expander_db, c.sample_rate / c.hop_length)

    def estimates(self, mixture: Tensor) -> Estimates:
        """Return the estimates of both stages without the expander, for training and for comparisons."""
        spectrum, scale = self.analyse(mixture)
        masked, mapped = self.spectra(spectrum)
        length = mixture.shape[-1]
        return Estimates(self.synthesise(masked + mapped, scale, length), self.synthesise(masked, scale, length))

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        """Compare the estimates of both stages with the true stems (B, S, C, samples), as waveforms or as spectra.

        A spectrum is compared as a row of real numbers, the real and imaginary parts of all bins. The energy of a row
        is that of the waveform, apart from a constant factor.
        """
        share = supervision.first_stage
        if supervision.spectra:
            (masked, both, reference), mixture = self._spectra_compared(stems, supervision)
            return [Pair(1 - share, both, reference, mixture), Pair(share, masked, reference, mixture)]
        mixture = stems.sum(1)
        return [
            Pair.of(weight, supervision.folded(estimate), stems, mixture)
            for weight, estimate in zip((1 - share, share), self.estimates(mixture), strict=True)
        ]

    def _spectra_compared(self, stems: Tensor, supervision: Supervision) -> tuple[Tensor, Tensor]:
        """Return energies (3, B, S, C), as `native_compare.energies` does, and those of the mixture (B, C)."""
        known = self.transform(stems)
        if supervision.gains is not None:
            bins = torch.arange(known.shape[-2], dtype=torch.float64)
            frequencies = bins * self.config.sample_rate / self.config.n_fft
            # as real numbers, because torch is slow at products of complex with real numbers
            gains = supervision.gains(frequencies).repeat_interleave(2, dim=-1)[:, :, None, None]
            parts = torch.view_as_real(known.transpose(-1, -2))
            parts.view(*parts.shape[:-2], -1).mul_(gains)
        spectrum, scale = self.scaled(known.sum(1))
        factor = spectrum.real.new_ones(len(spectrum)) if scale is None else 1 / scale.clamp_min(QUIETEST).view(-1)
        whole = torch.view_as_real(spectrum).square().sum((-1, -2, -3))
        if self.config.codec == BAND_SPLIT and native_compare.usable(spectrum.real):
            return self._energies(spectrum, known, factor, supervision), whole
        return self.estimates_compared(spectrum, known, factor, supervision), whole

    def estimates_compared(self, spectrum: Tensor, known: Tensor, factor: Tensor, supervision: Supervision) -> Tensor:
        """Return energies (3, B, S, C) of what both stages' estimates lack from the truth, and of the truth.

        Tests compare `native_compare.energies` with this.
        """
        known = known * factor.view(-1, 1, 1, 1, 1)
        masked, mapped = self.spectra(spectrum)
        away = [supervision.folded(_as_rows(stems)) - _as_rows(known) for stems in (masked, masked + mapped)]
        return torch.stack([rows.square().sum(-1) for rows in (*away, _as_rows(known))])

    def _energies(self, spectrum: Tensor, known: Tensor, factor: Tensor, supervision: Supervision) -> Tensor:
        """Compute the same as `estimates_compared` by the native library, which knows the band split alone."""
        wide = self._wide(spectrum)
        first, _ = self._first_tokens(wide)
        second, _ = self._second_tokens(wide, first)
        masks, added = (
            native_compare.LastMap(heads.hidden(tokens), heads.weight3, heads.bias3)
            for heads, tokens in ((self.heads_mask, first), (self.heads_map, second))
            if isinstance(heads, BandHeads)
        )
        fold = supervision.fold
        if fold is None:
            fold = torch.eye(known.shape[1]).expand(len(known), -1, -1)
        truth = native_compare.Truth(wide, known, factor, fold)
        return native_compare.energies(masks, added, truth, self.config.bands)

    def separated(self, spectrum: Tensor) -> Tensor:
        """Return the stems (B, S, C, F, T) of a mixture (B, C, F, T): those of stage 1 with what stage 2 adds."""
        wide = self._wide(spectrum)
        tokens, side = self._first_tokens(wide)
        masked = self.heads_mask.masked(tokens, wide, side)
        tokens, side = self._second_tokens(wide, tokens)
        return _narrow(self.heads_map.added(tokens, masked, side), spectrum)

    def spectra(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Return the masked stems of a mixture (B, C, F, T), and what stage 2 adds: complex (B, S, C, F, T) each."""
        wide = self._wide(spectrum)
        tokens, side = self._first_tokens(wide)
        masked = self.heads_mask.masked(tokens, wide, side)
        mapped = self.heads_map.decode(*self._second_tokens(wide, tokens))
        return _narrow(masked, spectrum), _narrow(mapped, spectrum)

    def _first_tokens(self, spectrum: Tensor) -> tuple[Tensor, Any]:
        """Return the tokens (B, G, K, T, D) of stage 1, and what its heads need beside them."""
        tokens, side = self.split_mask.encoded(spectrum)
        # Blocks add to the tokens. In half precision, where autocast is on, each sum would be rounded.
        tokens = tokens.to(self.fusion.weight.dtype)
        for block in self.blocks_mask:
            tokens = block(tokens)
        return tokens, side

    def _second_tokens(self, spectrum: Tensor, tokens: Tensor) -> tuple[Tensor, Any]:
        """Return the same of stage 2, which sees the mixture again and the tokens of stage 1."""
        seen, side = self.split_map.encoded(spectrum)
        both = torch.cat([seen.to(tokens.dtype), tokens], dim=-1)
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tanh_(self.fusion(both))
        for block in self.blocks_map:
            tokens = block(tokens)
        return tokens, side

    def _wide(self, spectrum: Tensor) -> Tensor:
        """Return a mixture (B, C, F, T) with as many channels as the network takes: one may be repeated."""
        channels, wide = spectrum.shape[1], self.config.channels
        if not self.config.joint or channels == wide:
            return spectrum
        if channels != 1:
            raise ValueError(f"a mixture of {channels} channels; the network takes {wide}, or one")
        return spectrum.expand(-1, wide, -1, -1)

    def analyse(self, mixture: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the normalised STFT (B, C, F, T) of a mixture (B, C, samples), and its scale; see `scaled`."""
        return self.scaled(self.transform(mixture))

    def scaled(self, spectrum: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the STFT (B, C, F, T) of a mixture divided by its RMS, and the RMS (B, 1, 1, 1).

        If the config has no `normalize`, return the STFT as it is, and None.
        """
        if not self.config.normalize:
            return spectrum, None
        # The RMS of the bins, and not of the samples: stage 2 outputs bins, and these should be of the order of 1.
        scale = torch.view_as_real(spectrum).square().mean(dim=(1, 2, 3, 4)).sqrt().view(-1, 1, 1, 1)
        # as real numbers, because torch is slow at quotients of complex and real numbers
        parts = torch.view_as_real(spectrum) / scale.clamp_min(QUIETEST).unsqueeze(-1)
        return torch.view_as_complex(parts), scale

    def transform(self, waves: Tensor) -> Tensor:
        """Return the STFT (…, F, T) of waveforms (…, samples)."""
        # The STFT reflects the waveform at its ends, for which it must be longer than half a window.
        short = self.config.n_fft // 2 + 1 - waves.shape[-1]
        padded = (F.pad(waves, (0, short)) if short > 0 else waves).flatten(0, -2)
        n_fft, hop_length = self.config.n_fft, self.config.hop_length
        spectrum = torch.stft(padded, n_fft, hop_length, window=window_of(n_fft, padded), return_complex=True)
        return spectrum.unflatten(0, waves.shape[:-1])

    def synthesise(self, spectra: Tensor, scale: Tensor | None, length: int) -> Tensor:
        """Return the waveforms (B, S, C, length) of spectra (B, S, C, F, T), multiplied by `scale` if it is given."""
        padded = max(length, self.config.n_fft // 2 + 1)
        waves = inverse_stft(spectra, self.config.n_fft, self.config.hop_length, padded)[..., :length]
        if scale is None:
            return waves
        return waves * scale if waves.requires_grad else waves.mul_(scale)


def _narrow(stems: Tensor, mixture: Tensor) -> Tensor:
    """Return the stems (B, S, C, F, T) with as many channels as the mixture, if its channel was repeated."""
    return stems if stems.shape[2] == mixture.shape[1] else stems.mean(2, keepdim=True)


def _as_rows(spectra: Tensor) -> Tensor:
    return torch.view_as_real(spectra).flatten(-3)


class Block(nn.Module):
    """The BSNet block of the paper: over time, over bands, and across audio channels."""

    def __init__(self, config: BSMambaConfig) -> None:
        super().__init__()
        self.time = bimamba_of(config)
        self.band = bimamba_of(config)
        self.channel = nn.Identity() if config.joint else TransformAverageConcatenate(config.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return updated tokens (B, C, K, T, D)."""
        tokens = self.time(tokens)
        tokens = self.band(tokens.transpose(2, 3)).transpose(2, 3)
        return self.channel(tokens)


def bimamba_of(config: BSMambaConfig) -> ResidualBiMamba:
    """Return a bidirectional block with the sizes that a config states."""
    c = config
    return ResidualBiMamba(c.dim, d_state=c.d_state, d_conv=c.d_conv, expand=c.expand, headdim=c.headdim)
