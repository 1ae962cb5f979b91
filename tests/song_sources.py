"""Tiny sources for rendering songs in tests: sine voices, noise drums, a synth of sines, no soundfont, no download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mido
import numpy as np
import soundfile

from songs.composition.score import QUALITIES, Chord, Form, Section
from songs.draft import Kit, Sources
from songs.instruments import drums
from songs.instruments.soundfont import Playable
from songs.voices import recorded, voicebank

RATE = 44100


def sine_synth(parts: Sequence[Playable], soundfont: Path, seconds: float) -> list[np.ndarray]:
    """A decaying sine per event."""
    return [_sines(part, seconds) for part in parts]


def _sines(part: Playable, seconds: float) -> np.ndarray:
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    for start, duration, key, velocity in part.events:
        time = np.arange(round(min(duration, 0.2) * RATE)) / RATE
        first = round(start * RATE)
        tone = velocity / 127 * np.exp(-8 * time) * np.sin(2 * np.pi * 440 * 2 ** ((key - 69) / 12) * time)
        audio[:, first : first + len(tone)] += tone[: max(0, audio.shape[1] - first)].astype(np.float32)
    return audio


def write_drums(folder: Path) -> Path:
    """Two noise bursts per class, one for training and one held out."""
    rng = np.random.default_rng(0)
    for name in ("kick", "snare", "clap", "hat_closed", "hat_open", "tom", "crash", "ride", "percussion"):
        (folder / name).mkdir(parents=True)
        for prefix in ("stargate__", "uzu__"):
            burst = 0.5 * rng.standard_normal(2000) * np.exp(-np.arange(2000) / 300)
            soundfile.write(folder / name / f"{prefix}{name}.flac", np.clip(burst, -1, 1), RATE)
    return folder


def write_take(path: Path, bars: int = 2) -> Path:
    """A backbeat as a MIDI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    track = mido.MidiTrack()
    for beat in range(4 * bars):
        for key in (36 if beat % 2 == 0 else 38, 42):
            track.append(mido.Message("note_on", channel=9, note=key, velocity=100, time=0))
        track.append(mido.Message("note_off", channel=9, note=42, time=480))
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.append(track)
    file.save(path)
    return path


def write_groove(folder: Path) -> Path:
    """info.csv with a train, a validation and a test take, one in 3/4 and one fill."""
    rows = [("a.mid", "rock", 100, "beat", "4-4", "train"), ("b.mid", "funk/groove1", 120, "beat", "4-4", "test"),
            ("c.mid", "rock", 100, "beat", "3-4", "train"), ("d.mid", "rock", 95, "fill", "4-4", "train"),
            ("e.mid", "jazz", 140, "beat", "4-4", "validation")]  # fmt: skip
    lines = ["style,bpm,beat_type,time_signature,midi_filename,split"]
    for name, style, tempo, kind, signature, split in rows:
        write_take(folder / name, 1 if kind == "fill" else 2)
        lines.append(f"{style},{tempo},{kind},{signature},{name},{split}")
    (folder / "info.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def write_loop(path: Path, tempo: float, beats: int, late: float = 0.0, rest: float = 0.0) -> Path:
    """A drum loop: a loud click on every fourth beat and a soft one on the others, between silences of so many s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = np.zeros(round((beats * 60 / tempo + late + rest) * 48000), np.float32)
    for beat in range(beats):
        first = round((beat * 60 / tempo + late) * 48000)
        audio[first : first + 480] = (0.8 if beat % 4 == 0 else 0.3) * np.sin(np.arange(480) * 0.6)
    soundfile.write(path, audio, 48000, format="OGG", subtype="OPUS")
    return path


def write_bank(folder: Path, rows: Sequence[tuple[str, float, float]], seconds: float = 0.6) -> Path:
    """A recorded instrument: decaying tones, each with its note's name, its MIDI pitch, and the one measured."""
    folder.mkdir(parents=True)
    lines = ["sample,start_s,length_s,source_path,note_in_name,midi_if_c4_is_60,measured_f0_hz,measured_midi,peak_db"]
    parts = []
    for index, (name, pitch, measured) in enumerate(rows):
        time = np.arange(round(seconds * 48000)) / 48000
        parts += [0.5 * np.exp(-2 * time) * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time), np.zeros(4800)]
        lines.append(f"{name}_f,{index * (seconds + 0.1):.4f},{seconds},x/{name}.wav,{name},,,{measured},-6.0")
    soundfile.write(folder / "bank.opus", np.concatenate(parts), 48000, format="OGG", subtype="OPUS")
    (folder / "mapping.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def write_clips(folder: Path, singers: Sequence[str] = ("ann", "bob")) -> Path:
    """Two one-second clips per singer at 16 kHz, and their labels."""
    folder.mkdir(parents=True)
    time = np.arange(16000) / 16000
    labels = {}
    for singer in singers:
        for part in ("01", "02"):
            name = f"{singer}_1_{part}"
            voice = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 30))
            soundfile.write(folder / f"{name}.voice.opus", 0.2 * voice, 16000, format="OGG", subtype="OPUS")
            labels[name] = np.full(49, 57.0, np.float32)
    np.savez(folder / "labels.npz", **labels)
    return folder


