"""Notes played with a soundfont, by the program FluidSynth."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from songs.instruments.synths import Event
from songs.mix.effects import RATE
from stemsplit.errors import StemsplitError

_TICKS = 960  # per second, at 60 quarters a minute
_TAIL = 2.0  # seconds that a part has to ring out
_MELODIC = tuple(c for c in range(16) if c != 9)


@dataclass(frozen=True)
class Playable:
    """A part for the synthesizer, and its General MIDI program."""

    events: tuple[Event, ...]
    program: int
    channel: int | None = None
    """9 for percussion, None for any of the others."""


def play(parts: Sequence[Playable], soundfont: Path, seconds: float) -> list[np.ndarray]:
    """Play every part alone, and return float32 (2, samples) of `seconds` at 44.1 kHz for each.

    All parts are laid one after another in one MIDI file, because loading a soundfont takes longer than playing it.

    Raises:
        StemsplitError: FluidSynth is missing, or fails.
    """
    if not parts:
        return []
    with tempfile.TemporaryDirectory() as folder:
        score, wave = Path(folder) / "parts.mid", Path(folder) / "parts.wav"
        _write_midi(parts, seconds + _TAIL, score)
        _fluidsynth(soundfont, score, wave)
        audio = soundfile.read(wave, dtype="float32", always_2d=True)[0].T
    length, stride = round(seconds * RATE), round((seconds + _TAIL) * RATE)
    audio = np.pad(audio, ((0, 0), (0, max(0, stride * len(parts) - audio.shape[1]))))
    return [audio[:, i * stride : i * stride + length].copy() for i in range(len(parts))]


def _fluidsynth(soundfont: Path, score: Path, wave: Path) -> None:
    program = shutil.which("fluidsynth")
    if program is None:
        raise StemsplitError("fluidsynth is not installed; install it (Debian: apt install fluidsynth) to render songs")
    options = "-ni -q -R 0 -C 0 -g 0.5 -O float -T wav -o synth.dynamic-sample-loading=1 -o synth.polyphony=256"
    command = [program, *options.split(), "-r", str(RATE), "-F", str(wave), str(soundfont), str(score)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not wave.exists():
        raise StemsplitError(f"fluidsynth could not play {soundfont}: {done.stderr.strip()[-300:] or done.returncode}")


def _write_midi(parts: Sequence[Playable], stride: float, target: Path) -> None:
    """Write the parts one after another, one every `stride` seconds."""
    events: list[tuple[int, int, str, dict[str, int]]] = []  # tick, order within the tick, kind of message, its fields
    for index, part in enumerate(parts):
        channel = part.channel if part.channel is not None else _MELODIC[index % len(_MELODIC)]
        offset = round(index * stride * _TICKS)
        events.append((offset, 0, "program_change", {"channel": channel, "program": part.program}))
        for start, duration, key, velocity in part.events:
            on = offset + round(max(start, 0.0) * _TICKS)
            off = on + max(1, round(min(duration, stride - start - 0.5) * _TICKS))
            events.append((on, 2, "note_on", {"channel": channel, "note": key, "velocity": velocity}))
            events.append((off, 1, "note_off", {"channel": channel, "note": key}))
        silence = {"channel": channel, "control": 120}
        events.append((offset + round((stride - 0.05) * _TICKS), 3, "control_change", silence))
    _save(events, target)


def _save(events: list[tuple[int, int, str, dict[str, int]]], target: Path) -> None:
    import mido

    track, now = mido.MidiTrack(), 0
    track.append(mido.MetaMessage("set_tempo", tempo=1_000_000))
    for tick, _, kind, fields in sorted(events, key=lambda e: (e[0], e[1])):
        # unchecked, because checking notes takes longer than playing them
        track.append(mido.Message(kind, skip_checks=True, time=tick - now, **fields))
        now = tick
    score = mido.MidiFile(ticks_per_beat=_TICKS)
    score.tracks.append(track)
    score.save(target)
