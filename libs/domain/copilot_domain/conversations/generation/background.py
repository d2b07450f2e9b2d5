"""The handler of `message.generate`: the same generation as a streamed answer's, under a job of the ledger.

A worker that dies leaves its answer to whoever claims the job next: with the events so far and a `restart`, after which
the text begins again. Answers of one conversation are made in their order: one whose turn has not come is parked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from loguru import logger
from psycopg.errors import UniqueViolation
from redis.exceptions import RedisError

from copilot_common.base.errors import InvalidInput, NotFound
from copilot_common.base.ids import ProcessId
from copilot_common.base.tokens import BYTES_PER_TOKEN
from copilot_common.encryption import SEAL_OVERHEAD_BYTES, DecryptionError, Purpose, TenantCipher
from copilot_common.llm.estimates import estimate_usage
from copilot_common.llm.registry import ModelRegistry
from copilot_common.llm.types import ChatMessage
from copilot_common.queue import Job, JobFailed, complete, hold, park
from copilot_common.tenancy import TenantDatabase, Transaction
from copilot_domain.conversations.generation.events import EventBatch, EventRecord
from copilot_domain.conversations.generation.log import StreamLog
from copilot_domain.conversations.generation.running import SHOWN_AHEAD
from copilot_domain.conversations.generation.service import GenerationService
from copilot_domain.conversations.generation.starting import Plan, StartedTurn, build_request, plan_turn
from copilot_domain.conversations.jobs import GenerateMessage
from copilot_domain.conversations.repository import decode_documents, open_optional, sql
from copilot_domain.conversations.types import Ask

_TURN_NOT_YET = timedelta(seconds=1)
_LOG_TRIES = 3
_LOGS_LOOKED_AT = 3  # each but the first is of a worker that died within milliseconds of taking over


@dataclass(frozen=True, slots=True)
class _Taken:
    status: str
    position: int
    fence: int
    created_at: datetime
    question_id: UUID
    question_sealed: bytes
    documents_sealed: bytes | None
    conversation_model: str | None
    system_prompt_sealed: bytes | None
    cancel_requested: bool
    is_waiting: bool

    def ask(self, cipher: TenantCipher, payload: GenerateMessage) -> Ask:
        documents = self.documents_sealed
        opened = cipher.open(Purpose.MESSAGE_DOCUMENTS, self.question_id, documents) if documents else None
        return Ask(
            content=cipher.open_text(Purpose.MESSAGE_CONTENT, self.question_id, self.question_sealed),
            documents=decode_documents(opened) if opened else (),
            model=payload.model,
            temperature=payload.temperature,
            max_tokens=payload.max_tokens,
            context=payload.context,
        )


@dataclass(frozen=True, slots=True)
class _Owned:
    """`content_sealed` and `events_sealed`: the last checkpoint of whoever made the answer before."""

    fence: int
    content_sealed: bytes
    events_sealed: bytes | None

    def record(self, cipher: TenantCipher, message_id: UUID) -> EventRecord:
        if self.events_sealed is None:
            return EventRecord()
        content = cipher.open_text(Purpose.MESSAGE_CONTENT, message_id, self.content_sealed)
        return EventRecord.restore(content, cipher.open(Purpose.MESSAGE_EVENTS, message_id, self.events_sealed))


@dataclass(frozen=True, slots=True)
class _Earlier:
    id: UUID
    role: Literal["user", "assistant"]
    content_sealed: bytes


class BackgroundGenerator:
    """Called with the job. Parks it while an earlier answer of the conversation is unfinished."""

    def __init__(
        self,
        db: TenantDatabase,
        models: ModelRegistry,
        log: StreamLog,
        generations: GenerationService,
        *,
        process_id: ProcessId,
        max_messages: int,
    ) -> None:
        self._db = db
        self._models = models
        self._log = log
        self._generations = generations
        self._process_id = process_id
        self._max_messages = max_messages

    async def __call__(self, job: Job[GenerateMessage]) -> None:
        taken = await self._look(job)
        if taken is None:
            return
        cipher = await self._db.cipher(job.principal)
        payload = job.payload
        prompt = taken.system_prompt_sealed
        try:
            ask = taken.ask(cipher, payload)
            system = open_optional(cipher, Purpose.CONVERSATION_SYSTEM_PROMPT, payload.conversation_id, prompt)
            model = self._models.resolve(payload.model or taken.conversation_model)
            plan = await plan_turn(ask, model, taken.conversation_model, system)
        except (InvalidInput, DecryptionError) as error:  # a model that is no longer offered: it stays like that
            raise JobFailed(error.code, error.message, is_final=True) from None
        try:
            turn, owned = await self._own(job, taken, plan, ask, system, cipher)
        except UniqueViolation:  # a streamed question of the same conversation is being answered since
            async with self._db.transaction(job.principal) as tx:
                await park(tx, job, _TURN_NOT_YET)
            return
        record = owned.record(cipher, payload.message_id)
        checkpointed = len(record)
        if taken.status == "generating":
            await self._add_shown(record, taken.fence, cipher, payload.message_id)
        await self._generations.run_job(
            job,
            payload.conversation_id,
            turn,
            record,
            checkpointed=checkpointed,
            is_cancelled=taken.cancel_requested,
        )

    async def _look(self, job: Job[GenerateMessage]) -> _Taken | None:
        """None where there is nothing to do now: parked, ended already, or its conversation is gone."""
        async with self._db.transaction(job.principal) as tx:
            await hold(tx, job)
            taken = await tx.fetch_one(_Taken, sql["take_up_turn"], _key(job))
            if taken is None or taken.status not in {"pending", "generating"}:
                await complete(tx, job)
                return None
            if taken.is_waiting:
                await park(tx, job, _TURN_NOT_YET)
                return None
            return taken

    async def _own(
        self, job: Job[GenerateMessage], taken: _Taken, plan: Plan, ask: Ask, system: str | None, cipher: TenantCipher
    ) -> tuple[StartedTurn, _Owned]:
        """From here on the answer is this process's, under a new fence."""
        async with self._db.transaction(job.principal) as tx:
            await hold(tx, job)
            request = build_request(ask, plan, system, await self._history(tx, job, taken.position, plan, cipher))
            params = {
                "process_id": self._process_id,
                "model": plan.model.name,
                "input_tokens": estimate_usage(request, "").input_tokens,
            }
            owned = await tx.fetch_one(_Owned, sql["own_turn"], _key(job) | params)
            if owned is None:
                raise NotFound("message")
            turn = StartedTurn(
                job.payload.message_id,
                taken.position,
                taken.created_at,
                plan.model,
                request,
                cipher,
                ask.context,
                fence=owned.fence,
            )
            return turn, owned

    async def _history(
        self, tx: Transaction, job: Job[GenerateMessage], position: int, plan: Plan, cipher: TenantCipher
    ) -> list[ChatMessage]:
        limits = {
            "position": position - 1,
            "max_messages": self._max_messages,
            "max_bytes": (plan.room or 0) * BYTES_PER_TOKEN + self._max_messages * SEAL_OVERHEAD_BYTES,
        }
        rows = await tx.fetch_all(_Earlier, sql["history_before"], _key(job) | limits)
        texts = [(row.role, cipher.open_text(Purpose.MESSAGE_CONTENT, row.id, row.content_sealed)) for row in rows]
        return [ChatMessage(role, text) for role, text in texts if text]

    async def _add_shown(self, record: EventRecord, last_fence: int, cipher: TenantCipher, message_id: UUID) -> None:
        """What the workers before had shown beyond the last checkpoint. The newest log has it, but its worker may have
        died before it could begin it; and Redis may have lost any of it, where nobody can tell. It is only certain how
        much can have been shown: the `restart` comes after all those numbers, or a reader who had seen them would miss
        it."""
        shown = len(record) + SHOWN_AHEAD
        for fence in range(last_fence, max(last_fence - _LOGS_LOOKED_AT, 0), -1):
            events = await self._close_log(cipher, message_id, fence, after=len(record))
            if events is None:
                break
            if events:
                record.extend(payload for _, payload in events)
                break
        record.pad(message_id, shown)

    async def _close_log(self, cipher: TenantCipher, message_id: UUID, fence: int, *, after: int) -> EventBatch | None:
        """None when Redis is away. One that is only slow is asked again."""
        for _ in range(_LOG_TRIES):
            try:
                return await self._log.close(cipher, message_id, fence, after=after)
            except TimeoutError:
                continue
            except (RedisError, OSError) as error:
                logger.bind(error_type=type(error).__name__).warning("Stream log not closed")
                return None
        logger.warning("Stream log not closed")
        return None


def _key(job: Job[GenerateMessage]) -> dict[str, object]:
    return {
        "tenant_id": job.tenant_id,
        "conversation_id": job.payload.conversation_id,
        "id": job.payload.message_id,
    }
