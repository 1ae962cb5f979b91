"""Mixtures of two speakers who are told apart by their pitch: everyone hums a note of his own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import write_song

from stemsplit.errors import UsageError
from stemsplit.training.examples.speakers import (
    Speaker,
    SpeakerMixing,
    Voices,
    draw_example,
    draw_speakers,
    find_speakers,
    load_voices,
    read_names,
    sexes_of,
)

RATE = 2000
NOTES = {"11": 110.0, "22": 220.0, "33": 330.0, "44": 440.0, "55": 550.0}
PLAIN = SpeakerMixing(crop_seconds=1, wide=0, speed=0, turns=0, single=0, room=0, noise=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    times = np.arange(2 * RATE) / RATE
    for number, (name, note) in enumerate(NOTES.items()):
        for take in range(2):
            hum = (0.1 + 0.1 * take) * np.sin(2 * np.pi * note * times)
            write_song(tmp_path / "speech" / f"source{number % 2}" / name / f"{take}.wav", hum[None], RATE)
    return tmp_path / "speech"


def voices_in(folder: Path, without: tuple[str, ...] = ()) -> Voices:
    return load_voices(find_speakers([folder], without), RATE)


def note_of(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound, 8 * RATE))
    return float(spectrum.argmax()) / 8


def hums(times: np.ndarray, name: str, note: float) -> Speaker:
    return Speaker(name, (np.round(6000 * np.sin(2 * np.pi * note * times)).astype(np.int16),))


def examples(voices: Voices, mixing: SpeakerMixing, count: int = 40) -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_example(voices, RATE, mixing, RATE, np.random.default_rng(seed)) for seed in range(count)]


def test_two_different_people_are_mixed_and_nobody_who_is_held_out(folder: Path) -> None:
    heard: set[float] = set()
    for speakers, mixture in examples(voices_in(folder, ("22", "55")), PLAIN):
        notes = [note_of(speaker[0]) for speaker in speakers]
        assert abs(notes[0] - notes[1]) > 50
        heard |= {round(note) for note in notes}
        np.testing.assert_allclose(speakers.sum(0), mixture, atol=1e-6)
    assert heard == {110, 330, 440}


@pytest.mark.parametrize(("settings", "most"), [({}, 2.5), ({"wide": 1.0}, 10.0)])
def test_levels_differ_as_much_as_they_may(folder: Path, settings: dict[str, float], most: float) -> None:
    mixing = SpeakerMixing(**{**vars(PLAIN), **settings})
    found = [
        10 * np.log10(np.square(s[0]).sum() / np.square(s[1]).sum()) for s, _ in examples(voices_in(folder), mixing)
    ]
    assert 0.8 * most < max(np.abs(found)) < most + 0.1


def test_one_of_them_may_be_silent(folder: Path) -> None:
    mixing = SpeakerMixing(**{**vars(PLAIN), "single": 0.5})
    silent = [int((~speakers.any((1, 2))).sum()) for speakers, _ in examples(voices_in(folder), mixing)]
    assert set(silent) == {0, 1}
    assert 10 < sum(silent) < 30


def test_turns_overlap_in_part(folder: Path) -> None:
    mixing = SpeakerMixing(**{**vars(PLAIN), "turns": 1.0})
    shares = [[float((np.abs(speaker) > 1e-3).mean()) for speaker in speakers[:, 0]] for speakers, _ in
              examples(voices_in(folder), mixing)]  # fmt: skip
    assert np.min(shares) > 0.2
    assert np.mean(shares) < 0.8


def test_talks_have_one_the_other_both_and_nobody(folder: Path) -> None:
    mixing = SpeakerMixing(**{**vars(PLAIN), "crop_seconds": 30.0, "talks": 1.0})
    times = np.arange(30 * RATE) / RATE
    voices = Voices(tuple(hums(times, name, note) for name, note in NOTES.items()), RATE)
    rng = np.random.default_rng(0)
    heard = [np.abs(draw_speakers(voices, 1, mixing, RATE, rng)[0][0, :, 0]) > 1e-3 for _ in range(8)]
    loud = np.concatenate([speakers.reshape(2, -1, RATE // 10).any(-1) for speakers in heard], axis=1)
    shares = {who: float((who == loud.T).all(1).mean()) for who in ((0, 0), (0, 1), (1, 0), (1, 1))}
    assert min(shares.values()) > 0.08
    turns = np.abs(np.diff(loud.astype(int), axis=1)).any(0).mean() * 10
    assert 0.2 < turns < 1  # changes a second: turns last 0.5 to 4 s, and what follows may be the same


def test_speed_rooms_and_noise_change_what_is_heard(folder: Path) -> None:
    voices = voices_in(folder)
    (plain, _), (fast, _) = (
        draw_example(voices, RATE, SpeakerMixing(**{**vars(PLAIN), **how}), RATE, np.random.default_rng(3))
        for how in ({}, {"speed": 0.3})
    )
    assert abs(note_of(plain[0, 0]) - note_of(fast[0, 0])) > 3
    noisy = SpeakerMixing(**{**vars(PLAIN), "noise": 1.0, "noise_db": (20.0, 20.0)})
    speakers, mixture = draw_example(voices, RATE, noisy, RATE, np.random.default_rng(3))
    noise = mixture - speakers.sum(0)
    assert 10 * np.log10(np.square(noise).mean() / 0.01) == pytest.approx(-20, abs=0.1)
    np.testing.assert_allclose(speakers, plain, atol=1e-6)
    room = SpeakerMixing(**{**vars(PLAIN), "room": 1.0})
    echoing, _ = draw_example(voices, RATE, room, RATE, np.random.default_rng(3))
    assert np.abs(echoing - plain).max() > 1e-3


def test_rooms_are_impulse_responses_from_the_direct_sound_on(folder: Path, tmp_path: Path) -> None:
    answer = np.zeros((1, 600))
    answer[0, 100], answer[0, 300] = 0.9, 0.5
    write_song(tmp_path / "rooms" / "hall.wav", answer, RATE)
    voices = load_voices(find_speakers([folder]), RATE, tmp_path / "rooms")
    (room,) = voices.rooms
    assert room[0] == 1
    assert np.flatnonzero(room > 0.1).tolist() == [0, 200]
    found, _ = draw_speakers(voices, 2, SpeakerMixing(**{**vars(PLAIN), "room": 1.0}), RATE, np.random.default_rng(0))
    assert np.isfinite(found).all()


def test_a_batch_depends_on_its_generator_alone(folder: Path) -> None:
    voices, mixing = voices_in(folder), SpeakerMixing(crop_seconds=0.5)
    one, other, third = (draw_speakers(voices, 3, mixing, RATE // 2, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one[0].shape == (3, 2, 1, RATE // 4)
    assert one[1].shape == (3, 1, RATE // 4)
    np.testing.assert_array_equal(one[1], other[1])
    assert np.abs(one[1] - third[1]).max() > 0.01


def test_lists_of_speakers_and_their_sexes(folder: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("# not trained on\n\n# women\nsource1/22\n55  # by number alone\n")
    assert read_names(names) == ("22", "55")
    (folder / "some_speakers.csv").write_text('folder,speaker,sex,reader\nsource1,22,F,"A, B"\nsource0,11,M,C\n')
    assert sexes_of([folder]) == {"22": "F", "11": "M"}
    with pytest.raises(UsageError, match=r"nowhere\.txt: No such file"):
        read_names(tmp_path / "nowhere.txt")


def test_folders_elsewhere_may_be_linked_to(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "more").symlink_to(folder / "source0", target_is_directory=True)
    assert set(find_speakers([tmp_path / "linked"])) == {"11", "33", "55"}


def test_too_few_speakers_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 speakers in"):
        find_speakers([folder], tuple(NOTES)[:-1])
    write_song(tmp_path / "quiet" / "a" / "0.wav", np.zeros((1, RATE)), RATE)
    write_song(tmp_path / "quiet" / "b" / "0.wav", np.ones((1, 10)), RATE)
    with pytest.raises(UsageError, match="of 2 speakers 0 say anything"):
        load_voices(find_speakers([tmp_path / "quiet"]), RATE)
