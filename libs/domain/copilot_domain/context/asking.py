"""Searching from a process that has no embedder: the question goes to the context service, over the queue."""

import msgspec

from copilot_common.base.errors import InvalidInput, Unavailable
from copilot_common.queue import CONTEXT_QUEUE
from copilot_common.queue.requests import NoAnswer, Refused, RequestClient
from copilot_common.tenancy import Principal
from copilot_domain.context.types import SearchRequest, SearchResult

SEARCH_METHOD = "context.search"

_decode = msgspec.msgpack.Decoder(SearchResult).decode


class SearchClient:
    def __init__(self, requests: RequestClient) -> None:
        self._requests = requests

    async def search(self, principal: Principal, request: SearchRequest, *, seconds: float) -> SearchResult:
        """Raises Unavailable where nobody answers in time, InvalidInput for what the service refuses."""
        body = msgspec.msgpack.encode(request)
        try:
            return _decode(await self._requests.ask(CONTEXT_QUEUE, SEARCH_METHOD, principal, body, seconds=seconds))
        except NoAnswer:
            raise Unavailable("Nobody answered the search in time; try again.") from None
        except Refused as refused:
            fields = refused.details.get("fields")
            if refused.code == "VALIDATION_ERROR" and isinstance(fields, dict):
                raise InvalidInput(fields) from None
            raise
