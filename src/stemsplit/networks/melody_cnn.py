"""The two-stage multi-resolution CNN for singing melody (Chen, Li, Chi, ICASSP 2019).

    waveform (B, samples), 16 kHz mono
      → stage 1: two banks of 1-D kernels, 64 and 960 samples long: |·| → max over a 10 ms hop → log
      → graph (B, 2, kernels, T)
      → stage 2: Inception modules over (kernel × time), halving the kernel axis; then over time alone
      → logits (B, T, 1 + bins): non-voice, then pitches 20 cents apart

We could only read the poster and the abstract of the paper. From these come the parts marked [P]: the two kernel
lengths, the stacking, the Inception modules, and the pre-training with sorted kernels. The others are our own choice
[C]: sample rate, numbers of channels, pooling, logarithm, normalisation, the shapes of the branches, the dilated
convolutions over time, and the classes.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemsplit.networks.contract import Config
from stemsplit.networks.kernels.products import fast_products
from stemsplit.networks.rules import SAMPLE_RATE, Number, Rule, Several, Whole

FLOOR = 1e-4
"""Added before the logarithm, so that silence gives a finite number: −80 dB of full scale."""
BRANCHES = ((3, 3), (5, 5), (15, 3), (3, 9))
"""Sizes (kernel axis × time) of the wide convolutions in an Inception module.

They are for local structure, wider structure, harmonics, and the continuity of notes.
"""
MOST_CONTEXT = 4096
"""Frames on either side that a frame may depend on: 40 s. They are computed with every chunk."""
MOST_SAMPLES = 1 << 17
"""Samples that the kernels may look at in a hop, those that several of them see counted again. Ours see 6,784."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""The golden ratio minus 1."""


