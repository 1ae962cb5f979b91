"""Tempo and key → the tags of stems that are there, and their new hashes → the manifest that lists them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stemsplit.analysis.song import Analysis
from stemsplit.audio import FORMATS, Tags
from stemsplit.audio.info import Warn
from stemsplit.audio.tags import write_tags
from stemsplit.errors import OutputError, reason
from stemsplit.files.leftovers import claim_path
from stemsplit.files.manifest import kept_path, output_paths, read_manifest, selections, write_manifest
from stemsplit.machine.claims import claimed
from stemsplit.machine.disk import sha256_of
from stemsplit.machine.together import Together


def tag_stems(manifest: Path, sha256: str, found: Analysis, together: Together, warn: Warn) -> None:
    """Write BPM and key into all stems of a song that a manifest lists, aside; their samples stay as they are.

    Args:
        manifest: of `separate`; its hashes are put right.
        sha256: of the song; stems of another one are left alone.
        found: what was heard.
        together: gives the stems and the manifest their names when all is there.
        warn: told what could not be tagged.

    Raises: OutputError.
    """
    said = read_manifest(manifest)
    if said is None or not isinstance(said.get("input"), dict) or said["input"].get("sha256") != sha256:
        warn("no stems of it are there to tag: `stemsplit separate` makes them")
        return
    with claimed(claim_path(manifest)) as ours:
        if not ours:
            warn("another run is at the stems: they are not tagged")
            return
        fields = _fields(found)
        try:
            for made in selections(said):
                for name, path in output_paths(manifest, made).items():
                    _tag(path, made["outputs"][name], fields, together, warn)
        except (KeyError, TypeError, AttributeError, ValueError):  # somebody edited it
            warn("the manifest of the stems cannot be read: they are not tagged")
            return
        write_manifest(
            together.aside(kept_path(manifest)), {key: value for key, value in said.items() if key != "format"}
        )


def _fields(found: Analysis) -> dict[str, tuple[str, ...]]:
    fields: dict[str, tuple[str, ...]] = {}
    if found.beat.confidence:
        fields["bpm"] = (str(round(found.beat.tempo.bpm)),)
    if found.key.confidence:
        fields["initialkey"] = (found.key.tag,)
    return fields


def _tag(
    path: Path, entry: dict[str, Any], fields: Mapping[str, tuple[str, ...]], together: Together, warn: Warn
) -> None:
    """Tag one stem, and put the hash in its entry right. One that was changed since is left alone.

    Raises: OutputError.
    """
    suffix = path.suffix[1:].replace("mp4", "m4a")  # with a picture, or several stems
    format = next((name for name, row in FORMATS.items() if row.suffix == suffix), None)
    if format is None or not path.is_file() or sha256_of(path) != entry["sha256"]:
        warn(f"{path.name} is not as it was made: not tagged")
        return
    place = together.aside(path)
    try:
        shutil.copyfile(path, place)
        write_tags(place, Tags(fields), format, warn)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from error
    entry["sha256"] = sha256_of(place)
