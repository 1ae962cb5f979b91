"""A file of scores, with one line of JSON per song, so that a run that was stopped can go on where it was."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from stemsplit.errors import OutputError, UsageError, reason
from stemsplit.evaluation.scores import SongScore, StemScore

FIGURES_VERSION = 1  # to be increased when the same files get other scores


class ScoreSheet:
    """The scores of songs by name and key (`key_of`), kept in a file.

    Args:
        path: the file, to which lines are only appended; None keeps the scores in memory alone.
        reread: use the lines that the file holds already. If a song and key occur several times, the last line counts.

    Raises:
        UsageError: the file holds something else, which nothing should be appended to.
    """

    def __init__(self, path: Path | None, *, reread: bool = True) -> None:
        self.path = path
        self._known: dict[tuple[str, str], SongScore] = {}
        for line in _lines(path) if path is not None and path.is_file() else ():
            try:
                values = json.loads(line)
                self._known[values["song"], values["key"]] = song_score(values)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # half a line of a run that was killed
        if not reread:
            self._known.clear()

    def find(self, song: str, key: str) -> SongScore | None:
        """Return the scores of a song under a key, or None."""
        return self._known.get((song, key))

    def add(self, score: SongScore, key: str, **about: Any) -> None:
        """Append a line with the scores of a song, the key and other values. Raises: OutputError."""
        self._known[score.song, key] = score
        if self.path is None:
            return
        line = json.dumps({**as_json(score), "key": key, **about}, allow_nan=False)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell() and not _ends_whole(self.path):
                    file.write(b"\n")
                file.write(line.encode() + b"\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {reason(error)}") from error


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError as error:
        raise UsageError(f"{path} is no file of scores: choose another --scores") from error
    if lines and not lines[0].startswith("{"):
        raise UsageError(f"{path} is no file of scores: choose another --scores")
    return lines


def key_of(files: Iterable[Path], about: Mapping[str, Any]) -> str:
    """Return a short text that changes with what scores depend on.

    Args:
        files: of the song; their paths, sizes and times of modification count.
        about: other values, such as the model and its settings.
    """
    states = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    text = json.dumps([FIGURES_VERSION, sorted(states), dict(about)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def as_json(score: SongScore) -> dict[str, Any]:
    """Return the scores of a song as JSON values. JSON has no infinity, so "inf" and "-inf" are strings."""
    return {"song": score.song, "stems": [figures(stem) for stem in score.stems]}


def figures(stem: StemScore) -> dict[str, Any]:
    """Return the figures of a stem as JSON values."""
    values = asdict(stem)
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def song_score(values: Mapping[str, Any]) -> SongScore:
    """Return the scores that `as_json` made values of. Raises: ValueError, TypeError or KeyError for other values."""
    names = [field.name for field in fields(StemScore) if field.name != "stem"]
    stems = [
        StemScore(stem["stem"], **{name: None if stem[name] is None else float(stem[name]) for name in names})
        for stem in values["stems"]
    ]
    return SongScore(str(values["song"]), tuple(stems))


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
