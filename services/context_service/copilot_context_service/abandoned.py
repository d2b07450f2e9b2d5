"""Items whose job is dead: every process that ran it was lost, or it failed too often."""

from typing import Final

from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries

_sql = Queries(__package__)

_BATCH: Final = 100


async def fail_abandoned_items(database: Database) -> None:
    """Some of them, all tenants'. Raises Unavailable."""
    await database.fetch_row(_sql["fail_abandoned_items"], {"limit": _BATCH})
