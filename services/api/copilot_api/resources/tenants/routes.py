"""/tenants/current: the principal's own tenant, its members and invites."""

from typing import Any

from litestar import Controller, Request, Response, Router, delete, get, patch, post
from litestar.params import JSONBody

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.tenants.platform import PlatformController
from copilot_api.resources.tenants.schemas import CreateInvite, UpdateCurrentTenant, UpdateMember
from copilot_domain.pagination import Page
from copilot_domain.tenants import (
    CreatedInvite,
    Invite,
    Member,
    Tenant,
    change_role,
    get_current_tenant,
    list_members,
    remove_member,
    rename_current_tenant,
)


class CurrentTenantController(Controller):
    path = "/api/v1/tenants/current"
    tags = ("tenants",)

    @get()
    async def show(self, principal: ActingPrincipal, services: AppServices) -> Tenant:
        async with services.tenants_db.transaction(principal) as tx:
            return await get_current_tenant(tx)

    @patch(dto=StrictBody[UpdateCurrentTenant], return_dto=None)
    async def update(
        self, data: JSONBody[UpdateCurrentTenant], principal: ActingPrincipal, services: AppServices
    ) -> Tenant:
        async with services.tenants_db.transaction(principal) as tx:
            return await rename_current_tenant(tx, data.name)


class MemberController(Controller):
    path = "/api/v1/tenants/current/members"
    tags = ("tenants",)

    @get()
    async def index(self, principal: ActingPrincipal, services: AppServices, wanted: WantedPage) -> Page[Member]:
        async with services.tenants_db.transaction(principal) as tx:
            return await list_members(tx, wanted)

    @patch("/{user_id:uuid}", dto=StrictBody[UpdateMember], return_dto=None)
    async def update(
        self, user_id: PathId, data: JSONBody[UpdateMember], principal: ActingPrincipal, services: AppServices
    ) -> Member:
        """Only owners touch owners; the last owner stays."""
        async with services.tenants_db.transaction(principal) as tx:
            return await change_role(tx, user_id, data.role)

    @delete("/{user_id:uuid}")
    async def remove(self, user_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        """Their API keys and sessions in this tenant end at once."""
        async with services.tenants_db.transaction(principal) as tx:
            await remove_member(tx, user_id)


class InviteController(Controller):
    path = "/api/v1/tenants/current/invites"
    tags = ("tenants",)

    @post(dto=StrictBody[CreateInvite], return_dto=None, status_code=201)
    async def create(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[CreateInvite],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[CreatedInvite]:
        """`token` is shown only here; the invited person registers with it within seven days."""
        return await answer_once(
            services,
            request,
            principal,
            lambda tx: services.tenants.invites.create(tx, data.email, data.role),
            status=201,
            shows_secret=True,
        )

    @get()
    async def index(self, principal: ActingPrincipal, services: AppServices, wanted: WantedPage) -> Page[Invite]:
        async with services.tenants_db.transaction(principal) as tx:
            return await services.tenants.invites.list(tx, wanted)

    @delete("/{invite_id:uuid}")
    async def withdraw(self, invite_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        async with services.tenants_db.transaction(principal) as tx:
            await services.tenants.invites.withdraw(tx, invite_id)


tenants_router = Router(
    "/", route_handlers=[CurrentTenantController, MemberController, InviteController, PlatformController]
)
