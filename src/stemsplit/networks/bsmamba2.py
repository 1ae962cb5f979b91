"""BSMamba2: a band-split network of Mamba-2 (Kim & Choi, arXiv 2508.14556), as published for vocals.

waveform → STFT → a token per band → 6 layers: over time, then over bands → norm → complex masks → iSTFT → stems

Tokens are (B, K, T, D): batch, band, frame, feature. A band's row holds its bins, in each bin the channels, and of
each the real and the imaginary part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.contract import Config, Pair, Supervision
from stemsplit.networks.kernels.products import fast_products, tanh_
from stemsplit.networks.kernels.stft import inverse_stft
from stemsplit.networks.layers.bimamba import PreNormBiMamba
from stemsplit.networks.masking import (
    at_least,
    compared_spectra,
    misfits_of_stems,
    narrowed,
    spectra_of,
    widened,
    with_rest,
)
from stemsplit.networks.rules import SAMPLE_RATE, STEM_NAMES, Maybe, Number, Rule, Several, Text, Whole, oversized

BANDS_62 = (2,) * 24 + (4,) * 12 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (128, 129)
"""Widths of the paper's bands in bins, at 44.1 kHz and n_fft 2048."""
SMALLEST_NORM = 1e-12
"""The least that a row is divided by."""


