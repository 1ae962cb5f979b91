"""MIDI files, read again: when notes sound, and at which pitch."""

from __future__ import annotations

import builtins
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import pytest

from stemsplit.analysis.beats import Tempo
from stemsplit.errors import OutputError, UsageError
from stemsplit.melody.contour import Contour
from stemsplit.melody.midi import bend_range, write_midi
from stemsplit.melody.notes import Note, Notes, find_notes

HOP = 0.01


def contour_of(semitones: np.ndarray, hop: float = HOP) -> Contour:
    semitones = np.asarray(semitones, float)
    voiced = ~np.isnan(semitones)
    hz = 440 * 2 ** ((np.where(voiced, semitones, 100.0) - 69) / 12)
    return Contour(hop, hz, np.where(voiced, 0.9, 0.1).astype(np.float32), voiced)


def sung() -> np.ndarray:
    """Half a second of silence, a scoop, a note with vibrato, a pause, a legato pair that is 30 cents sharp."""
    time = np.arange(0, 1, HOP)
    vibrato = 64 + np.minimum(time, 0.5) * np.sin(2 * np.pi * 5.5 * time)
    return np.concatenate([
        np.full(50, np.nan), np.linspace(60.5, 64, 15), vibrato,
        np.full(60, np.nan), np.full(40, 62.3), np.full(40, 65.3), np.full(10, np.nan), np.full(30, 65.3),
    ])  # fmt: skip


class Played:
    """What a synthesizer that listens to everything would do with a file."""

    def __init__(self, path: Path) -> None:
        song = mido.MidiFile(path)
        assert song.type == 0
        assert len(song.tracks) == 1
        self.notes: list[tuple[float, float, int]] = []
        self.wheel: list[tuple[float, int]] = []
        self.texts = [m.text for m in song.tracks[0] if m.type == "text"]
        now, on, self.reach, rpn = 0.0, {}, 2.0, [127, 127]
        for message in song:  # mido turns ticks into seconds by the tempo in the file
            now += message.time
            if message.type == "note_on":
                assert not on, "two notes at once"
                on[message.note] = now
            elif message.type == "note_off":
                self.notes.append((on.pop(message.note), now, message.note))
            elif message.type == "pitchwheel":
                self.wheel.append((now, message.pitch))
            elif message.type == "control_change":
                if message.control in (100, 101):
                    rpn[message.control - 100] = message.value
                elif message.control == 6 and rpn == [0, 0]:
                    self.reach = message.value
        assert not on
        assert rpn == [127, 127]

    def pitch(self, time: float) -> float:
        """The MIDI pitch that sounds."""
        (note,) = [note for start, end, note in self.notes if start - 1e-9 <= time < end]
        bend = [value for at, value in self.wheel if at <= time + 1e-9][-1]
        return note + bend / 8192 * self.reach


def written(path: Path, contour: Contour, tuning: float | None = None) -> tuple[Played, Notes]:
    notes = find_notes(contour, tuning)
    write_midi(path, notes, contour)
    return Played(path), notes


def test_notes_are_read_again_in_time(tmp_path: Path) -> None:
    played, notes = written(tmp_path / "x.mid", contour_of(sung()))
    assert [note for _, _, note in played.notes] == [64, 62, 65, 65]
    for (start, end, _), note in zip(played.notes, notes.notes, strict=True):
        assert start == pytest.approx(note.onset, abs=0.002)
        assert end == pytest.approx(note.end, abs=0.002)


def test_it_sounds_as_sung(tmp_path: Path) -> None:
    contour = contour_of(sung())
    played, notes = written(tmp_path / "x.mid", contour)
    for note in notes.notes:
        for frame in range(round(note.onset / HOP), round(note.end / HOP)):
            true = 69 + 12 * np.log2(contour.frequency[frame] / 440)
            assert played.pitch(frame * HOP + 0.001) == pytest.approx(true, abs=0.051)


