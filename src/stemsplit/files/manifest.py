"""Manifests: what was made of a track, from which input, model and settings.

A run reads the manifest of an earlier run to see whether a track is done already. The manifest of `separate` is
stemsplit.json, in the folder of the track. Where the --template puts all files elsewhere, so that nothing else would be
in that folder, it is .stemsplit/TRACK.json in the folder that holds them all, until something is:

    {"format": 1, "stemsplit": version,
     "input": {"path", "location": where it was, unless it came from a pipe,
               "sha256", "bytes", "sample_rate", "channels", "codec", "mark": of its version in an object store},
     "model": {"reference", "sha256", "stems": all that it separates}, "settings": {…}, "device": "cpu",
     "precision": "bf16",
     "outputs": {stem: {"path", "sha256", "peak", "bytes": in an object store}},
     "sample_rate": Hz, "bit_depth", "samples", "gain": the factor that all stems were multiplied by,
     "seconds": how long it took, "warnings": […],
     "salvaged": [what is missing of the input]; only there if a part of it is,
     "derived_from": {output: {"exact": whether its bytes are those of a run of the network, "stems": {stem: {"path",
     "sha256"}}}}: what outputs are the sum of; only there if no network ran, see `runs.derive`,
     "earlier": [paths of what earlier runs made of the track, and is still there]; only there if there are any,
     "selections": [{"model", "settings", "outputs", …}: what such runs said of that, newest first]; likewise,
     "player": {"path", "sha256", "of"}: the page that plays the stems, see `runs.player`; only there if there is one}

Paths of outputs are relative to the manifest, so that the folder can be moved. A peak is the largest absolute sample as
written, with 1 as full scale. `runs.transcribe` and `runs.analyse` describe those of `melody` and `analyse`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemsplit.files.naming import NAME_BYTES
from stemsplit.machine.disk import remove_empty, sha256_of, write_whole
from stemsplit.machine.together import STAGE_PREFIX

if TYPE_CHECKING:
    from stemsplit.audio import AudioInfo

FORMAT = 1
MANIFEST_NAME = "stemsplit.json"
ASIDE_NAME = ".stemsplit"
"""Of the folder that holds the manifests of tracks without a folder of their own."""
PAGE_NAME = "player.html"
"""Of the page that plays the stems, beside their manifest."""
MELODY_MANIFEST = "melody.json"
"""How the name of a manifest of `melody` ends, after that of its track and a dot."""
ANALYSIS_MANIFEST = "analysis.json"
"""What `analyse` says of a song, and of the files that it wrote."""
_OF_THE_TRACK = ("format", "input", "earlier", "selections", "player")
"""Keys that belong to a manifest, not to one of its selections."""


def aside_path(manifest: Path, files: Iterable[Path]) -> Path:
    """Return where the manifest of a track goes while nothing is in its folder: below the folder that holds all.

    It is as deep in the folders as `manifest`, so that what is relative to the one is relative to the other. A track
    whose name would be too long for it has its folder in any case.
    """
    ups = [Path(os.path.relpath(file.parent, manifest.parent)).parts.count("..") for file in files]
    places = list(_places_aside(manifest))
    return places[min(max([1, *ups]), len(places)) - 1] if places else manifest


def _places_aside(manifest: Path) -> Iterator[Path]:
    """Yield where the manifest of a track may be aside, the nearest first."""
    name = f"{manifest.parent.name}.json"
    for root in manifest.parent.parents:
        folder = manifest.parent.relative_to(root)
        if len(os.fsencode(name)) <= NAME_BYTES and ".." not in folder.parts:
            yield root / ASIDE_NAME / folder.parent / name


def kept_path(manifest: Path) -> Path:
    """Return where the manifest of a track is now: in its folder, or aside."""
    if manifest.name != MANIFEST_NAME or os.path.lexists(manifest):
        return manifest
    return next(_kept_aside(manifest), manifest)


def _kept_aside(manifest: Path) -> Iterator[Path]:
    yield from (place for place in _places_aside(manifest) if place.is_file())


def place_for(path: Path, manifest: Mapping[str, Any]) -> Path:
    """Return where the manifest of a track goes: into its folder if it is there or lists a file in it, else aside."""
    if path.name != MANIFEST_NAME or os.path.lexists(path):
        return path
    listed = [*manifest["outputs"].values(), *(manifest[key] for key in ("player", "project") if key in manifest)]
    if not all(entry["path"].startswith("../") for entry in listed):
        return path
    return next(_kept_aside(path), aside_path(path, output_paths(path, manifest).values()))


def forget_aside(manifest: Path) -> None:
    """Remove the manifest that is aside, once there is one in the folder, which holds all that it held."""
    if manifest.name != MANIFEST_NAME or not manifest.is_file():
        return
    for place in _kept_aside(manifest):
        with suppress(OSError):
            place.unlink()
            remove_empty(one for one in place.parents if ASIDE_NAME in one.parts)


def manifests_aside(folder: Path) -> dict[Path, Path]:
    """Return the manifests of tracks below a folder that are aside: where they belong → where they are, sorted."""
    aside = folder / ASIDE_NAME
    found = [path for path in sorted(aside.rglob("*.json")) if not path.parent.name.startswith(STAGE_PREFIX)]
    return {folder / path.relative_to(aside).with_suffix("") / MANIFEST_NAME: path for path in found}


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Read a manifest, wherever it is kept. Return None if there is none, or if it is not of this format."""
    try:
        path = kept_path(path)
        if not path.is_file():  # a pipe would never end
            return None
        manifest = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("format") == FORMAT else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of a manifest")


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest, whole or not at all. Raises: OutputError."""
    text = json.dumps({"format": FORMAT, **manifest}, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, text.encode("utf-8", "backslashreplace"))  # a file name may hold bytes that are not Unicode


def input_record(
    source: Path, name: str, location: str | None, info: AudioInfo, mark: str | None = None
) -> dict[str, Any]:
    """Return what a manifest says of a source, which the user calls `name`; a pipe has no location.

    `mark`: what the store says of it, if it was fetched from an address.
    """
    return {
        "path": name,
        **({} if location is None else {"location": location}),
        "sha256": sha256_of(source),
        "bytes": source.stat().st_size,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "codec": info.subtype,
        **({"mark": mark} if mark else {}),
    }


def output_record(manifest: Path, target: Path, place: Path, peak: float | None = None) -> dict[str, Any]:
    """Return the entry of a manifest about a finished file.

    Args:
        manifest: where the manifest will be.
        target: where the file will be.
        place: where it is now.
        peak: its largest absolute sample, if it is a stem.
    """
    record = {"path": relative_path(manifest, target), "sha256": sha256_of(place)}
    return record if peak is None else record | {"peak": round(peak, 6)}


def relative_path(manifest: Path, target: Path) -> str:
    """Return a path as the manifest at `manifest` keeps it."""
    return Path(os.path.relpath(target, manifest.parent)).as_posix()


def output_paths(path: Path, manifest: Mapping[str, Any]) -> dict[str, Path]:
    """Return the outputs that a manifest at `path` lists: name → file."""
    kind = type(path)  # what is beside an address is one
    return {stem: kind(os.path.normpath(path.parent / entry["path"])) for stem, entry in manifest["outputs"].items()}


def selections(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a manifest says of the runs whose files are there, newest first: itself, and earlier selections."""
    kept = manifest.get("selections")
    return [manifest, *(made for made in kept if isinstance(made, dict))] if isinstance(kept, list) else [manifest]


