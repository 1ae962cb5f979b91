"""Several models as one separator: a stem is the mean of the models that give it, or that of one model alone.

The models run one after another over the whole song. What their stems add up to so far waits in temporary files, as
float32. So memory is that of one model at work, and of the weights of all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemsplit.audio import Rechunker, resample
from stemsplit.audio.info import Warn
from stemsplit.files.spool import Spool
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.options import SeparateOptions
from stemsplit.separation.picks import Pick, distinct_models, shares_of
from stemsplit.separation.separator import Rendered, Separator, make_separator, outputs_for, render
from stemsplit.separation.source import Source
from stemsplit.separation.stems import Output, find_stem, mix_outputs, needs_mixture

if TYPE_CHECKING:
    import torch

    from stemsplit.weights.model import Model


@dataclass(frozen=True)
class Member:
    """A model of an ensemble. Its separator gives the stems of `shares`, in their order: stem → weight."""

    separator: Separator
    shares: Mapping[str, float]

    def about(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        return {**self.separator.about_model(), "share": {stem: round(share, 6) for stem, share in self.shares.items()}}

    def only(self, stems: frozenset[str]) -> Member:
        """Return the part of it that some stems need."""
        kept = [number for number, stem in enumerate(self.shares) if stem in stems]
        outputs = tuple(self.separator.outputs[number] for number in kept)
        shares = {stem: share for stem, share in self.shares.items() if stem in stems}
        return Member(replace(self.separator, outputs=outputs), shares)


@dataclass(frozen=True)
class Ensemble:
    """Models that are a separator together: it has what `runs` asks of a `Separator`."""

    reference: str
    members: tuple[Member, ...]
    stems: tuple[str, ...]
    outputs: tuple[Output, ...]

    @property
    def sha256(self) -> str:
        """A hash of all models and of their shares."""
        told = [[member.separator.sha256, member.about()["share"]] for member in self.members]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the models run."""
        return self.members[0].separator.device

    @property
    def precision_name(self) -> str:
        """The precision of the products; those of all models if they differ."""
        return ", ".join(dict.fromkeys(member.separator.precision_name for member in self.members))

    def about_model(self) -> dict[str, Any]:
        """Return what a manifest says of the models."""
        models = [member.about() for member in self.members]
        return {"reference": self.reference, "sha256": self.sha256, "stems": list(self.stems), "models": models}

    def chunk_settings(self) -> dict[str, Any]:
        """Return how the models cut a song, in their order."""
        cuts = [member.separator.chunk_settings() for member in self.members]
        return {key: [cut[key] for cut in cuts] for key in cuts[0]}

    def rendered(
        self,
        source: Source,
        sample_rate: int,
        *,
        on_progress: Callable[[float], object] | None = None,
        on_warning: Warn,
        folder: Path | None = None,
    ) -> Generator[Rendered]:
        """Separate a source, as `separator.render` does. Stems wait in `folder`. Models that no output needs rest.

        Raises: OutputError if the disk is full.
        """
        members, warn = self._needed(), _once(on_warning)
        told = _Shared(on_progress, len(members))

        def run(member: Member, before: _Kept | None) -> closing[Generator[dict[str, np.ndarray]]]:
            blocks = render(member.separator, source, sample_rate, on_progress=told.progress, on_warning=warn)
            return closing(_added(blocks, member.shares, before))

        with ExitStack() as stack:
            before: _Kept | None = None
            for member in members[:-1]:
                after = stack.enter_context(_Kept(source.channels, folder))
                with run(member, before) as blocks:
                    for stems in blocks:
                        after.write(stems)
                told.next()
                if before is not None:
                    before.close()
                before = after
            song = None
            if needs_mixture(self.outputs):
                song = Rechunker(resample(source.blocks(None), source.sample_rate, sample_rate, source.channels))
            for stems in stack.enter_context(run(members[-1], before)):
                mixture = None if song is None else song.take(next(iter(stems.values())).shape[-1])
                yield Rendered(mix_outputs(self.outputs, self._all(stems), mixture), mixture)

    def _needed(self) -> tuple[Member, ...]:
        """Return the members that the outputs need, with the stems that they need."""
        weights = [
            (stem, weight) for output in self.outputs for stem, weight in zip(self.stems, output.weights, strict=True)
        ]
        used = (stem for stem, weight in weights if weight)
        stems = frozenset(self.stems if needs_mixture(self.outputs) else used)
        return tuple(member.only(stems) for member in self.members if stems & member.shares.keys())

    def _all(self, stems: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return all stems (K, channels, n). Those that no output needs are silent."""
        nothing = np.zeros_like(next(iter(stems.values())))
        return np.stack([stems.get(name, nothing) for name in self.stems])


AnySeparator = Separator | Ensemble
"""What separates songs into stems."""


def make_ensemble(picks: Sequence[Pick], options: SeparateOptions) -> Ensemble:
    """Make several models ready for a request, as one.

    Raises: UsageError and its kinds: a stem that a model does not have, a model twice, one of which nothing is taken,
        one without an order of stems, or stems of one name that are not the same.
    """
    models = distinct_models(picks)
    shares = shares_of(picks, models)
    stems = tuple(dict.fromkeys(stem for share in shares for stem in share))
    reference = ", ".join(str(pick) for pick in picks)
    return Ensemble(
        reference,
        tuple(_member(model, share, options) for model, share in zip(models, shares, strict=True)),
        stems,
        outputs_for(stems, options),
    )


def _member(model: Model[SeparatorNetwork], shares: Mapping[str, float], options: SeparateOptions) -> Member:
    own = model.network.config.stems
    taken = tuple(str(find_stem(stem, own)) for stem in shares)
    plain = replace(options, stems=taken, two_stems=None, without=None, mix=(), exact_sum=False)
    return Member(make_separator(model, plain), shares)


def _added(
    blocks: Generator[Rendered], shares: Mapping[str, float], before: _Kept | None
) -> Generator[dict[str, np.ndarray]]:
    """Yield blocks of the stems so far, by name: what came before, and the shares of a model whose blocks these are."""
    with closing(blocks):
        for block in blocks:
            stems = {} if before is None else before.take(block.outputs.shape[-1])
            for (name, share), samples in zip(shares.items(), block.outputs, strict=True):
                part = samples * np.float32(share)
                stems[name] = stems[name] + part if name in stems else part
            yield stems


class _Kept:
    """The stems so far, by name, on disk; a context manager. They are read once, from the start."""

    def __init__(self, channels: int, folder: Path | None) -> None:
        self._channels, self._folder = channels, folder
        self._spools: dict[str, Spool] = {}
        self._read: dict[str, Rechunker] = {}

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files."""
        for spool in self._spools.values():
            spool.close()

    def write(self, stems: Mapping[str, np.ndarray]) -> None:
        """Append a block of every stem (channels, n). Raises: OutputError when the disk is full."""
        for name, samples in stems.items():
            if name not in self._spools:
                self._spools[name] = Spool(self._channels, self._folder)
            self._spools[name].write(samples)

    def take(self, samples: int) -> dict[str, np.ndarray]:
        """Return the next samples of every stem (channels, n)."""
        if not self._read:
            self._read = {name: Rechunker(spool.blocks()) for name, spool in self._spools.items()}
        taken = {name: stream.take(samples) for name, stream in self._read.items()}
        return {name: block for name, block in taken.items() if block is not None}


class _Shared:
    """The progress of several passes over a song, told as that of one."""

    def __init__(self, on_progress: Callable[[float], object] | None, passes: int) -> None:
        self._tell, self._passes = on_progress, passes
        self._before = self._now = 0.0

    def progress(self, seconds: float) -> None:
        """Note the seconds of audio that a pass has done."""
        self._now = seconds
        if self._tell is not None:
            self._tell((self._before + seconds) / self._passes)

    def next(self) -> None:
        """Begin the next pass."""
        self._before += self._now
        self._now = 0.0


def _once(warn: Warn) -> Warn:
    """Return what passes each warning on once: every model reads the song, and says what is odd about it."""
    said: set[str] = set()

    def pass_on(text: str) -> None:
        if text not in said:
            said.add(text)
            warn(text)

    return pass_on
