"""The development score of voices over accompaniments that are not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stemsplit.networks.bsmamba import BSMambaConfig
from stemsplit.training.examples.mixes import Mixing
from stemsplit.training.schedule import Schedule
from stemsplit.training.separator_task import Recipe

RATE = 2000
STEMS = ("drums", "vocals")


class Lowest(nn.Module):
    """Takes what lies below 250 Hz for the drums, and the rest for the vocals."""

    def forward(self, mixture: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(mixture)
        spectrum[..., torch.fft.rfftfreq(mixture.shape[-1], 1 / RATE) > 250] = 0
        low = torch.fft.irfft(spectrum, mixture.shape[-1])
        return torch.stack([low, mixture - low], dim=1)


def write(folder: Path, **hertz: float) -> Path:
    """A recording of a tone for every name."""
    folder.mkdir(parents=True)
    time = np.arange(2 * RATE) / RATE
    for name, frequency in hertz.items():
        tone = 8000 * np.sin(2 * np.pi * frequency * time)
        np.save(folder / f"{name}.npy", np.repeat(tone[:, None], 2, 1).astype(np.int16))
    (folder / "MANIFEST.json").write_text("{}", encoding="utf-8")
    return folder.parent


def test_voices_over_accompaniments_are_scored_apart(tmp_path: Path) -> None:
    songs = write(tmp_path / "songs" / "1", drums=100, vocals=600)
    backing = write(tmp_path / "backing" / "1", accompaniment=150)
    network = BSMambaConfig(stems=STEMS, sample_rate=RATE)
    recipe = Recipe(
        "test", (songs,), network, Mixing(crop_seconds=0.5), Schedule(steps=1), tmp_path / "run", dev_folder=(songs,),
        dev_backing=(backing, tmp_path / "not there yet"),
    )  # fmt: skip
    figures = recipe.dev(Lowest(), torch.device("cpu"))
    assert set(figures) == {*STEMS, "loss", "backing/vocals", "backing/accompaniment"}
    assert figures["backing/vocals"] < -15
    assert figures["backing/accompaniment"] < -15
    without = Recipe("test", (songs,), network, Mixing(crop_seconds=0.5), Schedule(steps=1), tmp_path / "run",
                     dev_folder=(songs,))  # fmt: skip
    assert {name: figures[name] for name in (*STEMS, "loss")} == without.dev(Lowest(), torch.device("cpu"))
