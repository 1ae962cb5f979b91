"""Band-split RoFormer (Lu et al. 2023, arXiv 2309.02612) and mel-band RoFormer (Wang et al. 2023, arXiv 2310.01809).

waveform → STFT → band tokens → 12 × (transformer over time, transformer over bands) → masks → iSTFT → stems

The two differ in their bands: side by side, or those of a mel filter bank, which overlap; and in their norms. Published
networks often estimate one stem; then the last one is what is left of the mixture. Module names are those of the
published weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.contract import Config, Pair, Supervision
from stemsplit.networks.kernels.products import fast_products
from stemsplit.networks.kernels.stft import inverse_stft, window_of
from stemsplit.networks.layers.roformer.attention import L2Norm, Transformer
from stemsplit.networks.layers.roformer.bands import BandSplit, MaskEstimator
from stemsplit.networks.layers.roformer.mel import mel_bands
from stemsplit.networks.masking import misfits_of_stems, narrowed, with_rest
from stemsplit.networks.rules import SAMPLE_RATE, STEM_NAMES, Maybe, Number, Rule, Several, Text, Whole, oversized

BANDS_62 = (2,) * 24 + (4,) * 12 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (128, 129)
"""Widths of the paper's bands in bins, at 44.1 kHz and n_fft 2048."""


