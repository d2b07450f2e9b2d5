"""/context: the tenant's documents, without searching in them."""

from time import perf_counter
from typing import Annotated

from litestar import Controller, MediaType, Response, delete, get, patch, post
from litestar.params import JSONBody, QueryParameter

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.json import JsonResponse
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, QueryText, WantedPage
from copilot_api.resources.context.schemas import CreateItem, SearchAnswer, SearchBody, UpdateItem, item_filter
from copilot_domain.context import Item
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
    ) -> Page[Item]:
        """The newest first. `metadata` is a JSON object that the item's must contain."""
        chosen = item_filter(kind, status, metadata)
        async with services.tenants_db.transaction(principal) as tx:
            return await services.context.list(tx, chosen, wanted)

    @post("/search", dto=StrictBody[SearchBody], return_dto=None, status_code=200)
    async def search(
        self, data: JSONBody[SearchBody], principal: ActingPrincipal, services: AppServices
    ) -> Response[SearchAnswer]:
        """Answered by the context service; 503 where it does not answer in time."""
        began = perf_counter()
        found = await services.searches.search(principal, data.to_request(), seconds=_SEARCH_SECONDS)
        took_ms = round((perf_counter() - began) * 1000)
        return JsonResponse(SearchAnswer(found.results, took_ms, found.degraded))

    @get("/{item_id:uuid}")
    async def show(self, item_id: PathId, principal: ActingPrincipal, services: AppServices) -> Item:
        async with services.tenants_db.transaction(principal) as tx:
            return await services.context.get(tx, item_id)

    @get("/{item_id:uuid}/content")
    async def content(self, item_id: PathId, principal: ActingPrincipal, services: AppServices) -> Response[bytes]:
        """The text as it was sent."""
        async with services.tenants_db.transaction(principal) as tx:
            content_id = await services.context.content_id(tx, item_id)
        text = await services.context.read_content(principal, content_id)
        return Response(text, media_type=MediaType.TEXT)

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
