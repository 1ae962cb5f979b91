"""The help of a command: what it does, examples, and the options that most people need.

Which options those are is said where an option is declared, in its annotation:

    Force = Annotated[bool, typer.Option("--force", help="…"), BASIC]

All others are advanced: `--help` leaves them out, `--help-all` shows every option under its panel. The examples are the
part of the command's docstring after "Examples:", a line for each: a command, and after " # " what it does.
"""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

BASIC = "basic"
"""In the annotation of an option: --help shows it."""
EXAMPLES = "\nExamples:\n"
NARROWEST, WIDEST = 40, 100
"""Columns; longer lines are hard to read."""
KEPT = "\N{NO-BREAK SPACE}"
"""A space that no line breaks at."""
NAME_COLUMNS = 24
"""Longer names of options have their text on the next line."""


class _Helped:
    """What a command of Typer's is mixed with for it to have our help."""

    def get_params(self, ctx: Any) -> Any:
        """Return the options, and --help-all."""
        found = super().get_params(ctx)  # type: ignore[misc]
        if not hasattr(self, "_help_all"):
            self._help_all = _help_all_option()
        return [*found, self._help_all]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help that --help shows."""
        formatter.write("\n".join(help_lines(self, ctx, everything=False)) + "\n")


class Command(_Helped, TyperCommand):
    """A command with our help."""


class Group(_Helped, TyperGroup):
    """A command of commands with our help."""


class App(typer.Typer):
    """Typer, whose commands have our help."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"cls": Group, **settings})

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Add a command, as Typer does."""
        return super().command(name, **{"cls": Command, **settings})


def _put_everything(ctx: typer.Context, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        typer.echo("\n".join(help_lines(ctx.command, ctx, everything=True)))
        raise typer.Exit


def _help_all_option() -> Any:
    """Return the option --help-all, as Typer makes it."""
    made = typer.Typer(add_completion=False)

    @made.command()
    def command(
        help_all: Annotated[
            bool,
            typer.Option(
                "--help-all", is_eager=True, expose_value=False, callback=_put_everything, help="Show every option."
            ),
        ] = False,
    ) -> None: ...

    return next(param for param in typer.main.get_command(made).params if param.name == "help_all")


Rows = list[tuple[str, str]]
"""Names, and what is said of them."""


@dataclass(frozen=True)
class Described:
    """What the help of a command says, before it is laid out."""

    usage: str
    about: str  # paragraphs
    examples: Rows  # a command, and what it does
    commands: Rows
    arguments: Rows
    panels: list[tuple[str, Rows]]  # options by the titles of their panels


def described(command: Any, ctx: Any, *, everything: bool) -> Described:
    """Return what the help of a command says.

    Args:
        command: of Typer's classes.
        ctx: its context.
        everything: with the advanced options.
    """
    params = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    arguments = [param for param in params if param.param_type_name == "argument"]
    options = [param for param in params if param.param_type_name == "option"]
    subcommands = getattr(command, "commands", {})
    about, _, examples = inspect.cleandoc(command.help or "").partition(EXAMPLES)
    declared = inspect.signature(command.callback, eval_str=True).parameters if command.callback else {}
    choices = {name: _choices(one.annotation) for name, one in declared.items()}
    usage = [ctx.command_path, "[OPTIONS]", *(["COMMAND ..."] if subcommands else map(_argument, arguments))]
    if everything or subcommands:
        shown, left_out = options, 0
    else:
        shown = [one for one in options if one.name in ("help", "help_all") or BASIC in _said(declared.get(one.name))]
        left_out = len(options) - len(shown)
    return Described(
        usage=" ".join(usage),
        about=about.strip(),
        examples=[_example(line) for line in examples.strip().splitlines()],
        commands=[(name, _first(one.help)) for name, one in subcommands.items() if not one.hidden],
        arguments=[(_argument(one), _text(one, ())) for one in arguments if one.help],
        panels=[
            (panel, [(_names(one), _text(one, choices.get(one.name, ()))) for one in some if _tells(one, left_out)])
            for panel, some in (_by_panel(shown) if everything else [("Options", shown)])
        ],
    )


def help_lines(command: Any, ctx: Any, *, everything: bool, width: int | None = None) -> list[str]:
    """Return the help of a command, see `described`; `width` in columns is that of the terminal if it is None."""
    width = max(NARROWEST, min(width or shutil.get_terminal_size().columns, WIDEST))
    told = described(command, ctx, everything=everything)
    lines = [f"Usage: {told.usage}", *_paragraphs(told.about, width), *_examples(told.examples, width)]
    for title, rows in (("Commands", told.commands), ("Arguments", told.arguments), *told.panels):
        lines += _section(title, rows, width)
    return lines


def _tells(option: Any, left_out: int) -> bool:
    """Return whether an option is one to tell of: --help-all is, where it shows more."""
    return option.name != "help_all" or left_out > 0


def _example(line: str) -> tuple[str, str]:
    command, _, about = line.partition(" # ")
    return command.strip(), about.strip()


def _said(parameter: inspect.Parameter | None) -> Sequence[Any]:
    """Return what is said of a parameter beside its type, in its annotation."""
    return getattr(parameter.annotation, "__metadata__", ()) if parameter else ()


def _choices(annotation: Any) -> tuple[str, ...]:
    """Return the values of an annotation, Annotated[Literal["wav", "flac"], …]."""
    kind = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    return tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()


def _by_panel(options: Iterable[Any]) -> list[tuple[str, list[Any]]]:
    """Return panel → options; those without a panel are last."""
    found: dict[str, list[Any]] = {}
    for option in options:
        panel = getattr(option, "rich_help_panel", None)
        found.setdefault(panel if isinstance(panel, str) else "Other options", []).append(option)
    return sorted(found.items(), key=lambda one: one[0] == "Other options")


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = f"{name}..." if argument.nargs == -1 else name
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _names(option: Any) -> str:
    short = [name for name in option.opts if not name.startswith("--")]
    long = [name for name in option.opts if name.startswith("--")]
    names = ", ".join([*(short or ["   "]), "/".join([*long, *option.secondary_opts])]).replace("   , ", "    ")
    return names if option.is_flag else f"{names} {option.metavar or option.name.rpartition('_')[2].upper()}"


def _text(param: Any, choices: Sequence[str]) -> str:
    """Return what is said of an option: its help, what there is to choose from, its default."""
    parts = [" ".join((param.help or "").split())]
    if choices:
        parts.append(f"One of {', '.join(choices)}.")
    stated = getattr(param, "show_default", False)
    if isinstance(stated, str):
        parts.append(f"[default:{KEPT}{stated}]")
    elif stated and param.param_type_name == "option" and not (param.is_flag or param.default in (None, "")):
        parts.append(f"[default:{KEPT}{getattr(param.default, 'value', param.default)}]")
    return " ".join(parts)


def _first(text: str | None) -> str:
    """Return the first sentence of a docstring."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def _paragraphs(text: str, width: int) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from ("", *_wrapped(paragraph, width))


