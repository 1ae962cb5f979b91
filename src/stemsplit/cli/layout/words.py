"""What Typer says of values, in plain words."""

from __future__ import annotations

import re

PLAIN_WORDS = {
    r"Value error, ": "",
    r"Input should be a valid (number|integer), unable to parse string as an? \w+": "it is not a number",
    r"Input should be greater than or equal to (\S+)": r"choose \1 or more",
    r"Input should be less than or equal to (\S+)": r"choose at most \1",
}
"""Patterns of what Typer's checks say → what we say."""


def plain(message: str) -> str:
    """Return a message of Typer's in plain words."""
    for pattern, words in PLAIN_WORDS.items():
        message = re.sub(pattern, words, message)
    return message
