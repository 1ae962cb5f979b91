"""The vocal stem of songs whose singers were recorded speaking."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import small_sources, vocal_form, write_speech

from songs.composition.more_styles import VARIOUS_STYLES
from songs.composition.score import QUALITIES, Chord
from songs.draft import Draft, Sources
from songs.render import render_song, render_vocals
from songs.stems import people_vocals
from songs.stems import various_vocals as various
from songs.stems.various_vocals import various_vocals
from songs.voices.line import choose_manner
from songs.voices.people.person import list_people
from songs.voices.voicebank import AnalysisStore
from stemsplit.errors import StemsplitError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pkg_resources") is None, reason="pyworld needs pkg_resources")
RATE = 44100


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    people = list_people(write_speech(folder / "speech", ["made/1", "made/2"]), (), without=True)
    return small_sources(folder / "small", various=True, people=people, store=AnalysisStore(folder / "analyses"),
                         styles=VARIOUS_STYLES)  # fmt: skip


def draft(sources: Sources, seed: int) -> Draft:
    """A bar of bass, then two bars of vocals, at 120 quarters a minute."""
    chords = tuple(Chord(4.0 * bar, 4.0, root, QUALITIES["M"]) for bar, root in enumerate((0, 5, 7)))
    form = replace(vocal_form(), chords=chords)
    return Draft(
        np.random.default_rng(seed), sources, VARIOUS_STYLES[0], form, [], 7.0, meta={"vocals": {"people": []}}
    )


@pytest.mark.parametrize("kind", people_vocals.KINDS)
def test_every_kind_sounds_in_its_sections_only_and_says_who_it_was(sources: Sources, kind: str) -> None:
    song = draft(sources, 1)
    audio, f0 = people_vocals.KINDS[kind](song)
    assert audio.shape == (2, 7 * RATE)
    assert np.isfinite(audio).all()
    assert not np.abs(audio[:, : round(1.5 * RATE)]).max() > 1e-3
    assert np.sqrt(np.mean(audio[:, 2 * RATE : 6 * RATE] ** 2)) > 1e-3
    assert song.meta["vocals"]["people"]
    assert (f0 is not None) == (kind in ("sung", "few words"))


@pytest.mark.parametrize("backing", people_vocals._BACKINGS)
def test_voices_behind_a_lead_are_added_to_it(sources: Sources, backing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_vocals, "_BACKINGS", {backing: 1.0})
    song = draft(sources, 2)
    audio, f0 = people_vocals._sung(song)
    assert song.meta["vocals"]["backing"] == backing
    assert f0 is not None
    assert f0.any()
    side = np.abs(audio[0] - audio[1]).max() / np.abs(audio).max()
    assert (side > 0.1) == (backing not in ("none", "whisper"))


def test_called_out_words_may_come_where_nobody_sings(sources: Sources) -> None:
    heard = [np.abs(people_vocals.called_out(draft(sources, seed))[:, : round(1.5 * RATE)]).max() for seed in range(4)]
    assert max(heard) > 0.01


def test_words_are_called_out_in_some_instrumental_songs(sources: Sources) -> None:
    heard = 0
    for seed in range(8):
        song = draft(sources, seed)
        song.form = replace(song.form, sections=song.form.sections[:1])
        song.meta |= {"absent": ["bass", "vocals"]}
        audio, f0 = various_vocals(song)
        assert f0 is None
        assert (song.meta["absent"] == ["bass"]) == audio.any()
        heard += bool(audio.any())
    assert 0 < heard < 8


def test_the_same_state_sings_the_same(sources: Sources) -> None:
    songs = [draft(sources, 3), draft(sources, 3)]
    stems = [various_vocals(song)[0] for song in songs]
    assert songs[0].meta == songs[1].meta
    assert songs[0].meta["vocals"]["people"]
    np.testing.assert_array_equal(*stems)
    assert np.isfinite(stems[0]).all()


def test_a_voice_that_is_cut_up_has_no_melody(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(various, "_CUT", 1.0)
    song = draft(replace(sources, people_kinds=("sung",)), 4)
    audio, f0 = various_vocals(song)
    assert f0 is None
    assert audio.any()
    assert song.meta["vocals"]["treatments"][0] in ("stutter", "gated")


def test_people_sing_a_share_of_the_songs(sources: Sources) -> None:
    song = draft(replace(sources, people_share=0.0), 3)
    various_vocals(song)
    assert "clips" in song.meta["vocals"]


def test_songs_of_one_kind_have_vocals_of_that_kind(sources: Sources) -> None:
    one = replace(sources, people_kinds=("spoken",))
    song = render_song(np.random.default_rng(1), one)
    assert song.meta["vocals"]["kind"] == "spoken"
    assert song.stems["vocals"].any()


def test_samples_are_played_too_fast_or_too_slowly(sources: Sources) -> None:
    for seed in range(4):
        manner, moved = people_vocals._pitched(draft(sources, seed), choose_manner(np.random.default_rng(seed)))
        assert moved != 0
        assert 12 * np.log2(manner.formant) == pytest.approx(moved)


def test_vocals_alone_are_there_in_any_case(sources: Sources) -> None:
    for seed in range(2):
        song = render_vocals(np.random.default_rng(seed), sources)
        assert set(song.stems) == {"vocals"}
        assert np.abs(song.stems["vocals"]).max() == pytest.approx(0.7, abs=1e-3)
        assert song.meta["vocals"]["people"]


def test_people_who_say_too_little_are_an_error(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> None:
    few = list_people(write_speech(tmp_path_factory.mktemp("few"), ["made/1"], 1), (), without=True)
    with pytest.raises(StemsplitError, match="says enough"):
        people_vocals.draw_singer(draft(replace(sources, people=few), 0))
