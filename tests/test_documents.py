"""What the documents tell a reader to type works, and what they point at is there."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import generated
from tiny import write_song

from stemsplit.cli import main

ROOT = Path(__file__).parents[1]
DOCUMENTS = tuple(
    page for folder in ("", "recipes/", "models/*/", "docs/", "docs/*/") for page in ROOT.glob(f"{folder}*.md")
)  # logs tell of what was
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
RATE = 44100


def block_lines(document: Path) -> list[str]:
    """The lines of the blocks that are for a shell."""
    blocks = FENCE.findall(document.read_text(encoding="utf-8"))
    return [line for language, block in blocks if language != "python" for line in block.splitlines()]


def commands(document: Path) -> list[str]:
    """Every line of a block and every code span, its comment cut off."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    spans = [" ".join(span.split()) for span in SPAN.findall(text)]
    return [line.partition(" #")[0].strip() for line in (*block_lines(document), *spans)]


def named(start: str) -> list[str]:
    """The commands of all documents that begin so."""
    return sorted({line for path in DOCUMENTS for line in commands(path) if line.startswith(start)})


NEEDS_MORE = (
    "ts-bsmamba2-musdb18",
    "sfc-ca",
    "--quality",
    "s3://",
    "evaluate",
    "stemsplit serve",
    "pip install",
    "git clone",
)  # downloads, a store, or a data set; or what ends with Ctrl-C, see tests/cli/test_serve.py
README = [
    line.partition(" #")[0].strip()
    for line in block_lines(ROOT / "README.md")
    if "stemsplit " in line and not any(word in line for word in NEEDS_MORE)
]


@pytest.fixture(scope="module")
def readme_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the README speaks of: a second each."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "album").mkdir()
    times = np.arange(RATE) / RATE
    voice = 0.2 * np.sin(2 * np.pi * 220 * times)[None]
    mixture = voice + np.random.default_rng(0).normal(0, 0.05, (2, RATE))
    write_song(folder / "song.wav", mixture, RATE)
    write_song(folder / "song.flac", mixture, RATE)
    write_song(folder / "song.ogg", mixture, RATE, "VORBIS")
    write_song(folder / "song.mp3", mixture, RATE, "MPEG_LAYER_III")
    shutil.copy(folder / "song.mp3", folder / "song.m4a")  # told by its content, not by its name
    write_song(folder / "voice.wav", voice, RATE)
    write_song(folder / "album" / "one.wav", mixture, RATE)
    return folder


@pytest.mark.parametrize("line", README)
def test_the_commands_of_the_readme_run(
    line: str, readme_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture
) -> None:
    folder = shutil.copytree(readme_files, tmp_path / "files")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    before, _, rest = line.rpartition("stemsplit ")
    if before:  # a pipe into it
        assert before.rstrip().endswith("|")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "song.ogg").read_bytes())))
    arguments = shlex.split(re.split(r" [|>] ", rest)[0])
    if arguments[0] == "mix":  # of what the line above it has left
        assert main(["separate", arguments[1]]) == 0
    made = set(folder.rglob("*"))
    assert main(arguments) == 0
    assert set(folder.rglob("*")) > made or capfdbinary.readouterr().out


def test_the_python_of_the_readme_runs(readme_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(readme_files, tmp_path / "files")
    monkeypatch.chdir(folder)
    blocks = FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    (code,) = (block for language, block in blocks if language == "python")
    exec(code, {})
    assert (folder / "stems").is_dir()


@pytest.mark.parametrize("line", named("stemsplit "))
def test_a_command_that_a_document_names_is_one(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its subcommand has a --help-all that lists every option."""
    words = re.split(r" [|>] ", line)[0].replace("…", "").split()[1:]
    names = [word for word in words[:2] if re.fullmatch("[a-z]+", word)]
    options = [word.partition("=")[0].strip("[](),") for word in words if word.startswith(("-", "[-"))]
    for count in (len(names), 1, 0):  # `separate album` names a subcommand and a folder
        if main([*names[:count], "--help-all"]) == 0:
            break
    text = capsys.readouterr().out
    assert count or not names, line
    known = set(re.findall(r"(?<![\w-])--?\w[\w-]*", text))
    assert not [option for option in options if option not in ("-", *known)], text


def test_make_knows_its_targets() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    found = {line.split()[1] for line in named("make ")}
    assert {"demo", "test", "check", "install"} <= found <= targets


@pytest.mark.parametrize("line", sorted({*named("python "), *named(".venv/bin/python ")}))
def test_a_script_that_a_document_names_has_its_options(line: str) -> None:
    words = line.split()[1:]
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None
        return
    source = (ROOT / words[0]).read_text(encoding="utf-8")
    for option in (word.strip("[]") for word in words if word.startswith(("--", "[--"))):
        assert f'"{option.partition("=")[0]}"' in source, option


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_document_points_at_what_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    places = [span for span in SPAN.findall(text) if re.fullmatch(r"(?:[\w.-]+/)+[\w.-]*\.(?:py|md|toml)", span)]
    roots = (document.parent, ROOT, ROOT / "src" / "stemsplit")
    missing = [place for place in (*links, *places) if not any((root / place).exists() for root in roots)]
    made = {(ROOT / "docs" / page).resolve() for page in generated()}  # with the site, of what the program tells
    assert [place for place in missing if (document.parent / place).resolve() not in made] == []


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((ROOT / "docs" / "python.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile(cell, "docs/python.ipynb", "exec"), names)
    assert (tmp_path / "melody.mid").is_file()
    assert (tmp_path / "stems" / "stemsplit.json").is_file()
