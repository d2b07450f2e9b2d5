"""Candidates by vectors in four bits a component."""

import numpy as np
import pytest

from copilot_domain.context.segments.codes import UNKNOWN, Codes, encode_questions, encode_vectors, nearness
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


@pytest.mark.parametrize("dimensions", [256, 384, 100])
def test_the_true_best_are_among_the_nearest_by_codes(dimensions: int) -> None:
    vectors, queries = unit(12_000, dimensions), unit(20, dimensions)
    for number, query in enumerate(queries):
        vectors[number * 10 : number * 10 + 10] = around(query, 10)
    codes, found = encoded(vectors), []
    for query in queries:
        best = set(np.argsort(-(vectors @ query))[:10].tolist())
        near = nearness(codes, encode_questions(query[None]))[0]
        found.append(len(best & set(np.argsort(-near)[:12].tolist())) / 10)
    assert np.mean(found) > 0.99


@pytest.mark.parametrize("dimensions", [1, 2, 33, 256, 384, 1_536, 3_072])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 200])
def test_products_are_nearly_known_from_codes(dimensions: int, count: int) -> None:
    vectors, query = unit(count, dimensions), unit(1, dimensions)[0]
    found = nearness(encoded(vectors), encode_questions(np.stack((query, -query))))
    assert found.shape == (2, count)
    assert (found > UNKNOWN).all()
    if dimensions > 2 and count > 2:  # fewer dimensions do not lie about 1/√d, and fewer points are always on a line
        for numbers, products in zip(found, [vectors @ query, -vectors @ query], strict=True):
            assert np.abs(on_a_line(numbers, products) - products).max() < 0.08


def test_the_same_number_means_as_near_in_another_segment() -> None:
    vectors, question = unit(400), encode_questions(unit(1))
    whole = nearness(encoded(vectors), question)
    parts = [nearness(encoded(part), question) for part in (vectors[:7], vectors[7:])]
    assert np.concatenate(parts, axis=1).tolist() == whole.tolist()


def test_to_a_question_without_direction_all_is_equally_near() -> None:
    assert nearness(encoded(unit(40)), encode_questions(np.zeros((1, 256), np.float32))).tolist() == [[0] * 40]


def on_a_line(numbers: Numbers, products: Numbers) -> Numbers:
    slope, start = np.polyfit(numbers, products, 1)
    assert slope > 0
    line: Numbers = slope * numbers + start
    return line


def test_memory_is_told_in_bytes() -> None:
    assert 10_000 * 128 <= encoded(unit(10_000)).memory_bytes <= 10_000 * 256
