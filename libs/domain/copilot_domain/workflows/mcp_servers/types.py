"""MCP servers as the wire shows them, and what is needed to call one."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec


class McpServer(msgspec.Struct, frozen=True, kw_only=True):
    """Its headers are shown nowhere: they may carry a credential."""

    id: UUID
    name: str
    url: str
    user_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewMcpServer:
    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class McpEndpoint:
    """Where a server is called, and what each request to it carries."""

    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
