"""Separation from Python: a file or an array in, stems out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stemsplit import __version__
from stemsplit.api.display import described, players
from stemsplit.api.origin import Origin
from stemsplit.api.sources import Sound, readable
from stemsplit.audio import choose_depth, format_named
from stemsplit.audio.encoding.bitrates import check_bitrate
from stemsplit.audio.info import Warn
from stemsplit.errors import UsageError
from stemsplit.files.manifest import MANIFEST_NAME, output_record, write_manifest
from stemsplit.files.naming import stem_path
from stemsplit.machine.device import choose_device
from stemsplit.machine.together import written_together
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.options import PACKS, Clip, SeparateOptions
from stemsplit.runs.models import ModelChoice, separator_for
from stemsplit.runs.stem_files import Form, stem_files
from stemsplit.separation.separator import Rendered
from stemsplit.separation.source import BLOCK_SAMPLES, open_source
from stemsplit.separation.stems import Output
from stemsplit.weights.catalog import DEFAULT_MODEL
from stemsplit.weights.model import load_model


@dataclass(frozen=True, repr=False, eq=False)
class Separation:
    """The stems of a song.

    Attributes:
        stems: name → float32 (channels, samples), as long as the source and at its rate.
        sample_rate: Hz.
        model: the reference of the model that made them.
        bit_depth: the source's, "32f" for an array.
        warnings: what was put right on the way.
        origin: what they were made of and how, for the manifest and the tags of `save`.
    """

    stems: Mapping[str, NDArray[np.float32]]
    sample_rate: int
    model: str
    bit_depth: str = "32f"
    warnings: tuple[str, ...] = ()
    origin: Origin = field(default_factory=Origin)

    def __repr__(self) -> str:
        """Return one line: stems, length, rate, channels."""
        return f"Separation({', '.join(self.stems)}: {described(self._shape, self.sample_rate)}, by {self.model})"

    def _repr_html_(self) -> str:
        """Return a player for every stem, for notebooks."""
        return players(self.stems, self.sample_rate)

    @property
    def _shape(self) -> tuple[int, int]:
        channels, samples = next(iter(self.stems.values())).shape
        return channels, samples

    def save(
        self,
        folder: str | Path,
        *,
        format: str = "wav",
        bit_depth: str = "auto",
        bitrate: int | None = None,
        clip: Clip = "rescale",
        on_warning: Warn = lambda text: None,
    ) -> dict[str, Path]:
        """Write `folder`/{stem}.{format} and return the paths: all of them appear, or none.

        The stems have the tags of the source. stemsplit.json beside them says how they were made, as that of
        `stemsplit separate` does. `bitrate` is in bit/s, for the lossy formats.

        Raises: UsageError, OutputError.
        """
        depth = choose_depth(format, bit_depth, self.bit_depth)
        check_bitrate(format, bitrate)
        if format.lower() in PACKS:
            raise UsageError(f"{format} holds the song, too: separate_files(song, folder, format={format!r}) writes it")
        suffix, folder = format_named(format).suffix, Path(folder)
        targets = {stem: stem_path(folder, "{stem}.{ext}", "", stem, suffix) for stem in self.stems}
        channels, samples = self._shape
        form = Form(format, depth, self.sample_rate, channels, samples, clip, bitrate=bitrate)
        outputs = [Output(stem, ()) for stem in self.stems]
        tags = {stem: self.origin.tags.for_stem(stem, self.origin.track) for stem in self.stems}
        manifest = folder / MANIFEST_NAME
        with written_together() as together:
            with stem_files(outputs, targets, form, together, tags=tags, on_warning=on_warning) as files:
                for block in self._blocks():
                    files.write(block)
            records = {
                stem: output_record(manifest, path, together.aside(path), files.levels.peaks[stem])
                for stem, path in targets.items()
            }
            made = {"outputs": records, "sample_rate": self.sample_rate, "bit_depth": depth, "samples": samples}
            origin = self.origin.as_json()
            written: dict[str, str | int] = {"format": format, "bit_depth": bit_depth, "clip": clip}
            written |= {} if bitrate is None else {"bitrate": bitrate}
            origin["settings"] = {**origin["settings"], **written}
            about = {"stemsplit": __version__, **origin, **made, "gain": files.levels.gain}
            write_manifest(together.aside(manifest), {**about, "warnings": list(self.warnings)})
        return targets

    def _blocks(self) -> Iterator[Rendered]:
        for start in range(0, self._shape[1], BLOCK_SAMPLES):
            stop = start + BLOCK_SAMPLES
            yield Rendered(np.stack([stem[:, start:stop] for stem in self.stems.values()]), None)


def separate(
    source: Sound,
    sample_rate: int | None = None,
    *,
    model: ModelChoice = DEFAULT_MODEL,
    stems: str | Sequence[str] | None = None,
    two_stems: str | None = None,
    without: str | Sequence[str] | None = None,
    mix: Sequence[str] = (),
    exact_sum: bool = False,
    chunk_seconds: float | None = None,
    overlap: float | None = None,
    batch_size: int | None = None,
    audio_track: int | None = None,
    salvage: bool = False,
    device: str = "auto",
    precision: str = "auto",
    on_progress: Callable[[float], object] | None = None,
) -> Separation:
    """Separate a song into its stems, in memory.

    Args:
        source: a file: its path, its bytes or an open binary file; or float samples at ±1, (channels, samples) or
            (samples,).
        sample_rate: Hz, of an array; a file says it itself.
        model: a reference as for `stemsplit separate --model`, or a network from `load_network`, to load it once;
            several in a list, whose stems are averaged; or a dict of models by stem, with "rest" for all other stems.
        stems: only these, ["vocals", "drums"] or "vocals,drums".
        two_stems: this stem, and all others together as "no_<stem>".
        without: the sum of all stems but these.
        mix: more outputs, each as "NAME=drums+bass".
        exact_sum: let the stems add up to the source, by giving `other` what is left.
        chunk_seconds: how much the network hears at once; its own by default.
        overlap: the fraction of a chunk that the next one repeats; the network's own by default.
        batch_size: chunks at once: speed and memory only. By default 8 on CUDA, otherwise 1.
        audio_track: which of a file's sound tracks, from 1; by default the one that the file marks, or the first.
        salvage: take what is there of a file that is cut off or damaged; `warnings` says what is missing.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        on_progress: told the seconds of audio that are done.

    Raises:
        StemsplitError: see `stemsplit.errors`.
    """
    options = SeparateOptions(
        stems=_names(stems), two_stems=two_stems, without=_names(without), mix=tuple(mix), exact_sum=exact_sum,
        chunk_seconds=chunk_seconds, overlap=overlap, batch_size=batch_size, device=device, precision=precision,
        audio_track=audio_track, salvage=salvage,
    )  # fmt: skip
    warnings: list[str] = []
    with readable(source) as given:
        audio, bit_depth = open_source(given, sample_rate, track=audio_track, salvage=salvage)
        separator = separator_for(model, options)
        origin = Origin.of(given, separator, options, warnings.append)
        rendered = separator.rendered(audio, audio.sample_rate, on_progress=on_progress, on_warning=warnings.append)
        joined = np.concatenate([block.outputs for block in rendered], axis=-1)
    named = {output.name: stem for output, stem in zip(separator.outputs, joined, strict=True)}
    return Separation(named, audio.sample_rate, separator.reference, bit_depth, tuple(warnings), origin=origin)


def _names(names: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    return names if names is None or isinstance(names, str) else tuple(names)


def load_network(reference: str | Path = DEFAULT_MODEL, device: str = "auto") -> SeparatorNetwork:
    """Load the network that a reference names onto a device; for `separate(model=…)`.

    Raises: UnknownModelError, ModelError, DeviceError.
    """
    chosen = choose_device(device)
    network: SeparatorNetwork = load_model(reference, "separate").network.to(chosen)
    return network
