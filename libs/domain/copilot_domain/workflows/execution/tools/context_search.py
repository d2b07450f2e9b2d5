"""`context.search {query, limit?, mode?, item_ids?, collection_ids?, metadata?}`: passages of the tenant's items."""

from typing import Literal
from uuid import UUID

import msgspec

from copilot_domain.context import SearchFilter, SearchRequest
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.execution.kinds.base import StepCall
from copilot_domain.workflows.execution.outcomes import Done, Failed, Outcome

_SECONDS = 10.0
_QUERY_CHARACTERS = 10_000


class _Arguments(msgspec.Struct, forbid_unknown_fields=True):
    query: str
    limit: int = 10
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    item_ids: list[UUID] | None = None
    collection_ids: list[UUID] | None = None
    metadata: dict[str, object] = {}


async def context_search(call: StepCall, arguments: Json) -> Outcome:
    try:
        given = msgspec.convert(arguments, _Arguments)
    except msgspec.ValidationError as error:
        return Failed("INVALID_ARGUMENTS", str(error))
    await call.begin(False)
    item_ids = None if given.item_ids is None else tuple(given.item_ids)
    collection_ids = None if given.collection_ids is None else tuple(given.collection_ids)
    request = SearchRequest(
        query=given.query[:_QUERY_CHARACTERS],
        limit=given.limit,
        mode=given.mode,
        filter=SearchFilter(item_ids=item_ids, collection_ids=collection_ids, metadata=given.metadata),
    )
    found = await call.toolbox.search.search(call.principal, request, seconds=_SECONDS)
    return Done(msgspec.to_builtins(found))
