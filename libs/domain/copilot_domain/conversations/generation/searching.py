"""The passages of the tenant's own items that an answer may stand on, asked of the context service before the model."""

from typing import Protocol

import msgspec
from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.llm.types import Passage
from copilot_common.tenancy import Principal
from copilot_domain.context import SearchFilter, SearchRequest, SearchResult
from copilot_domain.conversations.generation.asking import QUERY_CHARACTERS, search_query
from copilot_domain.conversations.generation.running import RunningGeneration
from copilot_domain.conversations.generation.starting import CONTEXT_TOKENS
from copilot_domain.conversations.types import ContextWanted

_SEARCH_SECONDS = 2.0  # somebody waits for the first word


class Searcher(Protocol):
    async def search(self, principal: Principal, request: SearchRequest, *, seconds: float) -> SearchResult:
        """Raises Unavailable where nobody answers in time."""
        ...


class Grounder:
    """Never fails: an answer without its context is better than none, and says so (`degraded`)."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    async def ground(self, generation: RunningGeneration) -> None:
        if generation.wanted is None:
            return
        request = _request(generation.wanted, question=search_query(generation.request.messages))
        try:
            found = await self._searcher.search(generation.principal, request, seconds=_SEARCH_SECONDS)
        except CopilotError as error:
            logger.bind(code=error.code, message_id=str(generation.message_id)).warning("Answer without its context")
            generation.degraded = True
            return
        generation.degraded = found.degraded
        given = generation.request.passages
        passages = [
            Passage(
                number=number,
                name=hit.name,
                text=hit.text,
                start=hit.start,
                end=hit.end,
                source="context",
                item_id=hit.item_id,
                chunk_id=hit.chunk_id,
            )
            for number, hit in enumerate(found.results, len(given) + 1)
        ]
        generation.request = msgspec.structs.replace(generation.request, passages=(*given, *passages))


def _request(wanted: ContextWanted, *, question: str) -> SearchRequest:
    return SearchRequest(
        query=(wanted.query or question)[:QUERY_CHARACTERS],
        limit=wanted.limit,
        filter=SearchFilter(item_ids=wanted.item_ids, collection_ids=wanted.collection_ids),
        max_tokens=CONTEXT_TOKENS,
    )
