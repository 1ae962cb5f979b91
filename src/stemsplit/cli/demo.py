"""`stemsplit demo`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from stemsplit.cli.flags.shared import DEFAULT_MODEL, Debug, Device, ModelReference, Quiet, Verbose, as_path
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import Screen, put
from stemsplit.errors import OutputError, UsageError
from stemsplit.machine.streams import require_output
from stemsplit.options import SeparateOptions


def demo(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", parser=as_path, help="Folder for the song and its stems."),
        BASIC,
    ] = Path("demo"),
    seconds: Annotated[float, typer.Option(metavar="S", help="Length of the song in seconds."), BASIC] = 20.0,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Another number is another song."), BASIC] = 0,
    model: ModelReference = DEFAULT_MODEL,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> int:
    """Write a short song and split it with the weights that ship.

    The paths of the song, its stems and the page that plays them go to stdout. The song is made on the spot and free
    for any use.

    Examples:
        stemsplit demo
        stemsplit demo -o try --seconds 60 --seed 7   # a longer song, another one
        stemsplit demo --device cuda                  # try the GPU
    """
    from stemsplit.cli.separate import to_files
    from stemsplit.demo.stems import is_demo_song, write_demo_song
    from stemsplit.files.manifest import PAGE_NAME
    from stemsplit.machine.together import written_together

    if not 0.1 <= seconds <= 3600:
        raise UsageError(f"--seconds {seconds:g}: choose at least 0.1, and at most 3600")
    require_output()
    screen = Screen(quiet=quiet, verbose=verbose)
    song = output / "song.wav"
    if os.path.lexists(song) and not is_demo_song(song):
        raise OutputError(f"{song} is there, and no song of the demo: choose another --output")
    screen.note(f"writing a song of {seconds:g} s to {song}")
    with written_together() as together:
        write_demo_song(together.aside(song), seconds=seconds, seed=seed)
    options = SeparateOptions(output=output, device=device, player=True)
    code = to_files([song], options, [model], screen, debug=debug)
    if code == 0:
        for path in (song, *sorted((output / "song").glob("*.wav")), output / "song" / PAGE_NAME):
            put(str(path))
    return code
