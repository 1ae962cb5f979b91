"""More instruments: amplifiers, rooms, machine drums, gliding leads, and the mix bus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from songs.instruments import amp, drums, leads, machine_drums
from songs.mix import bus, effects, rooms

RATE = 44100


def spectrum(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.fft.rfftfreq(audio.shape[-1], 1 / RATE), np.abs(np.fft.rfft(audio, axis=-1)) ** 2


def test_a_bell_changes_its_band_only() -> None:
    noise = np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    hertz, before = spectrum(noise)
    _, after = spectrum(effects.bell(noise, 1000.0, 12.0, 2.0))
    gain = [10 * np.log10(after[:, band].sum() / before[:, band].sum())
            for band in ((hertz > 980) & (hertz < 1020), hertz < 100, hertz > 10000)]  # fmt: skip
    np.testing.assert_allclose(gain, [12, 0, 0], atol=0.3)


def test_widening_leaves_mono_as_it_is() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 4410)).astype(np.float32)
    wide = effects.widen(noise, 0.01, 0.5)
    np.testing.assert_allclose(wide.mean(0), noise.mean(0), atol=1e-6)
    assert np.std(wide[0] - wide[1]) > 1.05 * np.std(noise[0] - noise[1])


def test_an_amplifier_adds_overtones_inside_the_cabinets_band() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)
    added = []
    for seed in range(8):
        hertz, power = spectrum(amp.amplify(np.random.default_rng(seed), np.stack([tone, tone]).astype(np.float32)))
        added.append(power[:, (hertz > 600) & (hertz < 3000)].sum() / power.sum())
        assert power[:, hertz > 14000].sum() < 1e-4 * power.sum()
    assert max(added) > 0.1
    assert not amp.amplify(np.random.default_rng(0), np.zeros((2, 1000), np.float32)).any()


def test_rooms_die_away_treble_first() -> None:
    for seed in range(5):
        room = rooms.synthetic_room(np.random.default_rng(seed))
        assert room.shape[0] == 2
        assert np.isfinite(room).all()
        third = room.shape[1] // 3
        assert (room[:, -third:] ** 2).sum() < 0.05 * (room[:, :third] ** 2).sum() + 1e-9
        hertz, early = spectrum(room[:, third // 2 : third])
        _, late = spectrum(room[:, -third // 2 :])
        share = [power[:, hertz[: power.shape[1]] > 6000].sum() / power.sum() for power in (early, late)]
        assert share[1] < share[0] * 1.2


@pytest.mark.parametrize("key", sorted(drums.CLASS_OF_KEY))
def test_machines_sound_for_every_key_and_end(key: int) -> None:
    rng = np.random.default_rng(key)
    loud, soft, name = machine_drums.machine_voice(rng, key, drums.OneShots({})) or pytest.fail("no sound")
    assert name == Path(f"machine-{drums.CLASS_OF_KEY[key]}")
    assert loud.ndim == 1
    assert soft.shape == loud.shape
    assert 0.05 < np.abs(loud).max() < 2
    assert np.isfinite(loud).all()
    assert np.abs(loud[-100:]).max() < 0.12 * np.abs(loud).max()


def test_unknown_keys_have_no_machine() -> None:
    assert machine_drums.machine_voice(np.random.default_rng(0), 1, drums.OneShots({})) is None


def test_lines_glide_and_arrive() -> None:
    events = [(0.0, 0.5, 60, 100), (0.5, 0.5, 67, 100)]
    pitch = leads.glided(events, RATE, 0.1)
    assert pitch[round(0.4 * RATE)] == 60
    assert 62 < pitch[round(0.55 * RATE)] < 65
    assert pitch[round(0.7 * RATE)] == 67
    np.testing.assert_array_equal(leads.glided([], 10, 0.1), np.full(10, 60.0))


@pytest.mark.parametrize("synth", [leads.synth_lead, leads.sub_bass])
def test_gliding_synths_play_the_pitch_when_asked_and_nothing_else(synth: object) -> None:
    for seed in range(4):
        audio = synth(np.random.default_rng(seed), [(0.5, 1.0, 45, 100)], 3.0)  # type: ignore[operator]
        assert audio.shape == (2, 3 * RATE)
        assert np.isfinite(audio).all()
        assert np.abs(audio[:, : int(0.45 * RATE)]).max() < 1e-3
        assert np.abs(audio[:, int(2.2 * RATE) :]).max() < 0.02 * np.abs(audio).max()
        part = audio[0, int(0.9 * RATE) : int(1.4 * RATE)]
        hertz, power = spectrum(part * np.hanning(len(part)))
        assert power[(hertz > 100) & (hertz < 120)].sum() > 0.2 * power.sum()  # A2, 110 Hz


def loud_stems() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    swell = np.linspace(0.05, 1, 2 * RATE, dtype=np.float32)
    return {name: rng.standard_normal((2, 2 * RATE)).astype(np.float32) * 0.1 * swell for name in "abc"}


def test_the_bus_gives_every_stem_the_same_gain() -> None:
    stems = loud_stems()
    before = np.sum(list(stems.values()), axis=0, dtype=np.float64)
    for seed in range(6):
        out, settings = bus.master(np.random.default_rng(seed), stems)
        after = np.sum(list(out.values()), axis=0, dtype=np.float64)
        gain = out["a"][0] / stems["a"][0]
        np.testing.assert_allclose(after, before * gain, atol=1e-5)
        np.testing.assert_allclose(out["c"][1], stems["c"][1] * gain, atol=1e-5)
        assert np.abs(after).max() <= 0.98 + 1e-4
        assert max(np.abs(stem).max() for stem in out.values()) <= 0.99 + 1e-4
        assert set(settings) == {"ratio", "push_db"}
        assert gain[1000:10000].mean() > 1.1 * gain[-10000:].mean()  # what was quiet came up


def test_limiting_looks_ahead_and_lets_quiet_music_pass() -> None:
    mixture = np.full((2, RATE), 0.1, np.float32)
    mixture[:, RATE // 2] = 2.0
    gain = bus.limiting(mixture, 0.5)
    assert np.abs(mixture * gain).max() <= 0.5 + 1e-6
    assert gain[RATE // 2 - 100] < 0.9
    np.testing.assert_allclose(gain[: RATE // 4], 1.0)
    assert np.abs(np.diff(gain)).max() < 0.02


def test_compression_of_silence_is_finite() -> None:
    assert np.isfinite(bus.compression(np.zeros((2, 100), np.float32), 2.0, -10.0, 0.05)).all()
    out, _ = bus.master(np.random.default_rng(0), {"a": np.zeros((2, 1000), np.float32)})
    assert not out["a"].any()