def _wrapped(text: str, width: int) -> list[str]:
    """Return lines that break at spaces; a word that is too long for a line is cut."""
    words = [word for word in text.split(" ") if word.strip()]
    return [line.replace(KEPT, " ") for line in textwrap.wrap(" ".join(words), width, break_on_hyphens=False)]


def _examples(rows: Rows, width: int) -> Iterator[str]:
    """Yield the examples; what they do stands beside them where there is room, else above them."""
    if not rows:
        return
    yield from ("", _heading("Examples"))
    column = max(len(command) for command, _ in rows)
    fits = all(2 + column + 4 + len(about) <= width for _, about in rows)
    for command, about in rows:
        if fits:
            yield f"  {command:{column}}  # {about}" if about else f"  {command}"
        else:
            yield from (f"  # {line}" for line in _wrapped(about, width - 4))
            yield f"  {command}"


def _section(title: str, rows: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Yield names with their texts beside them."""
    if not rows:
        return
    yield from ("", _heading(title))
    widths = [len(name) for name, _ in rows if len(name) <= NAME_COLUMNS]
    column = max(widths, default=NAME_COLUMNS) + 4
    for name, text in rows:
        first, *rest = _wrapped(text, width - column) or [""]
        if len(name) > NAME_COLUMNS:
            yield f"  {name}"
            yield " " * column + first
        else:
            yield f"  {name:{column - 2}}{first}".rstrip()
        yield from (" " * column + line for line in rest)


def _heading(text: str) -> str:
    return typer.style(f"{text}:", bold=True)  # where the output is no terminal, `echo` takes that away
