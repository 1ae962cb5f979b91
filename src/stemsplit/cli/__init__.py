"""argv in, exit code out. The only package that prints: data to stdout, everything else to stderr.

Exit codes: 0 all good; 1 a file failed, the others are done; 2 the request cannot be carried out; 130 Ctrl-C;
143 SIGTERM; 129 SIGHUP; 141 the reader of stdout went away.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from stemsplit import __version__
from stemsplit.cli.demo import demo
from stemsplit.cli.doctor import doctor
from stemsplit.cli.evaluate import evaluate
from stemsplit.cli.interrupts import CTRL_C, ReaderGone, Terminated, interruptible, pending
from stemsplit.cli.melody import melody
from stemsplit.cli.mix import mix
from stemsplit.cli.models import models
from stemsplit.cli.screen import one_line
from stemsplit.cli.separate import separate
from stemsplit.cli.train import train
from stemsplit.errors import StemsplitError

READER_GONE = 141

app = typer.Typer(
    name="stemsplit",
    help="Split songs into vocals, bass, drums and other, and write down what is sung.",
    epilog="Start with: stemsplit separate song.mp3. What works on this machine: stemsplit doctor.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    suggest_commands=True,
)
app.command()(separate)
app.command()(mix)
app.command()(melody)
app.add_typer(models, name="models")
app.command()(evaluate)
app.command()(train)
app.command()(doctor)
app.command()(demo)


@app.callback(invoke_without_command=True)
def stemsplit(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Split songs into vocals, bass, drums and other, and write down what is sung."""
    if version:
        print(f"stemsplit {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with interruptible(), warnings.catch_warnings():
            if not (sys.warnoptions or "--debug" in given):
                warnings.simplefilter("ignore")  # what libraries say to programmers
            code = app(given, prog_name="stemsplit", standalone_mode=False)
            sys.stdout.flush()
    except BaseException as error:  # the one table from exceptions to messages and exit codes
        return explain(pending() or error, debug="--debug" in given)
    if came := pending():
        return explain(came, debug=False)
    return code if isinstance(code, int) else 0


def explain(error: BaseException, *, debug: bool) -> int:
    """Say on stderr what happened, in one line unless `debug`, and return the exit code."""
    if debug and not isinstance(error, (SystemExit, ReaderGone, BrokenPipeError)):
        traceback.print_exception(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, (ReaderGone, BrokenPipeError)):
        _lead_stdout_nowhere()
        return READER_GONE
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return _say("stopped; what was finished is kept", CTRL_C, kind="interrupted")
    if isinstance(error, Terminated):
        return _say("stopped; what was finished is kept", error.code, kind="terminated")
    if isinstance(error, StemsplitError):
        return _say(str(error), error.exit_code)
    if hasattr(error, "format_message"):  # Typer's own refusals, from whichever module its version keeps them in
        return _say(_usage(error), getattr(error, "exit_code", 2))
    hint = "" if debug else "; run it with --debug for the whole story"
    return _say(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _usage(error: BaseException) -> str:
    message = str(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    return f"{message}. Try: {context.command_path if context else 'stemsplit'} --help"


def _say(text: str, code: int, kind: str = "error") -> int:
    with contextlib.suppress(OSError, ValueError):  # stderr may be closed; the exit code still speaks
        print(f"stemsplit: {kind}: {one_line(text)}", file=sys.stderr)
    return code


def _lead_stdout_nowhere() -> None:
    """Let Python's own flush at exit find a sink instead of the closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
