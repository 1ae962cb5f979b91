"""`stemsplit player`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stemsplit.cli.flags.shared import OUTPUT_PANEL, Debug, Force, JsonLines, Quiet, Verbose, as_path
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import Screen, put, put_json, trace
from stemsplit.machine.streams import require_output
from stemsplit.options import DEFAULT_MELODY_OUTPUT

Folders = Annotated[
    list[Path],
    typer.Argument(metavar="DIR", help="Folders of stems that `separate` wrote, or a folder of these.", parser=as_path),
]
MelodyOption = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        parser=as_path,
        help="Where `melody` wrote: the sung pitch is drawn over the vocals.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
AudioOption = Annotated[
    Literal["auto", "embed", "link"],
    typer.Option(
        case_sensitive=False,
        help="Put the sound into the page, or play the files beside it; auto embeds up to 10 minutes of four stems.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]


def player(
    folders: Folders,
    melody: MelodyOption = DEFAULT_MELODY_OUTPUT,
    audio: AudioOption = "auto",
    force: Force = False,
    json: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> int:
    """Write a page that plays the stems of a song: player.html beside them.

    Solo, mute, loop and slow down, in a browser, without a server or the internet. The sound is inside the page, so it
    can be sent to a friend as one file. A folder of several songs gets an index.html, too.

    Examples:
        stemsplit player separated/song      # separated/song/player.html
        stemsplit player separated           # every song, and an index.html
        stemsplit player separated --force   # write the pages again
    """
    require_output()
    screen = Screen(quiet=quiet, verbose=verbose)
    with screen.busy("reading stems"):
        from stemsplit.runs.player import Asked, songs_below, write_index, write_pages
    asked = Asked(melody=melody, audio=audio, force=force)
    found = {folder: songs_below(folder) for folder in folders}
    code = 0
    for folder, manifests in found.items():
        for page, status, error in write_pages(folder, manifests, asked, screen.warn):
            if error is not None:
                code = 1
                if debug:
                    trace(error)
                screen.error(str(error))
            elif status == "skipped":
                screen.note(f"{page}: up to date already (--force writes it again)")
            if json:
                put_json({"page": str(page), "status": status, "error": None if error is None else str(error)})
            elif error is None:
                put(str(page))
        if (index := write_index(folder, force=force)) is not None and not json:
            put(str(index))
    return code