@dataclass(frozen=True)
class RoFormerConfig(Config):
    """Everything that is needed to build and run a network. The defaults are those of the paper's band-split network.

    Attributes:
        rest: the last stem, if it is the mixture without the others and not estimated.
        chunk_samples: the length of a chunk with which published weights were trained and measured, 8 s.
        bands: widths in bins, side by side; unused if `mel_bands` is set.
        mel_bands: how many bands of a mel filter bank take their place, which makes a mel-band RoFormer; or 0.
        depth: pairs of transformers.
        time_layers: of each transformer over time.
        band_layers: of each transformer over bands.
        mask_maps: linear maps from a token to a mask.
        mask_scale: factor on `dim` between them.
        dropout: in training.
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
    mel_bands: int = 0
    dim: int = 512
    depth: int = 12
    time_layers: int = 1
    band_layers: int = 1
    heads: int = 8
    head_dim: int = 64
    mask_maps: int = 2
    mask_scale: int = 4
    dropout: float = 0.0

    thread_safe: ClassVar[bool] = True
    aligned: ClassVar[bool] = True

    rules: ClassVar[Mapping[str, Rule]] = {
        "stems": STEM_NAMES,
        "rest": Maybe(Text(60)),
        "sample_rate": SAMPLE_RATE,
        "channels": Whole(1, 64),
        "chunk_samples": Whole(1, 1 << 24),
        "overlap": Number(0, 0.99),
        "n_fft": Whole(64, 1 << 16),
        "hop_length": Whole(16, 1 << 15),
        "bands": Several(Whole(1, 1 << 15), 1, 1024),
        "mel_bands": Whole(0, 1024),
        "dim": Whole(1, 8192),
        "depth": Whole(1, 64),
        "time_layers": Whole(1, 64),
        "band_layers": Whole(1, 64),
        "heads": Whole(1, 256),
        "head_dim": Whole(2, 1024),
        "mask_maps": Whole(1, 16),
        "mask_scale": Whole(1, 16),
        "dropout": Number(0, 0.99),
    }

    def misfits(self) -> Iterator[str]:
        """Yield what does not fit together; see `Config`."""
        yield from misfits_of_stems(self.stems, self.rest)
        if self.head_dim % 2:
            yield f"head_dim {self.head_dim} is odd: rotary positions turn pairs"
        if 2 * self.hop_length > self.n_fft or self.n_fft % 2:
            yield f"n_fft {self.n_fft} must be even, and at least two hops of {self.hop_length}"
        if self.chunk_samples < self.n_fft:
            yield f"chunk_samples {self.chunk_samples} are less than n_fft {self.n_fft}"
        frames = self.chunk_samples // self.hop_length + 1
        values = max((self.mel_bands or len(self.bands)) * self.dim, self.channels * self.n_fft)
        yield from oversized(frames, values, self.chunk_samples, self.hop_length)
        if self.mel_bands:
            try:
                self.bins()
            except ValueError as error:
                yield str(error)
        elif sum(self.bands) != self.n_fft // 2 + 1:
            yield f"the bands hold {sum(self.bands)} bins, n_fft {self.n_fft} has {self.n_fft // 2 + 1}"

    def least_tensors(self) -> int:
        """Return a lower bound of the tensors of the weights: a layer has 10 of its own."""
        return 10 * self.depth * (self.time_layers + self.band_layers)

    @property
    def estimated(self) -> tuple[str, ...]:
        """The stems that have a mask."""
        return self.stems if self.rest is None else self.stems[:-1]

    @property
    def shortest_samples(self) -> int:
        """Samples of the shortest chunk that the network takes: one window of the STFT."""
        return self.n_fft

    def bins(self) -> list[np.ndarray]:
        """Return the bins of each band."""
        if self.mel_bands:
            return mel_bands(self.mel_bands, self.sample_rate, self.n_fft)
        return np.split(np.arange(sum(self.bands)), np.cumsum(self.bands)[:-1])


CONFIGS = {
    "bs-roformer": RoFormerConfig(),
    "mel-band-roformer": RoFormerConfig(mel_bands=60, dim=384, depth=6, mask_maps=3),
}
"""The usual published variants, which estimate vocals, with 159,758,028 and 228,202,788 parameters."""


class RoFormer(nn.Module):
    """Mixture (B, C, S) → stems (B, K, C, S)."""

    bfloat16_on_cpu = True
    """Trainers run it under autocast. Sums of layers, rotations and norms stay in float32."""

    def __init__(self, config: RoFormerConfig) -> None:
        super().__init__()
        self.config = c = config
        mel, bins = bool(c.mel_bands), c.bins()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                Transformer(c.dim, layers, c.heads, c.head_dim, c.dropout, normed=mel)
                for layers in (c.time_layers, c.band_layers)
            )
            for _ in range(c.depth)
        )
        self.final_norm = nn.Identity() if mel else L2Norm(c.dim)
        self.band_split = BandSplit(bins, c.channels, c.dim)
        self.mask_estimators = nn.ModuleList(
            MaskEstimator(bins, c.channels, c.dim, c.mask_scale * c.dim, c.mask_maps) for _ in c.estimated
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Return the stems (B, K, C, S) of a mixture (B, C, S). One channel is heard as all of them.

        Raises: ValueError for any other number of channels than the network's.
        """
        if mixture.shape[1] not in (1, self.config.channels):
            raise ValueError(
                f"a mixture of {mixture.shape[1]} channels; the network takes {self.config.channels}, or one"
            )
        stems = self._estimated(mixture.expand(-1, self.config.channels, -1))
        return with_rest(narrowed(stems, mixture.shape[1]), mixture, self.config.rest)

    def _estimated(self, mixture: Tensor) -> Tensor:
        """Return the stems that have a mask (B, K, C, S)."""
        c, samples = self.config, mixture.shape[-1]
        # The STFT reflects the waveform at its ends, for which it must be longer than half a window.
        padded = F.pad(mixture, (0, max(0, c.n_fft // 2 + 1 - samples)))
        window = window_of(c.n_fft, padded)
        spectrum = torch.stft(padded.flatten(0, 1), c.n_fft, c.hop_length, window=window, return_complex=True)
        spectrum = spectrum.unflatten(0, mixture.shape[:2]).permute(0, 3, 2, 1)  # (B, T, F, C)
        with fast_products():
            tokens = self._tokens(torch.view_as_real(spectrum.contiguous()))
            masks = [estimate(tokens).to(window.dtype).contiguous() for estimate in self.mask_estimators]
        stems = torch.stack([spectrum * torch.view_as_complex(mask) for mask in masks], dim=1)
        # The bins of a frame lie side by side, as the inverse likes them: (B, K, C, T, F), seen as (B, K, C, F, T).
        stems = stems.permute(0, 1, 4, 2, 3).contiguous().transpose(-1, -2)
        return inverse_stft(stems, c.n_fft, c.hop_length, padded.shape[-1])[..., :samples]

    def _tokens(self, spectrum: Tensor) -> Tensor:
        """Return the tokens (B, T, G, D) of a spectrum (B, T, F, C, 2) after all transformers."""
        tokens = self.band_split(spectrum).to(spectrum.dtype)
        for pair in self.layers:
            assert isinstance(pair, nn.ModuleList)
            over_time, over_bands = pair
            tokens = _along(over_time, tokens.transpose(1, 2)).transpose(1, 2)
            tokens = _along(over_bands, tokens)
        normed: Tensor = self.final_norm(tokens)
        return normed

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        """Compare the estimated stems with the true ones, (B, K, C, S); see `TrainableSeparator`."""
        mixture = stems.sum(1)
        return [Pair.of(1.0, supervision.folded(self(mixture)), stems, mixture)]


def _along(transformer: nn.Module, tokens: Tensor) -> Tensor:
    """Run a transformer along the last but one axis of tokens (B, M, L, D)."""
    rows: Tensor = transformer(tokens.flatten(0, 1))
    return rows.view(tokens.shape)
