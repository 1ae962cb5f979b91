"""Options that several commands share."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import typer

from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import put
from stemsplit.errors import UsageError
from stemsplit.files.places import ADDRESS, as_address
from stemsplit.options import PRESETS, SELECTING, TimeRange

OUTPUT_PANEL, TALK_PANEL, RUN_PANEL = "What is written", "What is said", "How it is computed"


def model_names() -> list[str]:
    """For shells that complete a model's name."""
    from stemsplit.weights import catalog

    return catalog.model_names()


def as_path(text: str | Path) -> Path:
    """Return the path that an argument names. Raises: UsageError for what names none."""
    text = str(text)
    if not text:
        raise UsageError(
            "a path is empty: name a file or a folder (. is this folder); is a variable of the shell unset?"
        )
    if "\0" in text:
        raise UsageError(f"{text} is no path: a NUL is in it")
    if ADDRESS.match(text):
        raise UsageError(f"{text} is an address: download it first, and name the file")
    return Path(text)


def as_place(text: str | Path) -> Path:
    """Return the path or the address, as s3://bucket/folder, that an argument names. Raises: UsageError."""
    address = as_address(str(text)) if ADDRESS.match(str(text)) else None
    return address or as_path(text)


def as_range(text: str | None) -> TimeRange | None:
    """Return the part that --time-range names. Raises: UsageError."""
    return None if text is None else TimeRange.parsed(text)


def take_preset(context: typer.Context, name: str | None) -> str | None:
    """Let a preset say what the options are that the user does not give. Raises: UsageError for an unknown one."""
    if name is None or context.resilient_parsing:
        return name
    if name == "list":
        for known, preset in PRESETS.items():
            put(f"{known:<16}{preset.about}")
        raise typer.Exit
    if name.lower() not in PRESETS:
        near = get_close_matches(name.lower(), PRESETS, 1)
        raise UsageError(f"no preset is called {name!r}: {f'did you mean {near[0]}?' if near else 'try --preset list'}")
    chosen, before = PRESETS[name.lower()].options, dict(context.default_map or {})
    if chosen.keys() & set(SELECTING):  # which stems is for one to say
        before = {option: value for option, value in before.items() if option not in SELECTING}
    context.default_map = {**before, **chosen}
    return name


def left_out(context: typer.Context) -> frozenset[str]:
    """Return the options of a preset or the config file that do not hold, since the user gives others for them."""
    found: set[str] = set()
    for group in (SELECTING, ("model", "quality")):
        if any(is_from(context, name, "COMMANDLINE") for name in group):
            found |= {name for name in group if is_from(context, name, "DEFAULT_MAP")}
    return frozenset(found)


def is_from(context: typer.Context, name: str, where: str) -> bool:
    """Return whether an option is from the COMMANDLINE, or from the DEFAULT_MAP: a preset or the config file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == where


Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Say nothing but errors.", rich_help_panel=TALK_PANEL), BASIC
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Say more: model, device, chunks.", rich_help_panel=TALK_PANEL)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=TALK_PANEL)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.", rich_help_panel=TALK_PANEL), BASIC]
JsonLines = Annotated[
    bool,
    typer.Option("--json", help="Print a JSON object per input, as it finishes.", rich_help_panel=TALK_PANEL),
    BASIC,
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what would be written, and write nothing.", rich_help_panel=TALK_PANEL),
    BASIC,
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Do again what is done; write over other files, too.",
        rich_help_panel=RUN_PANEL,
    ),
    BASIC,
]


Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT", parser=as_place, help="Files, folders, lists (.m3u), s3:// and the like, or - (stdin)."
    ),
]
AudioTrack = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Which sound track of a file that has several, from 1.",
        show_default="the one that the file marks, or the first",
        rich_help_panel=RUN_PANEL,
    ),
]
Salvage = Annotated[
    bool,
    typer.Option(
        "--salvage",
        help="Take what is there of a file that is cut off or damaged, and say what is missing.",
        rich_help_panel=RUN_PANEL,
    ),
]
TimeRangeOption = Annotated[
    str | None,
    typer.Option(
        "--time-range",
        metavar="A-B",
        help="Only this part of a song, as in 1:00-2:30, 1:00- or -2:30.",
        show_default="all of it",
        rich_help_panel=RUN_PANEL,
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help=f"Several options at once: {', '.join(PRESETS)}; list tells what they are. Options beside it win.",
        show_default="none",
        is_eager=True,
        callback=take_preset,
        autocompletion=lambda: list(PRESETS),
        rich_help_panel=OUTPUT_PANEL,
    ),
]
Raw = Annotated[
    str | None,
    typer.Option(
        metavar="RATE:CHANNELS:TYPE",
        help="Standard input is bare samples, as in 44100:2:s16le (u8, s16le, s24le, s32le, f32le, f64le).",
        show_default="a file of any format",
        rich_help_panel=RUN_PANEL,
    ),
]
ModelReference = Annotated[
    str,
    typer.Option(
        "-m",
        "--model",
        metavar="REF",
        help="A name of `models list`, a folder, a file, hf:OWNER/REPO, or an https address.",
        autocompletion=model_names,
        rich_help_panel=RUN_PANEL,
    ),
    BASIC,
]
QualityOption = Annotated[
    str | None,
    typer.Option(
        "--quality",
        metavar="fast|good|best",
        help="fast ships with stemsplit; good and best are downloaded once.",
        show_default="fast",
        rich_help_panel=RUN_PANEL,
    ),
    BASIC,
]
YesOption = Annotated[
    bool,
    typer.Option("-y", "--yes", help="Let --quality download without asking.", rich_help_panel=RUN_PANEL),
]
Device = Annotated[
    str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=RUN_PANEL), BASIC
]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
OverlapOption = Annotated[
    float | None,
    typer.Option(
        metavar="F",
        help="Fraction of a chunk that the next one covers again, from 0 to below 1.",
        show_default="the model's",
        rich_help_panel=RUN_PANEL,
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Chunks at once; by default 8 on CUDA, else 1.", rich_help_panel=RUN_PANEL),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        case_sensitive=False,
        help="Arithmetic; auto is what is fast here and exact enough.",
        rich_help_panel=RUN_PANEL,
    ),
]
# As in `catalog`, which --help does not need to import.
DEFAULT_MODEL = "ts-bsmamba2-mini"
DEFAULT_MELODY_MODEL = "melody-cnn"
