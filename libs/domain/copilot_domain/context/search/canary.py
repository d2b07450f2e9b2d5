"""What searches miss, measured on live data: candidates come from codes of vectors, which may overlook some.

About once a minute, after a search has been answered, its vector is compared with every vector that the same principal
may find, and with what the candidates hold. That waits a while for a moment in which nobody else does, no longer: where
searches never pause, recall matters most. Only numbers stay; the query's text is not kept, and no fault is passed on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from loguru import logger
from pgvector import Vector
from prometheus_client import CollectorRegistry, Counter, Histogram

from copilot_common.platform.sql import Queries
from copilot_common.platform.tasks import end_tasks
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.columns import GUIDE_DIMENSIONS, accept_arrays
from copilot_domain.context.repository import seen_by
from copilot_domain.context.search.answering import Asked
from copilot_domain.context.search.searching import ContextSearch
from copilot_domain.context.segments.types import Numbers
from copilot_domain.context.types import SearchRequest, SearchResult

_sql = Queries(__package__)

_BEST: Final = 10
_INTERVAL_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.5  # until the answer is on its way, and between two looks whether somebody waits
_LOOKS: Final = 20  # ten seconds: a process that is never free then is busy for long
_STATEMENT_MS: Final = 5_000  # of one statement; comparing 100 000 vectors of 256 components takes some 0.3 s
_MAX_CHUNKS: Final = 200_000  # of a tenant: beyond, it would take seconds of a core every minute
_SIZES: Final = ((10_000, "small"), (50_000, "medium"), (_MAX_CHUNKS, "large"))  # up to so many chunks
# Products of the same vectors, here of sixteen bits and in PostgreSQL, differ: by more than 0.00001 where one component
# is nearly all of a vector.
_SAME: Final = 1e-4
_BUCKETS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0)  # tenths are all there is, for ten


class RecallMetrics:
    """One per CollectorRegistry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.recall = Histogram(
            "context_search_recall",
            "Share of the ten nearest passages that are among a vector search's candidates, by size of the tenant",
            ["size"],
            buckets=_BUCKETS,
            registry=registry,
        )
        for _, size in _SIZES:  # from 0 on: to `increase` a series that begins with its first value has not grown
            self.recall.labels(size)
        self.checks = Counter(
            "context_search_recall_checks",
            "Searches that were measured, or were to be (measured, empty, too_large, failed)",
            ["outcome"],
            registry=registry,
        )


class RecallCanary:
    """A ContextSearch that measures some of its searches. Stop it before the database is closed."""

    def __init__(
        self,
        db: TenantDatabase,
        search: ContextSearch,
        metrics: RecallMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        self._db, self._search, self._metrics = db, search, metrics
        self._clock, self._pause_seconds = clock, pause_seconds
        self._next = clock()
        self._under_way = 0
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    async def start(self) -> None:
        """Nothing is done before a search."""

    async def stop(self) -> None:
        self._is_stopped = True
        await end_tasks([self._task])

    async def search(self, principal: Principal, request: SearchRequest) -> SearchResult:
        """As ContextSearch's."""
        self._under_way += 1
        try:
            result, asked = await self._search.answer(principal, request)
        finally:
            self._under_way -= 1
        if asked.vector is not None and self._is_due():
            self._task = asyncio.create_task(self._measure(principal, asked, asked.vector), name="recall canary")
        return result

    def _is_due(self) -> bool:
        is_free = self._task is None or self._task.done()
        return is_free and not self._is_stopped and self._clock() >= self._next

    async def _measure(self, principal: Principal, asked: Asked, vector: Numbers) -> None:
        await self._wait_for_free_moment()
        self._next = self._clock() + _INTERVAL_SECONDS
        try:
            async with self._db.transaction(principal, is_snapshot=True) as tx:
                outcome = await self._compare(tx, asked, vector)
        except Exception as error:  # whatever it is, no search is the worse for it
            outcome = "failed"
            logger.bind(error_type=type(error).__name__).warning("Recall not measured")
        self._metrics.checks.labels(outcome).inc()

    async def _wait_for_free_moment(self) -> None:
        for _ in range(_LOOKS):
            await asyncio.sleep(self._pause_seconds)
            if not self._under_way:
                return

    async def _compare(self, tx: Transaction, asked: Asked, vector: Numbers) -> str:
        await tx.fetch_value(_sql["be_modest"], {"milliseconds": _STATEMENT_MS})
        candidates, index = await self._search.nearest(tx, asked)
        size = next((size for limit, size in _SIZES if index.size <= limit), None)
        if size is None:
            return "too_large"
        best = await _score_exactly(tx, vector, asked.model)
        if not best or index.model != asked.model:  # it has changed its model since
            return "empty"
        found = candidates.vectors[np.any(candidates.vectors, axis=1)] @ vector
        self._metrics.recall.labels(size).observe(recall(best, found))
        return "measured"


def recall(best: Sequence[float], found: Numbers) -> float:
    """`best`: the scores of the true best, the best first. By scores, not ids: equals are as good as each other."""
    count = int(np.count_nonzero(found >= best[-1] - _SAME))
    return min(count, len(best)) / len(best)


async def _score_exactly(tx: Transaction, vector: Numbers, model: str) -> list[float]:
    accept_arrays(tx)
    query = _sql["score_exactly" if len(vector) == GUIDE_DIMENSIONS else "score_wide_exactly"]
    params = {"vector": Vector(vector), "model": model, "limit": _BEST, **seen_by(tx.principal)}
    async with tx.connection.cursor(binary=True) as cursor:
        await cursor.execute(query, params)
        return [row[0] for row in await cursor.fetchall()]
