"""`stemsplit models …`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemsplit.cli.flags.shared import DEFAULT_MODEL, Debug, Json, Quiet, as_path
from stemsplit.cli.layout.help import BASIC, App
from stemsplit.cli.layout.screen import Screen, print_table, put, put_help, put_json, put_named
from stemsplit.errors import CheckpointError, UsageError
from stemsplit.machine.streams import require_output

if TYPE_CHECKING:
    from stemsplit.weights.card import ModelCard
    from stemsplit.weights.catalog import ModelFiles

models = App(
    help="""Which models there are, and what to do with them.

    Examples:
        stemsplit models list
        stemsplit models info ts-bsmamba2-mini
        stemsplit models download sfc-ca-small
    """,
    no_args_is_help=False,
)


def _names() -> list[str]:
    from stemsplit.weights.catalog import model_names

    return model_names()


NAME_COLUMNS = 14


Reference = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="A name of `models list`, a folder or file, hf:OWNER/REPO@REV:SUBFOLDER, or an https address.",
        autocompletion=_names,
    ),
]


@models.callback(invoke_without_command=True)
def overview(context: typer.Context) -> None:
    """Which models there are, and what to do with them."""
    if context.invoked_subcommand is None:
        put_help(context)


@models.command("list")
def list_models(json: Json = False, debug: Debug = False) -> None:
    """List the models of the catalog.

    Examples:
        stemsplit models list
        stemsplit models list --json
        stemsplit models list --json | jq -r .[].name   # only the names
    """
    from stemsplit.weights.catalog import list_models as cards

    if json:
        put_json([_card_json(card) for card in cards()])
        return
    rows = [
        (
            card.name + (" (default)" if card.name == DEFAULT_MODEL else ""),
            card.local,
            _size(card.size),
            ",".join(card.stems),
            card.license,
            card.description,
        )
        for card in cards()
    ]
    print_table(("name", "where", ">size", "stems", "license", "description"), rows)


@models.command()
def info(reference: Reference, json: Json = False, debug: Debug = False) -> None:
    """Show what is known of a model: its stems, licence, training and scores.

    Examples:
        stemsplit models info ts-bsmamba2-mini
        stemsplit models info runs/mine/model    # a folder
        stemsplit models info melody-cnn --json
    """
    card = _card(reference)
    if json:
        put_json(_card_json(card), indent=2)
        return
    lines = {
        "name": card.name,
        "description": card.description,
        "architecture": card.architecture,
        "stems": ", ".join(card.stems),
        "sample rate": f"{card.sample_rate} Hz" if card.sample_rate else "",
        "parameters": f"{card.parameters:,}" if card.parameters else "",
        "size": _size(card.size),
        "license": card.license,
        "trained on": card.trained_on or "",
        "source": card.source or "",
        "address": card.url or "",
        "SHA-256": card.sha256 or "",
        "where": card.local,
        "folder": str(card.path),
    }
    for name, value in lines.items():
        if value:
            put_named(f"{name}:", value, NAME_COLUMNS)
    name = "scores:"
    for what, values in _scores(card).items():
        put_named(name, f"{', '.join(values)} ({what})", NAME_COLUMNS)
        name = ""


@models.command()
def download(reference: Reference, quiet: Quiet = False, debug: Debug = False) -> None:
    """Fetch a model into the cache and check its hash; print where it lies.

    What is there already is checked, too, and fetched again if it is damaged.

    Examples:
        stemsplit models download ts-bsmamba2-musdb18
        stemsplit models download hf:someone/network@main:weights
        stemsplit models download sfc-ca-small --quiet
    """
    put(str(_located(reference, quiet, check=True).path))


@models.command()
def path(reference: Reference, quiet: Quiet = False, debug: Debug = False) -> None:
    """Print where a model lies on disk; fetches it if it has to.

    Examples:
        stemsplit models path ts-bsmamba2-mini
        ls -l $(stemsplit models path ts-bsmamba2-mini)
        cp -r $(stemsplit models path sfc-ca-small) usb/
    """
    put(str(_located(reference, quiet).path))


@models.command()
def verify(reference: Reference, quiet: Quiet = False, debug: Debug = False) -> None:
    """Hash a model's weights again, load them, and print their SHA-256.

    Examples:
        stemsplit models verify ts-bsmamba2-mini
        stemsplit models verify runs/mine/model     # a folder
        stemsplit models verify network.ckpt        # a public checkpoint
    """
    from stemsplit.weights.checkpoint import load_network

    files = _located(reference, quiet)
    load_network(files)
    put(f"{files.sha256}  {files.path}")


@models.command()
def convert(
    reference: Reference,
    target: Annotated[
        Path, typer.Argument(metavar="DIR", parser=as_path, help="Folder to write config.json and safetensors to.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Write over a model that is there."), BASIC] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Take the weights themselves where their running average is there, too."),
        BASIC,
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a public checkpoint (.ckpt, .pth, .pt, or a trainer's folder) as a folder of our format.

    Nothing in it is run.

    Examples:
        stemsplit models convert network.ckpt mine/
        stemsplit models convert trainer/ mine/ --raw
        stemsplit models convert hf:someone/network mine/ --force
    """
    from stemsplit.weights.checkpoint import convert as write

    if not force and (target / "config.json").exists():
        raise UsageError(f"{target} holds a model already: choose another folder, or --force")
    files = _located(reference, quiet)
    put(str(write(files, target, raw=raw)))


