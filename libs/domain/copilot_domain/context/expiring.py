"""Items past their expiry: nobody sees them any more, and here they are deleted, with all that is made of them.

No job of the ledger: a job acts as a user and ends with that user's rights, an expiry must not. Each item is a
transaction of its own behind its tenant's row-level security, and one that can't be deleted keeps none of the others.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from loguru import logger

from copilot_common.base.errors import CopilotError
from copilot_common.base.ids import TenantId, UserId
from copilot_common.platform.db import Database
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.context.repository import sql
from copilot_domain.context.service import ContextService

_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Expired:
    """`user_id`: whom its deletion acts for, its creator or an owner of the tenant."""

    tenant_id: TenantId
    id: UUID
    user_id: UserId
    expires_at: datetime


_FIRST: Final = Expired(
    TenantId(UUID(int=0)), UUID(int=0), UserId(UUID(int=0)), datetime.min.replace(tzinfo=UTC)
)  # before all


class ItemExpirer:
    def __init__(self, db: TenantDatabase, service: ContextService, *, batch: int = _BATCH) -> None:
        self._db = db
        self._service = service
        self._batch = batch

    async def expire_all(self) -> int:
        """Delete all items of all tenants that have expired; how many went. Raises Unavailable."""
        count, last = 0, _FIRST
        while True:
            found = await _find(self._db.database, after=last, limit=self._batch)
            for item in found:
                count += await self._expire(item)
            if len(found) < self._batch:
                return count
            last = found[-1]

    async def _expire(self, item: Expired) -> bool:
        try:
            async with self._db.transaction(Principal.system(item.tenant_id, item.user_id)) as tx:
                return await self._service.expire(tx, item.id)
        except CopilotError as error:
            logger.bind(item_id=str(item.id), code=error.code).warning("An expired item was not deleted")
        except Exception as error:
            logger.bind(item_id=str(item.id)).opt(exception=error).error("An expired item was not deleted")
        return False


async def _find(database: Database, *, after: Expired, limit: int) -> list[Expired]:
    place = {"after_at": after.expires_at, "after_tenant": after.tenant_id, "after_id": after.id}
    return [Expired(*row) for row in await database.fetch_rows(sql["find_expired"], {**place, "limit": limit})]
