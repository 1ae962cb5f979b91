"""Voicebanks out of spoken syllables."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from songs.voices.line import Sung, choose_manner
from songs.voices.sing import voice
from songs.voices.speakers import speaker_bank
from songs.voices.voicebank import AnalysisStore

RATE = 22050
pytestmark = pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="pyworld needs pkg_resources")


def say(path: Path, hertz: float, voiced: float = 0.4) -> Path:
    """Half a second of silence, a hiss, a vowel of so many seconds, silence."""
    rng = np.random.default_rng(0)
    time = np.arange(round(voiced * RATE)) / RATE
    vowel = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 20)) * np.ones_like(time)
    hiss = 0.02 * rng.standard_normal(round(0.1 * RATE))
    silence = np.zeros(RATE // 2)
    soundfile.write(path, np.concatenate([silence, hiss, 0.2 * vowel, silence]), RATE)
    return path


def test_what_is_voiced_is_sung(tmp_path: Path) -> None:
    bank = speaker_bank("anna", [say(tmp_path / f"{number}.ogg", 200 + number) for number in range(9)])
    assert bank is not None
    assert bank.tract == 1.0
    assert bank.centre == pytest.approx(69 + 12 * np.log2(204 / 440), abs=0.1)
    syllable = bank.find("a", "3")
    assert syllable is not None
    assert syllable.offset == pytest.approx(0.48, abs=0.04)
    assert syllable.offset + (syllable.end or 0) == pytest.approx(0.6 + 0.9 * 0.4, abs=0.04)
    rng = np.random.default_rng(0)
    manner = choose_manner(rng)
    sound, f0 = voice(rng, [Sung(0.2, 1.2, 60.0, 1.0, syllable)], AnalysisStore(None), manner, 1.5)
    sounding = f0[60:220]
    assert np.median(sounding[sounding > 0]) == pytest.approx(261.6, rel=0.03)
    assert np.abs(sound[round(0.4 * 44100) : 44100]).max() > 0.01


def test_who_speaks_low_has_a_long_vocal_tract(tmp_path: Path) -> None:
    bank = speaker_bank("bob", [say(tmp_path / f"{number}.ogg", 110) for number in range(8)])
    assert bank is not None
    assert bank.tract < 1


def test_too_few_or_too_short_syllables_make_no_bank(tmp_path: Path) -> None:
    few = [say(tmp_path / f"{number}.ogg", 200) for number in range(7)]
    assert speaker_bank("few", few) is None
    assert speaker_bank("short", [*few, say(tmp_path / "short.ogg", 200, 0.03)]) is None
    soundfile.write(tmp_path / "hush.ogg", np.zeros(RATE), RATE)
    assert speaker_bank("hush", [*few, tmp_path / "hush.ogg"]) is None
