"""A command starts without what it does not need: counted in modules, not by a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import STEMS, files_in, save_tiny, write_song

NEEDLESS = {
    "torch._dynamo", "torch._inductor", "torch.distributed.fsdp", "torch.onnx", "torchaudio", "triton", "sympy",
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
print(type(sys.modules["torch._meta_registrations"]).__name__)
"""
    needless, registrations = python(code, song, "-m", save_tiny(tmp_path / "tiny"), "-q", *output, folder=tmp_path)
    assert needless == ""
    assert registrations == "_DeferredModule"
    if to == "files":
        assert files_in(tmp_path / "out" / "song") == {"stemsplit.json", *(f"{stem}.wav" for stem in STEMS)}


def test_stems_do_not_depend_on_how_torch_was_imported(tmp_path: Path) -> None:
    song = write_song(tmp_path / "song.wav", np.random.default_rng(0).normal(0, 0.1, (2, 20000)), 8000)
    tiny = save_tiny(tmp_path / "tiny")
    code = "import sys; from stemsplit.cli import main; sys.exit(main(['separate', *sys.argv[1:], '-q']))"
    for name, before in (("quick", ""), ("plain", "import torch; ")):
        python(before + code, song, "-m", tiny, "-o", name, folder=tmp_path)
    for stem in STEMS:
        one, other = (tmp_path / name / "song" / f"{stem}.wav" for name in ("quick", "plain"))
        assert one.read_bytes() == other.read_bytes()


# --- with a small package in PyTorch's place


@pytest.fixture
def small_torch(tmp_path: Path) -> Path:
    package = tmp_path / "torch"
    (package / "_dynamo").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import gc\nfrom types import SimpleNamespace as Names\nfrom torch import _meta_registrations\n"
        "import torch._meta_registrations\ncollecting = gc.isenabled()\n"
        "cuda, backends = Names(is_available=lambda: GPU), Names(mps=Names(is_available=lambda: False))\nGPU = False\n"
    )
    (package / "_meta_registrations.py").write_text("print('registering')\nshapes = 7\n")
    (package / "_dynamo" / "__init__.py").write_text("print('compiling')\n")
    return tmp_path


START = "from stemsplit.startup import quick_imports\nimport gc, inspect\nwith quick_imports(): import torch\n"


@pytest.mark.parametrize(
    ("then", "printed"),
    [
        ("", []),
        ("import torch._meta_registrations, inspect; inspect.getmodule(print)", []),
        ("print(torch._meta_registrations.shapes)", ["registering", "7"]),
        ("from torch._meta_registrations import shapes; print(shapes)", ["registering", "7"]),
        ("import torch._dynamo", ["registering", "compiling"]),
        ("torch._meta_registrations.shapes; import torch._dynamo", ["registering", "compiling"]),
        ("print(torch.collecting, gc.isenabled(), gc.get_freeze_count())", ["False True 0"]),
        ("print(hasattr(torch._meta_registrations, 'colours'))", ["registering", "False"]),
    ],
)
def test_what_is_deferred_comes_when_it_is_asked_for(small_torch: Path, then: str, printed: list[str]) -> None:
    assert python(START + then, folder=small_torch) == printed


def test_without_it_nothing_is_deferred(small_torch: Path) -> None:
    assert python("import torch\n" + START, folder=small_torch) == ["registering"]


def test_with_a_gpu_nothing_stays_deferred(small_torch: Path) -> None:
    package = small_torch / "torch" / "__init__.py"
    package.write_text(package.read_text().replace("GPU = False", "GPU = True"))
    assert python(START, folder=small_torch) == ["registering"]


def test_an_import_that_fails_leaves_everything_as_it_was(small_torch: Path) -> None:
    (small_torch / "torch" / "__init__.py").write_text("raise ImportError('broken')\n")
    code = START.replace("import torch\n", "pass\n") + (
        "try:\n    with quick_imports(): import torch\nexcept ImportError as error: print(error, gc.isenabled())"
    )
    assert python(code, folder=small_torch) == ["broken True"]
