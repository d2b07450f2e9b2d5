"""The one transaction at an answer's end: answer, usage, counters. Then, and only then, its last event."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from uuid import UUID

import psycopg
from loguru import logger

from copilot_common.base.errors import Conflict, CopilotError, ProviderError, Unavailable
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.queue import JobLost, Ledger, NewJob, complete, hold
from copilot_common.tenancy import TenantDatabase, Transaction
from copilot_domain import idempotency
from copilot_domain.conversations.generation.generating import Outcome, answer_usage, conclude
from copilot_domain.conversations.generation.log import StreamLog
from copilot_domain.conversations.generation.rows import Ending, LlmCall, bill_deleted, ending_params
from copilot_domain.conversations.generation.running import RunningGeneration
from copilot_domain.conversations.jobs import TITLE_CONVERSATION, TitleConversation
from copilot_domain.conversations.repository import sql
from copilot_domain.conversations.types import Message
from copilot_domain.webhooks import publish

_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 5.0
_FIRST_ANSWER = 2  # its position
_GONE = "The message is gone: its conversation was deleted, or a crash of the database has undone it."

FollowUp = Callable[[Transaction], Awaitable[object]]


class Finisher:
    """Stores endings. While PostgreSQL is away it keeps trying: the answer is paid for, and nobody else has it."""

    def __init__(self, db: TenantDatabase, log: StreamLog, ledger: Ledger, process_id: ProcessId) -> None:
        self._db = db
        self._ledger = ledger
        self._log = log
        self._process_id = process_id

    async def finish(self, generation: RunningGeneration, outcome: Outcome) -> None:
        """Resolves `generation.answer`. When the answer has passed to another process nothing is written or shown; when
        it is gone with its conversation, or with a crash of PostgreSQL, only the bill is written."""
        generation.is_finishing = True
        ending, last = conclude(generation, outcome)
        if (fault := await self._store_persistently(generation, ending)) is not None:
            generation.lose()
            generation.answer.set_exception(fault)
            return
        generation.record.add(last)
        generation.checkpointed_events = len(generation.record)
        if generation.streamed:
            self._log.append(generation, urgent=True)
        else:
            generation.publish(len(generation.record))
        if outcome.error is not None:
            generation.answer.set_exception(_with_id(outcome.error, generation))
        else:
            generation.answer.set_result(answer_message(generation, ending))

    async def _store_persistently(self, generation: RunningGeneration, ending: Ending) -> CopilotError | None:
        wait, call = _FIRST_WAIT_SECONDS, _call(generation)
        while True:
            try:
                return await self._store(generation, ending, call)
            except JobLost:
                return Unavailable("This answer was taken over by another process.")
            except (Unavailable, psycopg.OperationalError):
                logger.bind(message_id=str(generation.message_id)).warning("Answer not stored yet")
                await asyncio.sleep(random.uniform(0, wait))
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    async def _store(self, generation: RunningGeneration, ending: Ending, call: LlmCall) -> CopilotError | None:
        """None once it is stored; else why it cannot be."""
        if await self._finish(generation, ending, call):
            return None
        async with self._db.transaction(generation.principal) as tx:
            if await bill_deleted(tx, ending=ending, call=call):
                return Conflict(_GONE, code="CANCELLED")
        return Unavailable("This answer was taken over by another process.")

    async def _finish(self, generation: RunningGeneration, ending: Ending, call: LlmCall) -> bool:
        follow_ups = self._follow_ups(generation, ending)
        params = ending_params(
            generation.principal,
            generation.cipher,
            fence=generation.fence,
            process_id=self._process_id,
            ending=ending,
            call=call,
            is_alone=not follow_ups,
        )
        if not follow_ups:
            row = await self._db.call(sql["finish_turn"], params)
            if row is not None and row[0] is not None:
                return bool(row[0])
        async with self._db.transaction(generation.principal) as tx:
            if generation.job is not None:
                await hold(tx, generation.job)
            is_ours = bool(await tx.fetch_value(sql["finish_turn"], params | {"is_alone": False}))
            if is_ours:
                await publish(tx, self._ledger, "message.created", _news(generation, ending))
                for follow_up in follow_ups:
                    await follow_up(tx)
            return is_ours

    def _follow_ups(self, generation: RunningGeneration, ending: Ending) -> list[FollowUp]:
        """What belongs into the same transaction as the end. Most answers have none, and end in one round trip."""
        claim, job = generation.claim, generation.job
        found: list[FollowUp] = []
        if claim is not None and ending.status == "failed":
            found.append(lambda tx: idempotency.discard(tx, claim))
        if job is not None:
            found.append(lambda tx: complete(tx, job))
        if generation.position == _FIRST_ANSWER and ending.status == "completed":
            found.append(lambda tx: self._ask_for_title(tx, generation.conversation_id))
        return found

    async def _ask_for_title(self, tx: Transaction, conversation_id: UUID) -> None:
        new = NewJob(
            type=TITLE_CONVERSATION,
            payload=TitleConversation(conversation_id),
            dedupe_key=f"title:{conversation_id}",
        )
        await self._ledger.enqueue(tx, new)


def _news(generation: RunningGeneration, ending: Ending) -> dict[str, UUID | str | int | bool | None]:
    return {
        "conversation_id": generation.conversation_id,
        "message_id": generation.message_id,
        "status": ending.status,
    }


def _call(generation: RunningGeneration) -> LlmCall:
    first = generation.first_token_at
    return LlmCall(
        call_id=new_id(),
        conversation_id=generation.conversation_id,
        position=generation.position,
        message_id=generation.message_id,
        provider=generation.model.provider,
        model=generation.model.name,
        first_token_ms=None if first is None else round((first - generation.began_at) * 1000),
        total_ms=round((monotonic() - generation.began_at) * 1000),
    )


def answer_message(generation: RunningGeneration, ending: Ending) -> Message:
    """The stored answer, without reading it back."""
    return Message(
        id=generation.message_id,
        conversation_id=generation.conversation_id,
        role="assistant",
        content=ending.content,
        status=ending.status,
        tokens_used=ending.usage.input_tokens + ending.usage.output_tokens,
        usage=answer_usage(ending.usage, ending.cost_usd),
        model=generation.model.name,
        citations=ending.citations,
        finish_reason=ending.finish_reason,
        degraded=ending.degraded,
        metadata=None,
        created_at=generation.created_at,
    )


def _with_id(error: Exception, generation: RunningGeneration) -> Exception:
    if isinstance(error, ProviderError):
        error.details["message_id"] = str(generation.message_id)
    return error
