"""The page for a Hugging Face Space: what it gives a visitor, with a Gradio that only notes what it is asked for."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from tiny import write_song

from stemsplit.audio import probe
from stemsplit.training.recipe import tomllib

ROOT = Path(__file__).parents[2]
SPACE = ROOT / "docs" / "space"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec = importlib.util.spec_from_file_location("space_app", SPACE / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "a song.wav"
    times = np.arange(3 * 44100) / 44100
    noise = np.random.default_rng(0).normal(0, 0.02, (2, len(times)))
    write_song(path, 0.2 * np.sin(2 * np.pi * 220 * times) + noise, 44100)
    return path


class Part:
    """A component: its kind and what it was made with; a `with` block, and a button that can be clicked."""

    def __init__(self, kind: str, clicks: list[dict[str, Any]], words: tuple[Any, ...], more: dict[str, Any]) -> None:
        self.kind, self.words, self.more, self._clicks = kind, words, more, clicks

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None: ...

    def click(self, work: Any, inputs: Any, outputs: Any) -> None:
        self._clicks.append({"button": self.words[0], "work": work, "inputs": inputs, "outputs": outputs})


class Gradio(ModuleType):
    """As much of Gradio as the page asks for."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("gradio")
        self.clicks: list[dict[str, Any]] = []

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("_"):
            raise AttributeError(kind)
        return lambda *words, **more: Part(kind, self.clicks, words, more)


@pytest.fixture
def gradio(monkeypatch: pytest.MonkeyPatch) -> Gradio:
    fake = Gradio()
    monkeypatch.setitem(sys.modules, "gradio", fake)
    return fake


def test_importing_it_needs_no_gradio() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import app; assert 'gradio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(SPACE)], check=True, timeout=120)


def test_a_song_gives_four_stems_and_a_page(app: ModuleType, song: Path) -> None:
    *stems, page = app.separated(str(song))
    assert [Path(stem).name for stem in stems] == ["vocals.mp3", "drums.mp3", "bass.mp3", "other.mp3"]
    assert {probe(Path(stem)).sample_rate for stem in stems} == {44100}
    assert "<html" in Path(page).read_text(encoding="utf-8")


def test_a_song_gives_its_melody(app: ModuleType, song: Path) -> None:
    picture, midi = map(Path, app.melody(str(song)))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert midi.read_bytes().startswith(b"MThd")


@pytest.mark.parametrize("work", ["separated", "melody"])
def test_what_is_wrong_is_said_in_words(app: ModuleType, work: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Choose a song first"):
        getattr(app, work)(None)
    broken = tmp_path / "broken.mp3"
    broken.write_text("no sound")
    with pytest.raises(ValueError, match=r"^broken\.mp3: "):
        getattr(app, work)(str(broken))


def test_only_so_much_of_a_song_is_taken(app: ModuleType, song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LONGEST", "-0:02")
    samples, rate = soundfile.read(app.separated(str(song))[0])
    assert len(samples) / rate == pytest.approx(2, abs=0.06)


def test_what_visitors_got_is_deleted_after_an_hour(app: ModuleType) -> None:
    old, young = app.new_folder(), app.new_folder()
    os.utime(old, (0, 0))
    app.new_folder()
    assert not old.exists()
    assert young.is_dir()


def test_the_page_has_a_place_for_all_that_comes_out(app: ModuleType, gradio: Gradio, song: Path) -> None:
    assert app.build().kind == "Blocks"
    separate, read = gradio.clicks
    assert separate["inputs"] is read["inputs"]
    for click in (separate, read):
        given = click["work"](str(song))
        assert len(given) == len(click["outputs"])
        assert all(Path(path).is_file() for path in given)
        with pytest.raises(gradio.Error, match="Choose a song first"):
            click["work"](None)
    assert [part.more["label"] for part in separate["outputs"][:4]] == [
        Path(p).stem for p in separate["work"](str(song))[:4]
    ]


def test_the_space_installs_what_the_project_is_called() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [line for line in (SPACE / "requirements.txt").read_text().splitlines() if line[0].isalpha()]
    (found,) = (re.fullmatch(r"([\w-]+)\[([\w,]+)\]", name) for name in names)
    assert found is not None
    assert found[1] == project["name"]
    assert set(found[2].split(",")) <= project["optional-dependencies"].keys()


def test_its_readme_tells_the_hub_how_to_run_it() -> None:
    text = (SPACE / "README.md").read_text(encoding="utf-8")
    said = yaml.safe_load(text.split("---\n")[1])
    assert said["sdk"] == "gradio"
    assert (SPACE / said["app_file"]).is_file()
    assert said["license"] == "apache-2.0"
    assert len(said["short_description"]) <= 60
