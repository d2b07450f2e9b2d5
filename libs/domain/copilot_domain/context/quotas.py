"""How much a tenant may keep in its context: items, bytes that came in for them, chunks that searches find.

The sums are one row per tenant, kept by triggers that run as the last thing of each transaction (migration 015). What
is to be added is checked under the lock of that row, hence last in its transaction as well: two who would both fit, but
not together, come one after the other. What only shrinks is never refused, also where a limit was lowered.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from copilot_common.base.errors import Conflict, NotFound
from copilot_common.platform.settings import Settings
from copilot_common.tenancy import Transaction
from copilot_domain.context.repository import sql


class QuotaLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Those of tenants without their own."""

    max_items: int = 100_000
    max_bytes: int = 10 * 2**30
    max_chunks: int = 2_000_000


class ContextUsage(msgspec.Struct, frozen=True, kw_only=True):
    """`bytes` is what came in: texts, files, fetched pages."""

    items: int
    bytes: int
    chunks: int
    limits: QuotaLimits


class QuotaExceeded(Conflict):
    """`details` name the quota, its limit and what is used of it now."""

    def __init__(self, quota: str, *, limit: int, used: int) -> None:
        super().__init__(
            f"It does not fit: of {limit} {quota} that this tenant may keep in its context, {used} are used. Delete"
            " what is no longer needed, or ask the operator for a larger quota.",
            code="QUOTA_EXCEEDED",
            details={"quota": quota, "limit": limit, "used": used},
        )


@dataclass(frozen=True, slots=True)
class _Row:
    items: int
    bytes: int
    chunks: int
    max_items: int | None
    max_bytes: int | None
    max_chunks: int | None


_DEFAULTS: Final = QuotaLimits()


class Quotas:
    """Each method runs in the caller's transaction."""

    def __init__(self, defaults: QuotaLimits = _DEFAULTS) -> None:
        self._defaults = defaults

    async def usage(self, tx: Transaction) -> ContextUsage:
        """As committed: what this transaction has written is not counted yet."""
        return self._usage(await tx.fetch_one(_Row, sql["find_usage"], _key(tx)))

    async def foresee(self, tx: Transaction, *, items: int = 0, size_bytes: int = 0, chunks: int = 0) -> None:
        """Whether so much more would fit by now, before anybody works on it. Raises QuotaExceeded."""
        _check(await self.usage(tx), items=items, size_bytes=size_bytes, chunks=chunks)

    async def claim(self, tx: Transaction, *, items: int = 0, size_bytes: int = 0, chunks: int = 0) -> None:
        """That this transaction adds so much altogether: its last step but for audit, whoever adds something waits for
        its commit. Raises QuotaExceeded."""
        if items <= 0 and size_bytes <= 0 and chunks <= 0:
            return
        row = await tx.fetch_one(_Row, sql["hold_usage"], _key(tx))
        if row is None:
            await tx.execute(sql["begin_usage"], _key(tx))
            row = await tx.fetch_one(_Row, sql["hold_usage"], _key(tx))
        _check(self._usage(row), items=items, size_bytes=size_bytes, chunks=chunks)

    def _usage(self, row: _Row | None) -> ContextUsage:
        if row is None:
            raise NotFound("tenant")
        own = {"max_items": row.max_items, "max_bytes": row.max_bytes, "max_chunks": row.max_chunks}
        limits = msgspec.structs.replace(self._defaults, **{name: own[name] for name in own if own[name] is not None})
        return ContextUsage(items=row.items, bytes=row.bytes, chunks=row.chunks, limits=limits)


def default_limits(settings: Settings) -> QuotaLimits:
    return QuotaLimits(
        max_items=settings.context_max_items,
        max_bytes=settings.context_max_bytes,
        max_chunks=settings.context_max_chunks,
    )


def _check(usage: ContextUsage, *, items: int, size_bytes: int, chunks: int) -> None:
    limits = usage.limits
    for quota, added, used, limit in (
        ("items", items, usage.items, limits.max_items),
        ("bytes", size_bytes, usage.bytes, limits.max_bytes),
        ("chunks", chunks, usage.chunks, limits.max_chunks),
    ):
        if added > 0 and used + added > limit:
            raise QuotaExceeded(quota, limit=limit, used=used)


def _key(tx: Transaction) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id}
