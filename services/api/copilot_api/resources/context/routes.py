"""/context: the tenant's documents, without searching in them."""

from collections.abc import AsyncIterator
from time import perf_counter
from typing import Annotated
from uuid import UUID
from weakref import finalize

from litestar import Controller, MediaType, Response, delete, get, patch, post
from litestar.params import FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from copilot_api.http.attachment import attachment_headers, safe_media_type
from copilot_api.http.body import StrictBody
from copilot_api.http.crowd import Place
from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.json import JsonResponse
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, QueryText, WantedPage
from copilot_api.http.sse import EventStream, LastEventId, event_number, event_stream
from copilot_api.resources.context.schemas import (
    CreateItem,
    GivesBytes,
    ReembedBody,
    SearchAnswer,
    SearchBody,
    UpdateItem,
    item_filter,
)
from copilot_common.base.errors import InvalidInput
from copilot_domain.context import Item
from copilot_domain.context.file_names import clean_file_name
from copilot_domain.context.quotas import ContextUsage
from copilot_domain.context.reembedding.service import IndexState
from copilot_domain.conversations.generation.events import EventBatch
from copilot_domain.pagination import Page

_SEARCH_SECONDS = 5.0


class ContextController(Controller):
    path = "/api/v1/context"
    tags = ("context",)

    @post(dto=StrictBody[CreateItem], return_dto=None)
    async def create(
        self, request: HttpRequest, data: JSONBody[CreateItem], principal: ActingPrincipal, services: AppServices
    ) -> Response[Item]:
        """Stored, and searchable once its status is `ready`."""
        new = data.to_new()
        return await answer_once(services, request, principal, lambda tx: services.context.create(tx, new), status=201)

    @get()
    async def index(
        self,
        principal: ActingPrincipal,
        services: AppServices,
        wanted: WantedPage,
        kind: Annotated[str | None, QueryParameter(name="type")] = None,
        status: QueryText = None,
        metadata: QueryText = None,
        collection_id: FromQuery[UUID | None] = None,
    ) -> Page[Item]:
        """The newest first. `metadata` is a JSON object that the item's must contain."""
        chosen = item_filter(kind, status, metadata, collection_id)
        return await services.tenants_db.read(principal, lambda tx: services.context.list(tx, chosen, wanted))

    @post("/search", dto=StrictBody[SearchBody], return_dto=None, status_code=200)
    async def search(
        self, data: JSONBody[SearchBody], principal: ActingPrincipal, services: AppServices
    ) -> Response[SearchAnswer]:
        """Answered by the context service; 503 where it does not answer in time. `rerank` sends the best passages to
        the reranker that is configured here; 422 where there is none."""
        began = perf_counter()
        wanted = data.to_request(can_rerank=services.can_rerank)
        found = await services.searches.search(principal, wanted, seconds=_SEARCH_SECONDS)
        took_ms = round((perf_counter() - began) * 1000)
        return JsonResponse(SearchAnswer(found.results, took_ms, found.degraded))

    @get("/index")
    async def show_index(self, principal: ActingPrincipal, services: AppServices) -> IndexState:
        """Which embedding model searches use, and how far a re-embedding is."""
        return await services.tenants_db.read(principal, services.indexes.show)

    @get("/usage")
    async def show_usage(self, principal: ActingPrincipal, services: AppServices) -> ContextUsage:
        """How much the tenant has in its context, and how much it may have."""
        return await services.tenants_db.read(principal, services.context.usage)

    @post("/reembed", dto=StrictBody[ReembedBody], return_dto=None, status_code=202)
    async def reembed(
        self, request: HttpRequest, data: JSONBody[ReembedBody], principal: ActingPrincipal, services: AppServices
    ) -> Response[IndexState]:
        """Make vectors by another embedding model, in the background; searches go on with those they have, and then
        switch. The model that the index has ends what is under way; 409 where nothing is, or with a third model."""
        return await answer_once(
            services, request, principal, lambda tx: services.indexes.reembed(tx, data.model), status=202
        )

    @get("/{item_id:uuid}")
    async def show(self, item_id: PathId, principal: ActingPrincipal, services: AppServices) -> Item:
        return await services.tenants_db.read(principal, lambda tx: services.context.get(tx, item_id))

    @get("/{item_id:uuid}/content", operation_class=GivesBytes)
    async def content(
        self,
        item_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
        wanted_format: Annotated[str, QueryParameter(name="format")] = "text",
    ) -> Stream:
        """The text: as it was sent, or as it was read from the file or page. With `format=original` the bytes that came
        in, to be saved. 409 while there are none."""
        if wanted_format not in {"text", "original"}:
            raise InvalidInput({"format": "must be text or original"})
        is_original = wanted_format == "original"
        async with services.tenants_db.transaction(principal) as tx:
            stored = await services.context.content(tx, item_id, original=is_original)
        opened = await services.context.open(principal, stored)
        if is_original:
            headers = attachment_headers(clean_file_name(stored.name) or "document", opened.info.size_bytes)
            return Stream(opened.pieces, media_type=safe_media_type(stored.media_type), headers=headers)
        return Stream(opened.pieces, media_type=MediaType.TEXT, headers={"Content-Length": str(opened.info.size_bytes)})

    @get("/{item_id:uuid}/events", media_type="text/event-stream")
    async def events(
        self,
        item_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
        last_event_id: LastEventId = None,
    ) -> EventStream:
        """`status` and `progress` as they are, and then as they change, until the item is ready, failed or deleted.
        After `Last-Event-ID` the present state is told anew, with numbers above it. After an hour the stream is cut
        without `[DONE]`: resume it."""
        after = event_number(last_event_id)
        place = services.item_streams.enter(principal.tenant_id)  # before the look: a crowd comes at once
        try:
            batches = await services.item_events.open(principal, item_id, after=after)
        except BaseException:
            place.leave()
            raise
        return event_stream(_counted(place, batches))

    @patch("/{item_id:uuid}", dto=StrictBody[UpdateItem], return_dto=None)
    async def update(
        self, item_id: PathId, data: JSONBody[UpdateItem], principal: ActingPrincipal, services: AppServices
    ) -> Item:
        async with services.tenants_db.transaction(principal) as tx:
            return await services.context.update(tx, item_id, data.to_changes())

    @delete("/{item_id:uuid}")
    async def remove(self, item_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        async with services.tenants_db.transaction(principal) as tx:
            await services.context.delete(tx, item_id)

    @post("/{item_id:uuid}/reindex")
    async def reindex(
        self, request: HttpRequest, item_id: PathId, principal: ActingPrincipal, services: AppServices
    ) -> Response[Item]:
        """Cut, embed and index it again; until that is done it is found as before."""
        return await answer_once(
            services, request, principal, lambda tx: services.context.reindex(tx, item_id), status=202
        )


def _counted(place: Place, batches: AsyncIterator[EventBatch]) -> AsyncIterator[EventBatch]:
    async def counted() -> AsyncIterator[EventBatch]:
        try:
            async for batch in batches:
                yield batch
        finally:
            place.leave()

    counting = counted()
    finalize(counting, place.leave)  # of a reader that is gone before the first piece nothing is run
    return counting
