"""An item's way to being found, as events: its status, and how many of its chunks are done.

One row by its key, once a second, is all that a reader costs. The same look tells whether the reader may still see it:
who is no longer a member, or no longer meant by the access list, is told what a deleted item is told.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic
from typing import Literal
from uuid import UUID

import msgspec

from copilot_common.base.errors import NotFound, Unavailable
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.context.repository import seen_by, sql
from copilot_domain.context.types import ItemError, ItemStatus
from copilot_domain.conversations.generation.events import PING_SECONDS, EventBatch, StreamTooLong

_LOOK_SECONDS = 1.0
_LONGEST_SECONDS = 3_600.0


class StatusEvent(msgspec.Struct, tag_field="type", tag="status", omit_defaults=True):
    """`ready`, `failed` and `deleted` are the last."""

    status: ItemStatus | Literal["deleted"]
    error: ItemError | None = None


class ProgressEvent(msgspec.Struct, tag_field="type", tag="progress"):
    """Chunks that are embedded and stored, of all there are."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class StateRow:
    status: ItemStatus
    error_code: str | None
    error: str | None
    progress_done: int
    progress_total: int

    @property
    def has_ended(self) -> bool:
        return self.status in {"ready", "failed"}

    @property
    def progress(self) -> tuple[int, int] | None:
        """While it is pending, or has failed, the row's numbers are those of another try."""
        is_current = self.status in {"processing", "ready"} and self.progress_total > 0
        return (self.progress_done, self.progress_total) if is_current else None


class ItemFollower:
    """One per process. A stream is cut after `longest_seconds`: its reader has to show again that it may."""

    def __init__(
        self, db: TenantDatabase, *, look_seconds: float = _LOOK_SECONDS, longest_seconds: float = _LONGEST_SECONDS
    ) -> None:
        self._db = db
        self._look_seconds = look_seconds
        self._longest_seconds = longest_seconds

    async def open(self, principal: Principal, item_id: UUID, *, after: int) -> AsyncIterator[EventBatch]:
        """The state as it is, numbered from above `after`, and then what changes. Raises NotFound at once; the iterator
        raises `StreamTooLong`."""
        first = await self._look(principal, item_id)
        if first is None:
            raise NotFound("context item")
        return self._follow(principal, item_id, first, after)

    async def _follow(
        self, principal: Principal, item_id: UUID, state: StateRow | None, number: int
    ) -> AsyncIterator[EventBatch]:
        begun = quiet_since = monotonic()
        before: StateRow | None = None
        while True:
            if state != before:
                payloads = news(before, state)
                if payloads:
                    yield list(enumerate(payloads, number + 1))
                    number, quiet_since = number + len(payloads), monotonic()
            if state is None or state.has_ended:
                return
            if monotonic() - begun >= self._longest_seconds:
                raise StreamTooLong
            if monotonic() - quiet_since >= PING_SECONDS:
                yield []
                quiet_since = monotonic()
            before = state
            await asyncio.sleep(self._look_seconds)
            try:
                state = await self._look(principal, item_id)
            except Unavailable:
                continue  # it comes back, or the reader gives up

    async def _look(self, principal: Principal, item_id: UUID) -> StateRow | None:
        async with self._db.transaction(principal) as tx:
            return await tx.fetch_one(StateRow, sql["item_state"], {"id": item_id, **seen_by(principal)})


def news(before: StateRow | None, now: StateRow | None) -> list[bytes]:
    """What a reader who knows `before` is told, as JSON; `now` is None for an item that is no longer there."""
    if now is None:
        return [msgspec.json.encode(StatusEvent("deleted"))]
    events: list[StatusEvent | ProgressEvent] = []
    if before is None or before.status != now.status:
        error = ItemError(now.error_code, now.error or "") if now.error_code else None
        events.append(StatusEvent(now.status, error))
    if now.progress and (before is None or before.progress != now.progress):
        events.append(ProgressEvent(*now.progress))
    if now.has_ended:
        events.reverse()  # the status comes last
    return [msgspec.json.encode(event) for event in events]
