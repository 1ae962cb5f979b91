"""argv in, exit code out. The only package that prints: data to stdout, everything else to stderr.

Exit codes: 0 all good; 1 a file failed, the others are done; 2 the request cannot be carried out; 130 Ctrl-C;
143 SIGTERM; 129 SIGHUP; 141 the reader of stdout went away.
"""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from stemsplit import __version__
from stemsplit.cli.analyse import analyse
from stemsplit.cli.demo import demo
from stemsplit.cli.doctor import doctor
from stemsplit.cli.evaluate import evaluate
from stemsplit.cli.flags.config import defaults
from stemsplit.cli.karaoke import karaoke
from stemsplit.cli.layout.help import App
from stemsplit.cli.layout.screen import put, put_help, trace
from stemsplit.cli.layout.words import plain
from stemsplit.cli.melody import melody
from stemsplit.cli.mix import mix
from stemsplit.cli.models import models
from stemsplit.cli.player import player
from stemsplit.cli.separate import separate
from stemsplit.cli.serve import serve
from stemsplit.cli.train import train
from stemsplit.errors import StemsplitError, in_words
from stemsplit.files.config import config_path, read_config
from stemsplit.machine.signals import CTRL_C, Terminated, interruptible, pending
from stemsplit.machine.streams import READER_GONE, ReaderGone, lead_nowhere, one_line, owned

app = App(
    name="stemsplit",
    help="""Split songs into vocals, bass, drums and other, and write down what is sung.

    Examples:
        stemsplit separate song.mp3   # vocals, drums, bass and other
        stemsplit melody song.mp3     # what is sung
        stemsplit doctor              # what works on this machine
    """,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    suggest_commands=True,
)
app.command()(separate)
app.command()(mix)
app.command()(player)
app.command()(serve)
app.command()(melody)
app.command()(analyse)
app.command()(karaoke)
app.add_typer(models, name="models")
app.command()(evaluate)
app.command()(train)
app.command()(doctor)
app.command()(demo)


@app.callback(invoke_without_command=True)
def stemsplit(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    no_config: Annotated[
        bool, typer.Option("--no-config", help="Leave the config file unread; `doctor` says where it is.")
    ] = False,
) -> None:
    """Split songs into vocals, bass, drums and other, and write down what is sung."""
    if version:
        put(f"stemsplit {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        put_help(context)
    elif not no_config and context.invoked_subcommand != "doctor":
        path = config_path()
        if path is not None and (said := read_config(path)):
            context.default_map = defaults(context.command, said, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    given = [_unlike_a_stream(text) for text in (sys.argv[1:] if arguments is None else arguments)]
    if given[:1] == ["help"]:
        given = [*given[1:], "--help"]
    debug = "--debug" in given
    with owned():
        try:
            with interruptible(), warnings.catch_warnings():
                if not (sys.warnoptions or debug):
                    warnings.simplefilter("ignore")  # what libraries say to programmers
                code = app(given, prog_name="stemsplit", standalone_mode=False)
                sys.stdout.flush()
        except BaseException as error:  # the one table from exceptions to messages and exit codes
            return explain(pending() or error, given, debug=debug)
        if came := pending():
            return explain(came, given, debug=False)
    return code if isinstance(code, int) else 0


def _unlike_a_stream(argument: str) -> str:
    """Return an argument; ./- as an absolute path, since as a `Path` it would be -, a pipe."""
    return str(Path.cwd() / "-") if argument != "-" and Path(argument) == Path("-") else argument


def explain(error: BaseException, given: Sequence[str] = (), *, debug: bool) -> int:
    """Say on stderr what happened, in one line unless `debug`, and return the exit code; `given` are the arguments."""
    if debug and not isinstance(error, (SystemExit, ReaderGone, BrokenPipeError)):
        trace(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, (ReaderGone, BrokenPipeError)):
        lead_nowhere(sys.stdout)
        return READER_GONE
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return _say("stopped; what was finished is kept", CTRL_C, kind="interrupted")
    if isinstance(error, Terminated):
        return _say("stopped; what was finished is kept", error.code, kind="terminated")
    if hasattr(error, "format_message"):  # Typer's own refusals, from whichever module its version keeps them in
        return _say(_usage(error, given), getattr(error, "exit_code", 2))
    return _say(in_words(error, debug=debug), error.exit_code if isinstance(error, StemsplitError) else 1)


def _usage(error: BaseException, given: Sequence[str]) -> str:
    message = plain(str(error.format_message()))  # type: ignore[attr-defined]
    message = re.sub(
        r"^Got unexpected extra argument\(?s?\)? \((.*)\)$", r"too many arguments: \1", message, flags=re.S
    )
    message = re.sub(r"(?<=[?!])\.$", "", message.strip()).rstrip(".")
    if re.match("No such command", message) and given and Path(given[0]).exists():
        return f"{given[0]} needs a command before it: stemsplit separate {shlex.quote(given[0])}"
    command = getattr(getattr(error, "ctx", None), "command_path", "stemsplit")
    option = getattr(error, "option_name", None)
    if option and (name := next((name for name in given if _is_file_like(name, option)), None)):
        return f"{message}. A file whose name begins with - is written ./{name}"
    return f"{message}{'' if message.endswith('?') else '.'} Try: {command} --help"


def _is_file_like(name: str, option: str) -> bool:
    """Return whether what was refused as an option is the name of a file, as -17.wav."""
    return "." in name and (name == option or (name.startswith(option) and not option.startswith("--")))


def _say(text: str, code: int, kind: str = "error") -> int:
    print(f"stemsplit: {kind}: {one_line(text)}", file=sys.stderr)
    return code
