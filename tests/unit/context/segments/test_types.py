"""Segments and the bytes they are stored as."""

from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.segments.types import (
    MAX_CHUNKS,
    ChunkTerms,
    Layout,
    PostingLists,
    Postings,
    lay_out,
    to_uuid,
)

TERMS = st.integers(-(1 << 63), (1 << 63) - 1)
CHUNKS = st.lists(st.dictionaries(TERMS | st.integers(0, 5), st.integers(1, 400), max_size=8), min_size=1, max_size=12)


def chunks(counts: list[dict[int, int]]) -> list[ChunkTerms]:
    items = [uuid4() for _ in range(3)]
    return [ChunkTerms(uuid4(), items[number % 3], 1 + number % 2, terms) for number, terms in enumerate(counts)]


def as_read(lists: PostingLists, size: int) -> Sequence[Mapping[int, int]]:
    read: list[dict[int, int]] = [{} for _ in range(size)]
    for term, encoded in zip(lists.terms.tolist(), lists.each_encoded(), strict=True):
        postings = Postings.decode(encoded)
        for ordinal, times in zip(postings.ordinals.tolist(), postings.counts.tolist(), strict=True):
            read[ordinal][term] = times
    return read


@given(CHUNKS)
def test_what_is_laid_out_is_read_again(counts: list[dict[int, int]]) -> None:
    given_chunks = chunks(counts)
    layout, lists = lay_out(given_chunks)
    layout, lists = Layout.decode(layout.encode()), PostingLists.decode(lists.encode())
    assert as_read(lists, len(counts)) == [{term: min(times, 255) for term, times in one.items()} for one in counts]
    for number, chunk in enumerate(given_chunks):
        item = layout.item_numbers[number]
        assert to_uuid(layout.chunk_ids[number]) == chunk.chunk_id
        assert (to_uuid(layout.item_ids[item]), layout.attempts[item]) == (chunk.item_id, chunk.attempt)
        assert layout.lengths[number] == sum(chunk.terms.values())


@given(CHUNKS, TERMS)
def test_a_term_is_found_where_it_is_and_nowhere_else(counts: list[dict[int, int]], other: int) -> None:
    _, lists = lay_out(chunks(counts))
    for term in {term for one in counts for term in one} | {other}:
        expected = [number for number, one in enumerate(counts) if term in one]
        postings = lists.find([term]).get(term)
        assert (postings.ordinals.tolist() if postings else []) == expected
    every = sorted({term for one in counts for term in one})
    assert list(lists.find([*every, *every])) == every


def test_the_last_chunk_of_a_full_segment_has_a_number() -> None:
    _, lists = lay_out([ChunkTerms(UUID(int=number), UUID(int=0), 1, {7: 1}) for number in range(MAX_CHUNKS)])
    assert lists.at(0).ordinals[-1] == MAX_CHUNKS - 1


def test_a_chunk_longer_than_two_bytes_can_say_is_as_long_as_they_can() -> None:
    layout, _ = lay_out([ChunkTerms(uuid4(), uuid4(), 1, {1: 70_000})])
    assert layout.lengths[0] == 65_535
