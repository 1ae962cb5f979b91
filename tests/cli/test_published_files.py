"""Checkpoints as they are published, straight into the command: a song, and half an hour of it in no more memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from published_htdemucs import STEMS, save_th
from published_roformer import TEXT, published

from stemsplit.audio.resample import resample
from stemsplit.demo import synthesize_demo_song

RATE = 8000
MOST_GROWTH = 1.1
"""Of half an hour over three minutes. One stem of the difference is 104 MB, a quarter of what PyTorch takes."""
COMMAND = """
import sys
from stemsplit.cli import main
code = main(sys.argv[1:])
told = open("/proc/self/status").read().splitlines()
print(next(line.split()[1] for line in told if line.startswith("VmHWM")))
sys.exit(code)
"""


def htdemucs(folder: Path) -> Path:
    """Write an official .th of a small network with chunks of 7.8 s, at a low rate."""
    return save_th(folder, kwargs={"samplerate": RATE, "segment": Fraction(39, 5)})


def roformer(folder: Path) -> Path:
    """Write a .ckpt and the trainer's YAML beside it, for chunks of 8 s."""
    torch.save({"state_dict": published()}, folder / "model_bs_roformer.ckpt")
    settings = TEXT.replace("{chunk_size: 4096}", f"{{chunk_size: {8 * RATE}, sample_rate: {RATE}}}")
    (folder / "config_bs_roformer.yaml").write_text(settings)
    return folder / "model_bs_roformer.ckpt"


@dataclass(frozen=True)
class Family:
    write: Callable[[Path], Path]
    stems: tuple[str, ...]


FAMILIES = {
    "htdemucs": Family(htdemucs, tuple(STEMS)),
    "roformer": Family(roformer, ("vocals", "other")),
}


@cache
def tune() -> np.ndarray:
    """Return the song of `stemsplit demo`, (2, samples)."""
    return np.concatenate(list(resample([synthesize_demo_song(20.0).mixture], 44100, RATE, 2)), axis=1)


def song(path: Path, minutes: float) -> Path:
    """Write that song again and again."""
    once = tune()
    left = round(60 * minutes * RATE)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        while left:
            part = once[:, :left]
            file.write(np.clip(part.T, -1, 1))
            left -= part.shape[1]
    return path


def separated(song: Path, model: Path) -> int:
    """Separate a song by the command into `out`, and return the peak of its memory in kB."""
    words = ["separate", song.name, "-m", model.name, "-o", "out", "-q", "--device", "cpu", "--bit-depth", "32f"]
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], cwd=song.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is asked of Linux")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_half_an_hour_takes_the_memory_of_three_minutes(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    model = family.write(tmp_path)
    separated(song(tmp_path / "first.wav", 0.1), model)  # which converts the checkpoint, once
    peaks = [separated(song(tmp_path / f"{minutes}.wav", minutes), model) for minutes in (3, 30)]
    for minutes in (3, 30):
        mixture = soundfile.SoundFile(tmp_path / f"{minutes}.wav")
        stems = [soundfile.SoundFile(tmp_path / "out" / str(minutes) / f"{stem}.wav") for stem in family.stems]
        assert [stem.frames for stem in stems] == [mixture.frames] * len(stems)
        parts = [stem.read(20 * RATE, dtype="float64") for stem in stems]
        assert min(np.abs(part).max() for part in parts) > 1e-3
        if family.write is roformer:  # whose last stem is what the others leave
            np.testing.assert_allclose(sum(parts), mixture.read(20 * RATE), atol=1e-6)
    assert peaks[1] < MOST_GROWTH * peaks[0], peaks
