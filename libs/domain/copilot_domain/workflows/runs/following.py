"""Reading a run's events while it goes on, wherever it is led: page by page from its rows, then what comes.

A look at one row every second tells whether there is more; a nudge (`nudging.py`) brings it forward.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from time import monotonic
from uuid import UUID

from copilot_common.base.errors import NotFound, Unavailable
from copilot_common.blobs import BlobStore
from copilot_common.encryption import TenantCipher
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.conversations.generation.events import PING_SECONDS, EventBatch, StreamTooLong
from copilot_domain.workflows.runs.events import (
    EventRows,
    ProgressRow,
    ReviewEventRow,
    StepEventsRow,
    events_between,
)
from copilot_domain.workflows.runs.nudging import NudgeListener
from copilot_domain.workflows.runs.outputs import OutputReader
from copilot_domain.workflows.runs.repository import sql

_PAGE = 500  # events
_REVIEWS = 20  # in a page; what they show may be large
_LOOK_SECONDS = 1.0
_LONGEST_SECONDS = 3_600.0


class RunFollower:
    """One per process. A stream is cut after `longest_seconds`, so that its reader, who asks for the rest, has to show
    again that it may: runs can take weeks."""

    def __init__(
        self, db: TenantDatabase, blobs: BlobStore, nudges: NudgeListener, *, longest_seconds: float = _LONGEST_SECONDS
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._nudges = nudges
        self._longest_seconds = longest_seconds

    async def open(self, principal: Principal, run_id: UUID, *, after: int) -> AsyncIterator[EventBatch]:
        """The events with numbers above `after`, without a gap, to the run's last. Raises NotFound at once; the
        iterator raises `StreamTooLong`."""
        async with self._db.transaction(principal) as tx:
            await _progress(tx, run_id)
        return self._follow(principal, run_id, after)

    async def _follow(self, principal: Principal, run_id: UUID, number: int) -> AsyncIterator[EventBatch]:
        begun = quiet_since = monotonic()
        with self._nudges.watch(run_id) as nudged:
            while True:
                nudged.clear()
                batch, count, has_ended = await self._read(principal, run_id, number)
                if batch:
                    yield batch
                    number, quiet_since = batch[-1][0], monotonic()
                if has_ended and number >= count:
                    return
                if monotonic() - begun >= self._longest_seconds:
                    raise StreamTooLong
                if number >= count:
                    await _wait(nudged)
                if monotonic() - quiet_since >= PING_SECONDS:
                    yield []
                    quiet_since = monotonic()

    async def _read(self, principal: Principal, run_id: UUID, after: int) -> tuple[EventBatch, int, bool]:
        """A page; how many events the run has; whether it has ended."""
        try:
            async with self._db.transaction(principal) as tx:
                run = await _progress(tx, run_id)
                if run.event_count <= after:
                    return [], run.event_count, run.has_ended
                until, rows = await _page(tx, run, after)
                cipher = await tx.cipher()
            outputs = await self._outputs(principal, run, cipher) if until == run.event_count else None
        except Unavailable:
            return [], after, False  # it comes back, or the reader gives up
        except NotFound:  # it was there: its tenant is going
            return [], after, True
        return (
            events_between(EventRows(run, *rows, outputs), cipher, after=after, until=until),
            run.event_count,
            run.has_ended,
        )

    async def _outputs(self, principal: Principal, run: ProgressRow, cipher: TenantCipher) -> bytes | None:
        if run.outputs_of is None:
            return None
        reader = OutputReader(self._db, self._blobs, principal, cipher)
        return (await reader.read(run.id, [run.outputs_of])).get(run.outputs_of)


async def _progress(tx: Transaction, run_id: UUID) -> ProgressRow:
    run = await tx.fetch_one(ProgressRow, sql["progress"], {"tenant_id": tx.principal.tenant_id, "id": run_id})
    if run is None:
        raise NotFound("run")
    return run


async def _page(
    tx: Transaction, run: ProgressRow, after: int
) -> tuple[int, tuple[list[StepEventsRow], list[ReviewEventRow]]]:
    """The last number of the page, and the rows it is told from. Numbers above the run's count, as it was when it was
    looked at, may be there already."""
    until = min(after + _PAGE, run.event_count)
    key: dict[str, object] = {"tenant_id": tx.principal.tenant_id, "run_id": run.id, "after": after}
    reviews = await tx.fetch_all(ReviewEventRow, sql["events_of_reviews"], key | {"until": until, "limit": _REVIEWS})
    if len(reviews) == _REVIEWS:
        until = reviews[-1].event
    return until, (await tx.fetch_all(StepEventsRow, sql["events_of_steps"], key | {"until": until}), reviews)


async def _wait(nudged: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_SECONDS):
            await nudged.wait()
