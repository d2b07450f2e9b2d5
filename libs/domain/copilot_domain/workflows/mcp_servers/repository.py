"""Rows of MCP servers, unsealed into the domain's types."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

import msgspec

from copilot_common.base.errors import NotFound
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.mcp_servers.types import McpEndpoint, McpServer, NewMcpServer

sql = Queries(__package__)

_LAST_ID = UUID(int=2**128 - 1)
_decode_headers = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, slots=True)
class McpServerRow:
    id: UUID
    user_id: UUID
    name: str
    url_sealed: bytes
    headers_sealed: bytes | None
    created_at: datetime

    def open(self, cipher: TenantCipher) -> McpServer:
        url = self._url(cipher)
        return McpServer(id=self.id, name=self.name, url=url, user_id=self.user_id, created_at=self.created_at)

    def endpoint(self, cipher: TenantCipher) -> McpEndpoint:
        sealed = self.headers_sealed
        headers = _decode_headers(cipher.open(Purpose.MCP_HEADERS, self.id, sealed)) if sealed else {}
        return McpEndpoint(self._url(cipher), headers)

    def _url(self, cipher: TenantCipher) -> str:
        return cipher.open_text(Purpose.MCP_URL, self.id, self.url_sealed)


class McpServerRepository:
    """Every method runs in the caller's transaction, as its principal."""

    async def insert(self, tx: Transaction, server_id: UUID, new: NewMcpServer) -> McpServerRow | None:
        """None where the name is taken."""
        cipher = await tx.cipher()
        headers = msgspec.json.encode(new.headers) if new.headers else None
        columns = {
            "tenant_id": tx.principal.tenant_id,
            "id": server_id,
            "user_id": tx.principal.acting_user,
            "name": new.name,
            "url_sealed": cipher.seal_text(Purpose.MCP_URL, server_id, new.url),
            "headers_sealed": cipher.seal(Purpose.MCP_HEADERS, server_id, headers) if headers else None,
        }
        return await tx.fetch_one(McpServerRow, sql["insert_server"], columns)

    async def lock(self, tx: Transaction) -> None:
        """Who else registers one in the tenant waits for the transaction's end."""
        await tx.execute(sql["lock_servers"], {"tenant_id": tx.principal.tenant_id})

    async def count(self, tx: Transaction) -> int:
        return cast(int, await tx.fetch_value(sql["count_servers"], {"tenant_id": tx.principal.tenant_id}))

    async def page(self, tx: Transaction, *, before: UUID | None, offset: int, limit: int) -> list[McpServerRow]:
        params = {"tenant_id": tx.principal.tenant_id, "before": before or _LAST_ID, "offset": offset, "limit": limit}
        return await tx.fetch_all(McpServerRow, sql["list_servers"], params)

    async def find(self, tx: Transaction, name: str) -> McpServerRow | None:
        params = {"tenant_id": tx.principal.tenant_id, "name": name}
        return await tx.fetch_one(McpServerRow, sql["find_server"], params)

    async def delete(self, tx: Transaction, server_id: UUID) -> None:
        """Raises NotFound."""
        if not await tx.execute(sql["delete_server"], {"tenant_id": tx.principal.tenant_id, "id": server_id}):
            raise NotFound("MCP server")
