"""Whose the chunks of several segments are."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.search.index import OpenIndex
from copilot_domain.context.segments.cache import SegmentCache
from copilot_domain.context.segments.types import ChunkTerms, lay_out

Chunk = tuple[int, int]  # its item, and in which attempt
ITEMS = [uuid4() for _ in range(4)]


def opened(segments: Sequence[Sequence[Chunk]]) -> tuple[OpenIndex, list[tuple[UUID, UUID, int]]]:
    """With ids of chunks and items, and attempts, by place."""
    rows = [[(uuid4(), ITEMS[item], attempt) for item, attempt in chunks] for chunks in segments]
    layouts = [lay_out([ChunkTerms(*row, {1: 1}) for row in chunks])[0] for chunks in rows]
    ids, nothing = [uuid4() for _ in segments], [None] * len(segments)
    starts = np.cumsum([0, *map(len, segments)])
    known = SegmentCache().terms(ids)
    index = OpenIndex("m", ids, layouts, nothing, nothing, ["english"], 1, 256, starts, known, None)
    return index, [row for chunks in rows for row in chunks]


CHUNKS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2)), min_size=1, max_size=6)


@given(st.lists(CHUNKS, min_size=1, max_size=3), st.data())
def test_each_chunk_has_its_item_in_its_attempt(segments: list[list[Chunk]], data: st.DataObject) -> None:
    index, rows = opened(segments)
    places = np.array(sorted(data.draw(st.sets(st.integers(0, len(rows) - 1)))), np.int64)
    items = index.items(places)
    wanted = [rows[place] for place in places.tolist()]
    assert index.chunk_ids(places).tolist() == [chunk_id.bytes for chunk_id, _, _ in wanted]
    assert items.ids[items.numbers].tolist() == [item_id.bytes for _, item_id, _ in wanted]
    assert items.attempts[items.numbers].tolist() == [attempt for _, _, attempt in wanted]


@pytest.mark.parametrize("count", [1, 40])
def test_an_item_is_asked_for_once_in_a_segment_however_many_of_its_chunks_are(count: int) -> None:
    index, rows = opened([[(0, 1)] * count, [(0, 1)] * count])
    items = index.items(np.arange(len(rows)))
    assert items.ids.tolist() == [ITEMS[0].bytes] * 2
    assert items.numbers.tolist() == [0] * count + [1] * count
