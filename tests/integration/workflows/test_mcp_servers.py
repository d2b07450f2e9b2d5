"""Registering MCP servers against PostgreSQL: what two at once may do."""

import asyncio

import pytest

from copilot_common.base.errors import Conflict
from copilot_common.platform.egress.exemptions import parse_exemptions
from copilot_common.platform.egress.rules import EgressRules
from copilot_domain.workflows.mcp_servers import service
from copilot_domain.workflows.mcp_servers.service import McpServerService
from copilot_domain.workflows.mcp_servers.types import NewMcpServer
from integration.queue.ground import Ground, open_ground
from support.clients import eventually
from support.stack import Database


async def register(ground: Ground, name: str, *, other: bool = False) -> None:
    servers = McpServerService(EgressRules(parse_exemptions(""), frozenset({443})))
    async with ground.db.transaction(ground.other if other else ground.acme) as tx:
        await servers.create(tx, NewMcpServer(name=name, url="https://mcp.example.com/", headers={}))


async def test_two_at_once_do_not_both_get_the_last_place(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_SERVERS", 1)
    servers = McpServerService(EgressRules(parse_exemptions(""), frozenset({443})))
    async with open_ground(database) as ground:

        async def waits() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
            return second.done() or ground.rows(query, database.name) == [(1,)]

        async with ground.db.transaction(ground.acme) as tx:
            await servers.create(tx, NewMcpServer(name="a", url="https://mcp.example.com/", headers={}))
            await register(ground, "a", other=True)  # another tenant waits for nobody
            second = asyncio.create_task(register(ground, "b"))
            await eventually(waits, what="the second one")
        with pytest.raises(Conflict):
            await second
        assert ground.rows("SELECT count(DISTINCT tenant_id), count(*) FROM mcp_servers") == [(2, 2)]
