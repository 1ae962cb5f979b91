"""Voicebanks of sung syllables: their timing files (oto.ini) and their WORLD analyses.

WORLD: M. Morise, F. Yokomori, K. Ozawa, IEICE Trans. 2016; through pyworld.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from songs.mix.effects import RATE
from stemsplit.errors import StemsplitError
from stemsplit.machine.disk import written_aside

FRAME_SECONDS = 0.005
"""Seconds from one frame of an analysis to the next."""
FFT_SIZE = 2048
_ALIAS = re.compile(r"^([-aiueonN]) ([ぁ-んァ-ヴー]{1,3})(?![ぁ-んァ-ヴー])")
_VOWELS = {
    "a": "あかさたなはまやらわがざだばぱゃぁアァャ", "i": "いきしちにひみりぎじぢびぴぃイィ",
    "u": "うくすつぬふむゆるぐずづぶぷゅぅゔウゥュヴ", "e": "えけせてねへめれげぜでべぺぇエェ",
    "o": "おこそとのほもよろをごぞどぼぽょぉオォョ", "n": "んン",
}  # fmt: skip
_VOWEL_OF = {kana: vowel for vowel, row in _VOWELS.items() for kana in row}


class Syllable(NamedTuple):
    """Where a syllable lies in its recording, as an oto.ini says it. Times are in seconds.

    The names of analyses on disk depend on the names and the order of the fields.
    """

    path: Path
    before: str
    """The vowel that leads into it, '-' for none."""
    kana: str
    """The syllable in Japanese script, or the name of the file for other banks."""
    offset: float
    """Where it begins in the file."""
    fixed: float
    """Length of the part, from the offset on, that is never stretched."""
    end: float | None
    """Its end from the offset on; None: the end of the file less `cut`."""
    cut: float
    preutterance: float
    """How long after the offset its note begins."""
    overlap: float
    """How long it is cross-faded with the syllable before."""

    @property
    def vowel(self) -> str:
        """The vowel that it ends in, '-' if that is not known."""
        return _VOWEL_OF.get(self.kana[-1:], "-")


class Frames(NamedTuple):
    """What WORLD finds in a sound, in frames of 5 ms; bins are `FFT_SIZE` // 2 + 1."""

    log_envelope: np.ndarray
    """(frames, bins): natural logarithm of the power."""
    aperiodicity: np.ndarray
    """(frames, bins): the share of noise, from 0 to 1."""
    voiced: np.ndarray
    """(frames,), bool."""


@dataclass(frozen=True)
class Bank:
    """The recordings of one singer at one pitch."""

    name: str
    centre: float
    """The pitch in MIDI semitones."""
    syllables: Mapping[tuple[str, str], Syllable]
    """(The vowel before, '-' for none; kana) → a recording."""
    tract: float = 1.0
    """How high the resonances lie, relative to an average woman's."""

    def find(self, before: str, kana: str) -> Syllable | None:
        """Return the syllable after the vowel `before`, or else the one after no vowel; None if there is neither."""
        return self.syllables.get((before, kana)) or self.syllables.get(("-", kana))


def read_oto(path: Path, suffix: str = ".opus") -> dict[tuple[str, str], Syllable]:
    """Read the syllables of an oto.ini in UTF-8, whose recordings end in `suffix`.

    A syllable's alias is 'VOWEL KANA'. Other entries, such as breaths, are left out.
    """
    found: dict[tuple[str, str], Syllable] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, fields = line.partition("=")
        alias, *numbers = fields.split(",")
        match = _ALIAS.match(alias)
        if match and len(numbers) == 5:
            recording = path.parent / Path(name).with_suffix(suffix)
            found.setdefault((match[1], match[2]), _syllable(recording, match, numbers))
    return found


def _syllable(path: Path, match: re.Match[str], numbers: list[str]) -> Syllable:
    """Return an entry's syllable; its numbers are in milliseconds, and a negative cutoff counts from the offset."""
    offset, fixed, cutoff, preutterance, overlap = (float(n or 0) / 1000 for n in numbers)
    end = -cutoff if cutoff < 0 else None
    return Syllable(path, match[1], match[2], offset, fixed, end, max(cutoff, 0.0), preutterance, overlap)


