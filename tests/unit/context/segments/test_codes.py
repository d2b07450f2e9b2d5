"""Candidates by vectors in four bits a component."""

import numpy as np
import pytest

from copilot_domain.context.segments.codes import Codes, encode_vectors, nearest, similarities
from copilot_domain.context.segments.types import Numbers

RNG = np.random.default_rng(7)
_FIRST = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """For each test, whichever ran before it in this process."""
    RNG.bit_generator.state = _FIRST


def unit(count: int, dimensions: int = 256) -> Numbers:
    return _scaled(RNG.normal(size=(count, dimensions)))


def around(query: Numbers, count: int) -> Numbers:
    """As near to it as a passage is to a question that it answers: a cosine of about 0.5."""
    return _scaled(query + 1.7 / len(query) ** 0.5 * RNG.normal(size=(count, len(query))))


def _scaled(vectors: Numbers) -> Numbers:
    scaled: Numbers = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def encoded(vectors: Numbers) -> Codes:
    return Codes.decode(encode_vectors(vectors).tobytes(), len(vectors))


def in_two(vectors: Numbers) -> tuple[list[Codes], Numbers]:
    middle = len(vectors) // 3
    return [encoded(vectors[:middle]), encoded(vectors[middle:])], np.array([0, middle])


@pytest.mark.parametrize("dimensions", [256, 384, 100])
def test_the_true_best_are_among_the_candidates(dimensions: int) -> None:
    vectors, queries = unit(12_000, dimensions), unit(20, dimensions)
    for number, query in enumerate(queries):
        vectors[number * 10 : number * 10 + 10] = around(query, 10)
    codes, starts = in_two(vectors)
    found = []
    for query in queries:
        best = set(np.argsort(-(vectors @ query))[:10].tolist())
        places = nearest(codes, starts, query, 100)
        assert len(set(places.tolist())) == 100
        found.append(len(best & set(places.tolist())) / 10)
    assert np.mean(found) > 0.98


def test_where_there_are_few_all_are_candidates() -> None:
    codes, starts = in_two(unit(400))
    assert nearest(codes, starts, unit(1)[0], 400).tolist() == list(range(400))


def test_only_allowed_places_are_candidates() -> None:
    vectors, query = unit(5_000), unit(1)[0]
    vectors[1_000:1_020] = around(query, 20)
    codes, starts = in_two(vectors)
    allowed = np.sort(RNG.choice(5_000, 2_500, replace=False))
    places = nearest(codes, starts, query, 400, allowed)
    assert set(places.tolist()) <= set(allowed.tolist())
    assert set(range(1_000, 1_020)) & set(allowed.tolist()) <= set(places.tolist())
    assert nearest(codes, starts, query, 400, allowed[:30]).tolist() == allowed[:30].tolist()
    assert len(nearest(codes, starts, query, 400, allowed[:0])) == 0


def test_places_of_segments_without_codes_are_left_out() -> None:
    """The second segment begins at 900 although the first with codes ends at 300."""
    vectors = unit(1_000)
    places = nearest([encoded(vectors[:300]), encoded(vectors[300:])], np.array([0, 900]), unit(1)[0], 2_000)
    assert places.tolist() == [*range(300), *range(900, 1_600)]


@pytest.mark.parametrize("dimensions", [256, 33])
def test_an_order_by_codes_is_nearly_that_of_the_vectors(dimensions: int) -> None:
    vectors, query = unit(400, dimensions), unit(1, dimensions)[0]
    codes = encoded(vectors)
    places = nearest([codes], np.array([0]), query, 40)
    assert len(set(np.argsort(-(vectors @ query))[:20].tolist()) & set(places.tolist())) == 20


@pytest.mark.parametrize("dimensions", [256, 33])
def test_products_are_nearly_known_from_codes(dimensions: int) -> None:
    vectors, query = unit(900, dimensions), unit(1, dimensions)[0]
    codes, starts = in_two(vectors)
    places = np.sort(RNG.choice(900, 200, replace=False))
    found = similarities(codes, starts, places, query)
    assert np.abs(found - vectors[places] @ query).max() < 0.05


def test_of_many_that_are_alike_no_more_are_candidates_than_asked_for() -> None:
    vectors = np.repeat(unit(1), 20_000, axis=0)
    places = nearest([encoded(vectors)], np.array([0]), unit(1)[0], 100)
    assert len(set(places.tolist())) == 100
