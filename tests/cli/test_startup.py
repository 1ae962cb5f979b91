"""A command starts without what it does not need: counted in modules, not by a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import STEMS, files_in, save_tiny, write_song

NEEDLESS = {
    "torch._inductor", "torch.onnx", "torchaudio", "triton",
    "scipy", "numba", "librosa", "matplotlib", "mido", "pandas", "huggingface_hub", "av", "rich.progress",
    "stemsplit.training", "stemsplit.melody", "stemsplit.doctor", "stemsplit.demo", "stemsplit.demo.song",
    "stemsplit.evaluation.songs", "stemsplit.networks.backends.triton", "stemsplit.networks.backends.mamba",
}  # fmt: skip


def python(code: str, *arguments: object, folder: Path) -> list[str]:
    """The lines that a fresh interpreter prints; its current folder is the first place that it imports from."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("to", ["files", "pipe"])
def test_separate_loads_only_what_it_needs(tmp_path: Path, to: str) -> None:
    song = write_song(tmp_path / "song.wav", np.random.default_rng(0).normal(0, 0.1, (2, 20000)), 8000)
    output = ["-o", "out"] if to == "files" else ["-o", "-", "--stems", "bass"]
    code = f"""
import os, sys
from stemsplit.cli import main
ours = os.dup(1)
if "-" in sys.argv: os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
assert main(["separate", *sys.argv[1:]]) == 0
os.dup2(ours, 1)
print(*sorted({NEEDLESS!r} & set(sys.modules)))
"""
    (needless,) = python(code, song, "-m", save_tiny(tmp_path / "tiny"), "-q", *output, folder=tmp_path)
    assert needless == ""
    if to == "files":
        assert files_in(tmp_path / "out" / "song") == {"stemsplit.json", *(f"{stem}.wav" for stem in STEMS)}


@pytest.mark.parametrize("command", ["separate", "melody", "analyse"])
def test_a_wrong_name_is_told_before_pytorch_is_loaded(tmp_path: Path, command: str) -> None:
    code = "import sys; from stemsplit.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    assert python(code, command, "nope.wav", "-q", folder=tmp_path) == ["2 False"]
