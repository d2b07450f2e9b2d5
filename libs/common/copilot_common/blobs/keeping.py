"""What is left of blobs goes: those begun and never finished, and the objects of those that are gone."""

import asyncio
from typing import NamedTuple
from uuid import UUID

from loguru import logger

from copilot_common.base.errors import Unavailable
from copilot_common.blobs.objects import ObjectStore, object_key
from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries

_PRUNED_ROWS = 1_000  # 250 MB in pieces, a fraction of the statement timeout
_REMOVALS = 50  # claimed for five minutes: 50 blobs of 100 MB are 5 000 requests, eight at a time
_AT_ONCE = 8

_sql = Queries(__package__)


class _Removal(NamedTuple):
    tenant_id: UUID
    id: UUID
    blob_id: UUID
    object_count: int


async def prune(database: Database, *, limit: int = _PRUNED_ROWS) -> int:
    """Delete what was begun a day ago and never finished, all tenants', at most `limit` pieces; returns how many rows
    went. Raises Unavailable."""
    row = await database.fetch_row(_sql["prune_blobs"], {"limit": limit})
    return int(row[0]) if row else 0


async def remove_objects(database: Database, objects: ObjectStore, *, limit: int = _REMOVALS) -> int:
    """Delete the objects of at most `limit` blobs that are gone, all tenants'; returns how many were tried. What fails
    is due again later, and holds up nothing else. Raises Unavailable where the database is."""
    claimed = await database.fetch_rows(_sql["claim_removals"], {"limit": limit})
    failed = 0
    for removal in map(_Removal._make, claimed):
        try:
            await _remove(objects, removal)
        except Unavailable:
            failed += 1
        else:
            await database.fetch_row(_sql["finish_removal"], {"tenant_id": removal.tenant_id, "id": removal.id})
    if failed:
        logger.bind(failed=failed, tried=len(claimed)).warning("Objects of blobs that are gone not removed")
    return len(claimed)


async def _remove(objects: ObjectStore, removal: _Removal) -> None:
    for start in range(0, removal.object_count, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, removal.object_count))
        keys = [object_key(removal.tenant_id, removal.blob_id, number) for number in numbers]
        for ended in await asyncio.gather(*map(objects.delete, keys), return_exceptions=True):
            if ended is not None:
                raise ended


async def keep_blobs(database: Database, objects: ObjectStore | None) -> None:
    """All of that there is now. Any number of processes may do it: claims keep them out of each other's way. Without
    `objects` their removals wait until somebody has a store. Raises Unavailable."""
    while await prune(database) >= _PRUNED_ROWS:
        pass
    while objects and await remove_objects(database, objects) >= _REMOVALS:
        pass
