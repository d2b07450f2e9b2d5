"""Answers whose process is gone. Whoever sweeps first ends them: with what was checkpointed and what the log still has,
status `interrupted`, an `error` event and the end of the stream. Nothing asks the model again."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from uuid import UUID

from loguru import logger
from redis.exceptions import RedisError

from copilot_common.base.errors import CopilotError, NotFound
from copilot_common.base.ids import ProcessId, TenantId, UserId, new_id
from copilot_common.base.tokens import estimate_tokens
from copilot_common.encryption import DecryptionError, Purpose, TenantCipher
from copilot_common.llm.profiles import cost_usd
from copilot_common.llm.registry import ModelRegistry
from copilot_common.llm.types import TokenUsage
from copilot_common.platform.queries import sql as platform_sql
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.conversations.generation.events import EventRecord, StreamError
from copilot_domain.conversations.generation.log import LoggedStream, StreamLog
from copilot_domain.conversations.generation.rows import Ending, LapsedGeneration, LlmCall, ending_params
from copilot_domain.conversations.generation.running import SHOWN_AHEAD
from copilot_domain.conversations.repository import ConversationRepository, MessageRow, sql

SWEEP_SECONDS = 2.0
_BATCH = 20
_PRUNE_EVERY = 30  # sweeps; pruning once a minute is plenty
_PRUNE_ROWS = 1_000

_INTERRUPTED = StreamError("INTERRUPTED", "The server stopped before the answer was complete.")


class Sweeper:
    """Runs in every process; an advisory lock lets one work at a time."""

    def __init__(
        self,
        db: TenantDatabase,
        log: StreamLog,
        repository: ConversationRepository,
        models: ModelRegistry,
        process_id: ProcessId,
        known: Callable[[], Iterable[UUID]],
    ) -> None:
        """`known` gives the answers that this process is making right now."""
        self._db = db
        self._log = log
        self._repository = repository
        self._models = models
        self._process_id = process_id
        self._known = known

    async def run_forever(self) -> None:
        for count in itertools.count():
            try:
                await self.sweep_all()
                if count % _PRUNE_EVERY == 0:
                    await self._prune()
            except CopilotError as error:
                logger.bind(error_type=type(error).__name__).warning("Sweep not done")
            except Exception as error:  # this loop must outlive any one fault: nothing else ends orphaned answers
                logger.opt(exception=error).error("Sweep failed")
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep_all(self) -> None:
        """Batch after batch: a process that made hundreds of answers leaves them all at once."""
        while await self.sweep() > _BATCH // 2:  # some of a batch may not end; most of it must have for another one
            pass

    async def sweep(self) -> int:
        """Claim and end one batch; returns how many answers were ended. One that could not be ended now is claimed
        again later, since this process does not know of it."""
        params = {"process_id": self._process_id, "known": list(self._known()), "limit": _BATCH}
        rows = await self._db.database.fetch_rows(sql["claim_lapsed_generations"], params)
        ended = 0
        for lapsed in itertools.starmap(LapsedGeneration, rows):
            try:
                await self._end(lapsed)
                ended += 1
            except NotFound:
                pass  # its conversation was deleted since
            except DecryptionError as error:
                # One answer that cannot be opened must not keep the others from their end.
                bound = logger.bind(tenant_id=str(lapsed.tenant_id), message_id=str(lapsed.message_id))
                bound.opt(exception=error).error("Answer not ended")
        return ended

    async def _prune(self) -> None:
        """Batch after batch until nothing is past its age."""
        while True:
            row = await self._db.database.fetch_row(platform_sql["prune"], {"limit": _PRUNE_ROWS})
            if row is None or row[0] < _PRUNE_ROWS:
                return

    async def _end(self, lapsed: LapsedGeneration) -> None:
        principal = Principal.system(TenantId(lapsed.tenant_id), UserId(lapsed.user_id))
        async with self._db.transaction(principal) as tx:
            cipher = await tx.cipher()
            row = await self._repository.message(tx, lapsed.conversation_id, lapsed.message_id)
        record = await self._restore(row, cipher)
        ending = self._ending(row, record)
        params = ending_params(
            principal, cipher, fence=lapsed.fence, process_id=self._process_id, ending=ending, call=self._call(row)
        )
        stored = await self._db.call(sql["finish_turn"], params)
        if stored is not None and stored[0]:
            record.add(_INTERRUPTED)
            self._log.append(_Orphan(row, cipher, record), urgent=True)
            logger.bind(tenant_id=str(lapsed.tenant_id), message_id=str(lapsed.message_id)).warning(
                "Answer interrupted: its process is gone"
            )

    async def _restore(self, row: MessageRow, cipher: TenantCipher) -> EventRecord:
        """The last checkpoint, and what the log has beyond it."""
        record = restore_record(row, cipher)
        shown = len(record) + SHOWN_AHEAD
        try:
            fence = max(0, row.log_fence - 1)  # of whoever made it, before we claimed it
            events = await self._log.read(cipher, row.id, fence, after=len(record))
        except (RedisError, OSError, TimeoutError):
            events = []
        record.extend(payload for _, payload in events)
        if row.job_id is not None and row.fence > 1:
            record.pad(row.id, shown)  # or a reader who had seen more than was kept would miss the end
        return record

    def _ending(self, row: MessageRow, record: EventRecord) -> Ending:
        usage = TokenUsage(
            input_tokens=row.input_tokens or 0, output_tokens=estimate_tokens(record.content), estimated=True
        )
        profile = self._models.describe(row.model or "")[1]
        prices = profile.prices if profile else None
        return Ending(
            status="interrupted",
            content=record.content,
            boundaries=record.boundaries(_INTERRUPTED),
            citations=list(record.citations()),
            finish_reason="cancelled",
            error_code="INTERRUPTED",
            degraded=row.degraded,
            usage=usage,
            cost_usd=cost_usd(usage, prices),
        )

    def _call(self, row: MessageRow) -> LlmCall:
        return LlmCall(
            call_id=new_id(),
            conversation_id=row.conversation_id,
            position=row.position,
            message_id=row.id,
            provider=self._models.describe(row.model or "")[0],
            model=row.model or "",
            first_token_ms=None,
            total_ms=0,
        )


class _Orphan(LoggedStream):
    """A swept answer as the log sees it: only its last event is new, and nobody here reads along."""

    def __init__(self, row: MessageRow, cipher: TenantCipher, record: EventRecord) -> None:
        self.message_id, self.log_fence = row.id, row.log_fence
        self.cipher = cipher
        self._record = record

    def unlogged(self) -> tuple[int, list[bytes]]:
        return len(self._record), self._record.payloads[-1:]

    def publish(self, count: int) -> None:
        pass


def restore_record(row: MessageRow, cipher: TenantCipher) -> EventRecord:
    """The record as last stored: whole for an ended answer, the last checkpoint of a running one."""
    if row.events_sealed is None:
        return EventRecord()
    boundaries = cipher.open(Purpose.MESSAGE_EVENTS, row.id, row.events_sealed)
    return EventRecord.restore(row.open_content(cipher), boundaries)
