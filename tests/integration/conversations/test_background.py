"""A background answer before its turn has come, and how much of it is shown before it is kept."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from prometheus_client import Gauge

from copilot_common.base.errors import Unavailable
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.encryption import Purpose
from copilot_common.llm.types import ChatRequest
from copilot_common.queue import Job, Ledger
from copilot_common.tenancy import Principal
from copilot_domain.context import SearchRequest, SearchResult
from copilot_domain.conversations import Ask, ConversationRepository, NewConversation
from copilot_domain.conversations.generation import GenerationService
from copilot_domain.conversations.generation.background import BackgroundGenerator
from copilot_domain.conversations.generation.running import SHOWN_AHEAD, RunningGeneration
from copilot_domain.conversations.generation.starting import StartedTurn
from copilot_domain.conversations.jobs import GenerateMessage
from integration.conversations.ground import Ground

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
    job = await queued(ground, generations)
    cipher, model = await ground.db.cipher(ground.principal), ground.models.resolve("openai/sim")
    now = ground.site.rows("SELECT now()")[0][0]
    generation = RunningGeneration(
        principal=ground.principal,
        conversation_id=job.payload.conversation_id,
        turn=StartedTurn(job.payload.message_id, 2, now, model, ChatRequest(model="sim", messages=()), cipher),
        streamed=True,
        claim=None,
        job=job,
    )
    for _ in range(2 * SHOWN_AHEAD):
        generation.record.add_text("a")
    assert generation.is_far_ahead
    assert [len(generation.unlogged()[1]), len(generation.unlogged()[1])] == [SHOWN_AHEAD, 0]
    generation.checkpointed_events = 100
    first, payloads = generation.unlogged()
    assert (first, len(payloads)) == (SHOWN_AHEAD + 1, 100)
