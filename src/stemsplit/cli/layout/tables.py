"""Tables and named lines, folded to the width of a terminal; for files and pipes a row stays one line."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

GAP = "  "
NARROWEST_COLUMN = 28
"""Columns for the last cells of a table; where there is less room, every row becomes a paragraph."""


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return a table, with its heads.

    Args:
        columns: the heads; those of columns that are aligned to the right begin with ">".
        rows: cells.
        width: columns of the terminal; None leaves a row on its line, however long.
    """
    heads = [column.lstrip(">") for column in columns]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    before = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    if width is None or before + widths[-1] <= width:
        return [_row(row, columns, widths) for row in [heads, *rows]]
    left = width - before
    if left < NARROWEST_COLUMN or columns[-1].startswith(">"):
        return [line for row in rows for line in _paragraph(heads, row, width)]
    return [
        _row([*(row[:-1] if first else [""] * len(row[:-1])), text], columns, widths)
        for row in [heads, *rows]
        for first, text in _numbered(folded(row[-1], left))
    ]


def named_lines(name: str, text: str, name_columns: int, width: int | None) -> list[str]:
    """Return a name and what is said of it beside it, in as many lines as it takes."""
    room = None if width is None else max(width - name_columns, NARROWEST_COLUMN)
    first, *rest = folded(text, room)
    return [f"{name:{name_columns}}{first}".rstrip(), *(" " * name_columns + line for line in rest)]


def folded(text: str, width: int | None) -> list[str]:
    """Return lines that break at spaces. A word that is too long for a line, such as a hash, stays whole."""
    if width is None or not text:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _numbered(lines: Sequence[str]) -> list[tuple[bool, str]]:
    return [(number == 0, line) for number, line in enumerate(lines)]


def _row(row: Sequence[str], columns: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if column.startswith(">") else cell.ljust(width)
        for cell, width, column in zip(row, widths, columns, strict=True)
    ]
    return GAP.join(cells).rstrip()


def _paragraph(heads: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """Return a row for which the terminal is too narrow: its first cell, and below that the others with their heads."""
    said = [f"{head}: {cell}" for head, cell in zip(heads[1:], row[1:], strict=True) if cell]
    lines: list[str] = []
    for part in said:
        if lines and len(lines[-1]) + len(part) + 2 <= width - len(GAP):
            lines[-1] += f"; {part}"
        else:
            lines += folded(part, width - len(GAP))
    return [row[0], *(GAP + line for line in lines)]
