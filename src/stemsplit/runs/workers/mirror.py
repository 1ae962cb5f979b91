"""A job whose input or outputs are at an address, done in a hidden folder of this machine that mirrors what is there.

The mirror has the manifest that is there, and an empty file for every other file of the track: so all that holds for a
folder of this machine holds for an address. The source is fetched when it is needed, and outputs are uploaded when all
of them are made: first the manifest under a hidden name, which says whose the files are, then those, then the manifest.
An upload that ends halfway leaves the hidden one, and the song is done again.

Requests for a song of n outputs: 1 for the source and n + 3 for the outputs; 2 if it is done already.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from stemsplit.audio.info import Warn
from stemsplit.files.leftovers import clear_in
from stemsplit.files.manifest import listed_paths, output_paths, read_manifest, selections, write_manifest
from stemsplit.files.places import Address, Store, fetch, store_at
from stemsplit.machine.together import staged
from stemsplit.runs import jobs
from stemsplit.runs.jobs import Job, Outcome, Progress, RunOptions, Watcher, Work

LONGEST_SUFFIX = 16


def is_elsewhere(job: Job) -> bool:
    """Return whether something of a job is at an address."""
    return isinstance(job.source, Address) or isinstance(job.manifest, Address)


def attempt(
    job: Job, work: Work, watcher: Watcher | None = None, *, began: float, waited: bool = False
) -> Outcome | None:
    """Do one job, wherever its files are, whatever happens in it; see `jobs.attempt`."""
    if job.error is not None or job.made or not is_elsewhere(job):
        return jobs.attempt(job, work, watcher, began=began, waited=waited)
    started = time.monotonic()
    try:
        with mirrored(job, work.options) as mirror:
            here = mirror.ready(work)
            told = None if watcher is None else _Outside(mirror, watcher)
            outcome = jobs.attempt(here, _Uploading(work, mirror), told, began=began, waited=waited)
            return None if outcome is None else mirror.outside(outcome)
    except Exception as error:
        return jobs.failed(job, error, seconds=time.monotonic() - started)


def foreseen(job: Job, work: Work, *, known: bool = True) -> Outcome:
    """Return what would become of a job, wherever its files are; see `jobs.foreseen`. No song is fetched for it."""
    if job.error is not None or job.made or not (known and is_elsewhere(job)):
        return jobs.foreseen(job, work, known=known)
    try:
        with mirrored(job, work.options) as mirror:
            return mirror.outside(jobs.foreseen(mirror.here, work))
    except Exception as error:
        return jobs.failed(job, error)


@contextmanager
def fetched(job: Job) -> Iterator[Path]:
    """Yield the source of a job on this machine, for the length of the block. Raises: PlaceError, OutputError."""
    with _folder() as folder:
        path = _source_in(folder, job)
        fetch(job.name, path)
        yield path


@contextmanager
def mirrored(job: Job, options: RunOptions) -> Iterator[Mirror]:
    """Yield the mirror of a job. Raises: PlaceError, OutputError."""
    with _folder() as folder:
        yield Mirror(job, options, folder)


@contextmanager
def _folder() -> Iterator[Path]:
    place = Path(tempfile.gettempdir())
    _clear_once(place)
    with staged(place) as folder:
        yield folder


@cache
def _clear_once(place: Path) -> None:
    """Clear away what killed runs left, once in a process."""
    clear_in(place)


def _source_in(folder: Path, job: Job) -> Path:
    suffix = job.source.suffix
    return folder / f"song{suffix if len(suffix) <= LONGEST_SUFFIX and suffix.isascii() else ''}"


class Mirror:
    """The mirror of a job in a folder of its own; `here` is the job as it is done there, `job` as the user knows it."""

    def __init__(self, job: Job, options: RunOptions, folder: Path) -> None:
        self.job, self._force, self._root = job, options.force, options.output
        self._is_fetched = isinstance(job.source, Address)
        self._out = folder / "out"
        self._store: Store | None = store_at(self._root) if isinstance(self._root, Address) else None
        here = replace(
            job,
            source=_source_in(folder, job) if self._is_fetched else job.source,
            targets={name: self._inside(path) for name, path in job.targets.items()},
            manifest=self._inside(job.manifest),
        )
        known = {} if self._store is None else self._bring(here, self._store)
        self.here = replace(here, known=known | self._known_source(here))

    def _inside(self, path: Path) -> Path:
        return path if self._store is None else self._out / str(path)[len(str(self._root)) + 1 :]

    def _address(self, path: Path) -> Path:
        return self._root / path.relative_to(self._out).as_posix()

    def _bring(self, here: Job, store: Store) -> dict[Path, str]:
        """Bring the manifest, and an empty file for every other one. Return the hashes that the manifest vouches for.

        A hidden manifest is one of an upload that did not end, so it vouches for nothing.
        """
        hidden = _hidden(self.job.manifest)
        half = store.size(hidden) is not None
        if half or store.size(self.job.manifest) is not None:
            here.manifest.parent.mkdir(parents=True, exist_ok=True)
            store.fetch(hidden if half else self.job.manifest, here.manifest)
            os.utime(here.manifest, (0, 0))  # it was not made during this run
        entries = _entries(here.manifest)
        known = {}
        for path in {*here.targets.values(), *entries, *(listed_paths(here.manifest) or ())}:
            if not path.is_relative_to(self._out) or (size := store.size(self._address(path))) is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            if not half and size == entries.get(path, {}).get("bytes"):
                known[path] = str(entries[path].get("sha256"))
        return known

    def _known_source(self, here: Job) -> dict[Path, str]:
        """Return the hash of the source if it has not changed since it was written down, so that it need not be read.

        It is there as an empty file then.
        """
        about = (read_manifest(here.manifest) or {}).get("input")
        if not here.mark or not isinstance(about, dict) or about.get("mark") != here.mark:
            return {}
        here.source.touch()
        return {here.source: str(about.get("sha256"))}

    def ready(self, work: Work) -> Job:
        """Return the job with its source, which is fetched unless it can be seen without it that the job is done.

        Raises: PlaceError.
        """
        here, source, known = self.here, self.here.source, self.here.known or {}
        if not self._is_fetched or (not self._force and source in known and work.is_finished(here)):
            return here
        fetch(self.job.name, source)
        return replace(here, known={path: sha256 for path, sha256 in known.items() if path != source})

    def upload(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Upload what was made, and return the manifest as it is there. Raises: PlaceError."""
        if self._store is None:
            return manifest
        sizes = {name: path.stat().st_size for name, path in self.here.targets.items()}
        outputs = {name: {**about, "bytes": sizes[name]} for name, about in manifest["outputs"].items()}
        manifest = {**manifest, "outputs": outputs}
        write_manifest(self.here.manifest, manifest)
        hidden = _hidden(self.job.manifest)
        self._store.put(self.here.manifest, hidden)
        for path in (*self.here.targets.values(), self.here.manifest):
            self._store.put(path, self._address(path))
        self._store.remove(hidden)
        return manifest

    def outside(self, outcome: Outcome) -> Outcome:
        """Return the outcome of `here` as that of the job."""
        job, outputs = self.job, dict(self.job.targets) if outcome.status == "done" else {}
        if outcome.status == "skipped" and outcome.manifest:
            outputs = output_paths(job.manifest, outcome.manifest)
        warnings = tuple(self.words(text) for text in outcome.warnings)
        return replace(outcome, job=job, outputs=outputs, warnings=warnings, message=self.words(outcome.message))

    def words(self, text: str) -> str:
        """Return a text with addresses in the place of paths of the mirror."""
        text = text.replace(str(self._out), str(self._root))
        return text.replace(str(self.here.source), self.job.called) if self._is_fetched else text


