"""Vectors that have been read are kept nearly as they were."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

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
    return ReadVectors([SegmentVectors.unread(size, DIMENSIONS) for size in SIZES], STARTS, DIMENSIONS)


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
    known = SegmentVectors.unread(1_000, DIMENSIONS)
    vectors, question = unit_vectors(1_000), unit_vectors(1, seed=2)[0]
    known.add(np.arange(1_000), vectors)
    read = known.numbers * known.units[:, None]
    assert np.abs(read @ question - vectors @ question).max() < 2e-5


def test_what_has_no_vector_yet_may_have_one_later() -> None:
    known, vectors, places = unread(), unit_vectors(2), np.array([1, 4])
    vectors[1] = 0
    known.add(places, vectors)
    assert known.are_there(places).tolist() == [True, False]
    known.add(places[1:], unit_vectors(1))
    assert known.are_there(places).all()


def test_it_takes_what_it_is_said_to() -> None:
    segment = SegmentVectors.unread(10, DIMENSIONS)
    assert segment.numbers.nbytes + segment.units.nbytes == 10 * vector_bytes(DIMENSIONS)
