"""Drum parts: takes cut to the form, machine patterns, samples that sound when they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mido")

from song_sources import write_drums, write_groove, write_take

from songs.composition.score import Form, Section
from songs.instruments import drums
from songs.instruments.drums import Hit


def make_form(bars: int = 6, active: bool = True) -> Form:
    parts = frozenset({"drums"}) if active else frozenset({"bass"})
    sections = (Section(0, bars * 4, frozenset({"bass"}), "A"), Section(bars * 4, bars * 4, parts, "B"))
    return Form(120.0, 0, "minor", 0.0, (), sections)


def test_takes_are_chosen_by_split_and_in_four(tmp_path: Path) -> None:
    folder = write_groove(tmp_path / "grööve")
    train = drums.list_takes(folder, ("train", "validation"))
    assert sorted(take.path.name for take in train) == ["a.mid", "d.mid", "e.mid"]
    assert [take.style for take in drums.list_takes(folder, ("test",))] == ["funk"]
    assert [take.fill for take in train if take.path.name == "d.mid"] == [True]


def test_a_take_near_the_tempo_is_preferred(tmp_path: Path) -> None:
    takes = [drums.Take(Path(f"{tempo}"), "rock", float(tempo), False) for tempo in (60, 95, 140, 200)]
    chosen = [drums.choose_take(np.random.default_rng(s), takes, ("rock",), 100.0, fill=False).tempo for s in range(30)]
    assert chosen.count(95.0) > 20


def test_performance_fills_its_sections_and_no_others(tmp_path: Path) -> None:
    takes = drums.list_takes(write_groove(tmp_path), ("train",))
    hits, names = drums.perform(np.random.default_rng(0), make_form(), takes, ("rock",))
    assert names
    assert all(24 - 0.07 <= hit.beat < 48 for hit in hits)
    bars = {int(hit.beat // 4) for hit in hits}
    assert bars == set(range(6, 12))
    assert hits == sorted(hits)


def test_no_drum_section_no_hits(tmp_path: Path) -> None:
    takes = drums.list_takes(write_groove(tmp_path), ("train",))
    assert drums.perform(np.random.default_rng(0), make_form(active=False), takes, ())[0] == []
    assert drums.programmed(np.random.default_rng(0), make_form(active=False)) == []
    silent = drums.strike(np.random.default_rng(0), make_form(), [], drums.OneShots({}), 1.0)[0]
    assert silent.shape == (2, 44100)
    assert not silent.any()


def test_kicks_are_cut_short_and_nothing_else_is() -> None:
    sound = (np.ones(44100, np.float32), np.ones(44100, np.float32), Path("x"))
    voice = drums.short_kicks(lambda rng, key, shots: sound)
    kick, snare = (voice(np.random.default_rng(0), key, drums.OneShots({})) for key in (36, 38))
    assert kick is not None
    assert kick[0][: round(0.1 * 44100)].min() > 0.99
    assert not kick[0][round(0.25 * 44100) :].any()
    assert snare is sound


def test_machine_patterns_lie_on_the_grid() -> None:
    for seed in range(10):
        hits = drums.programmed(np.random.default_rng(seed), make_form())
        assert any(drums.CLASS_OF_KEY[hit.key] == "kick" for hit in hits)
        assert all((hit.beat * 4) % 1 == 0 and 24 <= hit.beat < 48 and 1 <= hit.velocity <= 127 for hit in hits)


def test_with_percussion_adds_one_instrument() -> None:
    hits = [Hit(24.0, 36, 100)]
    more = drums.with_percussion(np.random.default_rng(0), make_form(), hits)
    assert len({hit.key for hit in more}) == 2
    assert hits[0] in more


def test_strokes_sound_at_their_time_and_louder_when_struck_harder(tmp_path: Path) -> None:
    shots = drums.list_one_shots(write_drums(tmp_path), "uzu__")
    hits = [Hit(1.0, 36, 127), Hit(2.0, 36, 64)]
    audio, names = drums.strike(np.random.default_rng(0), make_form(), hits, shots, 2.0)
    assert names == ["uzu__kick.flac"]
    assert not audio[:, :22049].any()
    hard, soft = np.abs(audio[:, 22050:24050]).max(), np.abs(audio[:, 44100:46100]).max()
    assert soft == pytest.approx(hard * (64 / 127) ** 1.5, rel=0.01)


def test_a_stroke_past_the_end_and_an_unknown_key_are_left_out(tmp_path: Path) -> None:
    shots = drums.list_one_shots(write_drums(tmp_path), "uzu__")
    audio, _ = drums.strike(np.random.default_rng(0), make_form(), [Hit(90.0, 36, 100), Hit(0.0, 99, 100)], shots, 1.0)
    assert not audio.any()


def test_a_closed_hat_chokes_the_open_one(tmp_path: Path) -> None:
    sound = np.ones(44100, np.float32)
    choked = drums.choke(sound, 1.0, [0.5, 1.25])
    assert choked[:11000].min() == 1.0
    assert choked[12000:].max() == 0.0
    np.testing.assert_array_equal(drums.choke(sound, 1.0, [0.5]), sound)


def test_reading_a_take_gives_beats(tmp_path: Path) -> None:
    hits = drums.read_take(write_take(tmp_path / "täkt.mid", 1))
    assert [hit.beat for hit in hits if hit.key == 38] == [1.0, 3.0]
    assert drums.kick_beats(hits) == [0.0, 2.0]
    assert drums.kick_beats([Hit(0.0, 36, 10)]) == []
