"""Voicebanks of sung syllables: their timing files (oto.ini) and their WORLD analyses.

WORLD: M. Morise, F. Yokomori, K. Ozawa, IEICE Trans. 2016; through pyworld.
"""

from __future__ import annotations

import hashlib
import re
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
FFT_SIZE = 2048
_ALIAS = re.compile(r"^([-aiueonN]) ([ぁ-んァ-ヴー]{1,3})(?![ぁ-んァ-ヴー])")
_VOWELS = {
    "a": "あかさたなはまやらわがざだばぱゃぁアァャ", "i": "いきしちにひみりぎじぢびぴぃイィ",
    "u": "うくすつぬふむゆるぐずづぶぷゅぅゔウゥュヴ", "e": "えけせてねへめれげぜでべぺぇエェ",
    "o": "おこそとのほもよろをごぞどぼぽょぉオォョ", "n": "んン",
}  # fmt: skip
_VOWEL_OF = {kana: vowel for vowel, row in _VOWELS.items() for kana in row}


class Syllable(NamedTuple):
    """Where a syllable lies in its recording, in seconds (oto.ini: offset, fixed part, end, preutterance, overlap)."""

    path: Path
    before: str  # vowel that leads into it, '-' for none
    kana: str
    offset: float
    fixed: float
    end: float | None  # from the offset; None: to the end of the file less `cut`
    cut: float
    preutterance: float
    overlap: float

    @property
    def vowel(self) -> str:
        """The vowel it ends in, '-' when unknown."""
        return _VOWEL_OF.get(self.kana[-1:], "-")


class Frames(NamedTuple):
    """WORLD parameters of a syllable, one row per 5 ms: log power envelope, aperiodicity (0..1), voiced or not."""

    log_envelope: np.ndarray
    aperiodicity: np.ndarray
    voiced: np.ndarray


@dataclass(frozen=True)
class Bank:
    """One singer at one pitch; `syllables` maps (leading vowel, kana) to a recording. `centre` is MIDI, `tract` how
    high the resonances lie, relative to an average woman's."""

    name: str
    centre: float
    syllables: Mapping[tuple[str, str], Syllable]
    tract: float = 1.0

    def find(self, before: str, kana: str) -> Syllable | None:
        """The syllable with this lead-in, or else without one."""
        return self.syllables.get((before, kana)) or self.syllables.get(("-", kana))


def read_oto(path: Path, suffix: str = ".opus") -> dict[tuple[str, str], Syllable]:
    """Syllables of an oto.ini (UTF-8) with an alias 'VOWEL KANA'; others (breaths, endings) are left out."""
    found: dict[tuple[str, str], Syllable] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, fields = line.partition("=")
        alias, *numbers = fields.split(",")
        match = _ALIAS.match(alias)
        if match and len(numbers) == 5:
            found.setdefault(match.groups(), _syllable(path.parent / Path(name).with_suffix(suffix), match, numbers))  # type: ignore[arg-type]
    return found


def _syllable(path: Path, match: re.Match[str], numbers: list[str]) -> Syllable:
    offset, fixed, cutoff, preutterance, overlap = (float(n or 0) / 1000 for n in numbers)
    end = -cutoff if cutoff < 0 else None
    return Syllable(path, match[1], match[2], offset, fixed, end, max(cutoff, 0.0), preutterance, overlap)


def notes_bank(name: str, files: Sequence[Path], centre: float) -> Bank:
    """Recordings of held notes as a bank: each file is one 'syllable' without lead-in."""
    table = {("-", path.stem): Syllable(path, "-", path.stem, 0.0, 0.12, None, 0.15, 0.02, 0.03) for path in files}
    return Bank(name, centre, table)


class AnalysisStore:
    """Analyses kept on disk (`folder`) and, the latest `keep` of them, in memory."""

    def __init__(
        self, folder: Path | None, analyse: Callable[[Syllable], Frames] | None = None, keep: int = 400
    ) -> None:
        self._folder, self._analyse, self._keep = folder, analyse or analyse_syllable, keep
        self._recent: OrderedDict[Syllable, Frames] = OrderedDict()

    def get(self, syllable: Syllable) -> Frames:
        """The analysis of a syllable, computed at most once."""
        if syllable not in self._recent:
            self._recent[syllable] = self._load(syllable)
        self._recent.move_to_end(syllable)
        while len(self._recent) > self._keep:
            self._recent.popitem(last=False)
        return self._recent[syllable]

    def _load(self, syllable: Syllable) -> Frames:
        if self._folder is None:
            return self._analyse(syllable)
        path = self._folder / f"{hashlib.sha256(repr(syllable).encode()).hexdigest()[:24]}.npz"
        if path.exists():
            with np.load(path) as saved:
                return Frames(saved["envelope"], saved["aperiodicity"], saved["voiced"])
        frames = self._analyse(syllable)
        with written_aside(path) as partial, partial.open("wb") as file:
            np.savez(file, envelope=frames.log_envelope, aperiodicity=frames.aperiodicity, voiced=frames.voiced)
        return frames


def world() -> ModuleType:
    """The pyworld module; raises StemsplitError when it cannot be imported."""
    try:
        import pyworld
    except ImportError as error:  # pyworld 0.3.5 imports pkg_resources, which setuptools 81 dropped
        hint = "install pyworld and 'setuptools<81' to synthesize singing"
        raise StemsplitError(f"the WORLD vocoder cannot be imported ({error}); {hint}") from error
    return pyworld


def read_syllable(syllable: Syllable, longest: float = 2.0) -> np.ndarray:
    """The samples of a syllable at 44.1 kHz, at most `longest` seconds."""
    with soundfile.SoundFile(syllable.path) as file:
        rate, first = file.samplerate, round(syllable.offset * file.samplerate)
        whole = file.frames - first - syllable.cut * rate if syllable.end is None else syllable.end * rate
        file.seek(min(first, file.frames))
        sound = file.read(max(round(min(whole, longest * rate)), 2400), dtype="float32", always_2d=True).mean(1)
    return np.asarray(soxr.resample(sound, rate, RATE), np.float32)


def analyse_syllable(syllable: Syllable) -> Frames:
    """WORLD analysis of one syllable, float16 to keep it small."""
    pyworld = world()
    sound = read_syllable(syllable).astype(np.float64)
    pitch, times = pyworld.dio(sound, RATE, f0_floor=65.0, f0_ceil=900.0, frame_period=FRAME_SECONDS * 1000)
    pitch = pyworld.stonemask(sound, pitch, times, RATE)
    envelope = pyworld.cheaptrick(sound, pitch, times, RATE, fft_size=FFT_SIZE)
    rough = pyworld.d4c(sound, pitch, times, RATE, fft_size=FFT_SIZE)
    return Frames(np.log(envelope + 1e-12).astype(np.float16), rough.astype(np.float16), pitch > 0)
