"""S4M: speech separation with neural state-space models (Chen et al. 2023, arXiv 2305.16932), as released.

waveform → encoder ─┬→ norm → bottleneck → the same block, 16 times → mask ─┐
                    └──────────────────────────────────────────────────→ · → decoder → a waveform per speaker

The block looks at four time scales. What all of them say together is mixed over time by S4, and is given back to each
scale as a gate and a bias. Features have the shape (B, T, C) everywhere: batch, frame, feature.

Where `encoder` is "spectrogram", the encoder is a short-time Fourier transform, and the block sees its magnitudes. That
is ours, not the paper's: what there is to learn is less.

The order of the speakers means nothing. It may differ from call to call, see `separation.stitch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.contract import Config, Pair, Supervision
from stemsplit.networks.kernels.features import affine, depthwise, pool, prelu, spread
from stemsplit.networks.kernels.stft import inverse_stft
from stemsplit.networks.layers.global_norm import GlobalNorm, Moments
from stemsplit.networks.layers.s4 import S4
from stemsplit.networks.masking import at_least, spectra_of
from stemsplit.networks.orders import in_best_order
from stemsplit.networks.rules import SAMPLE_RATE, STEM_NAMES, Number, OneOf, Rule, Whole

MOST_VALUES = 1 << 27
"""Of one layer, of one chunk: 512 MiB."""
COMPRESSION = 0.3
"""The power of a spectrogram's magnitudes: quiet partials weigh nearly as much as loud ones."""
CLOSE_TAPS, WIDE_TAPS = 1, 5
"""Lengths of the depthwise convolutions: in a scale's fusion with what all say, and in the way back up the scales."""


