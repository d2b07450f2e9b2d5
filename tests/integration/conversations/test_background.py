"""A background answer before its turn has come, and how much of it is shown before it is kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
import pytest
from prometheus_client import Gauge
from redis.asyncio import Redis

from copilot_common.base.errors import Unavailable
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.llm.types import ChatRequest
from copilot_common.queue import Job, Ledger
from copilot_common.tenancy import Principal
from copilot_domain.context import SearchRequest, SearchResult
from copilot_domain.conversations import Ask, ConversationRepository, NewConversation
from copilot_domain.conversations.generation import GenerationService
from copilot_domain.conversations.generation.background import BackgroundGenerator
from copilot_domain.conversations.generation.checkpointing import Checkpointer
from copilot_domain.conversations.generation.events import EventRecord, MessageStart, is_last
from copilot_domain.conversations.generation.following import AnswerRef, Follower
from copilot_domain.conversations.generation.running import SHOWN_AHEAD, RunningGeneration
from copilot_domain.conversations.generation.starting import StartedTurn, TurnStarter
from copilot_domain.conversations.jobs import GenerateMessage
from integration.conversations.ground import Ground
from support.clients import eventually

PROCESS = ProcessId(new_id())


class _Nowhere:
    async def search(self, principal: Principal, request: SearchRequest, *, seconds: float) -> SearchResult:
        raise Unavailable("Nobody is there.")


@pytest.fixture
async def generations(ground: Ground) -> AsyncIterator[GenerationService]:
    ground.site.rows("INSERT INTO processes (id, service, lease_expires_at) VALUES (%s, 'test', 'infinity')", PROCESS)
    yield GenerationService(
        ground.db,
        ground.models,
        ground.log,
        process_id=PROCESS,
        max_messages=100,
        max_running=1,
        active=Gauge("active", "x", registry=None),
        ledger=Ledger(lambda _: None),
        search=_Nowhere(),
    )
    ground.site.rows("DELETE FROM processes WHERE id = %s", PROCESS)


async def queued(ground: Ground, generations: GenerationService) -> Job[GenerateMessage]:
    """The claimed job of a background question in a conversation of its own."""
    where = new_id()
    async with ground.db.transaction(ground.principal) as tx:
        await ConversationRepository().insert(tx, where, NewConversation())
    answer = await generations.ask_later(ground.principal, where, Ask(content="Hello?"))
    ((job_id,),) = ground.site.rows(
        "UPDATE jobs SET status = 'running', fence = 1, process_id = %s"
        " WHERE id = (SELECT job_id FROM messages WHERE id = %s) RETURNING id",
        PROCESS,
        answer.id,
    )
    payload = GenerateMessage(conversation_id=where, message_id=answer.id)
    return Job(id=job_id, fence=1, payload=payload, principal=ground.principal, failures=0)


async def test_one_that_a_streamed_question_overtook_waits_for_it(
    ground: Ground, generations: GenerationService
) -> None:
    """The question was asked at the same moment, and stands after it: both were told that they may be answered."""
    job = await queued(ground, generations)
    await being_answered(ground, job.payload.conversation_id)
    generator = BackgroundGenerator(
        ground.db, ground.models, ground.log, generations, process_id=PROCESS, max_messages=100
    )
    await generator(job)
    assert ground.status(job.payload.message_id) == "pending"
    query = "SELECT status, failures, run_after < now() + interval '2 s' FROM jobs WHERE id = %s"
    rows = ground.site.rows(query, job.id)
    assert rows == [("scheduled", 0, True)]


async def running(ground: Ground, job: Job[GenerateMessage], *, fence: int = 1) -> RunningGeneration:
    cipher, model = await ground.db.cipher(ground.principal), ground.models.resolve("openai/sim")
    now = ground.site.rows("SELECT now()")[0][0]
    request = ChatRequest(model="sim", messages=())
    return RunningGeneration(
        principal=ground.principal,
        conversation_id=job.payload.conversation_id,
        turn=StartedTurn(job.payload.message_id, 2, now, model, request, cipher, fence=fence),
        streamed=True,
        claim=None,
        job=job,
    )


async def being_answered(ground: Ground, where: UUID) -> None:
    message = new_id()
    async with ground.db.transaction(ground.principal) as tx:
        sealed = (await tx.cipher()).seal(Purpose.MESSAGE_CONTENT, message, b"")
        await tx.execute(
            "INSERT INTO messages (tenant_id, id, conversation_id, position, role, status, user_id, content_sealed)"
            " VALUES (%s, %s, %s, 3, 'assistant', 'generating', %s, %s)",
            [ground.principal.tenant_id, message, where, ground.principal.user_id, sealed],
        )


async def test_readers_are_shown_only_so_much_that_is_not_kept(ground: Ground, generations: GenerationService) -> None:
    generation = await running(ground, await queued(ground, generations))
    for _ in range(2 * SHOWN_AHEAD):
        generation.record.add_text("a")
    assert generation.is_far_ahead
    assert [len(generation.unlogged()[1]), len(generation.unlogged()[1])] == [SHOWN_AHEAD, 0]
    generation.checkpointed_events = 100
    first, payloads = generation.unlogged()
    assert (first, len(payloads)) == (SHOWN_AHEAD + 1, 100)


@pytest.mark.parametrize("loss", ["a gap below the checkpoint", "its end", "everything"])
async def test_a_reader_gets_the_restart_whatever_the_log_has_lost(
    ground: Ground, generations: GenerationService, loss: str
) -> None:
    job = await queued(ground, generations)
    worker = await LostWorker.at(ground, job)
    if loss.startswith("a gap"):
        await worker.show(20)
        await worker.show(40, is_logged=False)
    await worker.show(50)
    await worker.checkpoint(50)
    await worker.show(80)
    async with reading(ground, job, until=80) as seen:
        if loss == "its end":
            await worker.forget(80)
        elif loss == "everything":
            await worker.forget(50, 80)
        generator = BackgroundGenerator(
            ground.db, ground.models, ground.log, generations, process_id=PROCESS, max_messages=100
        )
        await generator(job)
    types = [msgspec.json.decode(payload)["type"] for _, payload in seen]
    assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
    assert (types.count("restart"), types[-1]) == (1, "message_end")


async def test_a_reader_gets_the_end_of_an_answer_whose_job_is_dead(
    ground: Ground, generations: GenerationService
) -> None:
    job = await queued(ground, generations)
    worker = await LostWorker.at(ground, job)
    await worker.checkpoint(50)
    await worker.show(51)
    async with reading(ground, job, until=51) as seen:
        await worker.forget(51)
        ground.site.rows("UPDATE jobs SET status = 'dead', process_id = NULL WHERE id = %s", job.id)
        assert await ground.sweeper(ConversationRepository()).sweep() == 1
    assert is_last(seen[-1][1])


async def test_a_refused_checkpoint_shows_nothing_more(ground: Ground, generations: GenerationService) -> None:
    job = await queued(ground, generations)
    generation = await running(ground, job, fence=7)
    generation.record.pad(job.payload.message_id, 2 * SHOWN_AHEAD)
    await Checkpointer(ground.db, ground.log, [generation], PROCESS).checkpoint_due()
    assert generation.is_lost
    assert len(generation.unlogged()[1]) == SHOWN_AHEAD


class LostWorker:
    """Of the claim before: what it had made, shown and stored."""

    def __init__(self, ground: Ground, job: Job[GenerateMessage], cipher: TenantCipher) -> None:
        self._ground, self.message_id, self.cipher, self.log_fence = ground, job.payload.message_id, cipher, 1
        self._record = EventRecord()
        self._record.add(MessageStart(self.message_id))
        for number in range(100):
            self._record.add_text(f"old{number} ")
        self._logged = self._wanted = 0

    @classmethod
    async def at(cls, ground: Ground, job: Job[GenerateMessage]) -> "LostWorker":
        worker = cls(ground, job, await ground.db.cipher(ground.principal))
        await worker.checkpoint(0)
        return worker

    def unlogged(self) -> tuple[int, list[bytes]]:
        first, self._logged = self._logged, self._wanted
        return first + 1, self._record.payloads[first : self._wanted]

    def publish(self, count: int) -> None:
        """Nobody reads along in its process."""

    async def show(self, count: int, *, is_logged: bool = True) -> None:
        self._wanted = count
        if is_logged:
            await self._ground.log._write([(self, *self.unlogged())])
        else:
            self.unlogged()

    async def checkpoint(self, count: int) -> None:
        kept = EventRecord()
        kept.extend(self._record.payloads[:count])
        content = self.cipher.seal_text(Purpose.MESSAGE_CONTENT, self.message_id, kept.content)
        events = self.cipher.seal(Purpose.MESSAGE_EVENTS, self.message_id, kept.boundaries())
        self._ground.site.rows(
            "UPDATE messages SET status = 'generating', fence = 1, process_id = %s, content_sealed = %s,"
            " events_sealed = %s WHERE id = %s",
            PROCESS,
            content,
            events,
            self.message_id,
        )

    async def forget(self, *numbers: int) -> None:
        """Redis loses the entries that end with these."""
        async with Redis.from_url(self._ground.site.redis_url) as redis:
            key = f"copilot:{{{self.message_id}}}:stream:1"
            assert await redis.xdel(key, *(f"{number}-0" for number in numbers)) == len(numbers)


@asynccontextmanager
async def reading(ground: Ground, job: Job[GenerateMessage], *, until: int) -> AsyncIterator[list[tuple[int, bytes]]]:
    """A reader that has seen so many events; at the end, all of them."""
    seen: list[tuple[int, bytes]] = []
    answer = AnswerRef(job.payload.conversation_id, job.payload.message_id)
    follower = Follower(ground.db, ground.log, ConversationRepository())

    async def read() -> None:
        async for batch in follower.follow(ground.principal, answer, after=0, local=None):
            seen.extend(batch)

    async def has_seen() -> bool:
        return len(seen) == until

    ground.log.start()
    task = asyncio.create_task(read())
    await eventually(has_seen, what="what was shown")
    yield seen
    await asyncio.wait_for(task, 10)
    await ground.log.stop()


@pytest.mark.parametrize("streamed", [True, False])
async def test_only_who_reads_a_stream_is_told_of_a_turn_before_its_answer(
    ground: Ground, generations: GenerationService, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    told: list[bool] = []

    async def start(*_: object, is_told: bool) -> StartedTurn:
        told.append(is_told)
        raise Unavailable("That was all.")

    monkeypatch.setattr(TurnStarter, "start", start)
    with pytest.raises(Unavailable, match="That was all"):
        await generations.ask(ground.principal, new_id(), Ask(content="One?"), streamed=streamed)
    assert told == [streamed]