def earlier_selections(path: Path, targets: Collection[Path], sha256: str) -> list[dict[str, Any]]:
    """Return what the next manifest at `path` keeps of the one that is there.

    Args:
        path: the manifest.
        targets: files that are written now.
        sha256: of the source; what was made of another one is not kept.
    """
    written, kept = {os.path.normpath(target) for target in targets}, []
    manifest = read_manifest(path) or {}
    try:
        if manifest["input"]["sha256"] != sha256:
            return []
        for made in selections(manifest):
            there = {name: file for name, file in output_paths(path, made).items() if str(file) not in written}
            outputs = {name: made["outputs"][name] for name, file in there.items() if os.path.lexists(file)}
            if outputs:
                kept.append(
                    {key: value for key, value in made.items() if key not in _OF_THE_TRACK} | {"outputs": outputs}
                )
    except (KeyError, TypeError, AttributeError, ValueError):  # somebody edited it
        pass
    return kept


def selection_for(path: Path, targets: Mapping[str, Path]) -> dict[str, Any] | None:
    """Return what the manifest at `path` says of the run that made just these files; None if there was none."""
    manifest, wanted = read_manifest(path) or {}, {name: Path(os.path.normpath(file)) for name, file in targets.items()}
    for made in selections(manifest):
        try:
            if output_paths(path, made) == wanted:
                return {**made, "input": manifest["input"]}
        except (KeyError, TypeError, AttributeError, ValueError):
            continue
    return None


def listed_paths(path: Path) -> tuple[Path, ...] | None:
    """Return all files that a manifest at `path` speaks of, also those of earlier runs; None if it cannot be read."""
    manifest = read_manifest(path)
    if manifest is None:
        return None
    try:
        beside = [*manifest.get("earlier", ()), *([manifest["player"]["path"]] if "player" in manifest else [])]
        earlier = [Path(os.path.normpath(path.parent / entry)) for entry in beside]
        listed = (*output_paths(path, manifest).values(), *earlier)
        return None if any("\0" in str(file) for file in listed) else listed
    except (KeyError, TypeError, AttributeError, ValueError):  # somebody edited it
        return None


def is_of(path: Path, source: Path, location: str | None) -> bool:
    """Return whether the manifest at `path` is of this source: by where it lay, or else by its content.

    Args:
        path: the manifest.
        source: the file.
        location: where the source lies; None if it came from a pipe.
    """
    made_of = (read_manifest(path) or {}).get("input")
    if not isinstance(made_of, dict):
        return False
    if location is not None and made_of.get("location") == location:
        return True
    try:
        return made_of.get("bytes") == source.stat().st_size and made_of.get("sha256") == sha256_of(source)
    except OSError:
        return False


def still_holds(
    path: Path,
    *,
    source: Path,
    model_sha256: str,
    settings: Mapping[str, Any],
    targets: Mapping[str, Path],
    salvage: bool = False,
    known: Mapping[Path, str] | None = None,
) -> bool:
    """Return whether the manifest at `path` shows that this work is done.

    The model, the settings and the targets must be the same, and the input and all outputs must be unchanged. What was
    salvaged is done only for `salvage`. Files whose hashes are `known` are not read.
    """
    manifest = selection_for(path, targets)
    if manifest is None or ("salvaged" in manifest and not salvage):
        return False
    try:
        if manifest["settings"] != settings or manifest["model"]["sha256"] != model_sha256:
            return False
        made, told = output_paths(path, manifest), known or {}
        hashes = {source: manifest["input"]["sha256"]}
        hashes |= {file: manifest["outputs"][stem]["sha256"] for stem, file in made.items()}
        return all(file.is_file() and (told.get(file) or sha256_of(file)) == sha256 for file, sha256 in hashes.items())
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ):  # a file is gone, or somebody edited the manifest
        return False