@pytest.mark.parametrize("tuning", [220.0, 415.0, 466.0])
def test_it_sounds_as_sung_in_any_tuning(tmp_path: Path, tuning: float) -> None:
    played, notes = written(tmp_path / "x.mid", contour_of(np.full(100, 67.2)), tuning)
    assert played.notes[0][2] == notes.notes[0].midi == round(67.2 - 12 * np.log2(tuning / 440))
    assert played.pitch(0.5) == pytest.approx(67.2, abs=0.01)
    assert played.texts == [f"A4 = {tuning:.2f} Hz"]


@pytest.mark.parametrize(
    ("bends", "reach"), [([], 2), ([0.5, -2.0], 2), ([2.1], 12), ([-12.0], 12), ([13.0], 24), ([40.0], 24)]
)
def test_the_bend_range(bends: list[float], reach: int) -> None:
    assert bend_range(np.array(bends)) == reach


def test_a_bend_beyond_every_range_is_held_at_the_edge(tmp_path: Path) -> None:
    contour = contour_of(np.concatenate([np.full(100, 60.0), np.full(3, 90.0), np.full(3, 20.0), np.full(50, 60.0)]))
    played, _ = written(tmp_path / "x.mid", contour)
    assert played.reach == 24
    assert {8191, -8192} <= {value for _, value in played.wheel}
    assert played.pitch(1.3) == pytest.approx(60, abs=0.02)


def test_bends_do_not_fill_the_file(tmp_path: Path) -> None:
    played, _ = written(tmp_path / "x.mid", contour_of(sung()))
    assert len(played.wheel) < 100  # 210 frames are sung
    contour = contour_of(60 + 0.04 * np.sin(np.arange(1000)))  # nobody hears that
    assert len(written(tmp_path / "x.mid", contour)[0].wheel) <= 3


def test_without_bends_there_are_tempered_notes_alone(tmp_path: Path) -> None:
    contour = contour_of(sung())
    write_midi(tmp_path / "x.mid", find_notes(contour, 440.0), contour, bends=False)
    played = Played(tmp_path / "x.mid")
    assert [note for _, _, note in played.notes] == [64, 62, 65, 65]
    assert {value for _, value in played.wheel} == {0}


@pytest.mark.parametrize("tempo", [Tempo(61.7), Tempo(174.0), Tempo(97.3, 0.4), Tempo(97.3, 0.9), Tempo(30.0, 2.9)])
def test_notes_are_in_time_at_every_tempo(tmp_path: Path, tempo: Tempo) -> None:
    contour = contour_of(sung())
    notes = find_notes(contour, None)
    write_midi(tmp_path / "x.mid", notes, contour, tempo=tempo)
    played = Played(tmp_path / "x.mid")
    for (start, end, _), note in zip(played.notes, notes.notes, strict=True):
        assert start == pytest.approx(note.onset, abs=0.002)
        assert end == pytest.approx(note.end, abs=0.002)


def test_what_is_sung_on_a_beat_lies_on_the_grid(tmp_path: Path) -> None:
    """100 beats a minute that begin at 0.37 s: notes every two beats start on whole beats of the file."""
    tempo = Tempo.through(100.0, 0.37 + 7 * 0.6)
    onsets = [0.37 + beat * 0.6 for beat in (1, 3, 5, 7)]
    notes = Notes(440.0, tuple(Note(onset, 0.3, 60, 0.0, 261.6) for onset in onsets))
    write_midi(tmp_path / "x.mid", notes, contour_of(np.full(600, 60.0)), tempo=tempo)
    ticks, now = [], 0
    for message in mido.MidiFile(tmp_path / "x.mid").tracks[0]:
        now += message.time
        if message.type == "note_on":
            ticks.append(now)
    assert [tick % 960 for tick in ticks] == [0, 0, 0, 0]
    assert np.diff(ticks).tolist() == [1920, 1920, 1920]


def test_bends_are_sent_only_when_they_change(tmp_path: Path) -> None:
    played, _ = written(tmp_path / "x.mid", contour_of(np.full(1000, 60.2)))
    assert len(played.wheel) == 3  # 0 at the start, the note's, 0 after it
    played, _ = written(tmp_path / "x.mid", contour_of(sung()))
    assert all(later - earlier > 0.009 or not a for (earlier, a), (later, _) in pairwise(played.wheel))


