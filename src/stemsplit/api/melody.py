"""Melodies from Python: a file or an array in, a contour and notes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stemsplit.analysis.beats import Tempo, checked_tempo
from stemsplit.api.sources import Sound, readable
from stemsplit.errors import UsageError
from stemsplit.machine.device import choose_device
from stemsplit.melody.contour import Contour
from stemsplit.melody.formats import write_contour
from stemsplit.melody.midi import write_midi
from stemsplit.melody.notes import Notes, checked_tuning, find_notes, write_notes
from stemsplit.melody.plot import plot_melody
from stemsplit.melody.reader import decoding_for, listen, make_reader
from stemsplit.melody.spectrogram import Spectrogram
from stemsplit.networks.contract import MelodyNetwork, SeparatorNetwork
from stemsplit.options import ContourFormat, MelodyOptions, SeparateOptions, Smoothing
from stemsplit.separation.separator import make_separator
from stemsplit.separation.source import open_source
from stemsplit.weights.catalog import DEFAULT_MELODY_MODEL, DEFAULT_MODEL
from stemsplit.weights.model import as_model, load_model


@dataclass(frozen=True, repr=False, eq=False)
class Melody:
    """What is sung.

    Attributes:
        contour: Hz, probability and decision of every frame.
        notes: with the tuning that they were sung in.
        warnings: what was put right on the way, or is not there.
        spectrogram: of the voice, for `save(plot=…)`; None if it was not asked for.
    """

    contour: Contour
    notes: Notes
    warnings: tuple[str, ...] = ()
    spectrogram: Spectrogram | None = None

    def __repr__(self) -> str:
        """Return one line: length, notes, tuning."""
        seconds = len(self.contour) * self.contour.hop
        voiced = 100 * float(self.contour.voiced.mean()) if len(self.contour) else 0.0
        return (
            f"Melody({seconds:.1f} s, {voiced:.0f} % sung, {len(self.notes.notes)} notes, "
            f"A4 = {self.notes.tuning_hz:.1f} Hz)"
        )

    def save(
        self,
        csv: str | Path | None = None,
        *,
        notes: str | Path | None = None,
        midi: str | Path | None = None,
        plot: str | Path | None = None,
        format: ContourFormat = "csv",
        tempo: float | None = None,
        bends: bool = True,
    ) -> None:
        """Write what is given a path; each file appears whole or not at all.

        Args:
            csv: the contour.
            notes: the notes as CSV.
            midi: the notes as MIDI.
            plot: the picture, a PNG; `extract_melody(spectrogram=True)` keeps what it needs.
            format: of the contour: csv, mirex or sv.
            tempo: of the MIDI file, in beats per minute; 120 by default.
            bends: let the MIDI notes follow the voice.

        Raises:
            UsageError: a picture without a spectrogram or matplotlib, a tempo out of range.
            OutputError: the disk refuses.
        """
        if plot is not None and self.spectrogram is None:
            raise UsageError("a picture needs the spectrogram: extract_melody(…, spectrogram=True)")
        if csv is not None:
            write_contour(Path(csv), self.contour, format)
        if notes is not None:
            write_notes(Path(notes), self.notes)
        if midi is not None:
            beat = Tempo() if tempo is None else Tempo(checked_tempo(tempo))
            write_midi(Path(midi), self.notes, self.contour, tempo=beat, bends=bends)
        if plot is not None and self.spectrogram is not None:
            plot_melody(Path(plot), self.contour, self.notes, self.spectrogram, Path(plot).stem)


def extract_melody(
    source: Sound,
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
    spectrogram: bool = False,
    audio_track: int | None = None,
    salvage: bool = False,
    device: str = "auto",
    on_progress: Callable[[float], object] | None = None,
) -> Melody:
    """Read the melody that is sung in a song.

    Args:
        source: a file or samples, as for `separate`.
        sample_rate: Hz, of an array; a file says it itself.
        vocals: the source is a voice alone; nothing is separated.
        model: a reference as for `stemsplit melody --model`, or a network from `load_melody_network`.
        separator: what separates the vocals first: a reference, or a network from `load_network`.
        hop_ms: from one frame of the contour to the next; frame i is centred at i · hop_ms.
        fmin: the lowest pitch, in Hz; like `fmax`, the network's own by default.
        fmax: the highest pitch, in Hz.
        voicing_threshold: frames are sung from this probability on; the model's own by default.
        smooth: viterbi, median or none.
        tuning: A4 in Hz for the notes; estimated by default.
        spectrogram: keep one of the voice, for a picture.
        audio_track: as for `separate`.
        salvage: as for `separate`.
        device: auto, cpu, cuda, cuda:N or mps.
        on_progress: told the seconds of audio that are done.

    Raises:
        StemsplitError: see `stemsplit.errors`.
    """
    options = MelodyOptions(
        vocals=vocals, hop_ms=hop_ms, fmin=fmin, fmax=fmax, voicing_threshold=voicing_threshold, smooth=smooth,
        tuning=None if tuning is None else checked_tuning(tuning), device=device,
    )  # fmt: skip
    warnings: list[str] = []
    drawn = Spectrogram() if spectrogram else None
    with readable(source) as given:
        audio, _ = open_source(given, sample_rate, track=audio_track, salvage=salvage)
        melody_model = as_model(model, "melody")
        decoding_for(melody_model, options)  # refused before the separator is loaded
        wanted = SeparateOptions(stems="vocals", device=device)
        chosen = None if vocals else make_separator(as_model(separator, "separate"), wanted)
        reader = make_reader(melody_model, chosen, options)
        see = drawn.add if drawn is not None else lambda samples: None
        contour = listen(reader, audio, on_voice=see, on_progress=on_progress, on_warning=warnings.append).contour
    return Melody(contour, find_notes(contour, options.tuning), tuple(warnings), drawn)


def load_melody_network(reference: str | Path = DEFAULT_MELODY_MODEL, device: str = "auto") -> MelodyNetwork:
    """Load the melody network that a reference names onto a device; for `extract_melody(model=…)`.

    Raises: UnknownModelError, UsageError if it is a separator, ModelError, DeviceError.
    """
    chosen = choose_device(device)
    network: MelodyNetwork = load_model(reference, "melody").network.to(chosen)
    return network
