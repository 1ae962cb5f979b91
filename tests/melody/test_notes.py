"""Notes that a musician would write down, from contours whose notes are known."""

from __future__ import annotations

import csv
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stemsplit.errors import OutputError, UsageError
from stemsplit.melody import segment
from stemsplit.melody.contour import Contour
from stemsplit.melody.notes import Note, Notes, estimate_tuning, find_notes, write_notes
from stemsplit.melody.segment import segments

HOP = 0.01


def contour_of(semitones: np.ndarray, voiced: np.ndarray | None = None, hop: float = HOP) -> Contour:
    """A contour of MIDI pitches; NaN is unvoiced, with a wild guess."""
    semitones = np.asarray(semitones, float)
    voiced = ~np.isnan(semitones) if voiced is None else voiced
    filled = np.where(np.isnan(semitones), 100.0, semitones)
    return Contour(hop, 440 * 2 ** ((filled - 69) / 12), np.where(voiced, 0.9, 0.1).astype(np.float32), voiced)


def held(pitch: float, seconds: float, hop: float = HOP) -> np.ndarray:
    return np.full(round(seconds / hop), float(pitch))


def glide(first: float, last: float, seconds: float) -> np.ndarray:
    return np.linspace(first, last, round(seconds / HOP))


def pause(seconds: float, hop: float = HOP) -> np.ndarray:
    return held(np.nan, seconds, hop)


def found(*parts: np.ndarray, hop: float = HOP) -> list[Note]:
    return list(find_notes(contour_of(np.concatenate(parts), hop=hop)).notes)


def numbers(*parts: np.ndarray) -> list[int]:
    return [note.midi for note in found(*parts)]


def test_one_held_note() -> None:
    (note,) = found(pause(0.5), held(69.2, 1.0), pause(0.5))
    assert (note.midi, note.name) == (69, "A4")
    assert note.onset == pytest.approx(0.5)
    assert note.duration == pytest.approx(1.0)
    assert note.end == pytest.approx(1.5)
    assert note.cents == pytest.approx(20)
    assert note.hz == pytest.approx(440 * 2 ** (0.2 / 12))


@pytest.mark.parametrize(("midi", "name"), [(60, "C4"), (61, "C#4"), (59, "B3"), (0, "C-1"), (127, "G9")])
def test_names_are_scientific(midi: int, name: str) -> None:
    assert Note(0, 1, midi, 0.0, 1.0).name == name


def test_a_scale_without_pauses() -> None:
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    notes = found(*(held(pitch, 0.2) for pitch in scale))
    assert [note.midi for note in notes] == scale
    np.testing.assert_allclose([note.onset for note in notes], np.arange(8) * 0.2, atol=0.0101)
    np.testing.assert_allclose([note.end for note in notes], np.arange(1, 9) * 0.2, atol=0.0101)


@pytest.mark.parametrize(("step", "seconds"), [(1, 0.13), (2, 0.1), (4, 0.09), (12, 0.08)])
def test_fast_runs(step: int, seconds: float) -> None:
    pitches = [50 + step * i for i in range(5)]
    assert numbers(*(held(pitch, seconds) for pitch in pitches)) == pitches


@pytest.mark.parametrize("rate", [5.0, 6.1, 7.0])
@pytest.mark.parametrize("extent", [0.4, 1.0])
@pytest.mark.parametrize("centre", [60.0, 60.5])
def test_vibrato_does_not_split(rate: float, extent: float, centre: float) -> None:
    seconds = np.arange(0, 3, HOP)
    (note,) = found(centre + extent * np.sin(2 * np.pi * rate * seconds))
    assert note.duration == pytest.approx(3)
    assert abs(note.midi + note.cents / 100 - centre) < 0.15 * extent + 0.05


def test_a_glide_belongs_to_the_note_it_leads_to() -> None:
    low, high = found(held(60, 0.5), glide(60, 67, 0.3), held(67, 0.5))
    assert (low.midi, high.midi) == (60, 67)
    assert 0.48 <= low.end <= 0.58
    assert high.onset == pytest.approx(low.end)
    assert abs(low.cents) < 5
    assert abs(high.cents) < 5


def test_a_scoop_belongs_to_its_note() -> None:
    (note,) = found(pause(0.2), glide(61, 65, 0.2), held(65, 0.6))
    assert (note.midi, note.onset) == (65, pytest.approx(0.2))
    assert abs(note.cents) < 3


def test_a_fall_belongs_to_its_note() -> None:
    (note,) = found(held(65, 0.6), glide(65, 58, 0.3), pause(0.2))
    assert (note.midi, note.duration) == (65, pytest.approx(0.9))


def test_a_drift_is_one_note() -> None:
    assert len(found(glide(60, 61, 2.0))) == 1


def test_a_step_within_one_written_note_is_no_new_note() -> None:
    pitch = np.concatenate([held(63.6, 0.4), held(64.4, 0.6)])
    (note,) = find_notes(contour_of(pitch), tuning=440.0).notes
    assert (note.midi, note.duration) == (64, pytest.approx(1.0))
    assert [n.midi for n in find_notes(contour_of(pitch), tuning=433.0).notes] == [64, 65]


