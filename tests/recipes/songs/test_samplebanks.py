"""Recorded instruments: pitches that measurements and names agree on, notes that sound as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from song_sources import RATE, spectrum, write_bank

from songs.instruments import samplebanks
from songs.instruments.samplebanks import Sample
from stemsplit.errors import StemsplitError


def test_measured_pitches_are_trusted_and_failed_ones_are_not(tmp_path: Path) -> None:
    rows = [("a2", 33, 33.02), ("c3", 36, 36.1), ("e3", 40, 95.21), ("bb2", 34, 0)]  # named an octave high
    bank = samplebanks.read_bank(write_bank(tmp_path / "bass", rows))
    assert [sample.pitch for sample in bank.samples] == [33.02, 36.1, 40, 34]


@pytest.mark.parametrize(
    ("name", "pitch"),
    [("027-D#1-FF", 27), ("MartinGM2_071__B4_1", 71), ("As_040__E2_1113-mono", 40), ("gb2_mf_rr1", 42), ("FF A#2", 46),
     ("Upright1_Sus_C0_vl3", 12), ("VS_TremStr_G#0", 20), ("noise", None)],
)  # fmt: skip
def test_names_say_pitches(name: str, pitch: int | None) -> None:
    assert samplebanks.named_pitch({"sample": name, "note_in_name": ""}) == pitch


@pytest.mark.parametrize("key", [45, 47, 57])
def test_notes_have_the_pitch_and_the_length_that_were_asked_for(tmp_path: Path, key: int) -> None:
    bank = samplebanks.read_bank(write_bank(tmp_path / "x", [("a2", 45, 45.0), ("a3", 57, 57.0)]))
    audio = samplebanks.play_bank(np.random.default_rng(0), bank, [(0.5, 0.2, key, 100)], 1.5)
    assert audio.shape == (2, round(1.5 * RATE))
    assert not audio[:, : RATE // 2 - 1].any()
    assert not audio[:, round(0.95 * RATE) :].any()
    part = audio[0, round(0.52 * RATE) : round(0.7 * RATE)]
    hertz, power = spectrum(np.pad(part * np.hanning(len(part)), (0, 40000)))
    assert hertz[power.argmax()] == pytest.approx(440 * 2 ** ((key - 69) / 12), rel=0.01)


def test_louder_notes_take_louder_samples() -> None:
    samples = [Sample(0, 1, 60, -20.0), Sample(1, 1, 60.1, -3.0), Sample(2, 1, 67, 0.0)]
    rng = np.random.default_rng(0)
    drawn = {velocity: [samplebanks.choose_sample(rng, samples, 60, velocity).peak_db for _ in range(40)]
             for velocity in (20, 120)}  # fmt: skip
    assert np.mean(drawn[20]) < np.mean(drawn[120]) - 5
    assert 0.0 not in drawn[20] + drawn[120]


def test_what_is_no_bank_is_said(tmp_path: Path) -> None:
    with pytest.raises(StemsplitError, match=r"bank\.opus and mapping\.csv"):
        samplebanks.read_bank(tmp_path)
    folder = write_bank(tmp_path / "bad", [("a2", 45, 45.0)])
    (folder / "mapping.csv").write_text("sample,start_s\na2,x\n", encoding="utf-8")
    with pytest.raises(StemsplitError, match="not a table"):
        samplebanks.read_bank(folder)


def test_every_instrument_that_can_play_has_banks() -> None:
    assert set(samplebanks.PLAYED_BY.values()) == set(samplebanks.BANKS)
