"""What MkDocs calls while it builds the site; mkdocs.yml names this file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from reference import ROOT, generated, taken_in

DRAWN = re.compile(r"!\[([^\]]*)\]\((?:\.\./)*images/drawn/(\w+)\.svg\)")


def on_config(config: Any) -> Any:
    """List the pages of the commands in the navigation, behind that of all of them."""
    pages = [path for path in generated() if path.startswith("commands/")]
    for entry in config["nav"]:
        if "Commands" in entry:
            entry["Commands"] = [*sorted(pages, key=lambda path: path != "commands/index.md")]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that the program tells, and the pictures of the models' cards."""
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    for picture in ROOT.glob("models/*/*.png"):
        files.append(File.generated(config, f"models/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Take in what a page's comments ask for, and put drawings into the page itself, where they have its colours."""
    text = DRAWN.sub(_drawing, taken_in(markdown, page.file.src_uri))
    return re.sub("^```console$", "```bash", text, flags=re.MULTILINE)  # which colours commands without a prompt


def _drawing(found: re.Match[str]) -> str:
    svg = (Path(__file__).parent / "images" / "drawn" / f"{found[2]}.svg").read_text(encoding="utf-8")
    return f'<figure class="drawing">{svg.strip()}</figure>'
