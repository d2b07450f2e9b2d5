"""/auth: sessions, registration, API keys. No Idempotency-Key here: its answers are secrets."""

from typing import Any

from litestar import Controller, Request, Router, delete, get, post
from litestar.params import JSONBody

from copilot_api.http.body import StrictBody, decode_strict
from copilot_api.http.context import request_context
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.auth.schemas import CreateApiKey, LogIn, LogOut, Refresh, Register
from copilot_domain.pagination import Page
from copilot_domain.tenants import (
    ApiKey,
    CreatedApiKey,
    Session,
    TokenPair,
    User,
    create_api_key,
    list_api_keys,
    revoke_api_key,
)

HttpRequest = Request[Any, Any, Any]


class SessionController(Controller):
    path = "/api/v1/auth"
    tags = ("auth",)

    @post("/login", dto=StrictBody[LogIn], return_dto=None, status_code=200)
    async def log_in(self, request: HttpRequest, data: JSONBody[LogIn], services: AppServices) -> Session:
        return await services.tenants.sessions.log_in(
            data.username_or_email, data.password, tenant=data.tenant, address=_address(request)
        )

    @post("/refresh", dto=StrictBody[Refresh], return_dto=None, status_code=200)
    async def refresh(self, request: HttpRequest, data: JSONBody[Refresh], services: AppServices) -> TokenPair:
        """A refresh token is good once; one that comes back later ends the session."""
        return await services.tenants.sessions.refresh(data.refresh_token, address=_address(request))

    @post("/logout", status_code=204)
    async def log_out(self, request: HttpRequest, principal: ActingPrincipal, services: AppServices) -> None:
        """The body may be left out."""
        body = await request.body()
        data = decode_strict(body, LogOut) if body.strip() else LogOut()
        access_token = None
        if principal.kind == "user":
            access_token = request.headers["authorization"].partition(" ")[2].strip()
        async with services.tenants_db.transaction(principal) as tx:
            await services.tenants.sessions.log_out(tx, refresh_token=data.refresh_token, access_token=access_token)

    @get("/me")
    async def me(self, principal: ActingPrincipal, services: AppServices) -> User:
        async with services.tenants_db.transaction(principal) as tx:
            return await services.tenants.sessions.me(tx)

    @post("/register", dto=StrictBody[Register], return_dto=None, status_code=201)
    async def register(self, request: HttpRequest, data: JSONBody[Register], services: AppServices) -> User:
        return await services.tenants.registration.register(
            username=data.username,
            email=data.email,
            password=data.password,
            invite_token=data.invite_token,
            address=_address(request),
        )


class ApiKeyController(Controller):
    path = "/api/v1/auth/api-keys"
    tags = ("auth",)

    @post(dto=StrictBody[CreateApiKey], return_dto=None, status_code=201)
    async def create(
        self, data: JSONBody[CreateApiKey], principal: ActingPrincipal, services: AppServices
    ) -> CreatedApiKey:
        """`key` is shown only here."""
        async with services.tenants_db.transaction(principal) as tx:
            return await create_api_key(tx, data.name, data.scopes, expires_in_days=data.expires_in_days)

    @get()
    async def index(self, principal: ActingPrincipal, services: AppServices, wanted: WantedPage) -> Page[ApiKey]:
        """One's own; with the scope admin the whole tenant's."""
        async with services.tenants_db.transaction(principal) as tx:
            return await list_api_keys(tx, wanted)

    @delete("/{key_id:uuid}")
    async def revoke(self, key_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        async with services.tenants_db.transaction(principal) as tx:
            await revoke_api_key(tx, key_id)


def _address(request: HttpRequest) -> str | None:
    return request_context(request.scope).address


auth_router = Router("/", route_handlers=[SessionController, ApiKeyController])
