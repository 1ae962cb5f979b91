"""Separation and melodies from Python: a file or an array in, stems or a contour and notes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stemsplit.audio import choose_depth, format_named
from stemsplit.audio.info import Warn
from stemsplit.files.naming import stem_path
from stemsplit.machine.device import choose_device
from stemsplit.melody.contour import Contour
from stemsplit.melody.notes import Notes, checked_tuning, find_notes
from stemsplit.melody.reader import decoding_for, listen, make_reader
from stemsplit.networks.contract import MelodyNetwork, SeparatorNetwork
from stemsplit.options import Clip, MelodyOptions, SeparateOptions, Smoothing
from stemsplit.runs.stem_files import Form, stem_files
from stemsplit.separation.separator import Rendered, make_separator, render
from stemsplit.separation.source import BLOCK_SAMPLES, open_source
from stemsplit.separation.stems import Output
from stemsplit.weights.catalog import DEFAULT_MELODY_MODEL, DEFAULT_MODEL
from stemsplit.weights.model import as_model, load_model


@dataclass(frozen=True)
class Separation:
    """The stems of a song.

    `stems`: name → float32 (channels, samples), as long as the source and at its rate, `sample_rate` in Hz.
    `bit_depth`: the source's, "32f" for an array. `warnings`: what was put right on the way.
    """

    stems: Mapping[str, np.ndarray]
    sample_rate: int
    model: str
    bit_depth: str = "32f"
    warnings: tuple[str, ...] = ()

    def save(
        self,
        folder: str | Path,
        *,
        format: str = "wav",
        bit_depth: str = "auto",
        clip: Clip = "rescale",
        on_warning: Warn = lambda text: None,
    ) -> dict[str, Path]:
        """Write `folder`/{stem}.{format} and return the paths: all of them appear, or none.

        Raises: UsageError, OutputError.
        """
        depth = choose_depth(format, bit_depth, self.bit_depth)
        targets = {
            stem: stem_path(Path(folder), "{stem}.{ext}", "", stem, format_named(format).suffix) for stem in self.stems
        }
        channels, samples = next(iter(self.stems.values())).shape
        form = Form(format, depth, self.sample_rate, channels, samples, clip)
        outputs = [Output(stem, ()) for stem in self.stems]
        with stem_files(outputs, targets, form, on_warning=on_warning) as files:
            for block in self._blocks():
                files.write(block)
        return targets

    def _blocks(self) -> Iterator[Rendered]:
        samples = next(iter(self.stems.values())).shape[1]
        for start in range(0, samples, BLOCK_SAMPLES):
            stop = start + BLOCK_SAMPLES
            yield Rendered(np.stack([stem[:, start:stop] for stem in self.stems.values()]), None)


def separate(
    source: str | Path | np.ndarray,
    sample_rate: int | None = None,
    *,
    model: str | Path | SeparatorNetwork = DEFAULT_MODEL,
    stems: str | Sequence[str] | None = None,
    two_stems: str | None = None,
    mix: Sequence[str] = (),
    exact_sum: bool = False,
    chunk_seconds: float | None = None,
    overlap: float | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    audio_track: int | None = None,
    salvage: bool = False,
    on_progress: Callable[[float], object] | None = None,
) -> Separation:
    """Separate a song into its stems, in memory.

    Args:
        source: a file, or float samples at ±1, (channels, samples) or (samples,).
        sample_rate: Hz, of an array; a file says it itself.
        model: a reference as for `stemsplit separate --model`, or a network from `load_network`, to load it once.
        stems: only these, ["vocals", "drums"] or "vocals,drums".
        two_stems: this stem, and all others together as "no_<stem>".
        mix: more outputs, each as "NAME=drums+bass".
        exact_sum: let the stems add up to the source, by giving `other` what is left.
        chunk_seconds: how much the network hears at once; its own by default.
        overlap: the fraction of a chunk that the next one repeats; the network's own by default.
        batch_size: chunks at once: speed and memory only. By default 8 on CUDA, otherwise 1.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        audio_track: which of a file's sound tracks, from 1; by default the one that the file marks, or the first.
        salvage: take what is there of a file that is cut off or damaged; `warnings` says what is missing.
        on_progress: told the seconds of audio that are done.

    Raises:
        StemsplitError: see `stemsplit.errors`.
    """
    options = SeparateOptions(
        stems=stems if stems is None or isinstance(stems, str) else tuple(stems),
        two_stems=two_stems,
        mix=tuple(mix),
        exact_sum=exact_sum,
        chunk_seconds=chunk_seconds,
        overlap=overlap,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    audio, bit_depth = open_source(source, sample_rate, track=audio_track, salvage=salvage)
    separator = make_separator(as_model(model, "separate"), options)
    warnings: list[str] = []
    rendered = render(separator, audio, audio.sample_rate, on_progress=on_progress, on_warning=warnings.append)
    joined = np.concatenate([block.outputs for block in rendered], axis=-1)
    named = {output.name: stem for output, stem in zip(separator.outputs, joined, strict=True)}
    return Separation(named, audio.sample_rate, separator.model.reference, bit_depth, tuple(warnings))


def load_network(reference: str | Path = DEFAULT_MODEL, device: str = "auto") -> SeparatorNetwork:
    """Load the network that a reference names onto a device; for `separate(model=…)`.

    Raises: UnknownModelError, ModelError, DeviceError.
    """
    chosen = choose_device(device)
    network: SeparatorNetwork = load_model(reference, "separate").network.to(chosen)
    return network


@dataclass(frozen=True)
class Melody:
    """What is sung.

    `contour`: Hz, probability and decision of every frame. `notes`: with the tuning that they were sung in.
    `warnings`: what was put right on the way, or is not there.
    """

    contour: Contour
    notes: Notes
    warnings: tuple[str, ...] = ()


def extract_melody(
    source: str | Path | np.ndarray,
    sample_rate: int | None = None,
    *,
    vocals: bool = False,
    model: str | Path | MelodyNetwork = DEFAULT_MELODY_MODEL,
    separator: str | Path | SeparatorNetwork = DEFAULT_MODEL,
    hop_ms: float = 10.0,
    fmin: float | None = None,
    fmax: float | None = None,
    voicing_threshold: float | None = None,
    smooth: Smoothing = "viterbi",
    tuning: float | None = None,
    device: str = "auto",
    audio_track: int | None = None,
    salvage: bool = False,
    on_progress: Callable[[float], object] | None = None,
) -> Melody:
    """Read the melody that is sung in a song.

    Args:
        source: a file, or float samples at ±1, (channels, samples) or (samples,).
        sample_rate: Hz, of an array; a file says it itself.
        vocals: the source is a voice alone; nothing is separated.
        model: a reference as for `stemsplit melody --model`, or a network from `load_melody_network`.
        separator: what separates the vocals first: a reference, or a network from `load_network`.
        hop_ms: from one frame of the contour to the next; frame i is centred at i · hop_ms.
        fmin: the lowest pitch, in Hz; the network's own by default.
        fmax: the highest pitch, in Hz; the network's own by default.
        voicing_threshold: frames are sung from this probability on; the model's own by default.
        smooth: viterbi, median or none.
        tuning: A4 in Hz for the notes; estimated by default.
        device: auto, cpu, cuda, cuda:N or mps.
        audio_track: which of a file's sound tracks, from 1; by default the one that the file marks, or the first.
        salvage: take what is there of a file that is cut off or damaged; `warnings` says what is missing.
        on_progress: told the seconds of audio that are done.

    Raises:
        StemsplitError: see `stemsplit.errors`.
    """
    options = MelodyOptions(
        vocals=vocals, hop_ms=hop_ms, fmin=fmin, fmax=fmax, voicing_threshold=voicing_threshold, smooth=smooth,
        tuning=None if tuning is None else checked_tuning(tuning), device=device,
    )  # fmt: skip
    audio, _ = open_source(source, sample_rate, track=audio_track, salvage=salvage)
    melody_model = as_model(model, "melody")
    decoding_for(melody_model, options)  # refused before the separator is loaded
    chosen = (
        None
        if vocals
        else make_separator(as_model(separator, "separate"), SeparateOptions(stems="vocals", device=device))
    )
    reader = make_reader(melody_model, chosen, options)
    warnings: list[str] = []
    contour = listen(reader, audio, on_progress=on_progress, on_warning=warnings.append).contour
    return Melody(contour, find_notes(contour, options.tuning), tuple(warnings))


def load_melody_network(reference: str | Path = DEFAULT_MELODY_MODEL, device: str = "auto") -> MelodyNetwork:
    """Load the melody network that a reference names onto a device; for `extract_melody(model=…)`.

    Raises: UnknownModelError, UsageError if it is a separator, ModelError, DeviceError.
    """
    chosen = choose_device(device)
    network: MelodyNetwork = load_model(reference, "melody").network.to(chosen)
    return network
