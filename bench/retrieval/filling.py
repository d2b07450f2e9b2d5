"""Items for the context service to ingest, and how far it is with them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from uuid import UUID

import psycopg

from bench.product import Product
from bench.progress import say
from bench.queueing.producer import Producer
from copilot_common.blobs import PostgresBlobStore
from copilot_common.tenancy import Principal
from copilot_domain.context import ContextRepository, ContextService, NewItem

_TOGETHER = 10  # items of a transaction
_LOOK_SECONDS = 0.25
_PATIENCE_SECONDS = 45.0  # without any new chunk


async def enqueue(producer: Producer, principal: Principal, items: Sequence[NewItem]) -> list[UUID]:
    """They are ingested as soon as a context service runs. Returns their ids."""
    service = ContextService(ContextRepository(), PostgresBlobStore(producer.db), producer.ledger)
    ids: list[UUID] = []
    for first in range(0, len(items), _TOGETHER):
        async with producer.db.transaction(principal) as tx:
            ids += [(await service.create(tx, item)).id for item in items[first : first + _TOGETHER]]
    return ids


@dataclass(frozen=True, slots=True)
class Reached:
    """At a moment (monotonic seconds): items left to do, and chunks that searches find."""

    at: float
    left: int
    chunks: int


class Ingestions:
    """What has become of all items, asked in one session."""

    def __init__(self, product: Product) -> None:
        self._connection = psycopg.connect(product.stores.postgres.admin_url, autocommit=True)

    def __enter__(self) -> "Ingestions":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def look(self) -> Reached:
        """Raises RuntimeError where an item could not be ingested."""
        query = (
            "SELECT count(*) FILTER (WHERE status IN ('pending', 'processing')), "
            "count(*) FILTER (WHERE status = 'failed'), coalesce(sum(chunk_count) FILTER (WHERE status = 'ready'), 0) "
            "FROM context_items"
        )
        left, failed, chunks = self._connection.execute(query).fetchone() or (0, 0, 0)
        if failed:
            raise RuntimeError(f"{failed} items could not be ingested")
        return Reached(monotonic(), int(left), int(chunks))

    async def until(self, what: str, *, chunks: int | None = None) -> Reached:
        """Until so many chunks are ready, or all items. Raises RuntimeError where it stands still."""
        last = reached = await asyncio.to_thread(self.look)
        while reached.left and (chunks is None or reached.chunks < chunks):
            await asyncio.sleep(_LOOK_SECONDS)
            reached = await asyncio.to_thread(self.look)
            if reached.chunks // 5_000 > last.chunks // 5_000:
                say(f"{what}: {reached.chunks} chunks are ready, {reached.left} items are left")
            if reached.chunks != last.chunks:
                last = reached
            if reached.at - last.at > _PATIENCE_SECONDS:
                raise RuntimeError(f"the ingestion stands still at {reached.chunks} chunks")
        return reached


def rate(begin: Reached, end: Reached) -> float:
    """Chunks a second between two moments."""
    return (end.chunks - begin.chunks) / max(end.at - begin.at, 1e-9)
