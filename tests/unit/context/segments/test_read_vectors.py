"""Vectors that have been read are kept nearly as they were."""

from uuid import uuid4

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.segments.cache import SegmentCache
from copilot_domain.context.segments.kept import ENTRY_BYTES
from copilot_domain.context.segments.read_vectors import ReadVectors, SegmentVectors, vector_bytes
from copilot_domain.context.segments.types import Numbers

DIMENSIONS = 64
SIZES = (3, 0, 5, 40)
STARTS = np.cumsum([0, *SIZES])


def unit_vectors(count: int, seed: int = 1) -> Numbers:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    unit: Numbers = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def unread() -> ReadVectors:
    return ReadVectors([SegmentVectors(size, "m", DIMENSIONS) for size in SIZES], STARTS, DIMENSIONS)


@given(st.sets(st.integers(0, sum(SIZES) - 1)), st.sets(st.integers(0, sum(SIZES) - 1)))
def test_what_has_been_read_is_there_and_nothing_else(read: set[int], asked: set[int]) -> None:
    known, vectors = unread(), unit_vectors(sum(SIZES))
    places = np.array(sorted(read), np.int64)
    known.add(places, vectors[places])
    wanted = np.array(sorted(asked), np.int64)
    are_there = known.are_there(wanted)
    assert are_there.tolist() == [place in read for place in wanted.tolist()]
    expected = vectors[wanted] * are_there[:, None]
    assert known.at(wanted).shape == expected.shape
    assert np.allclose(known.at(wanted), expected, atol=1e-5)


def test_products_hardly_change() -> None:
    known = SegmentVectors(1_000, "m", DIMENSIONS)
    vectors, question = unit_vectors(1_000), unit_vectors(1, seed=2)[0]
    known.add(np.arange(1_000), vectors)
    read = known.at(np.arange(1_000))
    assert np.abs(read @ question - vectors @ question).max() < 2e-5


def test_what_has_no_vector_yet_may_have_one_later() -> None:
    known, vectors, places = unread(), unit_vectors(2), np.array([1, 4])
    vectors[1] = 0
    known.add(places, vectors)
    assert known.are_there(places).tolist() == [True, False]
    known.add(places[1:], unit_vectors(1))
    assert known.are_there(places).all()


def test_it_takes_memory_for_what_has_been_read() -> None:
    known, vectors = SegmentVectors(60_000, "m", DIMENSIONS), unit_vectors(1_000)
    for first in range(0, 1_000, 50):
        known.add(np.arange(first, first + 50) * 60, vectors[first : first + 50])
    assert known.memory_bytes < 60_000 * 4 + 1.5 * 1_000 * vector_bytes(DIMENSIONS)
    assert np.allclose(known.at(np.arange(1_000) * 60), vectors, atol=1e-5)


def test_full_it_takes_what_it_is_said_to() -> None:
    known = SegmentVectors(300, "m", DIMENSIONS)
    for _ in range(2):
        known.add(np.arange(300), unit_vectors(300))
    assert known.memory_bytes == 300 * vector_bytes(DIMENSIONS)


def test_vectors_of_another_model_take_their_place() -> None:
    cache, segment = SegmentCache(), uuid4()
    (before,) = cache.vectors({segment: 5}, "m", DIMENSIONS) or []
    before.add(np.arange(5), unit_vectors(5))
    (again,) = cache.vectors({segment: 5}, "m", DIMENSIONS) or []
    assert again.are_read(np.arange(5)).all()
    (other,) = cache.vectors({segment: 5}, "n", DIMENSIONS) or []
    assert not other.are_read(np.arange(5)).any()
    (anew,) = cache.vectors({segment: 5}, "m", DIMENSIONS) or []
    assert not anew.are_read(np.arange(5)).any()


def test_segments_that_would_drive_one_another_out_are_not_kept() -> None:
    sizes = {uuid4(): 10 for _ in range(3)}
    needed = 3 * (ENTRY_BYTES + 10 * vector_bytes(DIMENSIONS))
    assert SegmentCache(max_vectors_bytes=needed - 1).vectors(sizes, "m", DIMENSIONS) is None
    cache = SegmentCache(max_vectors_bytes=needed)
    for one in cache.vectors(sizes, "m", DIMENSIONS) or []:
        one.add(np.arange(10), unit_vectors(10))
    assert all(one.are_read(np.arange(10)).all() for one in cache.vectors(sizes, "m", DIMENSIONS) or [])
