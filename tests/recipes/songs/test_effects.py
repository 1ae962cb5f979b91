"""Effects: levels, lengths, finiteness, and what each is for."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mido")
pytest.importorskip("scipy")

from scipy import signal
from song_sources import RATE, spectrum

from songs.mix import effects


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, int(seconds * RATE))).astype(np.float32) * 0.1


def power_between(audio: np.ndarray, low: float, high: float) -> float:
    hertz, power = spectrum(audio)
    return float(power[..., (hertz >= low) & (hertz < high)].mean())


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


@pytest.mark.parametrize(("samples", "taps"), [(1, 1), (1, 5000), (44100, 3), (50000, 44100), (3000, 1025)])
def test_convolution_is_what_scipy_makes_of_it(samples: int, taps: int) -> None:
    rng = np.random.default_rng(0)
    sound, impulse = (rng.standard_normal((2, n)).astype(np.float32) for n in (samples, taps))
    truth = signal.fftconvolve(sound.astype(np.float64), impulse.astype(np.float64), axes=1)[:, :samples]
    np.testing.assert_allclose(effects.convolve(sound, impulse), truth, atol=2e-5 * np.abs(truth).max())
