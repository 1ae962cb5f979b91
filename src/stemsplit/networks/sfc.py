"""SFC: spectral feature compression around TF-Locoformer (Saijo & Bando, arXiv 2602.08671).

waveform → STFT ÷ its RMS → encoder: F bins → K tokens → blocks over tokens and frames → decoder: K tokens → F masks
         → masked spectrum → iSTFT · RMS → stems

Three encoders and decoders: cross-attention (SFC-CA), Mamba (SFC-Mamba), and the band split that both are compared
with. Tokens are (B, T, K, D): batch, frame, band, feature. A spectrum's rows (B, T, F, 2M) hold the real parts of a
bin in all channels, then the imaginary parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from stemsplit.networks.contract import Config, Pair, Supervision
from stemsplit.networks.kernels.products import fast_products
from stemsplit.networks.kernels.stft import inverse_stft
from stemsplit.networks.layers.codecs.attention import AttentionDecoder, AttentionEncoder
from stemsplit.networks.layers.codecs.mamba import MambaDecoder, MambaEncoder
from stemsplit.networks.layers.codecs.musical import musical_bands
from stemsplit.networks.layers.codecs.split import SplitDecoder, SplitEncoder
from stemsplit.networks.layers.locoformer import LocoformerBlock
from stemsplit.networks.masking import (
    at_least,
    compared_spectra,
    misfits_of_stems,
    narrowed,
    spectra_of,
    widened,
    with_rest,
)
from stemsplit.networks.rules import SAMPLE_RATE, STEM_NAMES, Flag, Maybe, Number, OneOf, Rule, Text, Whole, oversized

SMALLEST_POWER = 1e-15
"""Powers of bins below it count as this much in the RMS."""
Codec = Literal["attention", "mamba", "split"]


@dataclass(frozen=True)
class SFCConfig(Config):
    """Everything that is needed to build and run a network. The defaults are those of the small SFC-CA.

    Attributes:
        rest: the last stem if it is what the others leave of the mixture, and not estimated by itself.
        channels: of the audio, M. If the mixture has one channel, that is repeated.
        chunk_samples: twelve seconds as published, but a multiple of the hop.
        codec: how bins become tokens: cross-attention, Mamba, or a linear map for each band.
        adaptive: make the codec's queries of the input, instead of learning them; the band split has none.
        bands: K tokens of a frame.
        inner: D', features of a bin inside the codec.
        dim: D, features of a token.
        hidden: width of the convolutional feed-forward layers.
        codec_heads: of the attention in the codec.
        d_state: of Mamba in the codec, as `expand`.
    """

    stems: tuple[str, ...] = ("bass", "drums", "vocals", "other")
    rest: str | None = None
    sample_rate: int = 44100
    channels: int = 2
    chunk_samples: int = 1034 * 512
    overlap: float = 0.5
    n_fft: int = 2048
    hop_length: int = 512
    codec: Codec = "attention"
    adaptive: bool = False
    bands: int = 64
    inner: int = 64
    codec_heads: int = 4
    d_state: int = 8
    expand: int = 1
    dim: int = 96
    blocks: int = 4
    heads: int = 4
    groups: int = 4
    hidden: int = 128
    kernel: int = 8
    dropout: float = 0.1

    plain_chunks: ClassVar[bool] = True
    one_chunk_on_cpu: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True
    aligned: ClassVar[bool] = True

    rules: ClassVar[Mapping[str, Rule]] = {
        "stems": STEM_NAMES,
        "rest": Maybe(Text(60)),
        "sample_rate": SAMPLE_RATE,
        "channels": Whole(1, 64),
        "chunk_samples": Whole(1, 1 << 24),
        "overlap": Number(0, 0.99),
        "n_fft": Whole(2, 1 << 16),
        "hop_length": Whole(1, 1 << 15),
        "codec": OneOf(("attention", "mamba", "split")),
        "adaptive": Flag(),
        "bands": Whole(1, 1024),
        "inner": Whole(1, 8192),
        "codec_heads": Whole(1, 256),
        "d_state": Whole(1, 4096),
        "expand": Whole(1, 64),
        "dim": Whole(1, 8192),
        "blocks": Whole(0, 128),
        "heads": Whole(1, 256),
        "groups": Whole(1, 1024),
        "hidden": Whole(1, 8192),
        "kernel": Whole(1, 1024),
        "dropout": Number(0, 1),
    }

    def misfits(self) -> Iterator[str]:
        """Yield what does not fit together; see `Config`."""
        yield from misfits_of_stems(self.stems, self.rest)
        if self.n_fft < 2 * self.hop_length or self.n_fft % 2:
            yield f"n_fft {self.n_fft} must be even, and at least two hops of {self.hop_length}"
        if self.chunk_samples < self.n_fft:
            yield f"chunk_samples {self.chunk_samples} are less than n_fft {self.n_fft}"
        for parts in (self.heads, self.groups):
            if self.dim % parts:
                yield f"{parts} heads or groups do not divide dim = {self.dim}"
        if self.codec == "attention" and self.inner % self.codec_heads:
            yield f"codec_heads {self.codec_heads} do not divide inner = {self.inner}"
        frames = self.channels * (self.chunk_samples // self.hop_length + 1)
        values = max(self.bands * self.dim, len(self.stems) * self.n_fft)
        yield from oversized(frames, values, self.chunk_samples, self.hop_length)

    def least_tensors(self) -> int:
        """Return a lower bound of the tensors of the weights: a block has 20 and more."""
        return 4 + 20 * self.blocks

    @property
    def shortest_samples(self) -> int:
        """Samples of the shortest chunk that the network takes: one window of the STFT."""
        return self.n_fft

    @property
    def estimated(self) -> int:
        """How many stems the network estimates."""
        return len(self.stems) - (self.rest is not None)


_MEDIUM = SFCConfig(inner=96, dim=128, blocks=6, heads=8, groups=8, hidden=192)
CONFIGS = {
    "sfc-bs-small": SFCConfig(codec="split"),
    "sfc-bs-medium": replace(_MEDIUM, codec="split"),
    "sfc-ca-small": SFCConfig(),
    "sfc-ca-medium": _MEDIUM,
    "sfc-mamba-small": SFCConfig(codec="mamba", adaptive=True, inner=32),
    "sfc-mamba-medium": replace(_MEDIUM, codec="mamba", adaptive=True, inner=48),
    "sfc-ca-small-dnr": SFCConfig(stems=("speech", "music", "effects"), channels=1),
    "sfc-ca-medium-dnr": replace(_MEDIUM, stems=("speech", "music", "effects"), channels=1),
}
"""The published variants: of MUSDB18-HQ, and of Divide and Remaster (speech, music and effects; one channel)."""


class SFC(nn.Module):
    """The network: mixture (B, C, samples) → stems (B, S, C, samples), in the order of `config.stems`."""

    bfloat16_on_cpu = True
    """Its authors train and run it in bfloat16."""

    def __init__(self, config: SFCConfig) -> None:
        super().__init__()
        self.config = c = config
        self.encoder, self.decoder = codec_of(c)
        self.blocks = nn.ModuleList(
            LocoformerBlock(c.dim, heads=c.heads, groups=c.groups, hidden=c.hidden, kernel=c.kernel, dropout=c.dropout)
            for _ in range(c.blocks)
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Return the stems of a mixture. It is filled up to whole hops first, see `separated`."""
        c, length = self.config, mixture.shape[-1]
        hops = -(-max(length, c.n_fft // 2 + 1) // c.hop_length)
        with fast_products():
            stems = self.separated(at_least(mixture, hops * c.hop_length))
        return stems[..., :length]

    def separated(self, mixture: Tensor) -> Tensor:
        """Return the stems as published, of a mixture that is longer than half a window.

        The last frame is left out. So what follows the last whole hop lies on the flank of one window, and the inverse
        transform divides by it. Where that flank is small, errors become large.
        """
        length, hop_length = mixture.shape[-1], self.config.hop_length
        spectrum, scale = self.analyse(widened(mixture, self.config.channels))
        spectra = self.masked(spectrum / scale)
        # The bins of a frame are contiguous in the product.
        waves = inverse_stft(spectra, self.config.n_fft, hop_length, length, rounded=False) * scale
        return with_rest(narrowed(waves, mixture.shape[1]), mixture, self.config.rest)

    def analyse(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """Return the STFT (B, M, F, samples // hop) of a mixture, and its RMS (B, 1, 1, 1) over one frame more."""
        spectrum = spectra_of(mixture, self.config.n_fft, self.config.hop_length)
        power = torch.view_as_real(spectrum).square().sum(-1).clamp_min(SMALLEST_POWER)
        scale = power.mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return spectrum[..., : mixture.shape[-1] // self.config.hop_length], scale

    def masked(self, spectrum: Tensor) -> Tensor:
        """Return the estimated stems (B, N, M, F, T) of a normalised mixture (B, M, F, T)."""
        masks = self.masks(spectrum)
        return (masks * spectrum.transpose(-1, -2).unsqueeze(1)).transpose(-1, -2)

    def masks(self, spectrum: Tensor) -> Tensor:
        """Return the complex masks (B, N, M, T, F) of a normalised mixture (B, M, F, T)."""
        rows = torch.view_as_real(spectrum).permute(0, 3, 2, 4, 1).flatten(3)
        tokens, side = self.encoder(rows)
        masks = self.decoder(self.blocks_of(tokens.to(rows.dtype)), side).to(rows.dtype)
        parts = masks.permute(0, 3, 1, 2).unflatten(1, (2, self.config.estimated, -1)).contiguous()
        return torch.complex(parts[:, 0], parts[:, 1])

    def blocks_of(self, tokens: Tensor) -> Tensor:
        """Return the tokens (B, T, K, D) after all blocks."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        """Compare the estimates with the stems, as `contract.TrainableSeparator` says."""
        if not supervision.spectra:
            mixture = stems.sum(1)
            return [Pair.of(1.0, supervision.folded(self(mixture)), stems, mixture)]
        c = self.config
        frequencies = torch.arange(c.n_fft // 2 + 1, dtype=torch.float64) * c.sample_rate / c.n_fft

        def separated(mixture: Tensor) -> Tensor:
            power = torch.view_as_real(mixture).square().sum(-1).clamp_min(SMALLEST_POWER)
            scale = power.mean(dim=(1, 2, 3), keepdim=True).sqrt()
            wide = widened(mixture / scale, c.channels)
            estimates = narrowed(self.masked(wide), mixture.shape[1]) * scale.unsqueeze(1)
            return with_rest(estimates, mixture, c.rest)

        def transform(waves: Tensor) -> Tensor:
            padded = at_least(waves, c.n_fft // 2 + 1)
            return spectra_of(padded, c.n_fft, c.hop_length)[..., : padded.shape[-1] // c.hop_length]

        return [compared_spectra(stems, supervision, frequencies, transform, separated)]


def codec_of(config: SFCConfig) -> tuple[nn.Module, nn.Module]:
    """Return the encoder and the decoder that a config states."""
    c, bands = config, musical_bands(config.bands, config.sample_rate, config.n_fft)
    into, out_of = 2 * c.channels, 2 * c.channels * c.estimated
    if c.codec == "split":
        return SplitEncoder(into, bands, c.dim), SplitDecoder(out_of, bands, c.dim)
    if c.codec == "mamba":
        return (
            MambaEncoder(into, bands, c.inner, c.dim, d_state=c.d_state, expand=c.expand, adaptive=c.adaptive),
            MambaDecoder(out_of, bands, c.inner, c.dim, d_state=c.d_state, expand=c.expand, adaptive=c.adaptive),
        )
    return (
        AttentionEncoder(into, bands, c.inner, c.dim, c.codec_heads, adaptive=c.adaptive),
        AttentionDecoder(out_of, bands, c.inner, c.dim, c.codec_heads, adaptive=c.adaptive),
    )
