"""The stream against a whole-array truth: chunk by chunk, as MSST describes it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemsplit.errors import UsageError
from stemsplit.separation.chunks import Chunk, Chunking, OverlapAdd, chunks

Estimate = Callable[[np.ndarray], np.ndarray]  # (channels, chunk) → (K, channels, chunk)


def identity(samples: np.ndarray) -> np.ndarray:
    return samples[None]


def whole_chunk(samples: np.ndarray) -> np.ndarray:
    """Like the real network in what matters here: a sample depends on the whole chunk and on its place."""
    ramp = np.linspace(-1, 1, samples.shape[-1], dtype=np.float32)
    return np.stack([samples * ramp + samples.mean(), np.flip(samples, axis=-1), np.abs(samples) + 0.1])


def truth(mixture: np.ndarray, estimate: Estimate, chunk: int, step: int) -> np.ndarray:
    """MSST's chunking with one chunk per batch, all at once: (channels, length) → (K, channels, length).

    Except that what fits into one chunk is one, and not filled; and that the end is never filled with silence.
    """
    if mixture.shape[-1] <= chunk:
        return estimate(mixture)
    border, length, ramp = chunk - step, mixture.shape[-1], min(chunk // 10, step)  # MSST has no step this small
    mirrored = length > 2 * border and border > 0
    if mirrored:
        mixture = np.pad(mixture, ((0, 0), (border, border)), mode="reflect")
    total = weight = 0.0
    for start in range(0, mixture.shape[-1], step):
        part = mixture[:, start : start + chunk]
        size = part.shape[-1]
        mode = "reflect" if size > 1 else "constant"
        stems = estimate(np.pad(part, ((0, 0), (0, chunk - size)), mode=mode))
        window = np.ones(chunk)
        if start > 0:
            window[:ramp] = np.maximum(np.linspace(0, 1, ramp), 1e-8)  # MSST divides by zero where nothing overlaps
        if start + step < mixture.shape[-1]:
            window[chunk - ramp :] = np.maximum(np.linspace(0, 1, ramp), 1e-8)[::-1]
        after = mixture.shape[-1] - start - size
        total = total + np.pad(stems[..., :size] * window[:size], ((0, 0), (0, 0), (start, after)))
        weight = weight + np.pad(window[:size], (start, after))
    result = total / weight
    return result[..., border : border + length] if mirrored else result


def overlap_add(estimated: Iterable[tuple[Chunk, np.ndarray]], chunking: Chunking) -> Iterator[np.ndarray]:
    joined = OverlapAdd(chunking)
    for chunk, estimate in estimated:
        if (block := joined.add(chunk, estimate)) is not None:
            yield block


def stream(blocks: list[np.ndarray], estimate: Estimate, chunking: Chunking) -> np.ndarray:
    estimated = ((chunk, estimate(chunk.samples)) for chunk in chunks(blocks, chunking))
    return np.concatenate(list(overlap_add(estimated, chunking)), axis=-1)


def noise(length: int, channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(length)
    return rng.standard_normal((channels, length)).astype(np.float32)


def cut(samples: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Blocks of these sizes, over and over until nothing is left."""
    blocks, position = [], 0
    while position < samples.shape[-1]:
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(samples[:, position : position + size])
        position += size
    return blocks


in_its_own_time = settings(deadline=None)  # a busy machine is no failure
lengths = st.integers(1, 150)
chunk_samples = st.integers(1, 60)
block_sizes = st.lists(st.integers(0, 90), min_size=1, max_size=5).filter(any)


@in_its_own_time
@given(lengths, chunk_samples, st.floats(0, 1, exclude_max=True), block_sizes)
def test_equals_the_whole_array_truth(length: int, chunk: int, overlap: float, sizes: list[int]) -> None:
    chunking, mixture = Chunking(chunk, overlap), noise(length)
    expected = truth(mixture, whole_chunk, chunk, chunking.step_samples)
    np.testing.assert_allclose(stream(cut(mixture, sizes), whole_chunk, chunking), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 7, 20, 1000])
def test_equals_the_truth_at_every_length_of_the_reference_overlap(size: int) -> None:
    chunking = Chunking(40, 0.5)
    for length in range(1, 140):
        mixture = noise(length, channels=1)
        expected = truth(mixture, whole_chunk, 40, 20)
        np.testing.assert_allclose(
            stream(cut(mixture, [size]), whole_chunk, chunking),
            expected,
            atol=1e-5,
            err_msg=f"length {length}",
        )


@in_its_own_time
@given(lengths, chunk_samples, st.floats(0, 1, exclude_max=True), block_sizes, st.integers(1, 3))
def test_identity_gives_the_input_back(
    length: int, chunk: int, overlap: float, sizes: list[int], channels: int
) -> None:
    mixture = noise(length, channels)
    stems = stream(cut(mixture, sizes), identity, Chunking(chunk, overlap))
    assert stems.dtype == np.float32
    np.testing.assert_allclose(stems, mixture[None], rtol=1e-5, atol=1e-6)


