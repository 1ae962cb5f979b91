"""Hybrid Transformer Demucs (Rouard, Massa and Défossez 2022, arXiv 2211.08553).

waveform ─┬→ STFT → 4 encoders over frequencies ─┐                     ┌→ 4 decoders → spectra → iSTFT ─┐
          └───────→ 4 encoders over samples ─────┴→ cross-transformer ─┴→ 4 decoders ──────────────────┴→ + → stems

The network hears a segment of fixed length; what is shorter is filled with silence. Module names are those of the
published weights. A *bag* is several such networks, of which each stem is a weighted mean; they are computed one after
another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.contract import Config, Pair, Supervision
from stemsplit.networks.kernels.stft import inverse_stft, window_of
from stemsplit.networks.layers.cross_transformer import CrossTransformer
from stemsplit.networks.layers.hybrid import STRIDE, Decoder, DilatedResidual, Encoder
from stemsplit.networks.rules import SAMPLE_RATE, STEM_NAMES, Flag, Number, Rule, Several, Whole

MOST_VALUES = 1 << 27
"""Of the first layer, of one chunk: 512 MiB."""
EPSILON = 1e-5
EMBEDDING_SCALE = 10.0
EMBEDDING_WEIGHT = 0.2


@dataclass(frozen=True)
class HTDemucsConfig(Config):
    """The settings of the published models, `htdemucs`, `htdemucs_ft` and `htdemucs_6s`.

    Attributes:
        chunk_samples: the length of a segment, 7.8 s; the network fills up what is shorter.
        channels_first: of the first encoder; every further one has twice as many.
        bottom_channels: of the transformer, if its width is another than the last encoder's; 0: the same.
        residual_encoder: whether encoders have a dilated residual.
        residual_decoder: whether decoders have one.
        bag: of several networks, the weight of each one for every stem, a row for each network; none: one network.
    """

    stems: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    sample_rate: int = 44100
    channels: int = 2
    chunk_samples: int = 343980
    overlap: float = 0.25
    n_fft: int = 4096
    channels_first: int = 48
    depth: int = 4
    residual_encoder: bool = True
    residual_decoder: bool = True
    residual_depth: int = 2
    residual_compression: int = 8
    bottom_channels: int = 512
    transformer_layers: int = 5
    transformer_heads: int = 8
    transformer_hidden_scale: float = 4.0
    bag: tuple[tuple[float, ...], ...] = ()

    thread_safe: ClassVar[bool] = True
    aligned: ClassVar[bool] = True
    centred_chunks: ClassVar[bool] = True
    levelled: ClassVar[bool] = True

    rules: ClassVar[Mapping[str, Rule]] = {
        "stems": STEM_NAMES,
        "sample_rate": SAMPLE_RATE,
        "channels": Whole(1, 64),
        "chunk_samples": Whole(1, 1 << 22),
        "overlap": Number(0, 0.99),
        "n_fft": Whole(64, 1 << 16),
        "channels_first": Whole(1, 1024),
        "depth": Whole(1, 8),
        "residual_encoder": Flag(),
        "residual_decoder": Flag(),
        "residual_depth": Whole(1, 16),
        "residual_compression": Whole(1, 64),
        "bottom_channels": Whole(0, 8192),
        "transformer_layers": Whole(0, 64),
        "transformer_heads": Whole(1, 256),
        "transformer_hidden_scale": Number(0.1, 64),
        "bag": Several(Several(Number(0, 1000), 1, 64), 0, 16),
    }

    def misfits(self) -> Iterator[str]:
        """Yield what does not fit together; see `Config`."""
        if self.n_fft % 4 or self.n_fft // 2 % STRIDE**self.depth:
            yield f"half of n_fft {self.n_fft} cannot be divided by {STRIDE} {self.depth} times"
        if self.transformer_channels % self.transformer_heads or self.transformer_channels % 4:
            yield f"{self.transformer_heads} heads do not divide {self.transformer_channels} features"
        if self.channels_first < self.residual_compression:
            yield f"residual_compression {self.residual_compression} is more than channels_first {self.channels_first}"
        if self.chunk_samples // STRIDE * self.channels_first * 2 > MOST_VALUES:
            yield f"a chunk of {self.chunk_samples} samples takes gigabytes at channels_first {self.channels_first}"
        if any(len(row) != len(self.stems) for row in self.bag):
            yield f"a row of bag has not the {len(self.stems)} weights of the stems"
        elif self.bag and not all(map(sum, zip(*self.bag, strict=True))):
            yield "bag has a stem without any weight"

    def least_tensors(self) -> int:
        """Return a lower bound of the tensors of the weights: a transformer layer has 32 in both branches."""
        return (16 * self.depth + 32 * self.transformer_layers) * max(1, len(self.bag))

    @property
    def transformer_channels(self) -> int:
        """Features of the transformer."""
        return int(self.bottom_channels or self.channels_first * 2 ** (self.depth - 1))

    @property
    def shortest_samples(self) -> int:
        """Samples of the shortest chunk: whatever it has, it is filled up."""
        return 1


class FrequencyEmbedding(nn.Module):
    """A learned vector per frequency."""

    def __init__(self, bins: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(bins, channels)

    def forward(self) -> Tensor:
        """Return (C, F, 1)."""
        return EMBEDDING_SCALE * self.embedding.weight.t()[..., None]


class HTDemucs(nn.Module):
    """Mixture (B, C, S) → stems (B, K, C, S)."""

    def __init__(self, config: HTDemucsConfig) -> None:
        super().__init__()
        self.config = config
        if config.bag:
            self.models = nn.ModuleList(HTDemucs(replace(config, bag=())) for _ in config.bag)
            return
        spectral = 2 * config.channels  # real and imaginary parts
        widths = [config.channels_first * 2**index for index in range(config.depth)]
        self.encoder, self.decoder = _branch(config, [spectral, *widths], spectral=True)
        self.tencoder, self.tdecoder = _branch(config, [config.channels, *widths], spectral=False)
        self.freq_emb = FrequencyEmbedding(config.n_fft // 2 // STRIDE, widths[0])
        if config.bottom_channels:
            up, down = (widths[-1], config.bottom_channels), (config.bottom_channels, widths[-1])
            self.channel_upsampler, self.channel_upsampler_t = (nn.Conv1d(*up, 1) for _ in range(2))
            self.channel_downsampler, self.channel_downsampler_t = (nn.Conv1d(*down, 1) for _ in range(2))
        self.crosstransformer = CrossTransformer(
            config.transformer_channels,
            config.transformer_heads,
            config.transformer_layers,
            config.transformer_hidden_scale,
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Return the stems (B, K, C, S) of a mixture (B, C, S). One channel is heard as all of them.

        Raises: ValueError if the mixture is longer than a segment.
        """
        samples, config = mixture.shape[-1], self.config
        if config.bag:
            return self._mean(mixture)
        if samples > config.chunk_samples:
            raise ValueError(f"a segment has {config.chunk_samples} samples, not {samples}")
        heard = mixture.expand(-1, config.channels, -1) if mixture.shape[1] == 1 else mixture
        stems = self._segment(F.pad(heard, (0, config.chunk_samples - samples)))[..., :samples]
        return stems.mean(2, keepdim=True) if mixture.shape[1] == 1 else stems

    def _mean(self, mixture: Tensor) -> Tensor:
        """Return the weighted means (B, K, C, S) of the stems of all networks of a bag."""
        sums = mixture.new_zeros(len(mixture), len(self.config.stems), *mixture.shape[1:])
        for network, row in zip(self.models, self.config.bag, strict=True):
            if any(row):
                sums = sums + network(mixture) * sums.new_tensor(row)[:, None, None]
        totals = [sum(weights) for weights in zip(*self.config.bag, strict=True)]
        return sums / sums.new_tensor(totals)[:, None, None]

    def _segment(self, mixture: Tensor) -> Tensor:
        """Return the stems of one segment (B, C, chunk_samples)."""
        x = spectrum(mixture, self.config.n_fft)
        x, mean, deviation = _normalised(x)
        xt, mean_t, deviation_t = _normalised(mixture)
        x, xt = self._branches(x, xt)
        stems = len(self.config.stems)
        x = x.unflatten(1, (stems, -1)) * deviation[:, None] + mean[:, None]
        xt = xt.unflatten(1, (stems, -1)) * deviation_t[:, None] + mean_t[:, None]
        return xt + waveform(x, self.config.n_fft, mixture.shape[-1])

    def _branches(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Run encoders, transformer and decoders on (B, C, F, T) and (B, C, S)."""
        skips: list[tuple[Tensor, Tensor, int]] = []
        for index, (encode, encode_t) in enumerate(zip(self.encoder, self.tencoder, strict=True)):
            samples = xt.shape[-1]
            x, xt = encode(x), encode_t(xt)
            if index == 0:
                x = x + EMBEDDING_WEIGHT * self.freq_emb()
            skips.append((x, xt, samples))
        x, xt = self._transformed(x, xt)
        for decode, decode_t in zip(self.decoder, self.tdecoder, strict=True):
            skip, skip_t, samples = skips.pop()
            x, xt = decode(x, skip, 0), decode_t(xt, skip_t, samples)
        return x, xt

    def _transformed(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        if not self.config.bottom_channels:
            return self.crosstransformer(x, xt)
        bins = x.shape[2:]
        x = self.channel_upsampler(x.flatten(2)).unflatten(2, bins)
        x, xt = self.crosstransformer(x, self.channel_upsampler_t(xt))
        return self.channel_downsampler(x.flatten(2)).unflatten(2, bins), self.channel_downsampler_t(xt)

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        """Compare the estimated stems with the true ones, (B, K, C, S); see `TrainableSeparator`."""
        mixture = stems.sum(1)
        return [Pair.of(1.0, supervision.folded(self(mixture)), stems, mixture)]


def _branch(config: HTDemucsConfig, widths: list[int], *, spectral: bool) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Return the encoders of one branch, and its decoders in the order in which they run."""
    residual = partial(DilatedResidual, depth=config.residual_depth, compression=config.residual_compression)
    encoders, decoders = nn.ModuleList(), nn.ModuleList()
    for index, (narrow, wide) in enumerate(pairwise(widths)):
        coded = residual if config.residual_encoder else None
        encoders.append(Encoder(narrow, wide, spectral=spectral, residual=coded))
        out = narrow * len(config.stems) if index == 0 else narrow
        decoded = residual if config.residual_decoder else None
        decoders.insert(0, Decoder(wide, out, spectral=spectral, last=index == 0, residual=decoded))
    return encoders, decoders


def _normalised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x less its mean and over its deviation, and both, over all axes but the first."""
    axes = tuple(range(1, x.dim()))
    mean, deviation = x.mean(axes, keepdim=True), x.std(axes, keepdim=True)
    return (x - mean) / (EPSILON + deviation), mean, deviation


def spectrum(mixture: Tensor, n_fft: int) -> Tensor:
    """Return (B, 2 C, n_fft / 2, ⌈S / hop⌉): real and imaginary parts, channel by channel, without the last bin."""
    hop = n_fft // 4
    frames = math.ceil(mixture.shape[-1] / hop)
    border = hop // 2 * 3
    padded = _mirrored(mixture, border, border + frames * hop - mixture.shape[-1])
    bins = torch.stft(
        padded.flatten(0, 1), n_fft, hop, window=window_of(n_fft, padded), normalized=True, return_complex=True
    )
    bins = bins[:, :-1, 2 : 2 + frames].unflatten(0, mixture.shape[:2])
    return torch.view_as_real(bins).permute(0, 1, 4, 2, 3).flatten(1, 2)


def waveform(parts: Tensor, n_fft: int, samples: int) -> Tensor:
    """Return (B, K, C, S) of parts (B, K, 2 C, n_fft / 2, T); the inverse of `spectrum`."""
    hop = n_fft // 4
    border = hop // 2 * 3
    bins = F.pad(parts.unflatten(2, (-1, 2)), (2, 2, 0, 1)).permute(0, 1, 2, 4, 5, 3)
    length = hop * math.ceil(samples / hop) + 2 * border
    found = inverse_stft(torch.view_as_complex(bins.contiguous()) * math.sqrt(n_fft), n_fft, hop, length)
    return found[..., border : border + samples]


def _mirrored(x: Tensor, left: int, right: int) -> Tensor:
    """Mirror the ends of (B, C, S); a mixture that is shorter than its ends is followed by silence first."""
    longest = max(left, right)
    if x.shape[-1] <= longest:
        missing = longest - x.shape[-1] + 1
        added = min(right, missing)
        x, right = F.pad(x, (missing - added, added)), right - added
        left -= missing - added
    return F.pad(x, (left, right), "reflect")
