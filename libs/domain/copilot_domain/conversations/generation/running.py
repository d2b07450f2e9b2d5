"""One answer being generated in this process: its events so far, and who reads along."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Literal
from uuid import UUID

from copilot_common.base.errors import Unavailable
from copilot_common.llm.types import TokenUsage
from copilot_common.queue import Job
from copilot_common.tenancy import Principal
from copilot_domain.conversations.generation.events import PING_SECONDS, EventBatch, EventRecord
from copilot_domain.conversations.generation.starting import StartedTurn
from copilot_domain.conversations.jobs import GenerateMessage
from copilot_domain.conversations.types import Message
from copilot_domain.idempotency import Claim

SHOWN_AHEAD = 256
"""How many events of a background answer may be shown that no checkpoint has. Whoever takes it over with its stream log
lost knows from this which numbers its readers may have seen."""

StopReason = Literal["cancelled", "interrupted", "lost", "handed_over"]


class RunningGeneration:
    """`published` trails `record`: events are shown once the stream log has them."""

    def __init__(
        self,
        *,
        principal: Principal,
        conversation_id: UUID,
        turn: StartedTurn,
        streamed: bool,
        claim: Claim | None,
        job: Job[GenerateMessage] | None = None,
        record: EventRecord | None = None,
        checkpointed: int = 0,
    ) -> None:
        self.principal = principal
        self.conversation_id = conversation_id
        self.message_id = turn.answer_id
        self.position = turn.position
        self.fence = turn.fence
        self.log_fence = 0 if job is None else turn.fence
        self.created_at = turn.created_at
        self.cipher = turn.cipher
        self.model = turn.model
        self.request = turn.request
        self.streamed = streamed
        self.claim = claim
        self.job = job
        self.degraded = False
        self.record = record or EventRecord()
        self.fault = turn.fault
        self.wanted = turn.wanted
        self.usage: TokenUsage | None = None
        self.began_at = monotonic()
        self.first_token_at: float | None = None
        self.checkpointed_at = self.began_at
        self.checkpointed_events = checkpointed
        self.stop_reason: StopReason | None = None
        self.is_asking = False
        self.is_finishing = False
        self.is_lost = False
        self.answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        # What another process had made is shown already; our log begins with it.
        self._logged, self._published = 0, len(self.record)
        self._waiters: list[asyncio.Future[bool]] = []

    def stop(self, reason: StopReason) -> None:
        """Ask the generating task to end. The first reason counts; an answer that is being stored stays as it is."""
        if self.stop_reason is None and not self.is_finishing:
            self.stop_reason = reason
            if self.is_asking and self.task is not None:
                self.task.cancel()

    def is_stopped(self) -> bool:
        """May change at every await."""
        return self.stop_reason is not None

    @property
    def is_far_ahead(self) -> bool:
        """Whether a checkpoint should not wait for its time, lest the readers wait for the checkpoint."""
        return self.job is not None and len(self.record) - self.checkpointed_events > SHOWN_AHEAD // 2

    def unlogged(self) -> tuple[int, list[bytes]]:
        first = self._logged + 1
        limit = None if self.job is None else self.checkpointed_events + SHOWN_AHEAD
        payloads = self.record.payloads[self._logged : limit]
        self._logged += len(payloads)
        return first, payloads

    def publish(self, count: int) -> None:
        self._published = max(self._published, count)
        self._wake_readers()

    def lose(self) -> None:
        """The answer has passed to another process: stop, and send the readers there."""
        self.stop("lost")
        self.is_lost = True
        self._wake_readers()

    def abandon(self) -> None:
        """The generating task is gone. Whoever still waits learns it; after a proper end this does nothing."""
        if not self.answer.done():
            self.answer.set_exception(Unavailable("The answer was interrupted; read the message for what there is."))
        if not self.record.has_ended:
            self.lose()
        if not self.answer.cancelled():
            self.answer.exception()  # read it, so that an answer nobody waited for is not reported as forgotten

    async def follow(self, after: int) -> AsyncIterator[EventBatch]:
        """Published events with numbers above `after`, until the last one or until the generation is lost."""
        number = after
        while True:
            if number < self._published:
                batch = list(enumerate(self.record.payloads[number : self._published], number + 1))
                number = self._published
                yield batch
            elif self.is_lost or (self.record.has_ended and number >= len(self.record)):
                return
            elif not await self._news():
                yield []

    async def wait(self) -> Message:
        """The answer, once it is stored. Raises what the provider's failure was."""
        return await asyncio.shield(self.answer)

    async def _news(self) -> bool:
        """Wait for the next wake-up; False when PING_SECONDS pass without one."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(PING_SECONDS, _settle, waiter, False)
        try:
            return await waiter
        finally:
            timer.cancel()
            if waiter in self._waiters:  # a reader that left or was pinged must not wait here for the next event
                self._waiters.remove(waiter)

    def _wake_readers(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _settle(waiter, True)


def _settle(waiter: asyncio.Future[bool], is_news: bool) -> None:
    if not waiter.done():
        waiter.set_result(is_news)
