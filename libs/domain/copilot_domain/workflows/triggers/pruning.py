"""Calls so old that nobody repeats them."""

from copilot_common.platform.db import Database
from copilot_domain.workflows.triggers.repository import sql

_PRUNED_ROWS = 1_000


async def prune_calls(database: Database, *, limit: int = _PRUNED_ROWS) -> int:
    """Delete calls past their expiry, all tenants', at most `limit`; returns how many. Raises Unavailable."""
    row = await database.fetch_row(sql["prune_calls"], {"limit": limit})
    return int(row[0]) if row else 0
