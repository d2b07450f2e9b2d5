"""Asking for an answer, following it, stopping it: the generations of this process, and the way to those of others."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from loguru import logger
from prometheus_client import Gauge

from copilot_common.base.errors import Conflict, Unavailable
from copilot_common.base.ids import MessageId, ProcessId, new_id
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.tasks import end_tasks
from copilot_common.queue import Job, JobLost, Ledger
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.conversations.generation.checkpointing import Checkpointer
from copilot_domain.conversations.generation.events import EventBatch, EventRecord
from copilot_domain.conversations.generation.finishing import Finisher
from copilot_domain.conversations.generation.following import AnswerRef, Follower
from copilot_domain.conversations.generation.generating import Generator
from copilot_domain.conversations.generation.log import StreamLog
from copilot_domain.conversations.generation.queueing import TurnQueue
from copilot_domain.conversations.generation.running import RunningGeneration
from copilot_domain.conversations.generation.searching import Grounder, Searcher
from copilot_domain.conversations.generation.starting import StartedTurn, TurnStarter
from copilot_domain.conversations.generation.sweeping import Sweeper
from copilot_domain.conversations.jobs import GenerateMessage
from copilot_domain.conversations.repository import ConversationRepository
from copilot_domain.conversations.types import Ask, Message
from copilot_domain.idempotency import Claim

_STOP_SECONDS = 5.0  # for interrupted answers to be stored; what is not, the next sweep ends


class GenerationService:
    """Start it once per process, before the first request; stop it after the last one."""

    def __init__(
        self,
        db: TenantDatabase,
        models: ModelRegistry,
        log: StreamLog,
        *,
        process_id: ProcessId,
        max_messages: int,
        max_running: int,
        active: Gauge,
        ledger: Ledger,
        search: Searcher,
    ) -> None:
        repository = ConversationRepository()
        self._repository = repository
        self._log = log
        self._max_running = max_running
        self._active = active
        self._running: dict[UUID, RunningGeneration] = {}
        self._starting: set[UUID] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._is_draining = False
        self._starter = TurnStarter(db, models, process_id=process_id, max_messages=max_messages)
        self._queue = TurnQueue(db, models, ledger)
        self._grounder = Grounder(search)
        self._generator = Generator(log)
        self._finisher = Finisher(db, log, ledger, process_id)
        self._checkpointer = Checkpointer(db, log, self._running.values(), process_id)
        self._sweeper = Sweeper(db, log, repository, models, process_id, self._known)
        self._follower = Follower(db, log, repository)

    def start(self) -> None:
        self._log.start()
        self._loops = [
            asyncio.create_task(self._checkpointer.run_forever(), name="checkpoints"),
            asyncio.create_task(self._sweeper.run_forever(), name="sweeper"),
        ]

    async def drain(self, seconds: float) -> None:
        """Take no more questions, let running answers end for this long, then interrupt what is left."""
        self._is_draining = True
        tasks = self._tasks()
        if tasks:
            logger.bind(running=len(tasks)).info("Draining")
            await asyncio.wait(tasks, timeout=seconds)
        for generation in list(self._running.values()):
            generation.stop("interrupted")
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)

    async def stop(self) -> None:
        await end_tasks(self._loops)
        await self._log.stop()

    async def ask(
        self,
        principal: Principal,
        conversation_id: UUID,
        ask: Ask,
        *,
        streamed: bool,
        claim: Claim | None = None,
    ) -> RunningGeneration:
        """Store the turn and begin to answer it. `generation.answer` is the answer; `follow` its events.

        Raises NotFound, InvalidInput, Conflict (GENERATION_IN_PROGRESS) or Unavailable.
        """
        if self._must_stop() or len(self._running) + len(self._starting) >= self._max_running:
            raise Unavailable("This server takes no more questions right now; try again.")
        answer_id = MessageId(new_id())
        self._starting.add(answer_id)
        try:
            turn = await self._starter.start(principal, conversation_id, answer_id, ask, claim, is_told=streamed)
            generation = RunningGeneration(
                principal=principal,
                conversation_id=conversation_id,
                turn=turn,
                streamed=streamed,
                claim=claim,
            )
            self._running[answer_id] = generation
        finally:
            self._starting.discard(answer_id)
        self._active.set(len(self._running))
        generation.task = asyncio.create_task(self._generate(generation), name="generation")
        if self._must_stop():  # it was being prepared when the process was told to stop
            generation.stop("interrupted")
        return generation

    async def ask_later(
        self, principal: Principal, conversation_id: UUID, ask: Ask, *, claim: Claim | None = None
    ) -> Message:
        """Store the turn and have it answered in the background; the pending answer.

        Raises NotFound, Conflict or InvalidInput.
        """
        return await self._queue.queue(principal, conversation_id, ask, claim)

    async def run_job(
        self,
        job: Job[GenerateMessage],
        conversation_id: UUID,
        turn: StartedTurn,
        record: EventRecord,
        *,
        checkpointed: int,
        is_cancelled: bool = False,
    ) -> None:
        """Make a background answer, to its end; with `is_cancelled` its model is not asked. `checkpointed`: so many
        events of the record are stored.

        When this call is itself cancelled, the answer is left to whoever takes the job over. Raises JobLost.
        """
        generation = RunningGeneration(
            principal=job.principal,
            conversation_id=conversation_id,
            turn=turn,
            streamed=True,
            claim=None,
            job=job,
            record=record,
            checkpointed=checkpointed,
        )
        self._running[turn.answer_id] = generation
        self._active.set(len(self._running))
        if is_cancelled:
            generation.stop("cancelled")
        if len(record):  # before anything else: readers of the log before look for it here
            self._log.append(generation, urgent=True)
        task = generation.task = asyncio.create_task(self._generate(generation), name="generation")
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            generation.stop("handed_over")
            await asyncio.wait({task})
            raise
        if generation.is_lost:
            raise JobLost

    def follow(
        self, principal: Principal, conversation_id: UUID, message_id: UUID, *, after: int = 0
    ) -> AsyncIterator[EventBatch]:
        """An answer's events with numbers above `after`, live or from storage, to the end.

        The caller has checked that the principal may see the message.
        """
        answer = AnswerRef(conversation_id, message_id)
        return self._follower.follow(principal, answer, after=after, local=self._running.get(message_id))

    def events(self, generation: RunningGeneration) -> AsyncIterator[EventBatch]:
        """All events of an answer that `ask` has begun."""
        answer = AnswerRef(generation.conversation_id, generation.message_id)
        return self._follower.follow(generation.principal, answer, after=0, local=generation)

    async def cancel(self, tx: Transaction, conversation_id: UUID, message_id: UUID) -> None:
        """Ask for the end of an answer, in whichever process it runs; it has ended within about 2 s.

        Raises NotFound, or Conflict when it has ended already.
        """
        await self._repository.get(tx, conversation_id)
        row = await self._repository.message(tx, conversation_id, message_id)
        if not await self._repository.request_cancel(tx, conversation_id, message_id):
            raise Conflict(f"This message is {row.status}.", details={"status": row.status})
        await record_audit(tx, "message.cancelled", message_id)

    def cancel_here(self, message_id: UUID) -> None:
        """After `cancel` is committed: stop it at once if it runs in this process."""
        if generation := self._running.get(message_id):
            generation.stop("cancelled")

    async def _generate(self, generation: RunningGeneration) -> None:
        try:
            if not generation.is_stopped():
                await self._grounder.ground(generation)
            outcome = await self._generator.run(generation)
            if generation.stop_reason == "handed_over":
                return
            await self._finisher.finish(generation, outcome)
        finally:
            if self._running.get(generation.message_id) is generation:  # not the same answer, taken up again here
                del self._running[generation.message_id]
            self._active.set(len(self._running))
            generation.abandon()

    def _must_stop(self) -> bool:
        """May change at every await."""
        return self._is_draining

    def _known(self) -> list[UUID]:
        return [*self._running, *self._starting]

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [generation.task for generation in self._running.values() if generation.task]
