"""The fast path in bounded memory is the one that a slow and readable search through the whole file finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemsplit.melody import viterbi
from stemsplit.melody.viterbi import Motion, follow

MOTION = Motion(step=0.1, jump=12.0, reach=6)


def move_costs(bins: int, motion: Motion) -> np.ndarray:
    """(from, to)"""
    moves = np.abs(np.arange(bins)[:, None] - np.arange(bins)[None, :])
    return np.where(moves <= motion.reach, np.minimum(motion.step * moves, motion.jump), motion.jump)


def heard(rows: np.ndarray, motion: Motion) -> np.ndarray:
    return -motion.weight * np.log(rows[:, 1:].astype(np.float64) + viterbi.FLOOR)


def sung(rows: np.ndarray) -> np.ndarray:
    """How much frame t and the one before are sung, from t = 1 on."""
    return 1 - np.maximum(rows[1:, 0], rows[:-1, 0]).astype(np.float64)


def slow_path(rows: np.ndarray, motion: Motion) -> np.ndarray:
    """The cheapest path of all, by trying every move between every two bins."""
    costs, moves, evidence = heard(rows, motion)[0], move_costs(rows.shape[1] - 1, motion), heard(rows, motion)
    back = []
    for frame, voicing in enumerate(sung(rows), 1):
        through = costs[:, None] + voicing * moves
        back.append(through.argmin(0))
        costs = through.min(0) + evidence[frame]
    path = [int(costs.argmin())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return np.array(path[::-1])


def cost(rows: np.ndarray, path: np.ndarray, motion: Motion) -> float:
    moves = move_costs(rows.shape[1] - 1, motion)[path[:-1], path[1:]]
    return float(heard(rows, motion)[np.arange(len(path)), path].sum() + (sung(rows) * moves).sum())


def fast_path(rows: np.ndarray, motion: Motion, block: int = 100) -> np.ndarray:
    out = list(follow((rows[start : start + block] for start in range(0, len(rows), block)), motion))
    np.testing.assert_array_equal(np.concatenate([kept for kept, _ in out]), rows)
    return np.concatenate([path for _, path in out])


def random_rows(seed: int, frames: int, bins: int, sharpness: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.exp(sharpness * rng.standard_normal((frames, 1 + bins)))
    return (rows / rows.sum(1, keepdims=True)).astype(np.float32)


def singing(seed: int, frames: int, bins: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of notes with vibrato, pauses, octave errors and noise, and the pitch (bins) that was sung."""
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.integers(12, 80, frames // 12 + 1))
    note = np.searchsorted(edges, np.arange(frames), side="right")
    pitch = rng.uniform(5, bins / 3, len(edges) + 1)[note] + np.sin(np.arange(frames) * 0.35)
    silent = (rng.random(len(edges) + 1) < 0.3)[note]
    wrong = np.repeat(rng.random(frames // 4 + 1) < 0.06, 4)[:frames]
    bump = np.exp(-0.5 * ((np.arange(bins) - pitch[:, None]) / 1.3) ** 2)
    octave = np.exp(-0.5 * ((np.arange(bins) - pitch[:, None] - 60 % bins) / 1.3) ** 2)
    voice = np.where(wrong[:, None], 0.35 * bump + 0.65 * octave, 0.8 * bump + 0.2 * octave)
    voice += 0.02 * rng.random((frames, bins)) ** 4
    unsung = np.where(silent, 0.97, 0.04)[:, None]
    rows = np.concatenate((unsung, voice / voice.sum(1, keepdims=True) * (1 - unsung)), axis=1)
    return rows.astype(np.float32), np.where(silent, np.nan, pitch)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 30),
    st.floats(0, 4),
    st.sampled_from([MOTION, Motion(0.5, 1.0, 1, 0.1), Motion(0.01, 6.0, 25, 2.0), Motion(0.0, 2.0, 3)]),
)
def test_no_path_is_cheaper(seed: int, frames: int, bins: int, sharpness: float, motion: Motion) -> None:
    rows = random_rows(seed, frames, bins, sharpness)
    fast, slow = fast_path(rows, motion, block=7), slow_path(rows, motion)
    assert fast.shape == slow.shape
    assert fast.dtype == np.int64
    assert cost(rows, fast, motion) <= cost(rows, slow, motion) + 1e-3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("window", "lookahead"), [(1024, 300), (50, 100)])
def test_singing_in_windows_is_as_the_whole_file(
    seed: int, window: int, lookahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viterbi, "WINDOW", window)
    monkeypatch.setattr(viterbi, "LOOKAHEAD", lookahead)
    rows, _ = singing(seed, 3000)
    np.testing.assert_array_equal(fast_path(rows, MOTION), slow_path(rows, MOTION))


def test_octave_errors_are_ridden_out_and_leaps_after_a_pause_are_not() -> None:
    rows, pitch = singing(5, 4000)
    path = fast_path(rows, MOTION)
    known = ~np.isnan(pitch)
    followed = np.abs(path - pitch)[known] < 3
    alone = np.abs(rows[:, 1:].argmax(1) - pitch)[known] < 3
    assert alone.mean() < 0.96
    assert followed.mean() > 0.99


def test_a_note_does_not_depend_on_the_one_before_the_pause() -> None:
    rows = np.full((60, 41), 1e-6, dtype=np.float32)
    rows[:25, 31] = rows[45:50, 6] = 1  # high, silence, low and short
    rows[25:45, 0] = rows[50:, 0] = 1
    path = fast_path(rows, MOTION)
    assert (path[:25] == 30).all()
    assert (path[45:50] == 5).all()


@pytest.mark.parametrize("reach", range(1, 40))
def test_strides_make_every_move(reach: int) -> None:
    made = {0}
    for stride in Motion(1.0, 1e9, reach).strides():
        made |= {move + way for move in made for way in (stride, -stride)}
    assert made >= set(range(-reach, reach + 1))
    assert max(made) == reach


def test_nothing_and_one_frame() -> None:
    assert list(follow([], MOTION)) == []
    assert list(follow([np.empty((0, 9), np.float32)], MOTION)) == []
    rows = random_rows(1, 1, 8, 1)
    assert fast_path(rows, MOTION).tolist() == [rows[0, 1:].argmax()]


def test_silence_and_zeros_go_through() -> None:
    rows = np.zeros((500, 21), dtype=np.float32)
    rows[:, 0] = 1
    path = fast_path(rows, MOTION)
    assert path.shape == (500,)
    assert ((path >= 0) & (path < 20)).all()
