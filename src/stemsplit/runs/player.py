"""Stems on disk → the page that plays them, beside their manifest.

The manifest lists it:

    "player": {"path", "sha256", "of": a hash of all that the page was made of}

The page is no stem, and no output of a selection. It is ours: another run may write it again, and takes it for no song.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stemsplit import __version__
from stemsplit.audio import AUDIO_SUFFIXES, probe, read_tags
from stemsplit.audio.info import Warn
from stemsplit.errors import OutputError, StemsplitError, TargetCollisionError, UsageError
from stemsplit.files.leftovers import claim_path, clear_in
from stemsplit.files.manifest import (
    ASIDE_NAME,
    MANIFEST_NAME,
    PAGE_NAME,
    forget_aside,
    listed_paths,
    manifests_aside,
    output_paths,
    output_record,
    read_manifest,
    relative_path,
    selection_for,
    selections,
    write_manifest,
)
from stemsplit.files.naming import track_name
from stemsplit.machine.claims import claimed
from stemsplit.machine.disk import sha256_of, write_whole
from stemsplit.machine.together import written_together
from stemsplit.options import DEFAULT_MELODY_OUTPUT
from stemsplit.player.assets import FOLDER
from stemsplit.player.index import address, index_page, is_page
from stemsplit.player.melody import find_melody, packed_melody, read_melody
from stemsplit.player.page import Song, StemSound, song_page
from stemsplit.player.sound import measured
from stemsplit.runs.jobs import Job, Progress, RunOptions, Work

INDEX_NAME = "index.html"
LONGEST_INSIDE = 2400.0
"""Seconds of all stems together that lie inside a page: 4 stems of 10 minutes. A browser needs 0.9 GB for them."""
Audio = Literal["auto", "embed", "link"]
_VOICES = ("vocals", "speech")


@dataclass(frozen=True)
class Asked:
    """How pages are wanted.

    Attributes:
        melody: the folder that `melody` wrote to; None leaves melodies out.
        audio: whether the sound lies inside the page; auto: unless the song is long.
        force: write also over a page that is there and not ours.
    """

    melody: Path | None = None
    audio: Audio = "auto"
    force: bool = False


@dataclass(frozen=True)
class Plan:
    """What the page of a song will be made of, before anything is decoded."""

    manifest: Path
    stems: Mapping[str, Path]
    made: Mapping[str, Any]  # the selection that the stems are of
    seconds: float
    embed: bool
    title: str
    melody: Path | None
    of: str

    @property
    def page(self) -> Path:
        """Where the page goes."""
        return page_path(self.manifest)


def page_path(manifest: Path) -> Path:
    """Return where the page of a song is, by its manifest."""
    return manifest.with_name(PAGE_NAME)


def songs_below(folder: Path) -> tuple[Path, ...]:
    """Return the manifests of songs in a folder and below it, sorted. Raises: UsageError if there are none."""
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: {'no folder' if folder.exists() else 'no such folder'}: name what `separate` wrote"
        )
    if (folder / MANIFEST_NAME).is_file():
        return (folder / MANIFEST_NAME,)
    found = []
    for place, inner, names in os.walk(folder):
        aside = manifests_aside(Path(place)) if ASIDE_NAME in inner else {}
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if MANIFEST_NAME in names:
            found.append(Path(place, MANIFEST_NAME))
        found += [path for path in aside if not os.path.lexists(path)]
    if not found:
        raise UsageError(f"{folder}: no stems of `stemsplit separate` in it: name its output, as in separated")
    return tuple(sorted(found))


def plan_page(manifest: Path, asked: Asked, *, targets: Mapping[str, Path] | None = None, track: str = "") -> Plan:
    """Find what the page of a song is made of.

    Args:
        manifest: of the song.
        asked: how it is wanted.
        targets: its stems; by default those of the run that left most of them, the newest of these.
        track: what the song is called among the outputs, which `melody` calls it, too.

    Raises: UsageError if there are no stems.
    """
    made = _selection(manifest, targets)
    try:
        stems, seconds = output_paths(manifest, made), made["samples"] / made["sample_rate"]
        hashes = [str(made["outputs"][name]["sha256"]) for name in stems]
        source = made["input"]
        named, sha256 = str(source["path"]), str(source["sha256"])
    except (KeyError, TypeError, AttributeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{manifest}: not a manifest of this version; separate the song again with --force") from error
    if missing := [path for path in stems.values() if not path.is_file()]:
        raise UsageError(f"{missing[0]}: no such file: `stemsplit separate` makes it again")
    title = manifest.parent.name if named == "-" else track_name(Path(named), AUDIO_SUFFIXES)
    embed = asked.audio == "embed" or (asked.audio == "auto" and seconds * len(stems) <= LONGEST_INSIDE)
    melody = None
    if asked.melody is not None and any(voice in stems for voice in _VOICES):
        melody = find_melody(asked.melody, (track, title, manifest.parent.name), (sha256, *hashes))
    parts = [__version__, _assets(), hashes, embed, title, None if melody is None else sha256_of(melody)]
    of = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return Plan(manifest, stems, made, seconds, embed, title, melody, of)


def _selection(path: Path, targets: Mapping[str, Path] | None) -> Mapping[str, Any]:
    manifest = read_manifest(path)
    if manifest is None:
        raise UsageError(f"{path}: cannot be read; separate the song again with --force")
    if targets is not None:
        return selection_for(path, targets) or {}
    made = [one for one in selections(manifest) if isinstance(one.get("outputs"), dict)]
    most: Mapping[str, Any] = max(made, key=lambda one: len(one["outputs"]), default={})
    return {**most, "input": manifest.get("input")}


def _assets() -> str:
    """Return a hash of the sources of the page."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(plan: Plan) -> bool:
    """Return whether the page is there, unchanged, and made of just this."""
    record = (read_manifest(plan.manifest) or {}).get("player")
    try:
        return isinstance(record, dict) and record["of"] == plan.of and sha256_of(plan.page) == record["sha256"]
    except (OSError, KeyError):
        return False