@dataclass(frozen=True)
class BSMamba2Config(Config):
    """Everything that is needed to build and run a network. The defaults are those of the published network.

    Attributes:
        rest: the last stem if it is what the others leave of the mixture, and not estimated by itself.
        channels: of the audio. If the mixture has one channel, that is repeated.
        bands: widths in bins.
        dim: features of a token.
        layers: each is a block over time and one over bands.
        hidden: width of the maps that make the masks.
    """

    stems: tuple[str, ...] = ("vocals", "other")
    rest: str | None = "other"
    sample_rate: int = 44100
    channels: int = 2
    chunk_samples: int = 352800
    overlap: float = 0.5
    n_fft: int = 2048
    hop_length: int = 441
    bands: tuple[int, ...] = BANDS_62
    dim: int = 256
    layers: int = 6
    d_state: int = 128
    d_conv: int = 4
    expand: int = 4
    headdim: int = 64
    hidden: int = 1024

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
        "bands": Several(Whole(1, 1 << 15), 1, 1024),
        "dim": Whole(1, 8192),
        "layers": Whole(0, 128),
        "d_state": Whole(1, 4096),
        "d_conv": Whole(1, 64),
        "expand": Whole(1, 64),
        "headdim": Whole(1, 8192),
        "hidden": Whole(1, 1 << 16),
    }

    def misfits(self) -> Iterator[str]:
        """Yield what does not fit together; see `Config`."""
        yield from misfits_of_stems(self.stems, self.rest)
        if sum(self.bands) != self.n_fft // 2 + 1:
            yield f"the bands hold {sum(self.bands)} bins, n_fft {self.n_fft} has {self.n_fft // 2 + 1}"
        if self.chunk_samples < self.n_fft:
            yield f"chunk_samples {self.chunk_samples} are less than n_fft {self.n_fft}"
        if self.expand * self.dim % self.headdim:
            yield f"headdim {self.headdim} does not divide expand · dim = {self.expand * self.dim}"
        frames = self.channels * (self.chunk_samples // self.hop_length + 1)
        values = max(len(self.bands) * self.dim, len(self.stems) * self.n_fft)
        yield from oversized(frames, values, self.chunk_samples, self.hop_length)

    def least_tensors(self) -> int:
        """Return a lower bound of the tensors of the weights: a layer has 16 and more."""
        return 2 * len(self.bands) + 16 * self.layers

    @property
    def shortest_samples(self) -> int:
        """Samples of the shortest chunk that the network takes: one window of the STFT."""
        return self.n_fft

    @property
    def estimated(self) -> int:
        """How many stems the network estimates."""
        return len(self.stems) - (self.rest is not None)


class BSMamba2(nn.Module):
    """The network: mixture (B, C, samples) → stems (B, S, C, samples), in the order of `config.stems`."""

    def __init__(self, config: BSMamba2Config) -> None:
        super().__init__()
        self.config = c = config
        widths = [2 * c.channels * width for width in c.bands]
        self.splits = nn.ModuleList(nn.Sequential(UnitNorm(width), nn.Linear(width, c.dim)) for width in widths)
        self.layers = nn.ModuleList(nn.ModuleList((block(c), block(c))) for _ in range(c.layers))
        self.final_norm = UnitNorm(c.dim)
        self.masks = nn.ModuleList(
            nn.ModuleList(MaskHead(c.dim, c.hidden, width) for width in widths) for _ in range(c.estimated)
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Return the stems of a mixture."""
        c, length = self.config, mixture.shape[-1]
        mixture = at_least(mixture, c.n_fft // 2 + 1)
        with fast_products():
            spectra = self.masked(self.transform(widened(mixture, c.channels)))
        waves = inverse_stft(spectra, c.n_fft, c.hop_length, mixture.shape[-1], rounded=False)
        return with_rest(narrowed(waves, mixture.shape[1]), mixture, c.rest)[..., :length]

    def transform(self, waves: Tensor) -> Tensor:
        """Return the STFT (…, F, T) of waveforms (…, samples)."""
        return spectra_of(waves, self.config.n_fft, self.config.hop_length)

    def masked(self, spectrum: Tensor) -> Tensor:
        """Return the estimated stems (B, S, C, F, T) of a mixture (B, C, F, T)."""
        tokens = self.encode(spectrum)
        for layer in self.layers:
            tokens = self.through(layer, tokens)
        return self.decode(self.final_norm(tokens)) * spectrum.unsqueeze(1)

    def encode(self, spectrum: Tensor) -> Tensor:
        """Return the tokens (B, K, T, D) of a mixture (B, C, F, T)."""
        bands = torch.view_as_real(spectrum).permute(0, 3, 2, 1, 4).split(self.config.bands, dim=2)
        tokens = [split(rows.flatten(2)) for split, rows in zip(self.splits, bands, strict=True)]
        return torch.stack(tokens, dim=1).to(spectrum.real.dtype)

    def through(self, layer: nn.Module, tokens: Tensor) -> Tensor:
        """Return the tokens (B, K, T, D) after a layer: its block over time, then its block over bands."""
        time, band = layer.children()
        return band(time(tokens).transpose(1, 2)).transpose(1, 2)

    def decode(self, tokens: Tensor) -> Tensor:
        """Return the complex masks (B, S, C, F, T) of normalised tokens (B, K, T, D)."""
        rows = tokens.unbind(1)
        masks = []
        for heads in self.masks:
            parts = [
                head(row).to(tokens.dtype).unflatten(-1, (-1, self.config.channels, 2))
                for head, row in zip(heads.children(), rows, strict=True)
            ]
            masks.append(torch.cat(parts, dim=2).permute(0, 3, 2, 1, 4))  # (B, C, F, T, 2)
        return torch.view_as_complex(torch.stack(masks, dim=1).contiguous())

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        """Compare the estimates with the stems, as `contract.TrainableSeparator` says."""
        if not supervision.spectra:
            mixture = stems.sum(1)
            return [Pair.of(1.0, supervision.folded(self(mixture)), stems, mixture)]
        c = self.config
        frequencies = torch.arange(c.n_fft // 2 + 1, dtype=torch.float64) * c.sample_rate / c.n_fft

        def separated(mixture: Tensor) -> Tensor:
            estimates = narrowed(self.masked(widened(mixture, c.channels)), mixture.shape[1])
            return with_rest(estimates, mixture, c.rest)

        def transform(waves: Tensor) -> Tensor:
            return self.transform(at_least(waves, c.n_fft // 2 + 1))

        return [compared_spectra(stems, supervision, frequencies, transform, separated)]


def block(config: BSMamba2Config) -> PreNormBiMamba:
    """Return a block of the network, over time or over bands."""
    c = config
    return PreNormBiMamba(c.dim, d_state=c.d_state, d_conv=c.d_conv, expand=c.expand, headdim=c.headdim)


class UnitNorm(nn.Module):
    """x / max(‖x‖, 1e-12) · √width · γ, over the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, rows: Tensor) -> Tensor:
        """Return normalised rows (…, width)."""
        return F.normalize(rows, dim=-1, eps=SMALLEST_NORM) * (self.gamma * rows.shape[-1] ** 0.5)


class MaskHead(nn.Module):
    """The map from a band's token to its masks: D → hidden, tanh → value · σ(gate)."""

    def __init__(self, dim: int, hidden: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, hidden)
        self.outer = nn.Linear(hidden, 2 * width)

    def forward(self, rows: Tensor) -> Tensor:
        """Return masks (…, width) of tokens (…, D)."""
        return F.glu(self.outer(tanh_(self.inner(rows))), dim=-1)
