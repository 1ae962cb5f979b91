"""A part of the songs, chosen by their names alone: machines that know nothing of one another share a folder."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from stemsplit.errors import UsageError
from stemsplit.runs.jobs import Job

MOST_SHARDS = 1_000_000


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, from 1."""

    index: int
    count: int

    def holds(self, job: Job) -> bool:
        """Return whether a job is of this part. Every job is of exactly one."""
        digest = hashlib.sha256(_key(job).encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def of(self, jobs: Iterable[Job]) -> tuple[Job, ...]:
        """Return the jobs of this part."""
        return tuple(job for job in jobs if self.holds(job))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Read I/N. Raises: UsageError."""
    match = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text.strip(), re.ASCII)
    if match is None:
        raise UsageError(f"--shard {text[:40]}: give I/N, as in 1/8 for the first of eight parts")
    index, count = int(match[1]), int(match[2])
    if not 1 <= count <= MOST_SHARDS:
        raise UsageError(f"--shard {text[:40]}: there are from 1 to {MOST_SHARDS} parts")
    if not 1 <= index <= count:
        raise UsageError(f"--shard {text[:40]}: parts count from 1 to {count}")
    return Shard(index, count)


def _key(job: Job) -> str:
    """Return the path of a source relative to the folder that the user named, whatever that is called elsewhere.

    Systems differ in the way that Unicode composes letters.
    """
    return unicodedata.normalize("NFC", str(PurePosixPath(job.track).parent / job.source.name))
