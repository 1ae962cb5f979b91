"""Blocks in other sizes: nothing is lost, doubled, copied twice or read too early."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemsplit.audio import Rechunker, rechunked

sizes = st.lists(st.integers(0, 9), max_size=12)


def counted(lengths: list[int], axis: int = -1) -> list[np.ndarray]:
    """Blocks (2, n), or (n, 2) along axis 0, that count up."""
    edges = np.cumsum([0, *lengths])
    blocks = [np.stack([np.arange(a, b)] * 2) for a, b in pairwise(edges)]
    return [block if axis == -1 else block.T for block in blocks]


@given(sizes, st.integers(1, 7), st.sampled_from([-1, 0]))
def test_all_of_it_comes_in_the_new_size(lengths: list[int], count: int, axis: int) -> None:
    found = list(rechunked(counted(lengths, axis), count, axis))
    assert all(block.shape[axis] == count for block in found[:-1])
    assert all(0 < block.shape[axis] <= count for block in found)
    joined = np.concatenate([np.zeros((2, 0)), *(block if axis == -1 else block.T for block in found)], axis=1)
    np.testing.assert_array_equal(joined[0], np.arange(sum(lengths)))


@given(sizes, st.integers(0, 12))
def test_all_but_the_last_come_and_the_last_are_kept(lengths: list[int], count: int) -> None:
    source = Rechunker(counted(lengths))
    before = [block[0] for block in source.all_but(count)]
    kept = source.take(10**6)
    rest = np.zeros(0) if kept is None else kept[0]
    np.testing.assert_array_equal(np.concatenate([np.zeros(0), *before, rest]), np.arange(sum(lengths)))
    assert len(rest) == min(count, sum(lengths))


def test_a_look_changes_nothing_and_no_more_is_read_than_is_needed() -> None:
    read: list[int] = []

    def blocks() -> Iterator[np.ndarray]:
        for block in counted([4, 4, 4]):
            read.append(block.shape[1])
            yield block

    source = Rechunker(blocks())
    assert source.peek(3)[0].tolist() == source.peek(3)[0].tolist() == [0, 1, 2]  # type: ignore[index]
    assert read == [4]
    source.drop(2)
    source.put_back(np.array([[9], [9]]))
    assert source.take(5)[0].tolist() == [9, 2, 3, 4, 5]  # type: ignore[index]
    assert read == [4, 4]
    assert source.take(100)[0].tolist() == [6, 7, 8, 9, 10, 11]  # type: ignore[index]
    assert source.take(1).shape == (2, 0)  # type: ignore[union-attr]


def test_nothing_comes_of_nothing() -> None:
    assert Rechunker([]).peek(3) is None
    assert list(rechunked([], 3)) == []


def test_pieces_of_one_block_are_views_of_it() -> None:
    block = np.zeros((2, 1000))
    assert all(piece.base is block for piece in rechunked([block], 10))


@pytest.mark.parametrize("count", [1, 5])
def test_a_kind_of_number_stays(count: int) -> None:
    assert {block.dtype for block in rechunked([np.zeros((2, 7), np.float32)], count)} == {np.dtype(np.float32)}
