"""Networks for tests: one whose answer is known, and a real one small enough to run in a moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig
from stemsplit.options import SeparateOptions
from stemsplit.separation.separator import Separator, make_separator
from stemsplit.weights.checkpoint import save
from stemsplit.weights.model import Model

STEMS = ("drums", "bass", "other", "vocals")
GAINS = (0.5, 0.25, -0.125, 0.3)
TINY = BSMambaConfig(
    n_fft=64,
    hop_length=16,
    bands=(2, 3, 28),
    dim=8,
    blocks_mask=1,
    blocks_map=1,
    d_state=4,
    expand=2,
    headdim=4,
    sample_rate=8000,
    chunk_samples=8000,
    normalize=True,
)


@dataclass(frozen=True)
class FakeConfig:
    stems: tuple[str, ...] = STEMS
    sample_rate: int = 44100
    channels: int = 2
    chunk_samples: int = 11025
    overlap: float = 0.5
    plain_chunks: bool = False
    centred_chunks: bool = False
    levelled: bool = False
    one_chunk_on_cpu: bool = False
    shortest_samples: int = 1
    thread_safe: bool = True
    aligned: bool = True


@dataclass
class FakeNetwork:
    """Every stem is the mixture times a number."""

    config: FakeConfig
    gains: Sequence[float] = GAINS
    on_call: Callable[[Tensor], object] = lambda mixture: None

    def __call__(self, mixture: Tensor) -> Tensor:
        self.on_call(mixture)
        return torch.stack([gain * mixture for gain in self.gains], dim=1)


def fake_separator(
    options: SeparateOptions,
    *,
    gains: Sequence[float] = GAINS,
    config: FakeConfig | None = None,
    on_call: Callable[[Tensor], object] = lambda mixture: None,
    sha256: str = "5" * 64,
) -> Separator:
    """A separator around a fake network, with the options' outputs."""
    return make_separator(Model("fake", sha256, FakeNetwork(config or FakeConfig(), gains, on_call)), options)


def save_tiny(folder: Path) -> Path:
    """A real network with random weights, in our format."""
    torch.manual_seed(0)
    return save(BSMamba(TINY).eval(), folder, name="tiny", license="CC0-1.0")


def write_song(path: Path, samples: np.ndarray, rate: int = 44100, subtype: str | None = None) -> Path:
    """Samples (channels, n) as a file whose format is its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T, rate, subtype=subtype)
    return path


def read_song(path: Path) -> np.ndarray:
    """Samples (channels, n), float64."""
    samples, _ = soundfile.read(path, always_2d=True)
    return samples.T


def files_in(folder: Path) -> set[str]:
    """Every file and folder below, hidden ones too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
