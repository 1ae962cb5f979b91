"""The words for what the operating system refused."""

from __future__ import annotations


def reason(error: OSError) -> str:
    """The system's own words, as in "no space left on device" for the end of a sentence."""
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
