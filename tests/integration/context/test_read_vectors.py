"""The vector of a candidate is read once, by whoever asks first, for all who may see it."""

from typing import Any

import pytest

from copilot_domain.context import AclEntry, SearchRequest, SearchResult
from copilot_domain.context.columns import decode_vectors
from copilot_domain.context.search import candidates
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.segments.cache import SegmentCache
from copilot_domain.context.types import SearchMode
from integration.context.ground import ContextGround, person

TEXTS = [f"The {animal} of {place} hunts at night." for animal in ("owl", "fox") for place in ("Lund", "Graz", "Bath")]


class Read:
    """How many vectors came from PostgreSQL."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(candidates, "decode_vectors", self._decode)

    def _decode(self, sent: list[bytes | None], dimensions: int) -> Any:
        self.count += len(sent)
        return decode_vectors(sent, dimensions)


@pytest.fixture
async def animals(context: ContextGround) -> ContextGround:
    for text in TEXTS:
        await context.add(text)
    await context.add("The owl of Cork hunts at night.", acl=(AclEntry(role="owner"),))
    return context


def shown(result: SearchResult) -> list[tuple[str, float]]:
    return [(hit.text, hit.score) for hit in result.results]


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
async def test_a_vector_is_read_once(animals: ContextGround, monkeypatch: pytest.MonkeyPatch, mode: SearchMode) -> None:
    read = Read(monkeypatch)
    request = SearchRequest(query="Which owl hunts at night?", mode=mode, limit=50)
    first = await animals.searcher.search(animals.acme, request)
    assert (len(first.results), read.count) == (7, 7)
    assert shown(await animals.searcher.search(animals.acme, request)) == shown(first)
    assert read.count == 7
    await animals.add("The owl of Kiel sleeps at night.")
    assert len((await animals.searcher.search(animals.acme, request)).results) == 8
    assert read.count == 8


async def test_words_alone_drive_no_vectors_out(animals: ContextGround, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many dimensions the model has is not known, then."""
    owl = SearchRequest(query="Which owl hunts at night?")
    await animals.searcher.search(animals.acme, owl)
    await animals.searcher.search(animals.acme, SearchRequest(query="night", mode="text"))
    read = Read(monkeypatch)
    await animals.searcher.search(animals.acme, owl)
    assert read.count == 0


async def test_who_may_not_see_a_chunk_is_not_served_its_vector(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SearchRequest(query="Which owl hunts at night?", mode="vector", limit=50)
    assert len((await animals.searcher.search(animals.acme, request)).results) == 7
    read, member = Read(monkeypatch), person(animals.acme.tenant_id, "member")
    found = await animals.searcher.search(member, request)
    assert sorted(hit.text for hit in found.results) == sorted(TEXTS)
    assert read.count == 0


async def test_where_there_is_no_room_they_are_read_each_time(
    animals: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Read(monkeypatch)
    searcher = ContextSearch(animals.db, animals.embedders, SegmentCache(max_vectors_bytes=7 * 1_000 + 7 * 520 - 1))
    request = SearchRequest(query="Which owl hunts at night?", mode="vector", limit=50)
    for times in (1, 2):
        assert len((await searcher.search(animals.acme, request)).results) == 7
        assert read.count == 7 * times