@models.command()
def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", parser=as_path, help="Folder of a model in our format.")],
    repository: Annotated[str, typer.Argument(metavar="hf:OWNER/REPO", help="Where to on the Hugging Face Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Only you can see a repository made now."), BASIC] = False,
    message: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Commit message.", show_default="says what it is"),
        BASIC,
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, upload nothing."), BASIC] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Upload a model folder to the Hugging Face Hub; the token is HF_TOKEN, or that of `hf auth login`.

    Examples:
        stemsplit models publish mine/ hf:me/network --dry-run
        stemsplit models publish mine/ hf:me/network
        stemsplit models publish mine/ hf:me/network --private
    """
    from stemsplit.weights.publish import publish as upload

    require_output()
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    done = upload(folder, repository, private=private, message=message, dry_run=dry_run)
    Screen(quiet=quiet).note(f"{'would upload' if dry_run else 'uploaded'} {', '.join(done.files)}")
    put(done.reference)


def _located(reference: str, quiet: bool, *, check: bool = False) -> ModelFiles:
    from stemsplit.weights.catalog import locate

    require_output()
    with Screen(quiet=quiet).downloading(reference) as progress:
        return locate(reference, check=check, progress=progress)


def _card(reference: str) -> ModelCard:
    """Return the card of a catalog name without a download, or of anything that can be located."""
    from stemsplit.weights.card import CONFIG_NAME, read_card
    from stemsplit.weights.catalog import card, locate

    if reference in _names():
        return card(reference)
    files = locate(reference)
    folder = files.path if files.path.is_dir() else files.path.parent
    if not (folder / CONFIG_NAME).is_file():
        hint = f"stemsplit models convert {reference} DIR"
        raise CheckpointError(f"{reference} is a bare checkpoint, without a card: convert it with {hint}")
    return replace(read_card(folder), local="on disk")


def _scores(card: ModelCard) -> dict[str, list[str]]:
    """Return metric and data set → a stem and its value, for each that was measured so."""
    found: dict[str, list[str]] = {}
    for score in card.scores:
        found.setdefault(f"{score.metric}, {score.dataset}", []).append(f"{score.stem} {score.value:.2f}")
    return found


def _card_json(card: ModelCard) -> dict[str, Any]:
    return asdict(card) | {"path": str(card.path)}


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"
