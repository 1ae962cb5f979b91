"""The help of every command: short, with examples that can be typed, at any width."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
import typer
from said import Run

from stemsplit.cli import app
from stemsplit.cli.layout.help import BASIC, App, help_lines

MOST_LINES = 40
BOLD, PLAIN = typer.style("|", bold=True).split("|")
OPTION = re.compile(r"(?<![\w/-])--?[a-zA-Z][\w-]*")


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group: its words, and Typer's object."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*path, name))


NAMED = dict(commands())


def help_of(path: tuple[str, ...], *, everything: bool = False, width: int = 80) -> list[str]:
    context = typer.Context(NAMED[path], info_name=" ".join(("stemsplit", *path)))
    context.help_option_names = ["-h", "--help"]
    lines = help_lines(NAMED[path], context, everything=everything, width=width)
    return [line.replace(BOLD, "").replace(PLAIN, "") for line in lines]


def examples(lines: list[str]) -> list[str]:
    begin = lines.index("Examples:") + 1
    rest = lines[begin : lines.index("", begin)]
    return [line.partition(" # ")[0].strip() for line in rest if not line.startswith("  #")]


@pytest.mark.parametrize("path", NAMED, ids=" ".join)
def test_help_is_short_and_has_three_examples(path: tuple[str, ...]) -> None:
    lines = help_of(path)
    assert len(lines) <= MOST_LINES
    assert len(examples(lines)) >= 3


@pytest.mark.parametrize("words", ["--help", "--help-all"])
def test_help_is_that_of_the_terminals_width(words: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    said = run("models", "convert", words)
    everything = words == "--help-all"
    assert said == (0, "\n".join(help_of(("models", "convert"), everything=everything, width=60)) + "\n", "")
    assert ("--debug" in said.out) == everything


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for path in NAMED:
        for everything in (False, True):
            for line in help_of(path, everything=everything, width=width):
                assert len(line) <= width, line
                assert "(off)" not in line
                assert not line.endswith("[default:")


@pytest.mark.parametrize("path", NAMED, ids=" ".join)
def test_an_example_has_the_options_of_its_command(path: tuple[str, ...]) -> None:
    for example in examples(help_of(path)):
        call = re.search(r"stemsplit ([^|>)]*)", example)
        assert call is not None, example
        words = shlex.split(call[1])
        assert words[: len(path)] == list(path)
        command = next(tuple(words[:count]) for count in (2, 1) if tuple(words[:count]) in NAMED)
        known = OPTION.findall("\n".join(help_of(command, everything=True)))
        assert {word for word in words if word.startswith("-") and word != "-"} <= set(known), example


@pytest.mark.parametrize("path", NAMED, ids=" ".join)
def test_help_all_has_every_option(path: tuple[str, ...]) -> None:
    names = {name for param in NAMED[path].params if param.param_type_name == "option" for name in param.opts}
    known = OPTION.findall("\n".join(help_of(path, everything=True)))
    assert names | {"--help"} <= set(known)


def test_an_option_is_advanced_unless_it_says_otherwise() -> None:
    made = App()

    @made.command()
    def play(
        song: Annotated[str, typer.Argument(help="What to play.")],
        loud: Annotated[bool, typer.Option("--loud", help="So that all hear it."), BASIC] = False,
        kind: Annotated[Literal["a", "b"], typer.Option(help="Of it.", rich_help_panel="Panel"), BASIC] = "a",
        rare: Annotated[int, typer.Option(metavar="N", help="Nobody needs it.", rich_help_panel="Panel")] = 3,
    ) -> None:
        """Play a song.

        Examples:
            play it         # once
            play it --loud
        """

    command: Any = typer.main.get_command(made)
    context = typer.Context(command, info_name="play")
    short = [typer.style(""), *help_lines(command, context, everything=False, width=60)]
    assert not any("--rare" in line for line in short)
    assert any(line.endswith("--loud       So that all hear it.") for line in short)
    assert any("Of it. One of a, b. [default: a]" in line for line in short)
    assert "  play it         # once" in short
    everything = help_lines(command, context, everything=True, width=60)
    assert [line for line in everything if "--rare N" in line] == ["      --rare N     Nobody needs it. [default: 3]"]
    narrow = help_lines(command, context, everything=True, width=40)
    assert max(map(len, narrow)) <= 48  # with the letters that make a heading bold


def test_a_long_name_has_its_text_below_and_no_word_is_broken() -> None:
    lines = help_of(("separate",), everything=True, width=60)
    at = lines.index("      --raw RATE:CHANNELS:TYPE")
    assert lines[at + 1].strip() == "Standard input is bare samples, as"