def _hidden(manifest: Path) -> Path:
    return manifest.with_name(f".{manifest.name}.uploading")


def _entries(manifest: Path) -> dict[Path, Mapping[str, Any]]:
    """Return what a manifest says of its outputs, also of those of earlier selections: file → entry."""
    found: dict[Path, Mapping[str, Any]] = {}
    try:
        for made in selections(read_manifest(manifest) or {"outputs": {}}):
            found = {path: made["outputs"][name] for name, path in output_paths(manifest, made).items()} | found
    except (KeyError, TypeError, AttributeError, ValueError):  # somebody edited it
        return {}
    return found


@dataclass(frozen=True)
class _Uploading:
    """Work that uploads what it makes; see `jobs.Work`."""

    work: Work
    mirror: Mirror

    @property
    def options(self) -> RunOptions:
        """See `Work`."""
        return self.work.options

    def is_finished(self, job: Job) -> bool:
        """See `Work`."""
        return self.work.is_finished(job)

    def carry_out(self, job: Job, *, on_progress: Progress | None, on_warning: Warn) -> Mapping[str, Any]:
        """See `Work`."""
        return self.mirror.upload(self.work.carry_out(job, on_progress=on_progress, on_warning=on_warning))


@dataclass(frozen=True)
class _Outside:
    """Tells a watcher of a job what happens in its mirror; see `jobs.Watcher`."""

    mirror: Mirror
    watcher: Watcher

    def on_start(self, job: Job, seconds: float | None) -> None:
        """See `Watcher`."""
        self.watcher.on_start(self.mirror.job, seconds)

    def on_progress(self, job: Job, seconds: float) -> None:
        """See `Watcher`."""
        self.watcher.on_progress(self.mirror.job, seconds)

    def on_warning(self, job: Job, text: str) -> None:
        """See `Watcher`."""
        self.watcher.on_warning(self.mirror.job, self.mirror.words(text))
