"""What is shown of ranked chunks, and that each keeps its own vector on the way."""

import hashlib
import os
from collections.abc import Sequence
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.ids import TenantId
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.reranking import RerankerSpec
from copilot_domain.context.search.passages import Assembler, Found
from copilot_domain.context.search.reranking import Ranked, Shortlist, assemble, rerank
from copilot_domain.context.types import SearchRequest
from unit.context.alike import LONG, ONE_WORD_LESS, OTHER, towards

CIPHER = TenantCipher(TenantId(uuid4()), {1: os.urandom(32)})


def found(text: str, *, item_id: UUID | None = None, number: int = 0, start: int = 0) -> Found:
    chunk_id, item_id = uuid4(), item_id or uuid4()
    return Found(
        id=chunk_id,
        item_id=item_id,
        number=number,
        start_offset=start,
        end_offset=start + len(text),
        token_count=100,
        page=None,
        text_hash=hashlib.sha256(text.encode()).digest(),
        heading_sealed=None,
        text_sealed=CIPHER.seal_text(Purpose.CONTEXT_TEXT, chunk_id, text),
        name_sealed=CIPHER.seal_text(Purpose.CONTEXT_NAME, item_id, "name"),
        metadata={},
    )


class Backwards:
    """A reranker that takes two, and finds the last the best."""

    spec = RerankerSpec(name="backwards", max_documents=2, max_tokens=512)

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        return [float(number) for number in range(len(texts))]

    async def aclose(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_what_comes_again_is_shown_once_in_whichever_batch(batch: int) -> None:
    texts, vectors = [LONG, OTHER, ONE_WORD_LESS, LONG], towards(0, 90, 5, 0)
    assembler = Assembler(CIPHER, limit=10, max_tokens=None)
    for first in range(0, len(texts), batch):
        rows = [found(text) for text in texts[first : first + batch]]
        assembler.add_all(rows, [1.0] * len(rows), vectors[first : first + batch])
    assert [hit.text for hit in assembler.hits()] == [LONG, OTHER]


def shown(*numbers: int, limit: int = 10) -> list[tuple[int, int, float]]:
    """Where passages begin and end, and their scores, for chunks of ten characters of one item, found in this order."""
    item_id, scores = uuid4(), [1 - place / 10 for place in range(len(numbers))]
    rows = [found(f"{number:09}.", item_id=item_id, number=number, start=number * 10) for number in numbers]
    assembler = Assembler(CIPHER, limit=limit, max_tokens=None)
    assembler.add_all(rows, scores, towards(*[90 * place for place in range(len(numbers))]))
    hits = assembler.hits()
    assert all(len(hit.text) == hit.end - hit.start for hit in hits)
    assert all(hit.text.startswith(f"{hit.start // 10:09}.") for hit in hits)
    return [(hit.start // 10, hit.end // 10, hit.score) for hit in hits]


def test_neighbours_are_one_passage_in_whichever_order_they_are_found() -> None:
    assert shown(1, 2, 3) == [(1, 4, 1)]
    assert shown(1, 3, 2) == [(1, 4, 1)]
    assert shown(3, 1, 2) == [(1, 4, 1)]
    assert shown(4, 1, 3, 2) == [(1, 5, 1)]


def test_two_passages_that_become_one_leave_room_for_another() -> None:
    assert shown(1, 3, 2, 7, 9, limit=2) == [(1, 4, 1), (7, 8, pytest.approx(0.7))]


def test_no_passage_has_more_than_four_chunks() -> None:
    assert shown(1, 2, 4, 5, 3) == [(1, 4, 1), (4, 6, pytest.approx(0.8))]
    assert shown(1, 2, 3, 4, 5) == [(1, 5, 1), (5, 6, pytest.approx(0.6))]


@given(st.permutations(range(16)), st.integers(1, 16), st.integers(1, 5))
def test_as_many_chunks_are_asked_for_as_make_one_passage_too_many(order: list[int], count: int, limit: int) -> None:
    """Of two items of eight chunks, of which some are found, in any order."""
    items, places = (uuid4(), uuid4()), order[:count]
    rows = [
        found(f"{place:09}.", item_id=items[place // 8], number=place % 8, start=place % 8 * 10) for place in places
    ]
    assembler = Assembler(CIPHER, limit=limit, max_tokens=None)
    needed = assembler.needs(np.array(places))
    assembler.add_all(rows[:needed], [1.0] * needed, towards(*[90] * len(places))[:needed])
    assert assembler.is_full or needed == count


@pytest.mark.parametrize(
    ("places", "needed"),
    [((1, 2, 3, 9), 4), ((1, 3, 5, 7, 9, 11), 5), ((1, 3, 2, 8, 6, 4), 7), (range(64), 11), ((), 0)],
)
def test_neighbours_are_expected_to_be_one_passage(places: Sequence[int], needed: int) -> None:
    """Of two, with two chunks to spare."""
    assert Assembler(CIPHER, limit=2, max_tokens=None).needs(np.array(places, np.int64)) == needed


def test_what_was_taken_before_counts() -> None:
    assembler = Assembler(CIPHER, limit=3, max_tokens=None)
    assembler.add_all([found(LONG), found(OTHER)], [1.0] * 2, towards(0, 90))
    assert assembler.needs(np.array([1, 3, 5, 7])) == 4


@pytest.mark.parametrize(("limit", "needed"), [(10, 50), (40, 80), (100, 90)])
def test_a_reranker_is_shown_what_it_has_room_for_at_once(limit: int, needed: int) -> None:
    assert Shortlist(CIPHER, limit).needs(np.arange(90)) == needed


async def test_reranked_chunks_keep_their_vectors() -> None:
    """By each other's, the last would not be looked at: they point elsewhere."""
    ranked = Ranked([found(text) for text in (LONG, OTHER, ONE_WORD_LESS)], [3.0, 2.0, 1.0], towards(0, 90, 5), CIPHER)
    reranked, is_reranked = await rerank(Backwards(), "query", ranked)
    assert is_reranked
    assert reranked.vectors.tolist() == towards(90, 0).tolist()
    assert [hit.text for hit in assemble(reranked, SearchRequest(query="query"))] == [OTHER, LONG]
