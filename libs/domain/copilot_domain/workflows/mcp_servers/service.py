"""What an admin does with the tenant's MCP servers. They are the tenant's, whoever registered them."""

from uuid import UUID

from copilot_common.base.errors import Conflict
from copilot_common.base.ids import new_id
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import Page, PageRequest, page
from copilot_domain.workflows.mcp_servers.checking import check_server
from copilot_domain.workflows.mcp_servers.repository import McpServerRepository
from copilot_domain.workflows.mcp_servers.types import McpServer, NewMcpServer

MAX_SERVERS = 50
"""Of one tenant."""


class McpServerService:
    """Each method is one step of the caller's transaction; the caller commits."""

    def __init__(self, rules: EgressRules) -> None:
        self._rules = rules
        self._servers = McpServerRepository()

    async def create(self, tx: Transaction, new: NewMcpServer) -> McpServer:
        """Nobody is called yet. Raises InvalidInput, or Conflict where there are as many as there may be, or one of
        this name."""
        check_server(new, self._rules)
        await self._servers.lock(tx)  # two at once would both find room for one
        if await self._servers.count(tx) >= MAX_SERVERS:
            raise Conflict(f"A tenant may have {MAX_SERVERS} MCP servers.", details={"limit": MAX_SERVERS})
        row = await self._servers.insert(tx, new_id(), new)
        if row is None:
            raise Conflict("There is an MCP server of this name already.", details={"name": new.name})
        await record_audit(tx, "mcp_server.created", row.id, details={"name": new.name})
        return row.open(await tx.cipher())

    async def list(self, tx: Transaction, request: PageRequest) -> Page[McpServer]:
        """Newest first."""
        cipher = await tx.cipher()
        before = request.position(UUID)
        rows = await self._servers.page(tx, before=before, offset=request.offset, limit=request.fetch)
        counted = await self._servers.count(tx)
        return page(request, rows, key=lambda row: row.id, item=lambda row: row.open(cipher), counted=counted)

    async def delete(self, tx: Transaction, server_id: UUID) -> None:
        """Calls that are on their way go on; steps that name it fail from now on. Raises NotFound."""
        await self._servers.delete(tx, server_id)
        await record_audit(tx, "mcp_server.deleted", server_id)
