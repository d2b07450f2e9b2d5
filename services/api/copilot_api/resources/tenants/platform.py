"""/tenants: all of them, for platform keys."""

from typing import Any

from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.tenants.schemas import CreateTenant, UpdateTenant
from copilot_domain.pagination import Page
from copilot_domain.tenants import ContextQuotaChanges, CreatedTenant, Tenant


class PlatformController(Controller):
    path = "/api/v1/tenants"
    tags = ("tenants",)

    @post(dto=StrictBody[CreateTenant], return_dto=None, status_code=201)
    async def create(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[CreateTenant],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[CreatedTenant]:
        return await answer_once(
            services,
            request,
            principal,
            lambda tx: services.tenants.platform.create(tx, data.name, data.slug, owner_email=data.owner_email),
            status=201,
            shows_secret=data.owner_email is not None,
        )

    @get()
    async def index(
        self,
        principal: ActingPrincipal,
        services: AppServices,
        wanted: WantedPage,
    ) -> Page[Tenant]:
        async with services.tenants_db.transaction(principal) as tx:
            return await services.tenants.platform.list(tx, wanted)

    @get("/{tenant_id:uuid}")
    async def show(self, tenant_id: PathId, principal: ActingPrincipal, services: AppServices) -> Tenant:
        async with services.tenants_db.transaction(principal) as tx:
            return await services.tenants.platform.get(tx, tenant_id)

    @patch("/{tenant_id:uuid}", dto=StrictBody[UpdateTenant], return_dto=None)
    async def update(
        self, tenant_id: PathId, data: JSONBody[UpdateTenant], principal: ActingPrincipal, services: AppServices
    ) -> Tenant:
        """A suspended tenant's credentials are refused from the next request on."""
        name = None if data.name is UNSET else data.name
        status = None if data.status is UNSET else data.status
        quota = ContextQuotaChanges() if data.context_quota is UNSET else data.context_quota.to_changes()
        async with services.tenants_db.transaction(principal) as tx:
            return await services.tenants.platform.update(tx, tenant_id, name=name, status=status, quota=quota)

    @delete("/{tenant_id:uuid}")
    async def remove(self, tenant_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        """With everything in it, but for its audit log."""
        async with services.tenants_db.transaction(principal) as tx:
            await services.tenants.platform.delete(tx, tenant_id)
