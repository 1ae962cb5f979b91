"""The pages of the documentation that are made of the program: its commands, its models, and parts of the README.

Nothing here needs more than stemsplit itself, so that tests read these pages without building the site. A page takes
in what is told elsewhere by a comment on a line of its own:

    <!-- from README.md: promises -->      what stands between <!-- promises --> and <!-- /promises --> there
    <!-- models -->                        the table of models
    <!-- qualities -->                     what --quality stands for
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import relpath
from typing import Any

import typer

from stemsplit.cli import app
from stemsplit.cli.layout.help import KEPT, Described, Rows, described
from stemsplit.weights.card import ModelCard
from stemsplit.weights.catalog import list_models, qualities

ROOT = Path(__file__).parents[1]
TAKEN = re.compile(r"^<!-- (from README\.md: (?P<part>\w+)|(?P<table>models|qualities)) -->$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\((?!https?:)([^)#\s]+)(#[^)\s]*)?\)")
DEFAULT = re.compile(rf"\[default:{KEPT}(.*)\]$")


def generated() -> dict[str, str]:
    """Return all pages that no file of docs/ holds: path → Markdown."""
    pages = {f"models/{card.name}.md": model_page(card.path) for card in list_models()}
    group = typer.main.get_command(app)
    pages["commands/index.md"] = commands_page(group)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        pages[f"commands/{name}.md"] = "\n".join(command_page(command, f"stemsplit {name}"))
    return pages


def taken_in(text: str, page: str) -> str:
    """Return a page's text with what its comments ask for. Raises: KeyError for a part that the README lacks."""

    def part(found: re.Match[str]) -> str:
        if found["table"]:
            return {"models": models_table, "qualities": qualities_table}[found["table"]](page)
        return relinked(readme_parts()[found["part"]], page)

    return TAKEN.sub(part, text)


def readme_parts() -> dict[str, str]:
    """Return the parts of the README that stand between <!-- name --> and <!-- /name -->."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^<!-- (\w+) -->\n(.*?)^<!-- /\1 -->$", text, re.MULTILINE | re.DOTALL)
    return {name: part.strip() + "\n" for name, part in found}


def relinked(text: str, page: str) -> str:
    """Return text of the README for a page: links lead to pages; those to files that are none become plain words."""

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found.groups()
        if card := re.fullmatch(r"models/([\w.-]+)/README\.md", target):
            target = f"docs/models/{card[1]}.md"
        if not target.startswith("docs/") or not target.endswith((".md", ".png", ".svg", ".mp3")):
            return str(words)
        return f"[{words}]({relpath(target.removeprefix('docs/'), str(Path(page).parent))}{anchor or ''})"

    return LINK.sub(link, text)


def commands_page(group: Any) -> str:
    """Return the page that lists the commands."""
    rows = [(f"[`{name}`]({name}.md)", escaped(text)) for name, text in _told(group, "stemsplit").commands]
    lines = [
        "# Commands",
        "",
        "These pages are made of what the program says of itself: `stemsplit COMMAND --help-all`.",
        "",
        *_table(("command", "what it does"), rows),
        "",
        "Every command exits with 0 if all went well, 1 if a file failed, 2 if nothing could be done, 130 after",
        "Ctrl-C; with `--debug` it shows the traceback of an error. `python -m stemsplit` is the same program.",
    ]
    return "\n".join(lines) + "\n"


def command_page(command: Any, path: str, level: int = 1) -> Iterator[str]:
    """Yield the lines about a command, and below those its own commands, if it has some."""
    told, mark = _told(command, path), "#" * level
    yield from (f"{mark} {path}", "", escaped(told.about), "", "```console")
    column = max((len(example) for example, _ in told.examples), default=0)
    yield from (f"{example:{column}}  # {about}" if about else example for example, about in told.examples)
    yield from ("```", "", f"Usage: `{told.usage}`", "")
    if told.arguments:
        yield from (*_table(("argument", "what it is"), _as_code(told.arguments)), "")
    for panel, every in told.panels:
        if not (rows := [row for row in every if "--help" not in row[0]]):  # the list of commands tells of it
            continue
        yield from (f"{mark}# {panel}" if level == 1 else f"**{panel}**", "")
        yield from (*_table(("option", "what it does"), _as_code(rows)), "")
    for name, one in getattr(command, "commands", {}).items():
        yield from command_page(one, f"{path} {name}", level + 1)


def _told(command: Any, path: str) -> Described:
    context = typer.Context(command, info_name=path)
    context.help_option_names = ["-h", "--help"]
    return described(command, context, everything=True)


def _as_code(rows: Rows) -> Rows:
    return [(f"`{' '.join(name.split())}`", escaped(_with_default(text))) for name, text in rows]


def _with_default(text: str) -> str:
    """Say what an option is by default; as code, unless it is said in words."""
    found = DEFAULT.search(text)
    if not found:
        return text
    value = found[1] if " " in found[1] else f"`{found[1]}`"
    return f"{text[: found.start()].rstrip()} Default: {value}."


def escaped(text: str) -> str:
    """Return text in which nothing but `code` means something to Markdown."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([\\*_|<\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]] | Rows) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def models_table(page: str) -> str:
    """Return the table of the models that the catalog has."""
    rows = []
    for card in list_models():
        size = "" if card.size is None else f"{card.size / 1e6:.3g} MB"
        name = f"[`{card.name}`]({relpath(f'models/{card.name}.md', str(Path(page).parent))})"
        where = f"ships, {size}" if card.local == "shipped" else size
        rows.append((name, escaped(card.description), where, escaped(card.license), _score(card)))
    return "\n".join(_table(("model", "what it is", "size", "licence", "a score, dB"), rows)) + "\n"


def _score(card: ModelCard) -> str:
    """Return the first score of a card: its mean, or that of each stem; the card's page has all."""
    if not card.scores:
        return ""
    first = card.scores[0]
    values = {one.stem: one.value for one in card.scores if (one.dataset, one.metric) == (first.dataset, first.metric)}
    shown = {"": values["mean"]} if "mean" in values else values
    figures = ", ".join(f"{stem} {value:.2f}".strip() for stem, value in shown.items())
    return f"{figures}: {escaped(first.metric.partition(',')[0])}, {escaped(first.dataset)}"


def qualities_table(page: str) -> str:
    """Return what each --quality stands for."""
    rows = []
    for name, models in qualities().items():
        parts = [part.rpartition("=")[::2] for part in models.split(",")]
        links = [f"[`{one}`]({relpath(f'models/{one}.md', str(Path(page).parent))})" for _, one in parts]
        texts = [f"{stem} by {link}" if stem else link for (stem, _), link in zip(parts, links, strict=True)]
        rows.append((f"`{name}`", ", ".join(texts)))
    return "\n".join(_table(("`--quality`", "models"), rows)) + "\n"


def model_page(folder: Path) -> str:
    """Return a model's card without what is for the Hub alone, and what its config.json says of the network."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\A---\n.*?^---\n", "", text, flags=re.MULTILINE | re.DOTALL).strip()
    network = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("network", {})
    return f"{text}\n\n## Settings of the network\n\n```json\n{_a_line_each(network)}\n```\n"


def _a_line_each(settings: dict[str, Any]) -> str:
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in settings.items()]
    return "{\n" + ",\n".join(lines) + "\n}"
