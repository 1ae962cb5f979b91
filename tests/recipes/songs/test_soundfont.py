"""FluidSynth's part: stems apart and in time, and failures said."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from song_sources import sine_synth

from songs.draft import Synth
from songs.instruments import soundfont
from songs.instruments.soundfont import Playable
from stemsplit.errors import StemsplitError

PLAYER = """
import sys, mido, numpy, soundfile
score = mido.MidiFile(sys.argv[-1]); now = 0.0; audio = numpy.zeros((44100 * 60, 2))
for message in score:
    now += message.time
    if message.type == "note_on":
        audio[round(now * 44100)] = message.note / 1000 + message.channel / 10000
soundfile.write(sys.argv[sys.argv.index("-F") + 1], audio[: round(now * 44100) + 1], 44100, subtype="FLOAT")
"""


def fake_fluidsynth(folder: Path, body: str) -> None:
    program = folder / "fluidsynth"
    program.write_text(f"#!{sys.executable}\n{body}", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands in for the program")
def test_parts_come_back_apart_and_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_fluidsynth(tmp_path, PLAYER)
    monkeypatch.setenv("PATH", str(tmp_path))
    bass = ((0.25, 9.0, 40, 90), (0.9, 0.1, 41, 90))
    parts = [Playable(((0.5, 0.2, 60, 90),), 0), Playable(bass, 33), Playable(((0.0, 1.0, 36, 90),), 8, 9)]
    played = soundfont.play(parts, tmp_path / "font.sf2", 1.0)
    assert [audio.shape for audio in played] == [(2, 44100)] * 3
    onsets = [np.flatnonzero(audio[0]) / 44100 for audio in played]
    np.testing.assert_allclose(onsets[0], [0.5], atol=0.002)
    np.testing.assert_allclose(onsets[1], [0.25, 0.9], atol=0.002)
    assert played[2][0].max() == pytest.approx(0.036 + 0.0009, abs=1e-5)


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands in for the program")
def test_a_player_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = [Playable(((0.0, 0.2, 60, 90),), 0)]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StemsplitError, match="not installed"):
        soundfont.play(part, tmp_path / "font.sf2", 1.0)
    fake_fluidsynth(tmp_path, "import sys; sys.exit('no such font')")
    with pytest.raises(StemsplitError, match=r"font\.sf2: no such font"):
        soundfont.play(part, tmp_path / "font.sf2", 1.0)
    assert soundfont.play([], tmp_path / "font.sf2", 1.0) == []


def test_the_sine_synth_matches_the_protocol() -> None:
    synth: Synth = sine_synth
    assert synth([Playable(((0.0, 0.1, 60, 90),), 0)], Path("x"), 0.5)[0].shape == (2, 22050)
