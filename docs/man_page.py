"""Write docs/stemsplit.1, the man page, from the program itself: `python docs/man_page.py`.

A test says when it has to be written again. `man docs/stemsplit.1` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from stemsplit.cli import app
from stemsplit.cli.layout.help import KEPT, Described, described

PAGE = Path(__file__).with_name("stemsplit.1")
EXIT_CODES = {
    "0": "All went well.",
    "1": "A file failed; the others are done.",
    "2": "The request cannot be carried out.",
    "130": "Ctrl-C; what was finished is kept.",
}
VARIABLES = {
    "STEMSPLIT_CONFIG": "The config file to read instead of the usual one; if it is empty, none is read.",
    "STEMSPLIT_CACHE": "The folder that models are downloaded into.",
    "OMP_NUM_THREADS": "How many threads compute.",
    "NO_COLOR": "If it is set, nothing is coloured.",
}
FILES = {
    "~/.config/stemsplit/config.toml": "Defaults of options, a table for each command; stemsplit doctor says where it "
    "is on this system, and stemsplit --no-config leaves it unread.",
    "separated/SONG/stemsplit.json": "How the stems of a song were made; a song whose stems are all there is skipped.",
}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="ascii", newline="\n")


def page() -> str:
    """Return the page, in the language of man(7)."""
    root: Any = typer.main.get_command(app)
    told = _told(root, ("stemsplit",))
    lines = ['.TH STEMSPLIT 1 "" stemsplit "User Commands"', ".SH NAME"]
    lines += [f"stemsplit \\- {_text(told.about[0].lower() + told.about[1:].rstrip('.'))}", ".SH SYNOPSIS"]
    lines += [r"\fBstemsplit\fR \fICOMMAND\fR [\fIOPTIONS\fR] ...", ".SH DESCRIPTION"]
    lines += [_text("Data goes to standard output, all else to standard error. Every option of every command follows.")]
    lines += [*_examples(told.examples), ".SH OPTIONS"]
    for _, rows in told.panels:
        lines += [line for names, text in rows for line in _row(names, text)]
    lines += [".SH COMMANDS"]
    for words, command in _commands(root, ("stemsplit",)):
        lines += _command(words, command)
    for title, rows in (("EXIT STATUS", EXIT_CODES), ("ENVIRONMENT", VARIABLES), ("FILES", FILES)):
        lines += [f".SH {title}", *(line for name, text in rows.items() for line in _row(name, text))]
    return "\n".join(lines) + "\n"


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all commands below a group, with their words."""
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from _commands(one, (*words, name))
        elif not one.hidden:
            yield (*words, name), one


def _command(words: tuple[str, ...], command: Any) -> Iterator[str]:
    told = _told(command, words)
    yield f".SS {_text(' '.join(words))}"
    for number, paragraph in enumerate(told.about.split("\n\n")):
        yield from ([".PP"] if number else []) + [_text(" ".join(paragraph.split()))]
    for name, text in told.arguments:
        yield from _row(name, text)
    for panel, rows in told.panels:
        yield from (".PP", rf"\fI{_text(panel)}\fR")
        for names, text in rows:
            yield from _row(names, text)
    yield from _examples(told.examples)


def _told(command: Any, words: tuple[str, ...]) -> Described:
    context = typer.Context(command, info_name=" ".join(words))
    context.help_option_names = ["-h", "--help"]
    return described(command, context, everything=True)


def _row(name: str, text: str) -> list[str]:
    return [".TP", rf"\fB{_text(name.strip())}\fR", _text(text.replace(KEPT, " "))]


def _examples(rows: list[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield from (".PP", "Examples:", ".PP", ".EX")
        for call, what in rows:
            yield from [f"    {_text(line)}" for line in ([f"# {what}"] if what else []) + [call]]
        yield ".EE"


def _text(text: str) -> str:
    """Return a text whose letters stand for themselves: for roff some of them mean something else."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    text = re.sub(r"[^\x00-\x7f]", lambda letter: rf"\[u{ord(letter[0]):04X}]", text)
    return rf"\&{text}" if text.startswith(".") else text


if __name__ == "__main__":
    main()
