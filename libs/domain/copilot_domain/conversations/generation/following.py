"""Reading an answer's events from where they are: this process, the stream log, the checkpoints, the stored answer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from loguru import logger
from redis.exceptions import RedisError

from copilot_common.base.errors import NotFound
from copilot_common.encryption import TenantCipher
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.conversations.generation.events import PING_SECONDS, EventBatch, StreamError, event_json, is_last
from copilot_domain.conversations.generation.log import StreamLog
from copilot_domain.conversations.generation.running import RunningGeneration
from copilot_domain.conversations.generation.sweeping import restore_record
from copilot_domain.conversations.repository import ConversationRepository, MessageRow

_LOG_POLL_SECONDS = 0.1
_ROW_POLL_SECONDS = 2.0  # as often as checkpoints are written

_DELETED = StreamError("CANCELLED", "The conversation was deleted.")


@dataclass(frozen=True, slots=True)
class AnswerRef:
    """Where an answer is."""

    conversation_id: UUID
    message_id: UUID


class Follower:
    """One answer, one reader."""

    def __init__(self, db: TenantDatabase, log: StreamLog, repository: ConversationRepository) -> None:
        self._db = db
        self._log = log
        self._repository = repository

    async def follow(
        self, principal: Principal, answer: AnswerRef, *, after: int, local: RunningGeneration | None
    ) -> AsyncIterator[EventBatch]:
        """Numbers above `after`, without a gap, to the last event."""
        number = after
        if local is not None:
            async for batch in local.follow(number):
                yield batch
                number = _last_number(batch, number)
            if local.record.has_ended:
                return
        try:
            async for batch in self._follow_remote(principal, answer, number, was_local=local is not None):
                yield batch
                number = _last_number(batch, number)
        except NotFound:  # the caller has seen it: the conversation was deleted since
            yield [(number + 1, event_json(_DELETED))]

    async def _follow_remote(
        self, principal: Principal, answer: AnswerRef, number: int, *, was_local: bool
    ) -> AsyncIterator[EventBatch]:
        """The log for what is new; every 2 s the row, for whether it has ended (and for all of it, with Redis away)."""
        ping_due = monotonic() + PING_SECONDS
        while True:
            row, cipher = await self._read_row(principal, answer)
            record = restore_record(row, cipher)
            if batch := record.beyond(number):
                yield batch
                number, ping_due = _last_number(batch, number), monotonic() + PING_SECONDS
            if row.status not in {"pending", "generating"}:
                if number > len(record) or (was_local and not batch):
                    # Its process had shown as much as was kept, or more, when it was lost: the end still follows.
                    yield [(number + 1, record.payloads[-1])]
                return
            async for batch in self._follow_log(cipher, answer, row.log_fence, number):
                yield batch
                number, ping_due = _last_number(batch, number), monotonic() + PING_SECONDS
                if is_last(batch[-1][1]):
                    return
            if monotonic() >= ping_due:
                yield []
                ping_due = monotonic() + PING_SECONDS

    async def _follow_log(
        self, cipher: TenantCipher, answer: AnswerRef, fence: int, number: int
    ) -> AsyncIterator[EventBatch]:
        """What the log gets, until it is time to look at the row."""
        row_due = monotonic() + _ROW_POLL_SECONDS
        while monotonic() < row_due:
            if batch := await self._read_log(cipher, answer, fence, number):
                yield batch
                number = _last_number(batch, number)
            await asyncio.sleep(_LOG_POLL_SECONDS)

    async def _read_row(self, principal: Principal, answer: AnswerRef) -> tuple[MessageRow, TenantCipher]:
        async with self._db.transaction(principal) as tx:
            row = await self._repository.message(tx, answer.conversation_id, answer.message_id)
            return row, await tx.cipher()

    async def _read_log(self, cipher: TenantCipher, answer: AnswerRef, fence: int, after: int) -> EventBatch:
        try:
            return await self._log.read(cipher, answer.message_id, fence, after=after)
        except (RedisError, OSError, TimeoutError) as error:
            logger.bind(error_type=type(error).__name__).debug("Stream log not read")
            return []


def _last_number(batch: EventBatch, before: int) -> int:
    return batch[-1][0] if batch else before
