"""Manifests: what was made of a track, from which input, model and settings.

A run reads the manifest of an earlier run to see whether a track is done already. The manifest of `separate` is
stemsplit.json, beside the stems:

    {"format": 1, "stemsplit": version,
     "input": {"path", "sha256", "bytes", "sample_rate", "channels", "samples", "codec"},
     "model": {"reference", "sha256"}, "settings": {…}, "device": "cpu", "precision": "bf16",
     "outputs": {stem: {"path", "sha256", "peak"}}, "sample_rate": Hz, "bit_depth", "samples",
     "gain": the factor that all stems were multiplied by, "seconds": how long it took, "warnings": […],
     "salvaged": [what is missing of the input]; only there if a part of it is}

Paths of outputs are relative to the manifest, so that the folder can be moved. A peak is the largest absolute sample as
written, with 1 as full scale. `runs.transcribe` describes the manifest of `melody`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stemsplit.machine.disk import sha256_of, write_whole

FORMAT = 1
MANIFEST_NAME = "stemsplit.json"


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Read a manifest. Return None if there is none, or if it is not of this format."""
    try:
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


def output_record(manifest: Path, target: Path, peak: float | None = None) -> dict[str, Any]:
    """Return the entry of a manifest about a finished file.

    Args:
        manifest: where the manifest will be.
        target: the file.
        peak: its largest absolute sample, if it is a stem.
    """
    path = Path(os.path.relpath(target, manifest.parent)).as_posix()
    record = {"path": path, "sha256": sha256_of(target)}
    return record if peak is None else record | {"peak": round(peak, 6)}


def output_paths(path: Path, manifest: Mapping[str, Any]) -> dict[str, Path]:
    """Return the outputs that a manifest at `path` lists: name → file."""
    return {stem: Path(os.path.normpath(path.parent / entry["path"])) for stem, entry in manifest["outputs"].items()}


def still_holds(
    path: Path,
    *,
    source: Path,
    model_sha256: str,
    settings: Mapping[str, Any],
    targets: Mapping[str, Path],
    salvage: bool = False,
) -> bool:
    """Return whether the manifest at `path` shows that this work is done.

    The model, the settings and the targets must be the same, and the input and all outputs must be unchanged. What was
    salvaged is done only for `salvage`.
    """
    manifest = read_manifest(path)
    if manifest is None or ("salvaged" in manifest and not salvage):
        return False
    try:
        if manifest["settings"] != settings or manifest["model"]["sha256"] != model_sha256:
            return False
        made = output_paths(path, manifest)
        if made != {stem: Path(os.path.normpath(target)) for stem, target in targets.items()}:
            return False
        hashes = {source: manifest["input"]["sha256"]}
        hashes |= {file: manifest["outputs"][stem]["sha256"] for stem, file in made.items()}
        return all(sha256_of(file) == expected for file, expected in hashes.items())
    except (
        OSError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ):  # a file is gone, or somebody edited the manifest
        return False
