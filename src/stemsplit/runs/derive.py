"""Stems of an earlier run → other outputs, without running the network.

Outputs are derived from the stems of the same song, model and settings that are there: unchanged, lossless, not turned
down, at the rate that is written, and not coarser than what is written (for a lossy format: than what `auto` takes).

A stem at the depth that it has, or one of 32f, gets the very bytes that the network would give. A mix is the sum of its
stems as they were written: of n stems with integers it is within (n + 1) / 2 of their least significant bits of what
the network would give.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemsplit.audio import Rechunker, blocks, probe, resample
from stemsplit.errors import NotDerivableError
from stemsplit.files.manifest import output_paths, read_manifest, relative_path, selections
from stemsplit.machine.disk import sha256_of
from stemsplit.options import PACKS
from stemsplit.separation.separator import Rendered
from stemsplit.separation.source import BLOCK_SAMPLES

DEPTHS = ("16", "24", "32f")
"""From the coarsest on. What is lossy has none of them."""
_SAME = ("chunk_samples", "overlap", "precision", "exact_sum", "audio_track", "time_range")
"""Settings that decide over the stems themselves."""


@dataclass(frozen=True)
class Wanted:
    """What is to be derived.

    Attributes:
        manifest: of the earlier run.
        sha256: of the source.
        model: the SHA-256 of the model.
        settings: see `runs.separate.track_settings`.
        sample_rate: Hz, that the stems must have.
        depth: bit depth, the coarsest that the stems may have.
        as_written: take the stems of an exact sum for what they are, with what is left over of the song.
    """

    manifest: Path
    sha256: str
    model: str
    settings: Mapping[str, Any]
    sample_rate: int
    depth: str
    as_written: bool = False


@dataclass(frozen=True)
class Stem:
    """A file of an earlier run, and the selection that it belongs to."""

    name: str
    path: Path
    sha256: str
    made: Mapping[str, Any]


@dataclass(frozen=True)
class Derivation:
    """What outputs are made of: name → the stems that it is the sum of, in the order of the network's."""

    parts: Mapping[str, tuple[Stem, ...]]

    @property
    def stems(self) -> tuple[Stem, ...]:
        """All stems, each once."""
        return tuple({stem.path: stem for part in self.parts.values() for stem in part}.values())

    def about(self, manifest: Path, depth: str) -> dict[str, Any]:
        """Return what a manifest says of outputs of this bit depth: what they are made of, where it was computed."""
        outputs = {
            name: {
                "exact": all(stem.made["bit_depth"] in ("32f", depth if len(part) == 1 else "32f") for stem in part),
                "stems": records(part, manifest),
            }
            for name, part in self.parts.items()
        }
        computed = self.stems[0].made
        return {"device": computed["device"], "precision": computed["precision"], "derived_from": outputs}

    def rendered(
        self, sample_rate: int, on_progress: Callable[[float], object] | None = None
    ) -> Generator[Rendered, None, None]:
        """Yield blocks of the outputs at `sample_rate` (Hz), as `separator.render` does."""
        info = probe(self.stems[0].path)
        summed = self._summed(info.sample_rate, on_progress)
        with closing(summed):
            rows = len(self.parts) * info.channels
            for block in resample(summed, info.sample_rate, sample_rate, rows):
                yield Rendered(block.reshape(len(self.parts), info.channels, -1), None)

    def _summed(
        self, sample_rate: int, on_progress: Callable[[float], object] | None
    ) -> Generator[np.ndarray, None, None]:
        """Yield blocks (outputs · channels, n)."""
        with ExitStack() as stack:
            read = {stem.path: Rechunker(_read(stem.path, stack)) for stem in self.stems}
            samples = self.stems[0].made["samples"]
            for start in range(0, samples, BLOCK_SAMPLES):
                count = min(BLOCK_SAMPLES, samples - start)
                taken = {path: stream.take(count) for path, stream in read.items()}
                yield np.concatenate([sum(taken[stem.path] for stem in part) for part in self.parts.values()])  # type: ignore[misc]
                if on_progress is not None:
                    on_progress((start + count) / sample_rate)


def records(stems: Iterable[Stem], manifest: Path) -> dict[str, dict[str, str]]:
    """Return what a manifest says of stems that were used."""
    return {stem.name: {"path": relative_path(manifest, stem.path), "sha256": stem.sha256} for stem in stems}