def notes_bank(name: str, files: Sequence[Path], centre: float) -> Bank:
    """Return a bank of recordings of held notes, each of which is a syllable after no vowel. `centre` is MIDI."""
    table = {("-", path.stem): Syllable(path, "-", path.stem, 0.0, 0.12, None, 0.15, 0.02, 0.03) for path in files}
    return Bank(name, centre, table)


class AnalysisStore:
    """Analyses of syllables, kept on disk, and the latest also in memory."""

    def __init__(
        self, folder: Path | None, analyse: Callable[[Syllable], Frames] | None = None, keep: int = 400
    ) -> None:
        """Keep analyses in `folder`, where there is one, and the latest `keep` in memory.

        `analyse` is `analyse_syllable` if it is not given.
        """
        self._folder, self._analyse, self._keep = folder, analyse or analyse_syllable, keep
        self._recent: OrderedDict[Syllable, Frames] = OrderedDict()

    def get(self, syllable: Syllable) -> Frames:
        """Return the analysis of a syllable, made now if there is none.

        Raises:
            OutputError: The disk refuses the analysis.
        """
        if syllable not in self._recent:
            self._recent[syllable] = self._load(syllable)
        self._recent.move_to_end(syllable)
        while len(self._recent) > self._keep:
            self._recent.popitem(last=False)
        return self._recent[syllable]

    def arrays(self, key: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the arrays that are kept under `key`, made now if there are none. They are kept on disk only.

        Raises:
            OutputError: The disk refuses them.
        """
        if self._folder is None:
            return dict(make())
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
        if path.exists():
            with np.load(path) as saved:
                return dict(saved)
        made = dict(make())
        with written_aside(path) as partial, partial.open("wb") as file:
            np.savez(file, **made)  # type: ignore[arg-type]
        return made

    def _load(self, syllable: Syllable) -> Frames:
        kept = self.arrays(repr(syllable), lambda: _named(self._analyse(syllable)))
        return Frames(kept["envelope"], kept["aperiodicity"], kept["voiced"])


def _named(frames: Frames) -> dict[str, np.ndarray]:
    return {"envelope": frames.log_envelope, "aperiodicity": frames.aperiodicity, "voiced": frames.voiced}


def world() -> ModuleType:
    """Return the module pyworld.

    Raises:
        StemsplitError: It cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
            return importlib.import_module("pyworld")
    except ImportError as error:  # pyworld 0.3.5 imports pkg_resources, which setuptools 81 dropped
        hint = "install pyworld and 'setuptools<81' to synthesize singing"
        raise StemsplitError(f"the WORLD vocoder cannot be imported ({error}); {hint}") from error


def read_syllable(syllable: Syllable, longest: float = 2.0) -> np.ndarray:
    """Read the samples (samples,) of a syllable at 44.1 kHz, at most `longest` seconds."""
    with soundfile.SoundFile(syllable.path) as file:
        rate, first = file.samplerate, round(syllable.offset * file.samplerate)
        whole = file.frames - first - syllable.cut * rate if syllable.end is None else syllable.end * rate
        file.seek(min(first, file.frames))
        sound = file.read(max(round(min(whole, longest * rate)), 2400), dtype="float32", always_2d=True).mean(1)
    return np.asarray(soxr.resample(sound, rate, RATE), np.float32)


def analyse_syllable(syllable: Syllable) -> Frames:
    """Analyse one syllable; envelope and aperiodicity are float16, which keeps them small."""
    pyworld = world()
    sound = read_syllable(syllable).astype(np.float64)
    pitch, times = pyworld.dio(sound, RATE, f0_floor=65.0, f0_ceil=900.0, frame_period=FRAME_SECONDS * 1000)
    pitch = pyworld.stonemask(sound, pitch, times, RATE)
    envelope = pyworld.cheaptrick(sound, pitch, times, RATE, fft_size=FFT_SIZE)
    rough = pyworld.d4c(sound, pitch, times, RATE, fft_size=FFT_SIZE)
    return Frames(np.log(envelope + 1e-12).astype(np.float16), rough.astype(np.float16), pitch > 0)
