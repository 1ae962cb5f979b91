"""Melody networks for tests: one whose answer is known, and a real one small enough to run in a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stemsplit.melody.reader import Reader, make_reader
from stemsplit.networks.melody_cnn import MelodyCNN, MelodyCNNConfig
from stemsplit.options import MelodyOptions, SeparateOptions
from stemsplit.separation.separator import Separator
from stemsplit.weights.checkpoint import save
from stemsplit.weights.model import Model

TINY_MELODY = MelodyCNNConfig(
    kernels=16, positions=(2, 2), module_channels=(1, 1), bottleneck=1, time_channels=4, time_dilations=(1,),
    time_kernel=3,
)  # fmt: skip


@dataclass(frozen=True)
class FakeMelodyConfig:
    sample_rate: int = 16000
    hop_samples: int = 160
    lowest_hz: float = 65.0
    bin_cents: float = 20.0
    bins: int = 267
    context_frames: int = 3
    voicing_threshold: float = 0.4


@dataclass
class FakeMelodyNetwork:
    """A frame is sung where it sounds, at the pitch that its zero crossings within `context_frames` tell."""

    config: FakeMelodyConfig = field(default_factory=FakeMelodyConfig)
    on_call: Callable[[Tensor], object] = lambda waveform: None

    def __call__(self, waveform: Tensor) -> Tensor:
        self.on_call(waveform)
        config = self.config
        hop, reach = config.hop_samples, config.context_frames * config.hop_samples
        frames = 1 + waveform.shape[1] // hop
        padded = functional.pad(waveform, (reach, reach + hop))
        windows = padded.unfold(1, 2 * reach, hop)[:, :frames]  # frame i is centred at sample i · hop
        crossings = (windows[..., 1:] * windows[..., :-1] < 0).sum(-1)
        hz = crossings * config.sample_rate / (4.0 * reach)
        cents = 1200 * torch.log2(hz.clamp(min=config.lowest_hz) / config.lowest_hz)
        at = (cents / config.bin_cents).clamp(max=config.bins - 1.0)
        pitches = -0.5 * (torch.arange(config.bins) - at[..., None]).square()
        sung = windows.abs().amax(-1, keepdim=True) > 0.01
        return torch.cat([torch.where(sung, -8.0, 8.0), pitches], -1)


def fake_reader(
    options: MelodyOptions | None = None,
    *,
    separator: Separator | None = None,
    sha256: str = "7" * 64,
    config: FakeMelodyConfig | None = None,
    on_call: Callable[[Tensor], object] = lambda waveform: None,
) -> Reader:
    """A reader around a fake network, for voices unless there is a separator."""
    network = FakeMelodyNetwork(config or FakeMelodyConfig(), on_call)
    return make_reader(Model("fake-melody", sha256, network), separator, options or MelodyOptions(device="cpu"))


def vocals_separator(
    *, gain: float = 0.5, sha256: str = "5" * 64, on_call: Callable[[Tensor], object] = lambda mixture: None
) -> Separator:
    """A separator whose vocals are the mixture times a number."""
    from tiny import fake_separator

    return fake_separator(SeparateOptions(stems="vocals", device="cpu"), gains=(0, 0, 0, gain), sha256=sha256,
                          on_call=on_call)  # fmt: skip


def save_tiny_melody(folder: Path) -> Path:
    """A real melody network with random weights, in our format."""
    torch.manual_seed(0)
    return save(MelodyCNN(TINY_MELODY).eval(), folder, name="tiny-melody", license="CC0-1.0")


def voice(seconds: float, hz: float = 220.0, rate: int = 16000, *, amplitude: float = 0.3) -> np.ndarray:
    """A tone (n,) float32."""
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hz * time + 0.1)).astype(np.float32)