@dataclass(frozen=True)
class MelodyCNNConfig(Config):
    """The sizes of the network. `kernel_samples` and `positions` have one entry per resolution."""

    sample_rate: int = 16000
    hop_samples: int = 160
    kernels: int = 192
    kernel_samples: tuple[int, ...] = (64, 960)
    positions: tuple[int, ...] = (16, 6)
    """How many times in a hop a kernel is applied. Applying it at every sample would cost ten times as much."""
    module_channels: tuple[int, ...] = (8, 16, 20, 24)
    """Channels of a branch, for each Inception module. A module halves the kernel axis."""
    bottleneck: int = 16
    """Channels that the input of a wide convolution is reduced to. The first module has no reduction."""
    time_channels: int = 224
    time_dilations: tuple[int, ...] = (1, 2, 4, 8)
    time_kernel: int = 5
    lowest_hz: float = 65.0
    bin_cents: float = 20.0
    bins: int = 267
    voicing_threshold: float = 0.5

    rules: ClassVar[Mapping[str, Rule]] = {
        "sample_rate": SAMPLE_RATE,
        "hop_samples": Whole(1, 1 << 16),
        "kernels": Whole(1, 2048),
        "kernel_samples": Several(Whole(2, 1 << 16), 1, 16),
        "positions": Several(Whole(1, 4096), 1, 16),
        "module_channels": Several(Whole(1, 1024), 0, 11),
        "bottleneck": Whole(1, 1024),
        "time_channels": Whole(1, 8192),
        "time_dilations": Several(Whole(1, 1024), 0, 64),
        "time_kernel": Whole(1, 255),
        "lowest_hz": Number(1, 20_000),
        "bin_cents": Number(1, 1200),
        "bins": Whole(1, 8192),
        "voicing_threshold": Number(0, 1),
    }

    def misfits(self) -> Iterator[str]:
        """Yield what does not fit together; see `Config`."""
        if len(self.kernel_samples) != len(self.positions):
            yield f"{len(self.kernel_samples)} kernel lengths and {len(self.positions)} position counts"
        if max(self.positions) > self.hop_samples:
            yield f"positions {self.positions} do not fit a hop of {self.hop_samples} samples"
        if self.time_kernel % 2 == 0:
            yield f"time_kernel {self.time_kernel} is even, and must be odd"
        if self.kernels % 2 ** len(self.module_channels):
            yield f"{self.kernels} kernels cannot be halved {len(self.module_channels)} times"
        if self.hop_samples > self.sample_rate:
            yield f"a hop of {self.hop_samples} samples is longer than a second"
        if self.bins * self.bin_cents / 1200 > math.log2(self.sample_rate / self.lowest_hz):
            yield f"{self.bins} bins of {self.bin_cents:g} cents above {self.lowest_hz:g} Hz end beyond the sample rate"
        if self.context_frames > MOST_CONTEXT:
            yield f"a frame depends on {self.context_frames} frames on either side, more than {MOST_CONTEXT}"
        if sum(map(operator.mul, self.kernel_samples, self.positions)) > MOST_SAMPLES:
            yield f"the kernels look at more than {MOST_SAMPLES} samples in a hop"

    def least_tensors(self) -> int:
        """Return a lower bound of the tensors of the weights: every layer has several."""
        return 8 + 9 * len(self.module_channels) + 7 * len(self.time_dilations) + len(self.positions)

    @property
    def context_frames(self) -> int:
        """Frames on either side that the logits of a frame depend on."""
        modules = len(self.module_channels) * max(width // 2 for _, width in BRANCHES)
        time = sum(self.time_dilations) * (self.time_kernel // 2)
        kernels = math.ceil(max(self.kernel_samples) / 2 / self.hop_samples) + 1
        return modules + time + kernels


class KernelBank(nn.Module):
    """Stage 1 at one resolution: learned filters, and the logarithm of the loudness of each filter in every hop.

    (B, samples) → (B, kernels, T), T = 1 + samples // hop. Frame t is centred at sample t · hop.
    """

    def __init__(self, kernels: int, length: int, hop: int, positions: int) -> None:
        super().__init__()
        self.hop, self.length = hop, length
        self.weight = nn.Parameter(torch.empty(kernels, length))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.offsets = irregular_offsets(hop, positions)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the loudness (B, kernels, T) of a waveform (B, samples)."""
        batch, samples = waveform.shape
        frames = 1 + samples // self.hop
        lead = (self.length + self.hop) // 2
        padded = functional.pad(waveform, (lead, lead + self.hop))
        offsets = torch.tensor(self.offsets, device=waveform.device)
        begins = torch.arange(frames, device=waveform.device)[:, None] * self.hop + offsets
        windows = padded.unfold(1, self.length, 1)[:, begins.flatten()]  # (B, T · positions, length)
        with torch.autocast(waveform.device.type, enabled=False):  # bfloat16 would lose soft partials beside loud ones
            loudness = functional.linear(windows, self.weight).abs()
        peaks = loudness.view(batch, frames, -1, loudness.shape[-1]).amax(2)
        return peaks.add(FLOOR).log().transpose(1, 2)


def irregular_offsets(hop: int, count: int) -> list[int]:
    """Return `count` positions in a hop, ascending, which the golden ratio distributes irregularly.

    With a regular distance, a filter's output for some pitches would have the same phase at all positions. It could be
    zero at all of them.
    """
    places = {int(hop * ((0.5 + index * GOLDEN) % 1.0)) for index in range(count)}
    spare = (place for place in range(hop) if place not in places)
    while len(places) < count:
        places.add(next(spare))
    return sorted(places)


class Stage1(nn.Module):
    """All resolutions of stage 1: (B, samples) → graph (B, resolutions, kernels, T), with batch normalisation."""

    def __init__(self, config: MelodyCNNConfig) -> None:
        super().__init__()
        pairs = zip(config.kernel_samples, config.positions, strict=True)
        self.banks = nn.ModuleList(
            KernelBank(config.kernels, length, config.hop_samples, count) for length, count in pairs
        )
        self.norm = nn.BatchNorm1d(config.kernels * len(self.banks), affine=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the graph (B, resolutions, kernels, T) of a waveform (B, samples)."""
        graph = torch.stack([bank(waveform) for bank in self.banks], 1)
        return self.norm(graph.flatten(1, 2)).view_as(graph)


class Inception(nn.Module):
    """Parallel convolutions of several shapes, then max-pooling over two rows: (B, C, F, T) → (B, C', F/2, T).

    Normalisation and ReLU are applied to all branches at once. ReLU comes after the pooling, which gives the same
    result for half the work.

    Args:
        inputs: channels of the input.
        channels: channels of each branch.
        bottleneck: channels to which 1×1 convolutions reduce the input of each wide convolution; None leaves these out.
    """

    def __init__(self, inputs: int, channels: int, bottleneck: int | None) -> None:
        super().__init__()
        self.point = nn.Conv2d(inputs, channels, 1, bias=False)
        self.squeeze = None if bottleneck is None else _squeeze(inputs, bottleneck * len(BRANCHES))
        width = inputs if bottleneck is None else bottleneck
        self.branches = nn.ModuleList(
            nn.Conv2d(width, channels, kernel, padding=(kernel[0] // 2, kernel[1] // 2), bias=False)
            for kernel in BRANCHES
        )
        self.channels = channels * (1 + len(BRANCHES))
        self.norm = nn.BatchNorm2d(self.channels)

    def forward(self, graph: Tensor) -> Tensor:
        """Return the pooled output (B, C', F/2, T) of a graph (B, C, F, T)."""
        parts = [graph] * len(self.branches) if self.squeeze is None else self.squeeze(graph).chunk(len(BRANCHES), 1)
        wide = [branch(part) for branch, part in zip(self.branches, parts, strict=True)]
        joined = self.norm(torch.cat([self.point(graph), *wide], 1))
        return torch.maximum(joined[:, :, 0::2], joined[:, :, 1::2]).relu_()


def _squeeze(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True))


class TimeBlock(nn.Module):
    """A residual convolution over time: (B, C, T) → (B, C, T)."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(channels)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return updated features (B, C, T)."""
        return hidden + self.mix(self.norm(self.conv(hidden)).relu_())


class Stage2(nn.Module):
    """Stage 2: graph (B, resolutions, kernels, T) → logits (B, T, 1 + bins)."""

    def __init__(self, config: MelodyCNNConfig, dropout: float = 0.1) -> None:
        super().__init__()
        modules, width = [], len(config.kernel_samples)
        for index, channels in enumerate(config.module_channels):
            modules.append(Inception(width, channels, config.bottleneck if index else None))
            width = modules[-1].channels
        self.inception = nn.Sequential(*modules)
        rows = config.kernels >> len(modules)
        self.flatten = nn.Conv1d(width * rows, config.time_channels, 1, bias=False)
        self.norm = nn.BatchNorm1d(config.time_channels)
        self.time = nn.Sequential(
            *(TimeBlock(config.time_channels, config.time_kernel, dilation) for dilation in config.time_dilations)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv1d(config.time_channels, 1 + config.bins, 1)

    def forward(self, graph: Tensor) -> Tensor:
        """Return the logits (B, T, 1 + bins) of a graph (B, resolutions, kernels, T)."""
        hidden = self.inception(graph.to(memory_format=torch.channels_last))
        hidden = self.norm(self.flatten(hidden.flatten(1, 2))).relu()
        return self.head(self.dropout(self.time(hidden))).transpose(1, 2)


class MelodyCNN(nn.Module):
    """The network: waveform (B, samples) → logits (B, 1 + samples // hop, 1 + bins), non-voice first, then pitches."""

    def __init__(self, config: MelodyCNNConfig | None = None) -> None:
        super().__init__()
        self.config = config or MelodyCNNConfig()
        self.stage1 = Stage1(self.config)
        self.stage2 = Stage2(self.config)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the logits (B, 1 + samples // hop, 1 + bins) of a waveform (B, samples)."""
        with nullcontext() if torch.is_grad_enabled() else fast_products():
            return self.stage2(self.stage1(waveform))


def folded(network: MelodyCNN) -> MelodyCNN:
    """Return a copy for inference, in which the convolutions contain the normalisations that follow them.

    The copy cannot be trained.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, Inception):
            parts = [module.point, *module.branches]
            _fold(parts, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
            if module.squeeze is not None:
                _fold([module.squeeze[0]], module.squeeze[1])  # type: ignore[list-item, arg-type]
                module.squeeze[1] = nn.Identity()
        elif isinstance(module, TimeBlock):
            _fold([module.conv], module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    _fold([network.stage2.flatten], network.stage2.norm)
    network.stage2.norm = nn.Identity()  # type: ignore[assignment]
    return network


def _fold(convolutions: Sequence[nn.Conv1d | nn.Conv2d], norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Include a normalisation in the convolutions before it, whose outputs are its input, one after the other."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    offset = norm.bias - norm.running_mean * scale
    begin = 0
    for convolution in convolutions:
        part = slice(begin, begin + convolution.out_channels)
        shape = (-1,) + (1,) * (convolution.weight.dim() - 1)
        convolution.weight = nn.Parameter(convolution.weight * scale[part].view(shape), requires_grad=False)
        convolution.bias = nn.Parameter(offset[part].clone(), requires_grad=False)
        begin += convolution.out_channels


class PitchProbe(nn.Module):
    """Stage 1 for pre-training [P]: with a small network per resolution that finds the pitch of each frame [C].

    (B, samples) → logits (B, resolutions, T, 1 + bins).
    """

    def __init__(self, config: MelodyCNNConfig, hidden: int = 128) -> None:
        super().__init__()
        self.stage1 = Stage1(config)
        self.readers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(config.kernels, hidden, 3, padding=1),
                nn.BatchNorm1d(hidden),
                nn.ReLU(True),
                nn.Conv1d(hidden, 1 + config.bins, 1),
            )
            for _ in config.kernel_samples
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the logits (B, resolutions, T, 1 + bins) of a waveform (B, samples)."""
        graph = self.stage1(waveform)
        logits = [reader(graph[:, index]) for index, reader in enumerate(self.readers)]
        return torch.stack(logits, 1).transpose(2, 3)


def peak_frequencies(weight: Tensor, sample_rate: int, size: int = 8192) -> Tensor:
    """Return the frequency in Hz at which each kernel (kernels, length) has its strongest response: (kernels,)."""
    response = torch.fft.rfft(weight.detach().float(), n=max(size, weight.shape[-1])).abs()
    return response.argmax(-1) * (sample_rate / max(size, weight.shape[-1]))


@torch.no_grad()
def sort_kernels(stage1: Stage1, sample_rate: int) -> None:
    """Sort the kernels of every bank, and their statistics, by peak frequency [C]."""
    orders = [peak_frequencies(bank.weight, sample_rate).argsort(stable=True) for bank in stage1.banks]  # type: ignore[arg-type]
    for bank, order in zip(stage1.banks, orders, strict=True):
        bank.weight.copy_(bank.weight[order])  # type: ignore[operator, index]
    kernels = len(orders[0])
    whole = torch.cat([order + index * kernels for index, order in enumerate(orders)])
    for statistic in (stage1.norm.running_mean, stage1.norm.running_var):
        if statistic is not None:
            statistic.copy_(statistic[whole])


@torch.no_grad()
def start_with_cosines(stage1: Stage1, sample_rate: int, lowest: float = 55.0, highest: float = 7000.0) -> None:
    """Make every kernel a cosine with a window, with frequencies at even steps of pitch [C].

    A window is as long as its kernel, or 16 periods if that is shorter. So neighbours overlap at every pitch.
    """
    for bank in stage1.banks:
        kernels, length = bank.weight.shape  # type: ignore[misc]
        slowest = max(lowest, sample_rate / length)
        hertz = slowest * (highest / slowest) ** (torch.arange(kernels) / max(kernels - 1, 1))
        time = (torch.arange(length) - (length - 1) / 2) / sample_rate
        span = torch.minimum(torch.tensor(length / sample_rate), 16 / hertz)[:, None]
        window = torch.where(time.abs() < span / 2, 0.5 + 0.5 * torch.cos(2 * math.pi * time / span), 0.0)
        phase = 2 * math.pi * GOLDEN * torch.arange(kernels)[:, None]
        kernel = window * torch.cos(2 * math.pi * hertz[:, None] * time + phase)
        bank.weight.copy_(kernel / window.sum(-1, keepdim=True))  # type: ignore[operator]
