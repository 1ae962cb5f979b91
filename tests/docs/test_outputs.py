"""The documentation's commands run, and print what the pages show."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import outputs
import pytest
import typer
from outputs import blocks, same, timeless, write_again

from stemsplit.cli import app

DOCS = Path(outputs.__file__).parent
PAGES = sorted(DOCS.rglob("*.md"))
NAMED = {page.relative_to(DOCS).as_posix(): page for page in PAGES if page.parent.name != "space"}
posix = pytest.mark.skipif(os.name == "nt", reason="the documents' commands are for a POSIX shell")

NOT_RUN = {
    "stemsplit demo --device cuda": "needs a GPU",
    "stemsplit doctor -m sfc-ca-small --device cpu": "downloads a model",
    "stemsplit evaluate MUSDB18-HQ -m ts-bsmamba2-musdb18": "needs MUSDB18-HQ and downloads a model",
    "stemsplit models info runs/mine/model": "needs a training run",
    "stemsplit models verify runs/mine/model": "needs a training run",
    "stemsplit models verify network.ckpt": "needs a checkpoint of somebody else",
    "stemsplit models download": "downloads a model",
    "stemsplit models convert": "needs a checkpoint of somebody else",
    "stemsplit models publish": "writes to the Hub",
    "cp -r $(stemsplit models path sfc-ca-small) usb/": "downloads a model",
    "stemsplit train": "trains",
    "stemsplit doctor": "measures the machine; test_doctor runs it",
}
"""How examples of --help begin that no test here runs → why."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    outputs.world(folder)
    return folder


