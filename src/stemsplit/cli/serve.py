"""`stemsplit serve`."""

from __future__ import annotations

import math
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemsplit.cli.batch.run import STREAM, tell
from stemsplit.cli.flags.shared import (
    OUTPUT_PANEL,
    RUN_PANEL,
    Debug,
    Device,
    QualityOption,
    Quiet,
    Verbose,
    YesOption,
    as_path,
)
from stemsplit.cli.flags.stems import ModelsOption
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import Screen, put, trace
from stemsplit.cli.quality.consent import Consent
from stemsplit.cli.quality.levels import models_for
from stemsplit.cli.separate import loaded
from stemsplit.errors import UsageError, in_words
from stemsplit.machine.streams import require_output
from stemsplit.options import DEFAULT_OUTPUT

if TYPE_CHECKING:
    from stemsplit.runs.jobs import Outcome
    from stemsplit.serve.queue import JobRecord

NEEDED = ("fastapi", "uvicorn", "python_multipart")
LOOPBACK, PORT = "127.0.0.1", 8750
REACH_PANEL = "Who can reach it"

FolderOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        parser=as_path,
        help="Folder for the stems; it is queue and history, too.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
HostOption = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Where to listen; one that other machines can reach needs --token.",
        rich_help_panel=REACH_PANEL,
    ),
    BASIC,
]
PortOption = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, max=65535, help="Port to listen at; 0 is any free one.", rich_help_panel=REACH_PANEL
    ),
    BASIC,
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        envvar="STEMSPLIT_TOKEN",
        help="What every request has to bring; better in the variable STEMSPLIT_TOKEN than in a command.",
        show_default="none",
        rich_help_panel=REACH_PANEL,
    ),
    BASIC,
]
OpenOption = Annotated[
    bool, typer.Option("--open", help="Open the page in a browser.", rich_help_panel=OUTPUT_PANEL), BASIC
]
LargestOption = Annotated[
    float,
    typer.Option(
        "--max-upload", metavar="MB", min=0.001, help="The largest file that is taken.", rich_help_panel=RUN_PANEL
    ),
]
LongestOption = Annotated[
    float,
    typer.Option(
        "--max-minutes", metavar="N", min=0.01, help="The longest song that is taken.", rich_help_panel=RUN_PANEL
    ),
]


def serve(
    output: FolderOption = DEFAULT_OUTPUT,
    host: HostOption = LOOPBACK,
    port: PortOption = PORT,
    token: TokenOption = None,
    open: OpenOption = False,
    model: ModelsOption = None,
    quality: QualityOption = None,
    yes: YesOption = False,
    device: Device = "auto",
    max_upload: LargestOption = 1000.0,
    max_minutes: LongestOption = 180.0,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> int:
    """Open a web page on this machine: drop songs, watch, listen.

    Only this machine can reach it. The model is loaded once; songs are separated one after another, and play in the
    page. A server that is started again goes on where it was. Its address goes to stdout; Ctrl-C ends it.

    Examples:
        stemsplit serve --open                    # and open the page in a browser
        stemsplit serve -o stems --quality good   # another folder, better stems
        stemsplit serve --host 0.0.0.0            # for other machines, too: with a token
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UsageError(f"serve needs {' and '.join(missing)}: pip install 'stemsplit-mamba[serve]'")
    if output == STREAM:
        raise UsageError("-o - is standard output: serve needs a folder")
    if not (math.isfinite(max_upload) and math.isfinite(max_minutes)):
        raise UsageError("--max-upload and --max-minutes are numbers of megabytes and minutes, as in 200 and 15")
    require_output()
    screen, references = Screen(quiet=quiet, verbose=verbose), models_for(quality, model)
    with screen.starting_pytorch(" and ".join(references)):
        from stemsplit.serve.app import Limits, Server, make_app
        from stemsplit.serve.guard import Rules
        from stemsplit.serve.queue import Queue
        from stemsplit.serve.requests import Models
        from stemsplit.serve.run import Running, address, bound, check_token
        from stemsplit.serve.worker import Worker
    check_token(token)
    with bound(host, port, token) as listening, _claimed(output):
        if quality is not None:
            Consent(quality.lower(), references, yes, device).require((), screen)
        queue, models = Queue(output, screen.warn), Models(references, device, partial(loaded, screen))
        limits = Limits(round(max_upload * 1e6), max_minutes * 60)
        rules, told = Rules.made(token, limits.file_bytes), partial(_tell_error, screen, debug)
        running = Running(
            lambda stopping: make_app(Server(queue, models, limits, stopping=stopping, on_error=told), rules),
            debug=debug,
        )
        with Worker(queue, models, limits.seconds, partial(_tell, screen)):
            put(place := address(host, listening))
            screen.note(f"stems go to {output}; Ctrl-C ends")
            if open:
                threading.Thread(target=webbrowser.open, args=(place,), daemon=True).start()
            running.run(listening)
    return 0


@contextmanager
def _claimed(output: Path) -> Iterator[None]:
    """Keep the queue of an output folder for this server. Raises: UsageError if another one has it, OutputError."""
    from stemsplit.files.leftovers import clear_below
    from stemsplit.machine.claims import claimed
    from stemsplit.runs.plan import check_writable
    from stemsplit.serve.queue import FOLDER_NAME

    check_writable(output)
    with claimed(output / FOLDER_NAME / ".claim") as ours:
        if not ours:
            raise UsageError(f"another stemsplit serve is at {output}: use its page, or choose another --output")
        clear_below(output)
        yield


def _tell(screen: Screen, job: JobRecord, outcome: Outcome | None) -> None:
    """Say what became of a song."""
    if job.state == "failed":
        screen.error(job.error or "")
    elif outcome is not None:
        tell(outcome, screen)
    else:
        screen.note(f"{job.name}: {job.state}")


def _tell_error(screen: Screen, debug: bool, error: BaseException) -> None:
    """Say what went wrong in the server itself."""
    if debug:
        trace(error)
    screen.error(in_words(error, debug=debug))
