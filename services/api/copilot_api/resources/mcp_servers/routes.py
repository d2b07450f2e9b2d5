"""/mcp-servers, whose tools steps of workflows call."""

from litestar import Controller, Response, delete, get, post
from litestar.params import JSONBody

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.mcp_servers.schemas import CreateMcpServer
from copilot_domain.pagination import Page
from copilot_domain.workflows.mcp_servers.types import McpServer


class McpServerController(Controller):
    path = "/api/v1/mcp-servers"
    tags = ("workflows",)

    @post(dto=StrictBody[CreateMcpServer], return_dto=None)
    async def create(
        self, request: HttpRequest, data: JSONBody[CreateMcpServer], principal: ActingPrincipal, services: AppServices
    ) -> Response[McpServer]:
        """Steps call its tools as `mcp:<name>/<tool>`. `headers` go with each request to it and are never returned."""
        new = data.to_new()
        return await answer_once(
            services, request, principal, lambda tx: services.mcp_servers.create(tx, new), status=201
        )

    @get()
    async def index(self, principal: ActingPrincipal, services: AppServices, wanted: WantedPage) -> Page[McpServer]:
        """Newest first, without headers."""
        async with services.tenants_db.transaction(principal) as tx:
            return await services.mcp_servers.list(tx, wanted)

    @delete("/{server_id:uuid}")
    async def remove(self, server_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        """Steps that name it fail from now on."""
        async with services.tenants_db.transaction(principal) as tx:
            await services.mcp_servers.delete(tx, server_id)