@dataclass(frozen=True)
class S4MConfig(Config):
    """Everything that is needed to build and run a network. The defaults are those of S4M-tiny for 8 kHz.

    Attributes:
        chunk_samples: the length of a chunk.
        overlap: how much of a chunk is shared with the next, by which the speakers of both are matched.
        encoder: "learned", as published, or "spectrogram".
        kernel_size: samples of the encoder's window, k.
        stride: samples from frame to frame; k is a multiple of it.
        basis: signals that the encoder makes, E; those of a spectrogram are the k / 2 + 1 frequencies.
        dim: features of a frame between blocks.
        hidden: features inside the block.
        scales: time scales of the block, each half as fine as the one before.
        passes: how often the block is run.
        d_state: real states of a channel in S4.
    """

    stems: tuple[str, ...] = ("speaker1", "speaker2")
    sample_rate: int = 8000
    chunk_samples: int = 64000
    overlap: float = 0.25
    encoder: str = "learned"
    kernel_size: int = 32
    stride: int = 8
    basis: int = 17
    dim: int = 128
    hidden: int = 512
    scales: int = 4
    passes: int = 16
    d_state: int = 16

    channels: ClassVar[int] = 1
    shortest_samples: ClassVar[int] = 1
    thread_safe: ClassVar[bool] = True
    aligned: ClassVar[bool] = False

    rules: ClassVar[Mapping[str, Rule]] = {
        "stems": STEM_NAMES,
        "sample_rate": SAMPLE_RATE,
        "chunk_samples": Whole(1, 1 << 24),
        "overlap": Number(0.01, 0.99),
        "encoder": OneOf(("learned", "spectrogram")),
        "kernel_size": Whole(2, 4096),
        "stride": Whole(1, 4096),
        "basis": Whole(1, 4096),
        "dim": Whole(1, 8192),
        "hidden": Whole(1, 8192),
        "scales": Whole(3, 12),
        "passes": Whole(1, 64),
        "d_state": Whole(2, 4096),
    }

    def misfits(self) -> Iterator[str]:
        """Yield what does not fit together; see `Config`."""
        if len(self.stems) < 2:
            yield f"a separator of speakers has two stems or more, not {', '.join(self.stems)}"
        if self.kernel_size % 2 or self.kernel_size % self.stride:
            yield f"kernel_size {self.kernel_size} must be even, and a multiple of stride {self.stride}"
        if self.encoder == "spectrogram" and self.basis != (bins := self.kernel_size // 2 + 1):
            yield f"a spectrogram with windows of {self.kernel_size} has a basis of {bins}, not {self.basis}"
        if self.d_state % 2:
            yield f"d_state must be even, not {self.d_state}"
        if self.chunk_samples // self.stride * max(self.basis, self.dim, self.hidden) > MOST_VALUES:
            yield f"a chunk of {self.chunk_samples} samples takes gigabytes at stride {self.stride}"


CONFIGS = {
    "s4m-tiny-8k": S4MConfig(),
    "s4m-tiny-16k": S4MConfig(sample_rate=16000, chunk_samples=128000, kernel_size=64, stride=16, basis=33),
}
"""The published wiring, with 1,828,967 and 1,843,015 parameters."""


class S4M(nn.Module):
    """The network: mixture (B, 1, samples) → speakers (B, K, 1, samples), in any order."""

    bfloat16_on_cpu = True
    """Under autocast only its products are computed in half precision, not its sums, norms and filters."""

    def __init__(self, config: S4MConfig) -> None:
        super().__init__()
        self.config = c = config
        speakers = len(c.stems)
        if c.encoder == "learned":
            self.encoder = nn.Conv1d(1, c.basis, c.kernel_size, c.stride, c.kernel_size // 2, bias=False)
            self.decoder = nn.ConvTranspose1d(
                speakers * c.basis, speakers, c.kernel_size, c.stride, c.kernel_size // 2, bias=False
            )
        self.norm = GlobalNorm(c.basis)
        self.bottleneck = nn.Linear(c.basis, c.dim)
        self.block = Block(c)
        self.blend = nn.Conv1d(c.dim, c.dim, 1, groups=c.dim)
        self.blend_act = nn.PReLU()
        self.mask_act = nn.PReLU()
        self.mask = nn.Linear(c.dim, speakers * c.basis)

    def forward(self, mixture: Tensor) -> Tensor:
        """Return the speakers (B, K, 1, samples) of a mixture (B, 1, samples)."""
        if self.config.encoder == "spectrogram":
            return self._masked_spectrum(mixture)
        c, samples = self.config, mixture.shape[-1]
        before, after = paddings(c, samples)
        encoded = in_full(self.encoder, F.pad(mixture, (before, after))).transpose(1, 2)
        masked = self.masks(encoded) * encoded.unsqueeze(2)
        speakers = in_full(self.decoder, masked.flatten(2).transpose(1, 2))
        return speakers[..., before : before + samples].unsqueeze(2)

    def _masked_spectrum(self, mixture: Tensor) -> Tensor:
        c, samples = self.config, mixture.shape[-1]
        padded = at_least(mixture, c.kernel_size // 2 + 1)
        spectrum = spectra_of(padded, c.kernel_size, c.stride)  # (B, 1, E, T)
        masks = self.masks(spectrum.abs().pow(COMPRESSION)[:, 0].transpose(1, 2))
        speakers = masks.permute(0, 2, 3, 1).unsqueeze(2) * spectrum.unsqueeze(1)
        return inverse_stft(speakers, c.kernel_size, c.stride, padded.shape[-1], rounded=False)[..., :samples]

    def masks(self, encoded: Tensor) -> Tensor:
        """Return the speakers' factors (B, T, K, E), none below 0, of an encoded mixture (B, T, E)."""
        features = self.features(product(self.bottleneck, self.norm(encoded)))
        masks = product(self.mask, prelu(features, self.mask_act.weight)).relu()
        return masks.unflatten(2, (len(self.config.stems), -1))

    def features(self, first: Tensor) -> Tensor:
        """Return features (B, T, C) after all passes of the block. Every pass but the first sees `first` again."""
        spectrum = self.block.s4.spectrum(self.block.frames(first.shape[1]))
        x = self.block(first, spectrum)
        for _ in range(self.config.passes - 1):
            x = self.block(self.blended(first + x), spectrum)
        return x

    def blended(self, x: Tensor) -> Tensor:
        """Return features (B, T, C) scaled and shifted one by one, and rectified."""
        assert self.blend.bias is not None
        return prelu(affine(x, self.blend.weight[:, 0, 0], self.blend.bias), self.blend_act.weight)

    def matrices(self) -> list[Tensor]:
        """Return the weights that map hidden features to hidden features, for optimisers made for matrices."""
        return [part.weight for part in self.block.modules() if isinstance(part, nn.Linear)]

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        """Compare the speakers with the true ones (B, K, 1, samples), each example in the order that fits it best."""
        mixture = stems.sum(1)
        estimate = self(mixture)
        return [Pair.of(1.0, in_best_order(estimate, stems), stems, mixture)]


def paddings(config: S4MConfig, samples: int) -> tuple[int, int]:
    """Return the zeros before and after a waveform with which windows cover it evenly."""
    k, q = config.kernel_size, config.stride
    return k - q, k - q + k - (q + samples) % k


class Block(nn.Module):
    """Features (B, T, C) → (B, T, C), added to what came in; `spectrum` is that of S4 for `frames(T)`."""

    def __init__(self, config: S4MConfig) -> None:
        super().__init__()
        hidden, scales = config.hidden, config.scales
        self.enter = nn.Linear(config.dim, hidden)
        self.enter_norm = GlobalNorm(hidden)
        self.enter_act = nn.PReLU()
        self.down = nn.ModuleList(Downward(hidden, stride=1 if scale == 0 else 2) for scale in range(scales))
        self.s4_norm = nn.LayerNorm(hidden)
        self.s4 = S4(hidden, config.d_state)
        self.feed_norm = nn.LayerNorm(hidden)
        self.feed = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))
        # The last scale's is not used, but published weights have it.
        self.fusions = nn.ModuleList(Fusion(hidden, CLOSE_TAPS) for _ in range(scales))
        self.up = nn.ModuleList(Fusion(hidden, WIDE_TAPS) for _ in range(scales - 1))
        self.leave = nn.Linear(hidden, config.dim)

    def forward(self, x: Tensor, spectrum: Tensor) -> Tensor:
        """Return the block's output (B, T, C)."""
        levels = []
        fine = prelu(self.enter_norm(product(self.enter, x)), self.enter_act.weight)
        for down in self.down:
            levels.append(down(fine))
            fine = levels[-1].x
        shared = level_of(self.mixed(self.pooled([level.x for level in levels]), spectrum))
        fused = [fuse(level, shared) for fuse, level in zip(self.fusions, levels[:-1], strict=False)]
        out = fused[-2]  # the first step is one down: the last fused scale takes the finer one
        for up, level in zip(reversed(self.up), reversed(fused), strict=True):
            out = up(Level(level), Level(out))
        return product(self.leave, out) + x

    def pooled(self, levels: list[Tensor]) -> Tensor:
        """Return the sum of all scales (B, T', H), at the length of the coarsest."""
        shared = levels[-1]
        for level in levels[:-1]:
            shared = shared + pool(level, shared.shape[1])
        return shared

    def mixed(self, shared: Tensor, spectrum: Tensor) -> Tensor:
        """Return what all scales say (B, T', H), mixed over time and over features."""
        shared = shared + self.s4(self.s4_norm(shared), spectrum)
        return shared + self.feed(self.feed_norm(shared)).to(shared.dtype)

    def frames(self, length: int) -> int:
        """Return the frames of the coarsest scale, of so many of the finest."""
        for _ in self.down[1:]:
            length = (length + 1) // 2
        return length


class Level(NamedTuple):
    """A scale: features (B, T, H), with their moments if these are known."""

    x: Tensor
    moments: Moments | None = None


def level_of(x: Tensor) -> Level:
    """Return features with their moments."""
    return Level(x, Moments.of(x))


class Downward(nn.Module):
    """A scale (B, T, H) → the next one, coarser by `stride`."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.filter = nn.Conv1d(width, width, WIDE_TAPS, stride, WIDE_TAPS // 2, groups=width)
        self.norm = GlobalNorm(width)

    def forward(self, x: Tensor) -> Level:
        """Return the next scale (B, ⌈T / stride⌉, H)."""
        found = filtered(self.filter, x)
        moments = Moments.of(found)
        scale, shift = self.norm.affine(moments)
        return Level(affine(found, scale, shift), moments.after(scale, shift))


class Fusion(nn.Module):
    """A scale and what another one says of it → the scale, multiplied by a gate and added to a bias from there."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.local, self.shift, self.gate = (Filter(width, taps) for _ in range(3))

    def forward(self, level: Level, other: Level) -> Tensor:
        """Return new features (B, T, H) of a level and another one (B, T', H), which is spread over its frames."""
        gate, addend = self.gate(other).sigmoid(), self.shift(other)
        found, scale, shift = self.local.parts(level)
        # What the local norm multiplies and adds joins the gate and the bias while they are short.
        factor, addend = gate * scale, torch.addcmul(addend, gate, shift)
        return torch.addcmul(spread(addend, found.shape[1]), found, spread(factor, found.shape[1]))


class Filter(nn.Module):
    """A depthwise convolution of features (B, T, H), normalised."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.filter = nn.Conv1d(width, width, taps, padding=taps // 2, groups=width, bias=False)
        self.norm = GlobalNorm(width)

    def forward(self, level: Level) -> Tensor:
        """Return features of the same shape."""
        return affine(*self.parts(level))

    def parts(self, level: Level) -> tuple[Tensor, Tensor, Tensor]:
        """Return features (B, T, H) and what they are still to be multiplied by, and then added to, (B, 1, H)."""
        if self.filter.kernel_size == (1,):
            tap = self.filter.weight[:, 0, 0]
            moments = Moments.of(level.x) if level.moments is None else level.moments
            scale, shift = self.norm.affine(moments.after(tap))
            return level.x, scale * tap, shift
        found = filtered(self.filter, level.x)
        return found, *self.norm.affine(Moments.of(found))


def product(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return a linear map of the features, in the precision of x: under autocast it comes in half precision."""
    return F.linear(x, layer.weight, layer.bias).to(x.dtype)


def filtered(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """Return a depthwise convolution of features (B, T, C)."""
    return depthwise(x, layer.weight, layer.bias, layer.stride[0])


def in_full(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what a layer makes of x in the precision of x: only products gain by autocast."""
    with torch.autocast(x.device.type, enabled=False):
        found: Tensor = layer(x)
        return found
