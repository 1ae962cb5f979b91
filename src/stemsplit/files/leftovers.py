"""What killed runs left in a folder of outputs, which the next run clears away.

Whatever a living process is at is claimed by it, see `machine.claims`, and stays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from stemsplit.files.manifest import (
    ANALYSIS_MANIFEST,
    ASIDE_NAME,
    MANIFEST_NAME,
    MELODY_MANIFEST,
    aside_path,
    output_paths,
    read_manifest,
)
from stemsplit.machine.claims import Claim, try_claim
from stemsplit.machine.disk import remove_empty, sha256_of
from stemsplit.machine.together import CLAIM_NAME, STAGE_PREFIX, remove_stage

_PARTIAL = re.compile(r"\..+\.partial-[0-9a-f]{8}")


def claim_path(manifest: Path) -> Path:
    """Return the file whose lock is the claim on the track of a manifest."""
    return manifest.with_name(f".{manifest.name}.claim")


def clear_below(output: Path) -> None:
    """Clear the leftovers in a folder and below it. What cannot be read or removed stays."""
    for folder, inner, _ in os.walk(output):
        inner[:] = [name for name in inner if not name.startswith(".") or name == ASIDE_NAME]
        if clear_in(Path(folder)):  # a folder may have been made for a track that was never finished
            below = Path(folder).relative_to(output)
            remove_empty(output / one for one in (below, *below.parents) if one != Path())


def clear_for(manifest: Path, targets: Collection[Path]) -> None:
    """Clear the leftovers that are in the way of a track, before its `targets` are written."""
    clear_in(manifest.parent)
    if any(os.path.lexists(path) for path in targets):  # a killed run has perhaps not put their manifest aside yet
        clear_in(aside_path(manifest, targets).parent)  # which is not for every track: all manifests may be there


def clear_in(folder: Path) -> bool:
    """Clear the leftovers that lie in a folder. Return whether there were any."""
    found = False
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if entry.name.startswith(".")]:
            if clear := _what_clears(entry):
                with suppress(OSError):
                    found |= clear(Path(entry.path))
    return found


def _what_clears(entry: os.DirEntry[str]) -> Callable[[Path], bool] | None:
    if entry.is_dir(follow_symlinks=False):
        return _clear_stage if entry.name.startswith(STAGE_PREFIX) else None
    if not entry.is_file(follow_symlinks=False):
        return None
    claims = (f".{MANIFEST_NAME}.claim", f".{ANALYSIS_MANIFEST}.claim")
    if entry.name in claims or entry.name.endswith(f".{MELODY_MANIFEST}.claim"):
        return _clear_file
    return _clear_file if _PARTIAL.fullmatch(entry.name) else None


def _clear_file(path: Path) -> bool:
    if (claim := _sure_claim(path)) is None:
        return False
    claim.release()
    return True


def _clear_stage(stage: Path) -> bool:
    if (claim := _sure_claim(stage / CLAIM_NAME)) is None:
        return False
    for place in stage.iterdir():
        aside = ASIDE_NAME in stage.parts and place.suffix == ".json"
        if aside or place.name in (MANIFEST_NAME, ANALYSIS_MANIFEST) or place.name.endswith(f".{MELODY_MANIFEST}"):
            _finish(place, stage.parent / place.name)
    remove_stage(stage, claim)
    return True


def _finish(place: Path, target: Path) -> None:
    """Give a manifest its name if the run was killed while the files that it lists got theirs.

    They would belong to nobody otherwise, and the next run would not dare to replace them.
    """
    manifest = read_manifest(place)
    try:
        made = output_paths(target, manifest or {"outputs": {}})
        in_place = any(_is_file_of(path, (manifest or {})["outputs"][name]["sha256"]) for name, path in made.items())
    except (KeyError, TypeError, AttributeError, ValueError):
        return
    if in_place:
        with suppress(OSError):
            place.replace(target)


def _is_file_of(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False


def _sure_claim(path: Path) -> Claim | None:
    """Claim a leftover; None if it is in use, or if nothing tells whether it is."""
    claim = try_claim(path)
    if claim is not None and not claim.sure:
        claim.leave()
        return None
    return claim
