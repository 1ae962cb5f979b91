"""What a setting may be, as data: its type and its range. A config is checked against such rules before it is used.

Each rule has `problem(value)`, which returns what is wrong in a few words, or None. Nothing else is imported here, so
that the card of a model can be read without PyTorch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Rule(Protocol):
    """What a value may be."""

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value, as in "must be true or false, not 3"; None if nothing is."""


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def problem(self, value: Any) -> str | None:
        """See `Rule`."""
        if isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high:
            return None
        return f"must be a whole number from {self.low} to {self.high}, not {shown(value)}"


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`."""

    low: float
    high: float

    def problem(self, value: Any) -> str | None:
        """See `Rule`."""
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high:
            return None
        return f"must be a number from {self.low:g} to {self.high:g}, not {shown(value)}"


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def problem(self, value: Any) -> str | None:
        """See `Rule`."""
        return None if isinstance(value, bool) else f"must be true or false, not {shown(value)}"


@dataclass(frozen=True)
class Text:
    """A text of at most `most` characters, all of which `pattern` matches if there is one, described by `what`."""

    most: int = 1000
    pattern: str = "(?s:.*)"
    what: str = "a text"

    def problem(self, value: Any) -> str | None:
        """See `Rule`."""
        if isinstance(value, str) and len(value) <= self.most and re.fullmatch(self.pattern, value):
            return None
        return f"must be {self.what} of at most {self.most} characters, not {shown(value)}"


@dataclass(frozen=True)
class OneOf:
    """One of a few texts."""

    choices: tuple[str, ...]

    def problem(self, value: Any) -> str | None:
        """See `Rule`."""
        if isinstance(value, str) and value in self.choices:
            return None
        return f"must be {' or '.join(self.choices)}, not {shown(value)}"


@dataclass(frozen=True)
class Several:
    """A list of `low` to `high` values, each by one rule; with `distinct` no two are equal."""

    each: Rule
    low: int
    high: int
    distinct: bool = False

    def problem(self, value: Any) -> str | None:
        """See `Rule`."""
        if not isinstance(value, (list, tuple)) or not self.low <= len(value) <= self.high:
            return f"must be a list of {self.low} to {self.high} values, not {shown(value)}"
        for at, item in enumerate(value, 1):
            if problem := self.each.problem(item):
                return f"(its value {at}) {problem}"
        if self.distinct and len(set(value)) < len(value):
            return f"must hold distinct values, not {shown(list(value))}"
        return None


@dataclass(frozen=True)
class Maybe:
    """Null, or what another rule says."""

    rule: Rule

    def problem(self, value: Any) -> str | None:
        """See `Rule`."""
        return None if value is None or (problem := self.rule.problem(value)) is None else f"{problem}, or null"


STEM_NAMES = Several(Text(60, r"[^\x00-\x1f\x7f-\x9f/\\]*[^\x00-\x1f\x7f-\x9f/\\. ]", "a name"), 1, 64, distinct=True)
SAMPLE_RATE = Whole(1_000, 1_000_000)  # Hz


def broken_rule(rules: Mapping[str, Rule], values: Mapping[str, Any]) -> str | None:
    """Return the first setting whose value breaks its rule, and how; None if all keep them."""
    for name, rule in rules.items():
        if name in values and (problem := rule.problem(values[name])):
            return f"{name} {problem}"
    return None


def shown(value: Any) -> str:
    """Return a value as a message shows it: in JSON's words, and not longer than a few words."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)) and len(value) > 8:
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number of very many digits"
    words = {True: "true", False: "false", None: "null"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(shown(item) for item in value)}]"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]} …{text[0]}"


MOST_VALUES = 1 << 27
"""Of the tokens, or of the stems' spectra, of one chunk: 512 MiB. The published TS-BSMamba2 has 4 million of each."""


def oversized(frames: int, values: int, chunk_samples: int, hop_length: int) -> Iterator[str]:
    """Yield what is wrong with a chunk whose `frames` have so many `values` each, if that takes gigabytes."""
    if frames * values > MOST_VALUES:
        yield f"a chunk of {chunk_samples} samples takes gigabytes at hop_length {hop_length}"