def test_a_repeat_after_a_short_pause_is_a_new_note() -> None:
    first, second = found(held(64, 0.3), pause(0.04), held(64, 0.3))
    assert first.end == pytest.approx(0.3)
    assert second.onset == pytest.approx(0.34)


@pytest.mark.parametrize("gap", [0.01, 0.02])
def test_a_hole_does_not_split(gap: float) -> None:
    (note,) = found(held(64, 0.3), pause(gap), held(64, 0.3))
    assert note.duration == pytest.approx(0.6 + gap)


def test_a_hole_between_pitches_still_does() -> None:
    assert numbers(held(64, 0.3), pause(0.02), held(67, 0.3)) == [64, 67]


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.07])
def test_a_blip_is_no_note(seconds: float) -> None:
    assert found(pause(0.5), held(64, seconds), pause(0.5)) == []


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.07])
@pytest.mark.parametrize("jump", [-12, 12, 19])
def test_an_octave_error_does_not_split(seconds: float, jump: int) -> None:
    (note,) = found(held(64, 0.4), held(64 + jump, seconds), held(64, 0.5))
    assert note.midi == 64


def test_a_sweep_still_gives_notes_inside_it() -> None:
    notes = found(glide(50, 74, 0.5))
    assert notes
    assert notes[0].onset == 0
    assert notes[-1].end == pytest.approx(0.5)


def test_noise_on_the_pitch() -> None:
    rng = np.random.default_rng(3)
    pitches = [60, 62, 59, 64, 60]
    clean = np.concatenate([held(pitch, 0.3) for pitch in pitches])
    assert numbers(clean + rng.normal(0, 0.25, len(clean))) == pitches


@pytest.mark.parametrize("hop", [0.005, 0.0058, 0.02, 0.032, 0.1])
def test_any_hop(hop: float) -> None:
    notes = found(held(60, 0.5, hop), held(64, 0.5, hop), pause(0.3, hop), held(64, 0.5, hop), hop=hop)
    assert [note.midi for note in notes] == [60, 64, 64]
    assert notes[1].onset == pytest.approx(0.5, abs=2 * hop)


@pytest.mark.parametrize(
    "semitones",
    [[], [60.0], [np.nan], [np.nan] * 1000, [60.0, np.nan] * 200],
    ids=["empty", "one", "none", "silence", "flicker"],
)
def test_nothing_to_find(semitones: list[float]) -> None:
    contour = contour_of(np.array(semitones))
    if len(semitones) == 400:  # 10 ms holes throughout: one sound
        assert len(find_notes(contour).notes) == 1
    else:
        assert find_notes(contour) == Notes(440.0, ())


def test_notes_never_overlap_and_lie_inside_of_the_voiced_frames() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        wild = np.cumsum(rng.normal(0, 1.0, 800)) % 30 + 45
        voiced = np.repeat(rng.random(80) < 0.7, 10)
        notes = find_notes(contour_of(wild, voiced)).notes
        assert all(a.end <= b.onset + 1e-9 for a, b in pairwise(notes))
        for note in notes:
            assert note.duration >= 0.08 - 1e-9
            assert voiced[round(note.onset / HOP)]
            assert voiced[round(note.end / HOP) - 1]
            assert abs(note.cents) <= 50 + 1e-6


def test_a_minute_without_a_breath_is_one_note() -> None:
    assert len(found(held(60, 200))) == 1


