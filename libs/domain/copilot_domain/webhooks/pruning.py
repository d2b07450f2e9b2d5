"""What nobody needs to see any more."""

from copilot_common.platform.db import Database
from copilot_domain.webhooks.repository import sql

_PRUNED_ROWS = 1_000


async def prune(database: Database, *, limit: int = _PRUNED_ROWS) -> int:
    """Delete deliveries older than 30 days, all tenants', at most `limit`; returns how many. Raises Unavailable."""
    row = await database.fetch_row(sql["prune_deliveries"], {"limit": limit})
    return int(row[0]) if row else 0