def write_page(plan: Plan, asked: Asked, warn: Warn) -> dict[str, Any]:
    """Write the page of a song and list it in the manifest, both or none. Return the manifest.

    Raises: AudioError, OutputError; TargetCollisionError if a page is there that is not ours.
    """
    refuse_foreign(plan.page, listed_paths(plan.manifest) or (), force=asked.force)
    html = song_page(_song(plan, warn)).encode()
    with written_together() as together:
        place = together.aside(plan.page)
        try:
            place.write_bytes(html)
        except OSError as error:
            raise OutputError(f"cannot write {plan.page}: {error.strerror}") from error
        manifest = read_manifest(plan.manifest) or {}
        manifest["player"] = output_record(plan.manifest, plan.page, place) | {"of": plan.of}
        own = relative_path(plan.manifest, plan.page)
        if isinstance(earlier := manifest.pop("earlier", None), list) and (kept := [p for p in earlier if p != own]):
            manifest["earlier"] = kept
        write_manifest(together.aside(plan.manifest), manifest)
    forget_aside(plan.manifest)
    return manifest


def refuse_foreign(page: Path, ours: tuple[Path, ...], *, force: bool) -> None:
    """Refuse to write over a page that is not ours. Raises: TargetCollisionError."""
    if os.path.lexists(page) and not force and page not in ours and not is_page(page):
        raise TargetCollisionError(
            f"{page} is there, and not written by stemsplit: move it, or replace it with --force"
        )


def _song(plan: Plan, warn: Warn) -> Song:
    names = list(plan.stems)
    tags = read_tags(plan.stems[names[0]], warn, cover=False).fields
    title = next(iter(tags.get("title", ())), "").removesuffix(f" ({names[0]})") or plan.title
    model = plan.made.get("model")
    return Song(
        title=title,
        artist=", ".join(tags.get("artist", ())),
        album=", ".join(tags.get("album", ())),
        seconds=plan.seconds,
        model=str(model.get("reference", "")) if isinstance(model, dict) else "",
        stems=[_sound(plan, name) for name in names],
        melody=_melody(plan, names, warn),
    )


def _sound(plan: Plan, name: str) -> StemSound:
    path, info = plan.stems[name], probe(plan.stems[name])
    samples = round(plan.seconds * info.sample_rate)
    levels, opus = measured(path, samples, info.sample_rate, embed=plan.embed)
    return StemSound(name, address(relative_path(plan.page, path)), path.suffix.lstrip(".").upper(), levels, opus)


def _melody(plan: Plan, names: list[str], warn: Warn) -> dict[str, Any] | None:
    if plan.melody is None:
        return None
    if (found := read_melody(plan.melody)) is None:
        warn(f"{plan.melody}: its contour cannot be read: the page is without a melody")
        return None
    packed = packed_melody(*found)
    stem = next(names.index(voice) for voice in _VOICES if voice in names)
    return None if packed is None else packed | {"stem": stem}


def write_index(folder: Path, *, force: bool) -> Path | None:
    """Write the page that lists all songs below a folder that have one; None if these are fewer than two.

    Raises: OutputError, TargetCollisionError.
    """
    pages = [page for manifest in songs_below(folder) if is_page(page := page_path(manifest))]
    if len(pages) < 2:
        return None
    index = folder / INDEX_NAME
    refuse_foreign(index, (), force=force)
    write_whole(index, index_page(folder, folder.absolute().name or "Songs", pages))
    return index


def write_pages(
    folder: Path, manifests: tuple[Path, ...], asked: Asked, warn: Warn
) -> Iterator[tuple[Path, str, StemsplitError | None]]:
    """Write the page of every song below a folder that needs one.

    Yields: the page, "done", "skipped" or "failed", and what was wrong.
    """
    for manifest in manifests:
        page = page_path(manifest)
        try:
            with claimed(claim_path(manifest)) as ours:
                if not ours:
                    raise OutputError(f"{manifest.parent}: another run is at this song: try again when it is done")
                clear_in(manifest.parent)
                plan = plan_page(manifest, asked, track=manifest.parent.relative_to(folder).as_posix())
                current = not asked.force and is_current(plan)
                if not current:
                    write_page(plan, asked, warn)
            yield page, "skipped" if current else "done", None
        except StemsplitError as error:
            yield page, "failed", error


@dataclass(frozen=True)
class WithPage:
    """The work of a run that separates, and writes a page for each song."""

    separating: Work

    @property
    def options(self) -> RunOptions:
        """The request."""
        return self.separating.options

    def is_finished(self, job: Job) -> bool:
        """Return whether stems and page are there, and the page is made of what is there."""
        return self.separating.is_finished(job) and is_current(self._plan(job))

    def carry_out(self, job: Job, *, on_progress: Progress | None = None, on_warning: Warn) -> Mapping[str, Any]:
        """Separate the song unless its stems are there, write the page, and return the manifest."""
        if self.options.force or not self.separating.is_finished(job):
            self.separating.carry_out(job, on_progress=on_progress, on_warning=on_warning)
        return write_page(self._plan(job), self._asked, on_warning)

    @property
    def _asked(self) -> Asked:
        return Asked(melody=DEFAULT_MELODY_OUTPUT, force=self.options.force)

    def _plan(self, job: Job) -> Plan:
        return plan_page(job.manifest, self._asked, targets=job.targets, track=job.track)
