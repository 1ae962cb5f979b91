"""The sources of the pages, in `page/`: ES modules, style sheets and templates → text that goes into one HTML file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "page"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function |const )", re.MULTILINE)
_PLACE = re.compile(r"\{\{(\w+)\}\}")


@lru_cache
def source(name: str) -> str:
    """Return the text of a file of the folder."""
    return (FOLDER / name).read_text(encoding="utf-8")


@lru_cache
def joined(entry: str) -> str:
    """Return a module and all that it imports as one script.

    Every module comes once, behind what it imports. The lines that import and the word export are left out. So names at
    the top of modules have to differ, which a test holds.
    """
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in parts:
            for other in _IMPORT.findall(source(name)):
                add(other)
            parts[name] = _EXPORT.sub("", _IMPORT.sub("", source(name))).strip()

    add(entry)
    return "\n\n".join(parts.values())


def filled(template: str, texts: Mapping[str, str], *, script: str, styles: Sequence[str]) -> str:
    """Return a template with every {{place}} filled; what is put in is not looked through for places again.

    The page runs this very script and no other: its policy says so by a hash. `texts` are HTML already.
    """
    code, rules = f"\n{joined(script)}\n", "\n" + "\n".join(map(source, styles))
    policy = (
        f"default-src 'none'; script-src '{_hash(code)}'; style-src '{_hash(rules)}'; img-src data:; "
        "media-src * file: blob: data:; base-uri 'none'; form-action 'none'"
    )
    places = {**texts, "script": code, "style": rules, "policy": policy}
    return _PLACE.sub(lambda place: places[place[1]], source(template))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def as_text(text: str) -> str:
    """Return a text as it stands in HTML; what is no Unicode becomes a question mark."""
    return html.escape(_sound(text))


def as_data(value: Any) -> str:
    """Return a JSON value as it stands in a script element: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