@pytest.mark.parametrize("hop", [0.001, 0.007, 0.02])
def test_bends_at_other_hops(tmp_path: Path, hop: float) -> None:
    time = np.arange(0, 1, hop)
    contour = contour_of(60 + np.sin(2 * np.pi * 5 * time), hop)
    played, _ = written(tmp_path / "x.mid", contour)
    assert len(played.wheel) <= 1 / max(hop, 0.01) + 3
    assert played.pitch(0.65) == pytest.approx(61, abs=0.15)


def test_the_wheel_rests_in_a_long_pause(tmp_path: Path) -> None:
    played, notes = written(tmp_path / "x.mid", contour_of(sung()))
    first, second = notes.notes[:2]
    resets = [at for at, value in played.wheel if value == 0 and first.end <= at <= second.onset]
    assert resets == [pytest.approx(first.end + 0.25, abs=0.002)]
    assert played.wheel[-1][1] == 0


def test_every_note_starts_at_its_own_bend(tmp_path: Path) -> None:
    """Also when it follows at once: what the note before had left in the wheel is gone when it starts."""
    contour = contour_of(np.concatenate([np.full(40, 62.3), np.full(40, 65.0), np.full(40, 67.0)]))
    played, _ = written(tmp_path / "x.mid", contour, 440.0)
    assert [round(played.pitch(start + 1e-4), 2) for start, _, _ in played.notes] == [62.3, 65.0, 67.0]


def test_without_notes_the_file_is_valid_and_silent(tmp_path: Path) -> None:
    for contour in (contour_of(np.zeros(0)), contour_of(np.full(500, np.nan))):
        played, _ = written(tmp_path / "x.mid", contour)
        assert played.notes == []
        assert played.texts == ["A4 = 440.00 Hz"]


def test_notes_that_overlap_are_cut(tmp_path: Path) -> None:
    notes = Notes(440.0, (Note(0.1, 0.5, 60, 0, 261.6), Note(0.3, 0.2, 64, 0, 329.6), Note(0.3, 0.2, 65, 0, 349.2)))
    write_midi(tmp_path / "x.mid", notes, contour_of(np.full(100, 60.0)))
    assert [note for _, _, note in Played(tmp_path / "x.mid").notes] == [60, 65]


def test_notes_without_a_contour_bend_to_their_own_pitch(tmp_path: Path) -> None:
    notes = Notes(440.0, (Note(0.1, 0.5, 60, 20.0, 440 * 2 ** ((60.2 - 69) / 12)),))
    for contour in (contour_of(np.zeros(0)), contour_of(np.full(100, np.nan))):
        write_midi(tmp_path / "x.mid", notes, contour)
        assert Played(tmp_path / "x.mid").pitch(0.3) == pytest.approx(60.2, abs=0.01)


def test_hours_stay_in_time(tmp_path: Path) -> None:
    late = 4 * 3600 + 0.12345
    write_midi(tmp_path / "x.mid", Notes(440.0, (Note(late, 1.0, 60, 0.0, 261.63),)), contour_of(np.zeros(0)))
    song = mido.MidiFile(tmp_path / "x.mid")
    ticks = 0
    for message in song.tracks[0]:
        ticks += message.time
        if message.type == "note_on":
            break
    assert ticks / song.ticks_per_beat * 0.5 == pytest.approx(late, abs=0.001)


def test_the_same_melody_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        written(tmp_path / name, contour_of(sung()))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "neu" / "größe.mid"
    written(target, contour_of(sung()))
    before = target.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"größe\.mid: no space left"):
        written(target, contour_of(np.full(100, 60.0)))
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["größe.mid"]


def test_without_mido(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def importing(name: str, *rest: object, **more: object) -> object:
        if name == "mido":
            raise ImportError(name)
        return original(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(UsageError, match="pip install mido"):
        write_midi(tmp_path / "x.mid", Notes(440.0, ()), contour_of(np.zeros(0)))
    assert list(tmp_path.iterdir()) == []