def ran(files: Path, *pages: Path) -> list[list[dict[str, str | None]]]:
    """Every page's blocks; each page has the files for itself."""
    command = [sys.executable, outputs.__file__, "--blocks", "--world", str(files), *map(str, pages)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@posix
@pytest.mark.parametrize("name", [name for name, page in NAMED.items() if blocks(page.read_text(encoding="utf-8"))])
def test_a_page_prints_what_it_shows(name: str, files: Path) -> None:
    (found,) = ran(files, NAMED[name])
    for block in found:
        if block["printed"] is None or ("jq " in str(block["code"]) and shutil.which("jq") is None):
            continue
        assert "Traceback" not in block["printed"], block["code"]
        if block["shown"] is None:
            assert "stemsplit: error" not in block["printed"], block["code"]
        else:
            assert same(block["shown"], block["printed"]), f"{block['code']}\n{block['printed']}"


@pytest.mark.parametrize("name", NAMED)
def test_a_block_is_run_or_says_why_not(name: str) -> None:
    text = NAMED[name].read_text(encoding="utf-8")
    found = blocks(text)
    fences = re.findall(r"^```(\w+)$", text, re.MULTILINE)
    assert len(found) == sum(fence not in ("text", "json") for fence in fences)
    assert sum(block.shown is not None for block in found) == fences.count("text")
    for block in found:
        assert block.language in ("console", "python") or block.reason
        if block.reason:
            assert block.shown is None, f"{block.code} is not run, but the page shows what it printed"
        else:
            assert block.shown is None or block.shown.strip(), f"run docs/outputs.py {name}"


def examples(command: typer.core.TyperCommand | None = None) -> Iterator[str]:
    """The examples of every command's --help, which its page shows, too."""
    command = command or typer.main.get_command(app)
    text = (command.help or "").partition("Examples:\n")[2]
    yield from (line.partition(" # ")[0].strip() for line in text.strip().splitlines())
    for one in getattr(command, "commands", {}).values():
        yield from examples(one)


RUN = [line for line in examples() if not line.startswith(tuple(NOT_RUN))]


def test_every_reason_is_that_of_an_example() -> None:
    assert all(any(line.startswith(start) for line in examples()) for start in NOT_RUN)


BEFORE = {
    "stemsplit mix album": "stemsplit separate album --quiet",
    "stemsplit mix": "stemsplit separate song.mp3 --quiet",
    "stemsplit player": "stemsplit separate song.mp3 --quiet",
    "stemsplit evaluate truth": "stemsplit separate song.mp3 --quiet",
    "stemsplit evaluate --melody": "rm -r truth; mv melodies truth; stemsplit melody song.mp3 --quiet",
}
"""How examples begin → what has to be run before them."""


@posix
@pytest.mark.slow
def test_the_examples_of_help_run(files: Path, tmp_path: Path) -> None:
    world = Path(shutil.copytree(files, tmp_path / "world"))
    shutil.copy(world / "song.mp3", world / "song.m4a")  # told by its content
    shutil.copy(world / "voice.wav", world / "song.wav")
    pages = []
    for number, line in enumerate(RUN):
        before = next((command for start, command in BEFORE.items() if line.startswith(start)), "true")
        last = line if "|" in line else f'{line}; echo "exit code $?"'
        pages.append(tmp_path / f"{number}.md")
        pages[-1].write_text(f"```console\n{before}\n```\n\n```console\n{last}\n```\n")
    for line, (_, block) in zip(RUN, ran(world, *pages), strict=True):
        if "jq " in line and shutil.which("jq") is None:
            continue
        printed = str(block["printed"])
        assert "stemsplit: error" not in printed, line
        assert printed.rstrip().endswith("exit code 0") or ("|" in line and printed.strip()), f"{line}\n{printed}"


def test_what_differs_in_figures_alone_is_the_same() -> None:
    shown = "song.mp3 → out: drums (… s, …× real time)\n  key     F# major  0.97\n"
    assert same(shown, "song.mp3 → out: drums (1:03, 0.2× real time)\n  key   A major    0.5\n")
    assert not same(shown, shown.replace("drums", "bass"))
    assert not same(shown, shown + "stemsplit: error: no\n")
    assert not same("", "a warning\n")


def test_times_are_left_out() -> None:
    line = "song.mp3 → a.mp3 (22 s, 0.5× real time, from stems that were there)"
    assert timeless(line) == "song.mp3 → a.mp3 (… s, …× real time, from stems that were there)"


def test_blocks_have_outputs_and_reasons() -> None:
    text = (
        "a\n\n```console\none\n```\n\n```text\nsaid\n```\n\nwords\n\n"
        "<!-- not run: needs a cat -->\n```bash\ntwo\n```\n\n"
        "```python\nthree\n```\n\nbetween\n\n```text\nof nothing\n```\n"
    )
    one, two, three = blocks(text)
    assert (one.code, one.shown, one.reason) == ("one\n", "said\n", None)
    assert (two.code, two.shown, two.reason) == ("two\n", None, "needs a cat")
    assert (three.language, three.shown) == ("python", None)


def test_outputs_are_written_where_they_differ(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    rest = "\n\nend\n\n```console\necho two\n```\n\n```text\ntwo\n```\n"
    page.write_text(f"```console\necho 1\n```\n\n```text\n```{rest}")
    first, second = blocks(page.read_text())
    assert write_again(page, [(first, "1\n"), (second, "two\n")])
    assert page.read_text() == f"```console\necho 1\n```\n\n```text\n1\n```{rest}"
    assert not write_again(page, [(block, block.shown) for block in blocks(page.read_text())])


@posix
def test_commands_run_as_in_a_shell(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    page = tmp_path / "page.md"
    page.write_text(
        '```console\nstemsplit --version\nstemsplit separate nope.mp3; echo "exit code $?"\n'
        "echo one | cat  # not this\nstemsplit --version | wc -l\n```\n\n"
        "```python\nnumber = 2\n```\n\n```python\nprint(number)\n```\n"
    )
    ((shell, _, python),) = ran(tmp_path / "world", page)
    version, error, code, echo, count = str(shell["printed"]).splitlines()
    assert version.startswith("stemsplit ")
    assert "nope.mp3: no such file" in error
    assert (code, echo, count.strip()) == ("exit code 2", "one", "1")
    assert python["printed"] == "2\n"
