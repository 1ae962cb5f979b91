"""Melodies from Python: a file or an array in, a contour and notes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stemsplit.machine.device import choose_device
from stemsplit.melody.contour import Contour
from stemsplit.melody.notes import Notes, find_notes
from stemsplit.melody.reader import MelodyModel, decoding_for, listen, load_melody_model, make_reader
from stemsplit.melody.tuning import checked_tuning
from stemsplit.networks.contract import MelodyNetwork, SeparatorNetwork
from stemsplit.options import MelodyOptions, SeparateOptions, Smoothing
from stemsplit.separation.separator import as_model, make_separator
from stemsplit.separation.source import open_source
from stemsplit.weights.catalog import DEFAULT_MELODY_MODEL, DEFAULT_MODEL


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
        fmin, fmax: only pitches in between, in Hz.
        voicing_threshold: frames are sung from this probability on; the model's own by default.
        smooth: viterbi, median or none.
        tuning: A4 in Hz for the notes; estimated by default.
        device: auto, cpu, cuda, cuda:N or mps.
        on_progress: told the seconds of audio that are done.

    Raises:
        StemsplitError: see `stemsplit.errors`.
    """
    options = MelodyOptions(
        vocals=vocals, hop_ms=hop_ms, fmin=fmin, fmax=fmax, voicing_threshold=voicing_threshold, smooth=smooth,
        tuning=None if tuning is None else checked_tuning(tuning), device=device,
    )  # fmt: skip
    audio, _ = open_source(source, sample_rate)
    melody_model = _melody_model(model)
    decoding_for(melody_model, options)  # refused before the separator is loaded
    chosen = None if vocals else make_separator(as_model(separator), SeparateOptions(stems="vocals", device=device))
    reader = make_reader(melody_model, chosen, options)
    warnings: list[str] = []
    contour = listen(reader, audio, on_progress=on_progress, on_warning=warnings.append).contour
    return Melody(contour, find_notes(contour, options.tuning), tuple(warnings))


def load_melody_network(reference: str | Path = DEFAULT_MELODY_MODEL, device: str = "auto") -> MelodyNetwork:
    """The melody network that a reference names, on a device; for `extract_melody(model=…)`.

    Raises: UnknownModelError, UsageError if it is a separator, ModelError, DeviceError.
    """
    chosen = choose_device(device)
    network = load_melody_model(str(reference)).network
    return network.to(chosen) if isinstance(network, torch.nn.Module) else network


def _melody_model(model: str | Path | MelodyNetwork) -> MelodyModel:
    if isinstance(model, (str, Path)):
        return load_melody_model(str(model))
    return MelodyModel(type(model).__name__, "", model)
