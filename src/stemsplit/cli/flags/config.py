"""What the user's config file says → defaults of options, checked as if they had been typed."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from stemsplit.cli.layout.words import plain
from stemsplit.errors import StemsplitError, UsageError

NEVER = ("force", "help", "help_all", "version")
"""What is typed each time, or not at all."""


def defaults(command: Any, said: Mapping[str, Any], path: Path, name: str = "") -> dict[str, Any]:
    """Return what a table says of a command and of those below it, as Click takes it: parameter → value.

    Args:
        command: of Typer's classes.
        said: the table.
        path: of the file, for messages.
        name: of the table.

    Raises: UsageError for a command, an option or a value that there is not.
    """
    below = getattr(command, "commands", {})
    options = {
        param.name: param
        for param in command.params
        if param.param_type_name == "option" and param.name not in NEVER and not getattr(param, "hidden", False)
    }
    found: dict[str, Any] = {}
    for key, value in said.items():
        place = f"{path}: {f'[{name}] ' if name else ''}"
        if key in below:
            if not isinstance(value, dict):
                raise UsageError(f"{place}{key} is a command: its options go below [{name}{'.' * bool(name)}{key}]")
            found[key] = defaults(below[key], value, path, f"{name}.{key}".strip("."))
        elif name and not below and (option := options.get(key.replace("-", "_"))) is not None:
            found[str(option.name)] = _checked(command, option, value, f"{place}{key}")
        else:
            known = [*below, *(() if below else (one.replace("_", "-") for one in options))]
            near = get_close_matches(key.replace("_", "-"), known, 1)
            call = " ".join(("stemsplit", *filter(None, name.split(".")), "--help"))
            raise UsageError(
                f"{place}there is no {'option' if name and not below else 'command'} {key!r} for a config file: "
                f"{f'did you mean {near[0]}?' if near else f'try {call}'}"
            )
    return found


def _checked(command: Any, option: Any, value: Any, place: str) -> Any:
    """Return a value as it would be typed. Raises: UsageError for one that the option cannot have."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{place} is a switch: give true or false")
        return value
    several = value if isinstance(value, list) and option.multiple else [value]
    if any(isinstance(one, (bool, dict, list)) or not isinstance(one, (str, int, float)) for one in several):
        raise UsageError(f"{place} needs a text or a number{' or a list of them' if option.multiple else ''}")
    typed: Any = [str(Path(one).expanduser()) if str(one).startswith("~/") else str(one) for one in several]
    typed = typed if option.multiple else typed[0]
    scratch = typer.Context(command, info_name=command.name)
    scratch.default_map = {option.name: typed}
    try:
        option.handle_parse_result(scratch, {}, [])
    except StemsplitError as error:
        raise UsageError(f"{place}: {error}") from error
    except Exception as error:
        if not hasattr(error, "format_message"):  # Typer's own refusals have it, in whichever module they are
            raise
        raise UsageError(f"{place}: {plain(str(getattr(error, 'message', error)))}") from error
    return typed
