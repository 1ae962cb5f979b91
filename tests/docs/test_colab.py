"""The notebook for Google Colab runs here as far as it can, with Colab's upload and without."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tiny import write_song

from stemsplit.training.recipe import tomllib

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / "docs" / "colab.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the notebook shows as pictures; Colab has IPython, the tests need not."""
    shown: list[str] = []
    module = ModuleType("IPython.display")
    module.Image = shown.append  # type: ignore[attr-defined]
    python = ModuleType("IPython")
    python.version_info = (9, 0)  # type: ignore[attr-defined]  # which matplotlib asks for
    monkeypatch.setitem(sys.modules, "IPython", python)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def run_cells() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for cell in CODE:
        if "not-in-tests" not in cell["metadata"].get("tags", []):
            exec(compile("".join(cell["source"]), "docs/colab.ipynb", "exec"), names)
    return names


def test_it_is_a_notebook_of_the_format_that_it_states() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert NOTEBOOK["metadata"]["kernelspec"]["name"] == "python3"
    names = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(names)) == len(names)
    for cell in NOTEBOOK["cells"]:
        assert re.fullmatch(r"[\w-]{1,64}", cell["id"])
        more = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | more
        assert not cell.get("outputs"), "commit it without outputs"


def test_a_cell_that_is_not_run_says_why() -> None:
    left_out = [cell for cell in CODE if "not-in-tests" in cell["metadata"].get("tags", [])]
    assert 0 < len(left_out) < len(CODE) / 2
    assert all(len(cell["metadata"]["reason"]) > 10 for cell in left_out)


def test_it_installs_what_the_project_is_called() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.search(r'"([\w-]+)\[([\w,]+)\]"', "".join(CODE[0]["source"]))
    assert found is not None
    assert found[1] == project["name"]
    assert set(found[2].split(",")) <= project["optional-dependencies"].keys()


def test_it_runs_on_the_song_of_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, display: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    names = run_cells()
    assert list(names["separation"].stems) == ["drums", "bass", "other", "vocals"]
    assert display == ["melody.png"]
    assert Path("melody.png").stat().st_size > 1000
    shutil.unpack_archive(names["archive"], "taken home")
    expected = {"bass.flac", "drums.flac", "other.flac", "vocals.flac", "melody.csv", "melody.mid", "stemsplit.json"}
    assert {path.name for path in Path("taken home").iterdir()} == expected


def test_it_runs_on_what_is_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, display: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    mine = np.random.default_rng(0).normal(0, 0.1, (2, 44100))
    write_song(tmp_path / "my song.wav", mine, 44100)
    colab = ModuleType("google.colab")
    colab.files = ModuleType("google.colab.files")  # type: ignore[attr-defined]
    colab.files.upload = lambda: {"my song.wav": b"RIFF"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "google", ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    names = run_cells()
    assert names["song"] == "my song.wav"
    assert names["separation"].stems["vocals"].shape == (2, 44100)
