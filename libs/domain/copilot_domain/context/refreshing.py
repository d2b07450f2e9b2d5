"""Pages that are fetched again by themselves: which are due, and the job that each of them gets.

Its next time is set in the transaction that asks for the job, as if the fetch were to fail: whatever becomes of that,
the page isn't due again at once. A fetch that ends well sets it anew (`note_source`, `note_fetch`).
"""

from dataclasses import dataclass
from uuid import UUID

from loguru import logger

from copilot_common.auth.authority import ROLE_SCOPES
from copilot_common.base.errors import CopilotError, Unavailable
from copilot_common.base.ids import TenantId, UserId
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, Role, TenantDatabase, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.context.jobs import request_refresh
from copilot_domain.context.repository import sql

_TENANTS = 500  # that a look goes over; the next one goes on behind them
_OF_TENANT = 50  # pages of one of them
_LIMIT = 200  # pages of a look, a transaction of some 5 ms each


@dataclass(frozen=True, slots=True)
class DuePage:
    tenant_id: TenantId
    id: UUID
    user_id: UserId


@dataclass(frozen=True, slots=True)
class _Held:
    role: Role | None
    is_tenant_active: bool


class PageRefresher:
    """One of a process: it remembers whose pages it looked at last, so that every tenant has its turn."""

    def __init__(self, db: TenantDatabase, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger
        self._after: TenantId | None = None

    async def look(self) -> int:
        """Ask for the ingestion of some pages that are due; returns how many. Raises Unavailable."""
        return sum([await self._refresh(page) for page in await self._find()])

    async def _find(self) -> list[DuePage]:
        params = {"after": self._after, "tenants": _TENANTS, "of_tenant": _OF_TENANT, "limit": _LIMIT}
        rows = await self._db.database.fetch_rows(sql["due_pages"], params)
        self._after = rows[-1][0]
        return [DuePage(*row) for row in rows[:-1]]

    async def _refresh(self, page: DuePage) -> bool:
        principal = Principal.system(page.tenant_id, page.user_id)
        try:
            async with self._db.transaction(principal) as tx:
                return await self._request(tx, page.id)
        except Unavailable:
            raise
        except CopilotError as error:
            logger.bind(item_id=str(page.id), code=str(error.code)).warning("A page is not fetched again now")
        except Exception as error:  # one that always fails must not come first for ever
            logger.bind(item_id=str(page.id)).opt(exception=error).error("A page is not fetched again now")
        async with self._db.transaction(principal) as tx:
            await tx.execute(sql["set_next_fetch"], _key(tx, page.id))
        return False

    async def _request(self, tx: Transaction, item_id: UUID) -> bool:
        """False where it is not due any more, another process has it, or nobody may fetch it."""
        held = await tx.fetch_one(_Held, sql["hold_due_page"], _key(tx, item_id))
        if held is None:
            return False
        if held.is_tenant_active and (held.role is None or "context" not in ROLE_SCOPES[held.role]):
            await tx.execute(sql["end_refresh"], _key(tx, item_id))
            await record_audit(tx, "context.refresh_ended", item_id, details={"reason": "FORBIDDEN"})
            return False
        await tx.execute(sql["set_next_fetch"], _key(tx, item_id))
        if held.is_tenant_active:
            await request_refresh(tx, self._ledger, item_id)
        return held.is_tenant_active


def _key(tx: Transaction, item_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "id": item_id}
