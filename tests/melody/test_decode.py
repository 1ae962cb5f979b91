"""Posteriors of known singing come back as that singing, at any hop, in bounded memory; nonsense is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemsplit.errors import ModelError, UsageError
from stemsplit.melody.contour import Contour
from stemsplit.melody.decode import BLOCK, Decoding, check_decoding, decode
from stemsplit.melody.pitch import PitchGrid

GRID = PitchGrid(65.0, 20.0, 200)
SMALL = PitchGrid(100.0, 50.0, 12)
HOP = 0.01
SMOOTHINGS = ("viterbi", "median", "none")


def posteriors(hz: np.ndarray, sung: np.ndarray, grid: PitchGrid = GRID, sigma_cents: float = 25.0) -> np.ndarray:
    """What a sure network says of pitches (n,) and probabilities of being sung (n,)."""
    away = (np.arange(grid.bins) - grid.bins_of(hz)[:, None]) * grid.cents / sigma_cents
    bump = np.exp(-0.5 * away**2) + 1e-9
    rows = np.concatenate((1 - sung[:, None], bump / bump.sum(1, keepdims=True) * sung[:, None]), axis=1)
    return rows.astype(np.float32)


def steady(hz: float, frames: int, sung: float = 0.95) -> np.ndarray:
    return posteriors(np.full(frames, hz), np.full(frames, sung))


def blocks(rows: np.ndarray, size: int = 70) -> Iterator[np.ndarray]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def read(rows: np.ndarray, **settings: object) -> Contour:
    return decode([rows], GRID, HOP, Decoding(**settings))  # type: ignore[arg-type]


def cents(one: np.ndarray, other: np.ndarray | float) -> np.ndarray:
    return np.abs(1200 * np.log2(one / other))


@pytest.mark.parametrize("smooth", SMOOTHINGS)
def test_a_glide_with_vibrato_is_found_to_a_few_cents(smooth: str) -> None:
    frames = np.arange(1500)
    hz = 220 * 2 ** (np.sin(frames / 200) / 2 + 0.04 * np.sin(2 * np.pi * 6 * frames * HOP))
    contour = read(posteriors(hz, np.full(len(hz), 0.9)), smooth=smooth)
    assert len(contour) == 1500
    assert contour.hop == HOP
    assert contour.frequency.dtype == np.float64
    assert contour.confidence.dtype == np.float32
    assert contour.voiced.all()
    np.testing.assert_allclose(contour.confidence, 0.9, atol=1e-5)
    assert cents(contour.frequency, hz).max() < (20 if smooth == "median" else 3)


@pytest.mark.parametrize("smooth", SMOOTHINGS)
@pytest.mark.parametrize("hop_ms", [10.0, 5.0, 29.0])
def test_how_the_stream_is_cut_does_not_matter(smooth: str, hop_ms: float) -> None:
    rng = np.random.default_rng(3)
    rows = rng.random((2500, 1 + SMALL.bins)).astype(np.float32) ** 4 + 1e-3
    rows /= rows.sum(1, keepdims=True)
    decoding = Decoding(smooth=smooth, hop_ms=hop_ms)  # type: ignore[arg-type]
    whole = decode([rows], SMALL, HOP, decoding)
    for size in (1, 37, 2 * BLOCK):
        cut = decode(blocks(rows, size), SMALL, HOP, decoding)
        np.testing.assert_allclose(cut.confidence, whole.confidence, atol=1e-6)
        np.testing.assert_array_equal(cut.voiced, whole.voiced)
        np.testing.assert_allclose(cut.frequency, whole.frequency, rtol=1e-5)


@pytest.mark.parametrize("smooth", SMOOTHINGS)
def test_unvoiced_frames_keep_their_guess(smooth: str) -> None:
    contour = read(steady(330.0, 100, sung=0.3), smooth=smooth)
    assert not contour.voiced.any()
    assert cents(contour.frequency, 330.0).max() < 1


@pytest.mark.parametrize("smooth", SMOOTHINGS)
def test_silence_nothing_and_one_frame(smooth: str) -> None:
    silent = np.zeros((50, 1 + GRID.bins), dtype=np.float32)
    silent[:, 0] = 1
    contour = read(silent, smooth=smooth)
    assert not contour.voiced.any()
    assert (contour.frequency > 0).all()
    for empty in ([], [np.empty((0, 1 + GRID.bins), np.float32)]):
        assert len(decode(empty, GRID, HOP, Decoding(smooth=smooth))) == 0  # type: ignore[arg-type]
    one = read(steady(200.0, 1), smooth=smooth, hop_ms=7)
    assert len(one) == 1
    assert cents(one.frequency, 200.0)[0] < 1


def test_the_edges_of_the_grid_are_no_walls() -> None:
    for hz in (GRID.lowest_hz, GRID.hz()[-1]):
        assert cents(read(steady(hz, 30)).frequency, hz).max() < 25


def test_smoothing_removes_a_short_octave_error() -> None:
    rows = steady(220.0, 100)
    rows[50:52] = steady(440.0, 2)
    away = cents(read(rows, smooth="none").frequency, 220.0)
    assert (away[50:52] > 1100).all()
    rows[50:52] = 0.4 * steady(220.0, 2) + 0.6 * steady(440.0, 2)
    for smooth in ("viterbi", "median"):
        assert cents(read(rows, smooth=smooth).frequency, 220.0).max() < 5


# --- voicing


def test_the_threshold_decides() -> None:
    sung = np.repeat([0.2, 0.5, 0.8], 30)
    rows = posteriors(np.full(90, 220.0), sung)
    for threshold, count in ((0.0, 90), (0.4, 60), (0.7, 30), (1.0, 0)):
        assert read(rows, threshold=threshold).voiced.sum() == count


@pytest.mark.parametrize(("frames", "kept"), [(4, False), (5, True)])
def test_runs_under_50_ms_are_dropped(frames: int, kept: bool) -> None:
    sung = np.zeros(60)
    sung[20 : 20 + frames] = 0.9
    assert read(posteriors(np.full(60, 220.0), sung)).voiced.any() == kept


def test_only_short_gaps_inside_one_note_are_closed() -> None:
    sung, hz = np.full(120, 0.9), np.full(120, 220.0)
    sung[30:33] = sung[60:64] = sung[90:92] = 0.1
    hz[91:] = 330
    voiced = read(posteriors(hz, sung), smooth="none").voiced
    assert voiced[30:33].all()
    assert not voiced[60:64].any()
    assert not voiced[90:92].any()
    assert voiced.sum() == 114


def test_gaps_at_the_ends_stay() -> None:
    sung = np.full(40, 0.9)
    sung[:2] = sung[-2:] = 0
    assert np.flatnonzero(read(posteriors(np.full(40, 220.0), sung)).voiced).tolist() == list(range(2, 38))


# --- the range of pitches


def test_pitches_outside_of_the_range_are_not_considered() -> None:
    rows = 0.7 * steady(110.0, 50) + 0.3 * steady(220.0, 50)
    for smooth in SMOOTHINGS:
        contour = read(rows, fmin=150, fmax=400, smooth=smooth)
        assert cents(contour.frequency, 220.0).max() < 2
        np.testing.assert_allclose(contour.confidence, 0.95, atol=1e-5)


@given(st.floats(65, 600), st.floats(1.0005, 3), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_frequencies_are_within_the_range(fmin: float, factor: float, seed: int) -> None:
    fmax = min(fmin * factor, 640.0)
    rows = np.random.default_rng(seed).random((40, 1 + GRID.bins)).astype(np.float32) ** 6
    rows /= rows.sum(1, keepdims=True)
    contour = read(rows, fmin=fmin, fmax=fmax)
    assert (contour.frequency >= fmin).all()
    assert (contour.frequency <= fmax).all()


def test_a_frame_that_has_nothing_in_the_range_says_so_without_nan() -> None:
    rows = np.zeros((20, 1 + GRID.bins), dtype=np.float32)
    rows[:, 3] = 1
    for smooth in SMOOTHINGS:
        contour = read(rows, fmin=300, smooth=smooth)
        assert np.isfinite(contour.frequency).all()
        assert (contour.frequency >= 300).all()


# --- hops


@pytest.mark.parametrize(
    ("frames", "hop_ms", "expected"),
    [
        (101, 10, 101),
        (101, 20, 51),
        (100, 20, 50),
        (101, 5, 201),
        (101, 5.8, 173),
        (101, 1000, 2),
        (1, 3, 1),
        (101, 3, 334),
    ],
)
def test_frames_go_to_the_last_one_that_came_in(frames: int, hop_ms: float, expected: int) -> None:
    contour = decode(blocks(steady(220.0, frames), 13), GRID, HOP, Decoding(hop_ms=hop_ms))
    assert len(contour) == expected
    assert contour.times[-1] <= (frames - 1) * HOP + 1e-9
    assert contour.times[-1] + hop_ms / 1000 > (frames - 1) * HOP


def test_an_hour_of_frames_does_not_drift() -> None:
    rows = np.full((360_000, 2), 0.5, dtype=np.float32)
    for hop_ms, expected in ((20, 180_000), (30, 120_000)):
        decoding = Decoding(hop_ms=hop_ms, smooth="none")
        assert len(decode(blocks(rows, 5000), PitchGrid(100, 100, 1), HOP, decoding)) == expected


@pytest.mark.parametrize("hop_ms", [2.5, 20.0, 50.0])
def test_other_hops_follow_the_same_pitch(hop_ms: float) -> None:
    frames = np.arange(800)
    hz = 220 * 2 ** (np.sin(frames / 60) / 3)
    contour = decode(blocks(posteriors(hz, np.full(800, 0.9))), GRID, HOP, Decoding(hop_ms=hop_ms))
    truth = 2 ** np.interp(contour.times, frames * HOP, np.log2(hz))
    assert cents(contour.frequency, truth).max() < 6


def test_between_two_notes_there_is_no_third() -> None:
    rows = np.concatenate((steady(220.0, 50), steady(440.0, 50)))
    contour = read(rows, hop_ms=2.5)
    assert np.minimum(cents(contour.frequency, 220.0), cents(contour.frequency, 440.0)).max() < 2


def test_an_octave_error_is_ridden_out_at_every_hop() -> None:
    rows = steady(220.0, 100)
    rows[50:53] = 0.3 * steady(220.0, 3) + 0.7 * steady(440.0, 3)
    for hop_ms in (2.0, 5.0, 10.0):
        assert cents(read(rows, hop_ms=hop_ms).frequency, 220.0).max() < 5


# --- refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hop_ms": 0}, "hop"),
        ({"hop_ms": -1}, "hop"),
        ({"hop_ms": float("nan")}, "hop"),
        ({"hop_ms": float("inf")}, "hop"),
        ({"threshold": 1.1}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"fmin": 300, "fmax": 300}, "not below"),
        ({"fmin": 400, "fmax": 300}, "not below"),
        ({"fmin": 30}, "outside.*65 to 651 Hz"),
        ({"fmax": 2000}, "outside"),
        ({"fmin": float("nan")}, "outside"),
        ({"smooth": "gauss"}, "viterbi, median, none"),
    ],
)
def test_requests_that_cannot_be_carried_out(settings: dict[str, object], message: str) -> None:
    decoding = Decoding(**settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message):
        check_decoding(GRID, decoding)

    def unread() -> Iterator[np.ndarray]:
        raise AssertionError("nothing is read before")
        yield

    with pytest.raises(UsageError, match=message):
        decode(unread(), GRID, HOP, decoding)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 7.0])
@pytest.mark.parametrize("smooth", SMOOTHINGS)
def test_what_is_no_probability_is_refused(value: float, smooth: str) -> None:
    rows = steady(220.0, 50)
    rows[30, 5] = value
    with pytest.raises(ModelError, match="melody network"):
        read(rows, smooth=smooth)


def test_rows_of_another_grid_are_refused() -> None:
    for shape in ((10, GRID.bins), (10,)):
        with pytest.raises(ModelError, match="config"):
            decode([np.full(shape, 1 / GRID.bins, np.float32)], GRID, HOP, Decoding())


# --- memory


def peak_beside_the_contour(seconds: int, smooth: str, hop_ms: float = 10.0) -> int:
    """Most bytes held at once while decoding, less three times those of the contour."""

    def stream() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        for _ in range(seconds // 5):
            rows = rng.random((500, 1 + SMALL.bins), dtype=np.float32)
            yield rows / rows.sum(1, keepdims=True)

    tracemalloc.start()
    try:
        contour = decode(stream(), SMALL, HOP, Decoding(smooth=smooth, hop_ms=hop_ms))  # type: ignore[arg-type]
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return held - 3 * (contour.frequency.nbytes + contour.confidence.nbytes + contour.voiced.nbytes)


@pytest.mark.parametrize(("smooth", "seconds"), [("none", 7200), ("median", 7200), ("viterbi", 120)])
def test_memory_does_not_grow_with_the_song(smooth: str, seconds: int) -> None:
    assert peak_beside_the_contour(seconds, smooth) < peak_beside_the_contour(30, smooth) + 300_000
