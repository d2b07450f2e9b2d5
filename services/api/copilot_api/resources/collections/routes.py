"""/context/collections: items put together, with access lists."""

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import JSONBody

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.collections.schemas import CreateCollection, UpdateCollection
from copilot_domain.context import Collection
from copilot_domain.pagination import Page


class CollectionController(Controller):
    path = "/api/v1/context/collections"
    tags = ("context",)

    @post(dto=StrictBody[CreateCollection], return_dto=None)
    async def create(
        self, request: HttpRequest, data: JSONBody[CreateCollection], principal: ActingPrincipal, services: AppServices
    ) -> Response[Collection]:
        """Items in it are seen by whom both its `acl` and their own let see them, and by their creators. 409 where the
        tenant has 1 000 collections."""
        new = data.to_new()
        return await answer_once(
            services, request, principal, lambda tx: services.collections.create(tx, new), status=201
        )

    @get()
    async def index(self, principal: ActingPrincipal, services: AppServices, wanted: WantedPage) -> Page[Collection]:
        """The newest first."""
        return await services.tenants_db.read(principal, lambda tx: services.collections.list(tx, wanted))

    @get("/{collection_id:uuid}")
    async def show(self, collection_id: PathId, principal: ActingPrincipal, services: AppServices) -> Collection:
        return await services.tenants_db.read(principal, lambda tx: services.collections.get(tx, collection_id))

    @patch("/{collection_id:uuid}", dto=StrictBody[UpdateCollection], return_dto=None)
    async def update(
        self,
        collection_id: PathId,
        data: JSONBody[UpdateCollection],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Collection:
        """Another `acl` holds at once for all that is in it."""
        async with services.tenants_db.transaction(principal) as tx:
            return await services.collections.update(tx, collection_id, data.to_changes())

    @delete("/{collection_id:uuid}")
    async def remove(self, collection_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        """409 with the number of its items while there are any, also such as you may not see."""
        async with services.tenants_db.transaction(principal) as tx:
            await services.collections.delete(tx, collection_id)