def vowel_frames(syllable: voicebank.Syllable) -> voicebank.Frames:
    """WORLD frames of a steady buzz: flat falling spectrum, fully voiced."""
    bins = voicebank.FFT_SIZE // 2 + 1
    envelope = np.tile(-8 - 6 * np.linspace(0, 1, bins), (100, 1)).astype(np.float16)
    return voicebank.Frames(envelope, np.full((100, bins), 1e-3, np.float16), np.ones(100, bool))


def vowel_bank() -> voicebank.Bank:
    """Two syllables, each after silence and after 'a'."""
    table = {
        (before, kana): voicebank.Syllable(Path(f"{kana}.opus"), before, kana, 0.0, 0.1, None, 0.0, 0.05, 0.03)
        for before in ("-", "a")
        for kana in ("あ", "ら")
    }
    return voicebank.Bank("test", 60.0, table)


def small_sources(folder: Path, **changes: object) -> Sources:
    """Sources of eight-second songs."""
    values: dict[str, object] = {
        "synth": sine_synth,
        "soundfont": Path("none.sf2"),
        "takes": drums.list_takes(write_groove(folder / "groove"), ("train",)),
        "shots": drums.list_one_shots(write_drums(folder / "drums"), "stargate__"),
        "kits": (Kit(Path("none.sf2"), 0, 9),),
        "banks": ((vowel_bank(), 1.0),),
        "clips": recorded.list_clips(write_clips(folder / "clips"), None),
        "impulses": (),
        "store": voicebank.AnalysisStore(None, vowel_frames),
        "clip_share": 1.0,
        "seconds": (8.0, 10.0),
    }
    return Sources(**{**values, **changes})  # type: ignore[arg-type]


def chord_form(swing: float = 0.0, bars: int = 4) -> Form:
    """C major, a chord a bar, bass in the first half only."""
    half = bars * 2
    chords = tuple(Chord(4.0 * i, 4.0, root, QUALITIES["M"]) for i, root in enumerate([0, 7, 5, 0] * (bars // 4)))
    everyone, few = frozenset({"bass", "other0", "vocals", "drums"}), frozenset({"other0"})
    sections = (Section(0, half, everyone, "A"), Section(half, half, few, "B"))
    return Form(120.0, 0, "major", swing, chords, sections)


def vocal_form() -> Form:
    """A bar of bass, then two bars of vocals, at 120 quarters a minute."""
    none, both = frozenset({"bass"}), frozenset({"vocals"})
    return Form(120.0, 0, "major", 0.0, (), (Section(0, 4, none, "A"), Section(4, 8, both, "B")))


def spectrum(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz, and the power at each along the last axis."""
    return np.fft.rfftfreq(audio.shape[-1], 1 / RATE), np.abs(np.fft.rfft(audio, axis=-1)) ** 2


def speech(hertz: float, words: int = 3, syllables: int = 3) -> np.ndarray:
    """Made-up talk at 16 kHz: words of a hiss and a vowel each syllable, 0.3 s apart, and pauses of 0.3 s between them.

    Syllable k of a word has its hiss 0.3 k s after the word's start, for 0.1 s, and its vowel, for 0.18 s, after that.
    """
    rng, rate = np.random.default_rng(round(hertz)), 16000
    time = np.arange(round(0.18 * rate)) / rate
    window = np.minimum(1, np.minimum(time, time[::-1]) / 0.02)
    spoken = []
    for word in range(words):
        for index in range(syllables):
            formants = ((700, 1200), (300, 2300), (400, 800))[(word + index) % 3]
            f0 = hertz * (1 + 0.05 * index)
            gains = [sum(1 / (1 + ((k * f0 - f) / 120) ** 2) for f in formants) + 0.02 for k in range(1, 40)]
            vowel = sum(g * np.sin(2 * np.pi * k * f0 * time) for k, g in enumerate(gains, 1) if k * f0 < 7500)
            hiss = np.diff(rng.standard_normal(round(0.1 * rate) + 1)) * np.hanning(round(0.1 * rate))
            spoken += [0.05 * hiss, 0.1 * window * vowel, np.zeros(round(0.02 * rate))]
        spoken.append(np.zeros(round(0.3 * rate)))
    talk = np.concatenate([np.zeros(1600), *spoken])
    return talk + 1e-5 * rng.standard_normal(len(talk))


def write_speech(folder: Path, people: Sequence[str], words: int = 3) -> Path:
    """A recording of every person, called SOURCE/SPEAKER; their pitches differ."""
    for number, name in enumerate(people):
        (folder / name).mkdir(parents=True)
        sound = speech(110 + 35 * number, words)
        soundfile.write(folder / name / "01.opus", sound, 16000, format="OGG", subtype="OPUS")
    return folder