@in_its_own_time
@given(lengths, chunk_samples, st.floats(0, 0.99), block_sizes)
def test_the_block_sizes_do_not_change_a_bit(length: int, chunk: int, overlap: float, sizes: list[int]) -> None:
    chunking, mixture = Chunking(chunk, overlap), noise(length)
    at_once = stream([mixture], whole_chunk, chunking)
    np.testing.assert_array_equal(stream(cut(mixture, sizes), whole_chunk, chunking), at_once)


@in_its_own_time
@given(lengths, chunk_samples, st.floats(0, 0.99))
def test_chunks_tile_the_source(length: int, chunk: int, overlap: float) -> None:
    chunking = Chunking(chunk, overlap)
    pieces = list(chunks([noise(length)], chunking))
    assert {piece.samples.shape for piece in pieces} == {(2, min(length, chunk))}
    assert {b.begin - a.begin for a, b in pairwise(pieces)} <= {chunking.step_samples}
    finished = [at for piece in pieces for at in range(piece.begin + piece.first, piece.begin + piece.last)]
    assert finished == list(range(length))


@pytest.mark.parametrize("blocks", [[], [np.zeros((2, 0), np.float32)] * 3])
def test_nothing_in_nothing_out(blocks: list[np.ndarray]) -> None:
    chunking = Chunking(10, 0.5)
    assert list(overlap_add(((c, identity(c.samples)) for c in chunks(blocks, chunking)), chunking)) == []


@pytest.mark.parametrize("length", [21, 30, 39, 40])
def test_the_first_sample_of_a_short_file_is_kept(length: int) -> None:
    """MSST returns 0 for it above half a chunk and up to a whole one, when one batch holds both chunks."""
    mixture = noise(length) + 10
    np.testing.assert_allclose(stream([mixture], identity, Chunking(40, 0.5))[0], mixture, rtol=1e-6)


def test_the_mirrored_border_and_the_filled_end() -> None:
    mixture = np.arange(10, dtype=np.float32)[None]
    seen = [chunk.samples[0].astype(int).tolist() for chunk in chunks([mixture], Chunking(4, 0.5))]
    assert seen == [[2, 1, 0, 1], [0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9], [8, 9, 8, 7]]


@in_its_own_time
@given(chunk_samples, st.floats(0, 1, exclude_max=True), st.data())
def test_what_fits_into_a_chunk_is_one_as_long_as_it_is(chunk: int, overlap: float, data: st.DataObject) -> None:
    length, shortest = data.draw(st.integers(1, chunk)), data.draw(st.integers(1, chunk))
    mixture, chunking = noise(length), Chunking(chunk, overlap, shortest_samples=shortest)
    (piece,) = chunks([mixture], chunking)
    assert piece.samples.shape == (2, max(length, shortest))
    np.testing.assert_array_equal(piece.samples[:, :length], mixture)
    np.testing.assert_array_equal(stream([mixture], identity, chunking)[0], mixture)


@pytest.mark.parametrize(
    ("length", "seen"),
    [(1, [0, 0, 0, 0, 0, 0]), (3, [0, 1, 2, 1, 0, 1]), (4, [0, 1, 2, 3, 2, 1]), (6, [0, 1, 2, 3, 4, 5])],
)
def test_what_is_too_short_for_the_network_is_filled(length: int, seen: list[int]) -> None:
    mixture = np.arange(length, dtype=np.float32)[None]
    (piece,) = chunks([mixture], Chunking(8, 0.5, shortest_samples=6))
    assert piece.samples[0].astype(int).tolist() == seen
    assert (piece.first, piece.last) == (0, length)


@in_its_own_time
@given(chunk_samples, st.floats(0, 1, exclude_max=True))
def test_every_weight_is_positive(chunk: int, overlap: float) -> None:
    window = Chunking(chunk, overlap).window()
    assert window.shape == (chunk,)
    assert window.min() > 0
    assert window.max() <= 1
    np.testing.assert_array_equal(window, window[::-1])


def test_the_window_of_the_reference() -> None:
    window = Chunking(132300, 0.5).window()
    np.testing.assert_allclose(window[:13230], np.linspace(0, 1, 13230), atol=1e-7)
    assert (window[13230:-13230] == 1).all()