def _read(path: Path, stack: ExitStack) -> Iterator[np.ndarray]:
    stream = blocks(probe(path))
    close = getattr(stream, "close", None)
    if close is not None:
        stack.callback(close)
    return stream


def derive(wanted: Wanted) -> Derivation:
    """Find the stems that the outputs can be made of.

    Raises:
        NotDerivableError: they are not there, or no use.
    """
    manifest = read_manifest(wanted.manifest)
    if manifest is None:
        raise NotDerivableError("")
    try:
        if manifest["input"]["sha256"] != wanted.sha256:
            raise NotDerivableError("the stems there are of another song")
        there, whys = _usable(manifest, wanted)
        outputs = wanted.settings["outputs"]
        found = Derivation({name: _parts(output, there, whys) for name, output in outputs.items()})
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise NotDerivableError("the manifest of the stems there cannot be read") from error
    for stem in found.stems:
        _check_file(stem)
    return found


_Held = tuple[frozenset[str], bool]
"""The stems that an output holds, and whether it holds what they leave of the song."""


def _usable(manifest: Mapping[str, Any], wanted: Wanted) -> tuple[dict[_Held, Stem], list[str]]:
    """Return what the usable selections hold, and why the others are no use. Raises: KeyError and its like."""
    there: dict[_Held, Stem] = {}
    whys: list[str] = []
    for made in selections(manifest):
        if (why := _why_not(made, wanted)) is not None:
            whys.append(why)
            continue
        derived = made.get("derived_from", {})
        for name, path in output_paths(wanted.manifest, made).items():
            if not derived.get(name, {"exact": True})["exact"]:
                whys.append(f"{path.name} was derived itself")  # so that roundings do not add up
                continue
            output = made["settings"]["outputs"][name]
            held = frozenset(output["stems"]), bool(output["residual"]) and not wanted.as_written
            there.setdefault(held, Stem(name, path, made["outputs"][name]["sha256"], made))
    return there, whys


def _why_not(made: Mapping[str, Any], wanted: Wanted) -> str | None:
    """Return why a selection is no use; None if it is. Raises: KeyError and its like."""
    settings, depth = made["settings"], made["bit_depth"]
    if settings.get("format") in PACKS:
        return "the stems there are in one file"
    if made["model"]["sha256"] != wanted.model:
        return "the stems there are of another model"
    if any(settings.get(key) != wanted.settings.get(key) for key in _SAME):
        return "the stems there were made with other settings"
    if depth not in DEPTHS:
        return "the stems there are lossy"
    if made["gain"] != 1 or "salvaged" in made:
        return "the stems there were turned down" if made["gain"] != 1 else "a part of the song was missing"
    if settings["clip"] != "rescale" and any(output["peak"] >= 1 for output in made["outputs"].values()):
        return "the stems there may be clipped"
    if made["sample_rate"] != wanted.sample_rate:
        return f"the stems there have {made['sample_rate']} Hz"
    if DEPTHS.index(depth) < DEPTHS.index(wanted.depth):
        return f"the stems there have {depth} bits"
    changed = settings["outputs"] != wanted.settings["outputs"] or depth != wanted.depth
    if settings["exact_sum"] and changed and not wanted.as_written:
        return "an exact sum is of all its stems"
    return None


def _parts(output: Mapping[str, Any], there: Mapping[_Held, Stem], whys: list[str]) -> tuple[Stem, ...]:
    """Return the stems that an output is the sum of. Raises: NotDerivableError."""
    names, residual = output["stems"], bool(output["residual"])
    if (whole := there.get((frozenset(names), residual))) is not None:
        return (whole,)
    keys = [(frozenset([name]), False) for name in names]
    if residual or not keys or any(key not in there for key in keys):
        missing = [name for name, key in zip(names, keys, strict=True) if key not in there]
        raise NotDerivableError(whys[0] if whys else f"{', '.join(missing) or 'the rest'} is not there")
    return tuple(there[key] for key in keys)


def _check_file(stem: Stem) -> None:
    try:
        same = stem.path.is_file() and sha256_of(stem.path) == stem.sha256
    except OSError:
        same = False
    if not same:
        raise NotDerivableError(f"{stem.path} is gone, or was changed")
