"""The sources of the page: its own, in `page/`, and those that it shares with the player."""

from __future__ import annotations

from pathlib import Path

from stemsplit.player.assets import FOLDER as PLAYER

FOLDER = Path(__file__).parent / "page"
SHARED = ("common.css", "theme.js", "waveform.js", "canvas.js", "data.js", "tracks.js")
"""Sources of the player that this page has, too."""
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}


def page_file(name: str) -> Path | None:
    """Return a source of the page by its name; None if there is none."""
    known = {path.name: path for path in FOLDER.iterdir()} | {shared: PLAYER / shared for shared in SHARED}
    return known.get(name)