def test_an_hour_takes_seconds() -> None:
    rng = np.random.default_rng(1)
    pitch = np.repeat(rng.integers(50, 75, 3600 // 8), 40) + rng.normal(0, 0.1, 3600 // 8 * 40)  # 3 minutes
    voiced = np.repeat(rng.random(len(pitch) // 40) < 0.7, 40)
    started = time.process_time()
    notes = find_notes(contour_of(pitch, voiced)).notes
    assert len(notes) > 200
    assert time.process_time() - started < 3  # 20 times that for the hour, on a slow and busy machine


def test_the_program_is_the_cheapest_of_all_explanations() -> None:
    """Against a search over every way to place notes, at a hop where a note is two frames."""

    rng = np.random.default_rng(5)
    for _ in range(10):
        pitch = rng.choice([60.0, 63.0, 66.0], 9) + rng.normal(0, 0.3, 9)
        voiced = np.ones(9, bool)
        cuts = segment._notes_of_run(pitch, voiced, 0.04)
        assert _cost(pitch, cuts) == pytest.approx(_cheapest(pitch))


def _cost(pitch: np.ndarray, notes: list[tuple[int, int, int]]) -> float:
    """What an explanation costs; the last note's end is left to whatever is cheapest."""
    ends = [end for _, _, end in notes[:-1]]
    return min(_explained(pitch, notes, [*ends, last]) for last in range(notes[-1][1] + 2, len(pitch) + 1))


def _explained(pitch: np.ndarray, notes: list[tuple[int, int, int]], ends: list[int]) -> float:

    grid = np.arange(np.floor(pitch.min() * 3), np.ceil(pitch.max() * 3) + 1) / 3
    glides, cost, at = segment._glide_costs(pitch, 0.04) * 4, 0.0, 0
    for (_, hold, _), end in zip(notes, ends, strict=True):
        off = np.minimum(((pitch[hold:end, None] - grid) / 0.9) ** 2 / 2, segment._OUTLIER_COST) * 4
        cost += glides[at:hold].sum() + segment.NOTE_COST + off.sum(axis=0).min()
        at = end
    return float(cost + glides[at:].sum())


def _cheapest(pitch: np.ndarray) -> float:
    """Over all (held, end) pairs of up to four notes of two frames or more."""
    best = np.inf

    def extend(notes: list[tuple[int, int, int]]) -> None:
        nonlocal best
        at = notes[-1][2] if notes else 0
        if notes:
            best = min(best, _explained(pitch, notes, [end for _, _, end in notes]))
        for hold in range(at, len(pitch) - 1):
            for end in range(hold + 2, len(pitch) + 1):
                extend([*notes, (at, hold, end)])

    extend([])
    return best


def test_guesses_in_unvoiced_frames_do_not_count() -> None:
    pitch = np.concatenate([held(60, 0.3), pause(0.2), held(62, 0.3)])
    voiced = ~np.isnan(pitch)
    one, other = (segments(np.where(voiced, pitch, guess), voiced, HOP) for guess in (0.0, 90.0))
    assert one == other


# ---- tuning


def melody(offset: float) -> np.ndarray:
    return np.concatenate([held(pitch + offset, 0.3) for pitch in (60, 62, 64, 65, 67, 64, 62, 60)])


@pytest.mark.parametrize("hz", [430.0, 432.0, 440.0, 442.5, 451.0])
def test_the_tuning_is_heard(hz: float) -> None:
    notes = find_notes(contour_of(melody(12 * np.log2(hz / 440))))
    assert notes.tuning_hz == pytest.approx(hz, rel=1e-4)
    assert [note.midi for note in notes.notes] == [60, 62, 64, 65, 67, 64, 62, 60]
    assert all(abs(note.cents) < 1 for note in notes.notes)


def test_a_given_tuning_is_used_as_is() -> None:
    notes = find_notes(contour_of(melody(0.0)), tuning=427.5)
    assert notes.tuning_hz == 427.5
    assert notes.notes[0].cents == pytest.approx(1200 * np.log2(440 / 427.5))
    assert find_notes(contour_of(held(69, 1)), tuning=220).notes[0].midi == 81


@pytest.mark.parametrize("hz", [0, -440, 219.9, 880.1, float("nan"), float("inf")])
def test_a_tuning_that_is_none_is_refused(hz: float) -> None:
    with pytest.raises(UsageError, match="--tuning"):
        find_notes(contour_of(held(69, 1)), tuning=hz)


def test_notes_without_a_common_tuning_stay_at_440() -> None:
    assert estimate_tuning(np.array([60.0, 62.25, 64.5, 65.75]), np.ones(4)) == 440
    assert estimate_tuning(np.array([60.3]), np.ones(1)) == 440
    assert estimate_tuning(np.zeros(0), np.zeros(0)) == 440
    assert estimate_tuning(np.array([60.3, 61.3]), np.array([np.nan, 1.0])) == 440
    assert estimate_tuning(np.array([60.3, 61.3, 62.3, 63.3]), np.zeros(4)) == 440


def test_the_tuning_follows_the_long_and_sure_notes() -> None:
    pitches, weights = np.array([60.2, 62.2, 64.2, 65.2, 61.7, 61.7]), np.array([1, 1, 1, 1, 0.01, 0.01])
    assert estimate_tuning(pitches, weights) == pytest.approx(440 * 2 ** (0.2 / 12), rel=1e-3)


def test_half_a_semitone_is_within_the_range() -> None:
    for offset in (-0.5, -0.499, 0.499, 0.5):
        hz = estimate_tuning(np.arange(60, 70) + offset, np.ones(10))
        assert abs(1200 * np.log2(hz / 440)) <= 50 + 1e-6


# ---- the table


def test_the_table(tmp_path: Path) -> None:
    path = tmp_path / "新" / "a,b.notes.csv"
    notes = find_notes(contour_of(np.concatenate([pause(0.5), held(61.1, 0.3), pause(0.1), held(59, 0.2)])))
    write_notes(path, notes)
    with path.open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == ["onset", "duration", "midi", "name", "hz", "cents"]
    assert [row["name"] for row in rows] == ["C#4", "B3"]
    assert float(rows[0]["onset"]) == pytest.approx(0.5)
    assert float(rows[0]["cents"]) == pytest.approx(10, abs=0.1)
    assert b"\r" not in path.read_bytes()


def test_no_notes_are_a_header(tmp_path: Path) -> None:
    write_notes(tmp_path / "x.csv", Notes(440.0, ()))
    assert (tmp_path / "x.csv").read_text() == "onset,duration,midi,name,hz,cents\n"


def test_a_table_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        write_notes(tmp_path / "file" / "x.csv", Notes(440.0, ()))
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken"):
        write_notes(tmp_path / "taken", Notes(440.0, ()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]
