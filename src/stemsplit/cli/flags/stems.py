"""Options of `separate` and `mix`: which stems, and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stemsplit.cli.flags.shared import DEFAULT_MODEL, OUTPUT_PANEL, RUN_PANEL, as_place, model_names
from stemsplit.cli.layout.help import BASIC
from stemsplit.options import DEFAULT_TEMPLATE, Clip

Format = Literal["wav", "flac", "mp3", "ogg", "opus", "m4a", "alac", "aiff", "mp4", "stem.mp4", "stem.alac", "raw"]
BitDepth = Literal["auto", "16", "24", "32f"]


ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "-m",
        "--model",
        metavar="[STEM=]REF",
        help="A name of `models list`, or where a model is. Twice: their mean; vocals=A,rest=B: each stem of one.",
        show_default=DEFAULT_MODEL,
        autocompletion=model_names,
        rich_help_panel=RUN_PANEL,
    ),
    BASIC,
]
OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        parser=as_place,
        help="Folder or s3://… for the stems; - is standard output.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
StemsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Only these stems, as in vocals,drums.",
        show_default="all",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
TwoStemsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="This stem, and all others together as no_NAME.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
WithoutOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="All but these, in one file: SONG (no vocals).wav.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
MixOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=A+B",
        help="One more output, mixed of these stems. Repeatable.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
ExactSumOption = Annotated[
    bool,
    typer.Option(
        "--exact-sum",
        help="Let the stems add up to the song within 1 LSB: what is left over goes into other.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "-f",
        "--format",
        case_sensitive=False,
        help="alac is exact; mp4 keeps a picture; stem.mp4 is for DJs.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
BitDepthOption = Annotated[
    BitDepth,
    typer.Option(
        case_sensitive=False, help="Bits of a sample; auto keeps the song's, or takes 24.", rich_help_panel=OUTPUT_PANEL
    ),
]
BitrateOption = Annotated[
    str | None,
    typer.Option(
        metavar="KBIT/S",
        help="Bit rate of mp3, ogg, opus and m4a, as in 192k.",
        show_default="the best of mp3, else about 256k",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
SampleRateOption = Annotated[
    str,
    typer.Option(metavar="HZ", help="Sample rate in Hz; source keeps the song's.", rich_help_panel=OUTPUT_PANEL),
]
ClipOption = Annotated[
    Clip,
    typer.Option(
        case_sensitive=False,
        help="Samples beyond full scale: rescale turns all stems down by one gain, clamp cuts them off, "
        "none leaves them to the format.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
NoCoverOption = Annotated[
    bool,
    typer.Option("--no-cover", help="Leave the song's cover art out of the stems.", rich_help_panel=OUTPUT_PANEL),
]
DawOption = Annotated[
    Literal["reaper"] | None,
    typer.Option(
        case_sensitive=False,
        help="Write a project beside the stems, too: separated/SONG/SONG.rpp, with their tempo if analyse found it.",
        show_default="none",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
PlayerOption = Annotated[
    bool,
    typer.Option(
        "--player",
        help="Write a page that plays the stems, too: player.html, for any browser.",
        rich_help_panel=OUTPUT_PANEL,
    ),
    BASIC,
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Where a stem goes inside the output folder. {suffix} and {folder} are those of the song, "
        "{artist}, {album}, {title} and {n} of its tags.",
        show_default=DEFAULT_TEMPLATE,
        rich_help_panel=OUTPUT_PANEL,
    ),
]
ChunkSecondsOption = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        help="Length of a chunk in seconds. Shorter needs less memory.",
        show_default="the model's",
        rich_help_panel=RUN_PANEL,
    ),
]
