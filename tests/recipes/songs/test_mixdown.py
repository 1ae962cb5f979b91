"""Levels, limits and rooms of stems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("scipy")

from songs.mix import mixdown


def test_active_level_ignores_rests_and_silence_is_zero() -> None:
    tone = np.zeros((2, 441000), np.float32)
    tone[:, :44100] = 0.5
    assert mixdown.active_level(tone) == pytest.approx(0.5, rel=1e-3)
    assert mixdown.active_level(np.zeros((2, 10))) == 0.0
    assert mixdown.active_level(np.zeros((2, 0))) == 0.0


def test_limit_rounds_peaks_and_keeps_the_rest() -> None:
    rng = np.random.default_rng(0)
    audio = (0.05 * rng.standard_normal((2, 44100))).astype(np.float32)
    audio[:, 1000] = 0.9
    out = mixdown.limit(audio, 12.0)
    assert np.abs(out).max() <= 0.05 * 10 ** (12 / 20) * 1.05
    quiet = np.abs(audio) < 0.08
    np.testing.assert_array_equal(out[quiet], audio[quiet])


def test_balance_scales_all_stems_alike_and_keeps_the_sum_below_the_ceiling() -> None:
    rng = np.random.default_rng(1)
    stems = {name: rng.standard_normal((2, 44100)).astype(np.float32) * 5 for name in mixdown.STEMS}
    stems["bass"][:] = 0
    mixed, gains = mixdown.balance_stems(rng, stems)
    assert np.abs(sum(mixed.values())).max() <= 0.9 + 1e-5
    assert not mixed["bass"].any()
    for name in ("drums", "other", "vocals"):
        ratio = mixed[name] / stems[name]
        assert ratio.std() < 1e-5 * ratio.mean()
    assert all(-8 <= gain <= 8 for gain in gains.values())


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_impulses_become_stereo(tmp_path: Path, channels: int) -> None:
    path = tmp_path / f"räume {channels}.flac"
    soundfile.write(path, np.eye(500, channels) * 0.5, 48000)
    impulse = mixdown.read_impulse(path)
    assert impulse.shape[0] == 2
    assert impulse.shape[1] == pytest.approx(500 * 44100 / 48000, abs=2)
