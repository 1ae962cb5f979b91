"""Treatments and synthesizers: levels, lengths, finiteness, and what each is for."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from songs.instruments import synths
from songs.mix import effects

RATE = 44100


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, int(seconds * RATE))).astype(np.float32) * 0.1


def power_between(audio: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(audio)) ** 2
    hertz = np.fft.rfftfreq(audio.shape[-1], 1 / RATE)
    return float(spectrum[..., (hertz >= low) & (hertz < high)].mean())


@pytest.mark.parametrize("position", [-1.0, -0.3, 0.0, 0.8, 1.0])
def test_panning_keeps_power(position: float) -> None:
    mono = noise()[0]
    stereo = effects.pan(mono, position)
    assert (stereo**2).sum() == pytest.approx(2 * (mono**2).sum(), rel=1e-4)
    assert np.sign((stereo[1] ** 2).sum() - (stereo[0] ** 2).sum()) == np.sign(position) or position == 0


@pytest.mark.parametrize(("decibels", "high"), [(6.0, True), (-6.0, True), (6.0, False), (-6.0, False)])
def test_shelves_change_their_side_only(decibels: float, high: bool) -> None:
    audio = noise(4.0)
    out = effects.shelf(audio, 1000.0, decibels, high=high)
    low = 10 * np.log10(power_between(out, 20, 150) / power_between(audio, 20, 150))
    top = 10 * np.log10(power_between(out, 8000, 20000) / power_between(audio, 8000, 20000))
    assert (top if high else low) == pytest.approx(decibels, abs=0.3)
    assert (low if high else top) == pytest.approx(0.0, abs=0.3)


def test_filters_pass_and_stop() -> None:
    audio = noise(2.0)
    low, high = effects.lowpass(audio, 1000.0, 4), effects.highpass(audio, 1000.0, 4)
    assert power_between(low, 5000, 10000) < 1e-4 * power_between(audio, 5000, 10000)
    assert power_between(high, 20, 150) < 1e-3 * power_between(audio, 20, 150)
    assert effects.lowpass(audio, 30000.0).shape == audio.shape


@pytest.mark.parametrize("samples", [1, 7, 100])
def test_silence_and_single_samples_pass(samples: int) -> None:
    silence = np.zeros((2, samples), np.float32)
    impulse = noise(0.01)
    for out in (
        effects.saturate(silence, 3.0),
        effects.compress(silence, 4.0),
        effects.reverb(silence, impulse, 0.5),
        effects.echo(silence, 0.0005, 0.5),
        effects.chorus(silence, 1.0, 0.002),
    ):
        assert out.shape == silence.shape
        assert not out.any()


def test_saturation_keeps_the_level_and_bounds_peaks() -> None:
    audio = noise()
    audio[:, 50] = 5.0
    out = effects.saturate(audio, 4.0)
    level = np.percentile(np.abs(audio), 99)
    assert np.abs(out).max() <= level * 1.1
    assert np.percentile(np.abs(out), 99) == pytest.approx(level, rel=0.1)


def test_compression_turns_down_the_loud_half_only() -> None:
    audio = noise(2.0)
    audio[:, RATE:] *= 0.05
    out = effects.compress(audio, 4.0, -12.0)
    loud, quiet = slice(RATE // 2, RATE), slice(RATE + RATE // 2, None)
    assert (out[:, loud] ** 2).mean() < 0.4 * (audio[:, loud] ** 2).mean()
    np.testing.assert_allclose(out[:, quiet], audio[:, quiet], rtol=1e-4)


def test_reverb_rings_on_at_the_level_asked_for() -> None:
    audio = noise(2.0)
    audio[:, RATE // 2 :] = 0
    tail = np.random.default_rng(1).standard_normal((2, RATE)).astype(np.float32) * np.exp(-np.arange(RATE) / 8000)
    out = effects.reverb(audio, tail.astype(np.float32), 0.5)
    assert out.shape == audio.shape
    assert ((out - audio) ** 2).mean() == pytest.approx(0.25 * (audio**2).mean(), rel=0.01)
    assert np.abs(out[:, RATE // 2 + 1000 : RATE // 2 + 3000]).max() > 0.001


def test_echo_repeats_on_the_other_side() -> None:
    click = np.zeros((2, 1000), np.float32)
    click[0, 0] = 1.0
    out = effects.echo(click, 100 / RATE, 0.5, 3)
    assert out[1, 100] == 0.5
    assert out[0, 200] == 0.25
    assert out[1, 300] == 0.125
    assert np.count_nonzero(out) == 4


def test_ducking_dips_at_each_time_and_recovers() -> None:
    gain = effects.ducking([0.5, 5.0], RATE, 0.6)
    assert gain[: RATE // 2].min() == 1.0
    assert gain.min() == pytest.approx(0.4, abs=0.03)
    assert gain[int(0.76 * RATE) :].min() == 1.0
    assert len(gain) == RATE


def test_narrow_and_balance() -> None:
    audio = noise()
    mono = effects.narrow(audio, 0.0)
    np.testing.assert_array_equal(mono[0], mono[1])
    np.testing.assert_allclose(effects.narrow(audio, 1.0), audio, atol=1e-6)
    left = effects.balance(audio, -1.0)
    assert not left[1].any()
    np.testing.assert_array_equal(left[0], audio[0])


@pytest.mark.parametrize("synth", [synths.synth_bass, synths.synth_pad])
def test_synths_play_the_pitch_when_asked_and_nothing_else(synth: object) -> None:
    for seed in range(4):
        audio = synth(np.random.default_rng(seed), [(0.5, 0.5, 57, 100)], 2.0)  # type: ignore[operator]
        assert audio.shape == (2, 2 * RATE)
        assert not audio[:, : RATE // 2 - 1].any()
        assert np.abs(audio[:, int(1.6 * RATE) :]).max() < 0.01
        part = audio[0, RATE // 2 : RATE] * np.hanning(RATE // 2)
        peak = np.abs(np.fft.rfft(part, 8 * RATE))[: 8 * 2000].argmax() / 8
        assert min(abs(peak - 220 * k) for k in (1, 2, 3)) < 4


def test_synths_without_events_or_past_the_end() -> None:
    rng = np.random.default_rng(0)
    assert not synths.synth_bass(rng, [], 0.5).any()
    assert not synths.synth_pad(rng, [(3.0, 1.0, 60, 90)], 0.5).any()


def test_risers_swell_before_their_time() -> None:
    audio = synths.risers(np.random.default_rng(0), [3.0, 0.0], 4.0)
    assert not audio[:, : RATE - 10].any()
    assert (audio[:, int(2.8 * RATE) : 3 * RATE] ** 2).mean() > 100 * (audio[:, RATE : int(1.5 * RATE)] ** 2).mean()
    assert 20 * np.log10(np.sqrt((audio[:, int(2.9 * RATE) : 3 * RATE] ** 2).mean())) == pytest.approx(-30, abs=3)


def test_saws_do_not_alias() -> None:
    wave = synths.saw(3001.0, RATE)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(RATE)))
    spectrum[[k + d for k in range(0, 22050, 3001) for d in range(-4, 5) if 0 <= k + d < len(spectrum)]] = 0
    assert 20 * np.log10(spectrum[:6000].max() / (RATE / 4)) < -35