@pytest.mark.parametrize("samples", [100_000, 1_000_000])
def test_memory_does_not_grow_with_the_length(samples: int) -> None:
    chunking, block = Chunking(2000, 0.75), noise(1024)
    blocks: Iterator[np.ndarray] = (block for _ in range(samples // 1024))
    tracemalloc.start()
    for _ in overlap_add(((chunk, identity(chunk.samples)) for chunk in chunks(blocks, chunking)), chunking):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 2000 * 2 * 4  # a dozen stereo chunks


def test_reads_no_further_than_it_must() -> None:
    """A live stream gets its stems two chunks late at most, not at its end."""
    chunking, read, written = Chunking(100, 0.5), 0, 0

    def source() -> Iterator[np.ndarray]:
        nonlocal read
        for _ in range(500):
            read += 10
            yield np.ones((1, 10), np.float32)

    estimated = ((chunk, identity(chunk.samples)) for chunk in chunks(source(), chunking))
    for stems in overlap_add(estimated, chunking):
        assert read - written <= 2 * 100 + 10
        written += stems.shape[-1]
    assert written == 5000


def test_one_block_may_be_the_whole_song() -> None:
    """In linear time: it is copied once, every chunk is a view of the copy."""
    pieces = list(islice(chunks([noise(100_000)], Chunking(100, 0.5)), 1000))
    assert len({id(piece.samples.base) for piece in pieces}) == 1


@pytest.mark.parametrize(
    ("chunk", "overlap", "batch"),
    [(0, 0.5, 1), (-1, 0.5, 1), (10, 1, 1), (10, -0.1, 1), (10, float("nan"), 1), (10, 0.5, 0)],
)
def test_impossible_numbers_are_refused(chunk: int, overlap: float, batch: int) -> None:
    with pytest.raises(UsageError):
        Chunking(chunk, overlap, batch)


@in_its_own_time
@given(chunk_samples, st.floats(0, 1, exclude_max=True))
def test_a_step_always_moves(chunk: int, overlap: float) -> None:
    chunking = Chunking(chunk, overlap)
    assert 1 <= chunking.step_samples <= chunk
    assert chunking.step_samples + chunking.border_samples == chunk


def plain_truth(mixture: np.ndarray, estimate: Estimate, chunk: int, step: int) -> np.ndarray:
    """The mean of chunks where they overlap, of which the last is filled with silence."""
    length = mixture.shape[-1]
    if length <= chunk:
        return estimate(mixture)
    count = -(-(length - (chunk - step)) // step)
    filled = np.pad(mixture, ((0, 0), (0, (count - 1) * step + chunk - length)))
    total = weight = 0.0
    for start in range(0, count * step, step):
        after = filled.shape[-1] - start - chunk
        total = total + np.pad(estimate(filled[:, start : start + chunk]), ((0, 0), (0, 0), (start, after)))
        weight = weight + np.pad(np.ones(chunk), (start, after))
    return (total / weight)[..., :length]


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("length", [1, 19, 20, 21, 30, 31, 40, 59, 60, 61, 117])
def test_plain_chunks_are_averaged_and_their_ends_left_alone(length: int, overlap: float) -> None:
    chunking = Chunking(20, overlap, plain=True)
    found = stream(cut(noise(length), [7, 1, 0, 30]), whole_chunk, chunking)
    expected = plain_truth(noise(length), whole_chunk, 20, chunking.step_samples)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def centred_truth(mixture: np.ndarray, estimate: Estimate, chunk: int, step: int) -> np.ndarray:
    """Demucs's way: chunks in the middle of what is around them, with weights that are a triangle."""
    length = mixture.shape[-1]
    around = np.pad(mixture, ((0, 0), (chunk, chunk)))
    triangle = np.minimum(np.arange(1, chunk + 1), np.arange(chunk, 0, -1)) / -(-chunk // 2)
    total, weight = 0.0, np.zeros(length)
    for start in range(0, length, step):
        own = min(chunk, length - start)
        lead = (chunk - own) // 2
        seen = around[:, chunk + start - lead :][:, :chunk]
        stems = estimate(seen)[..., lead : lead + own] * triangle[:own]
        total = total + np.pad(stems, ((0, 0), (0, 0), (start, length - start - own)))
        weight[start : start + own] += triangle[:own]
    return total / weight


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("chunk", [20, 21])
@pytest.mark.parametrize("length", [1, 2, 14, 15, 16, 19, 20, 21, 31, 34, 35, 40, 59, 60, 61, 117])
def test_centred_chunks_are_seen_in_the_middle_and_weighed_by_a_triangle(
    length: int, chunk: int, overlap: float
) -> None:
    chunking = Chunking(chunk, overlap, centred=True)
    found = stream(cut(noise(length), [7, 1, 0, 30]), whole_chunk, chunking)
    expected = centred_truth(noise(length), whole_chunk, chunk, chunking.step_samples)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_centred_chunks_of_nothing_are_none() -> None:
    assert list(chunks([], Chunking(20, 0.25, centred=True))) == []
    assert list(chunks([noise(0)], Chunking(20, 0.25, centred=True))) == []


def test_a_long_stream_of_centred_chunks_holds_a_few_chunks() -> None:
    blocks = (np.zeros((2, 1000), np.float32) for _ in range(3000))
    tracemalloc.start()
    count = sum(1 for _ in chunks(blocks, Chunking(4000, 0.25, centred=True)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 1000
    assert peak < 10 * 4000 * 2 * 4
