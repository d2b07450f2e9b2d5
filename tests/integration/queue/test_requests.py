"""Asking another process over the queue: answered, refused, late, forged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time

import msgspec
import pytest
import redis

from copilot_common.base.errors import InvalidInput
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.platform.tasks import end_tasks
from copilot_common.queue import CONTEXT_QUEUE, ArqLine
from copilot_common.queue.requests import Method, NoAnswer, Refused, RequestClient, RequestServer
from copilot_common.tenancy import Principal
from integration.queue.ground import Ground

CANARY = b"the words of a question that nobody else may read"


def asker(ground: Ground) -> Principal:
    acme = ground.acme
    return Principal(
        kind="user", tenant_id=acme.tenant_id, credential_id=acme.credential_id, user_id=acme.user_id, role="member"
    )


@asynccontextmanager
async def answering(ground: Ground, redis_url: str, method: Method) -> AsyncIterator[RequestClient]:
    line, other = ArqLine(redis_url), ArqLine(redis_url)
    server = RequestServer(other, ground.db, {"echo": method})
    listening = asyncio.create_task(
        other.listen(CONTEXT_QUEUE, on_ring=lambda: None, on_request=server, on_connection=lambda _: None)
    )
    client = RequestClient(line, ground.db, ProcessId(new_id()))
    await client.start()
    try:
        yield client
    finally:
        await client.stop()
        await end_tasks([listening])
        await line.aclose()
        await other.aclose()


async def test_a_question_is_answered_as_the_one_who_asks(ground: Ground, redis_url: str) -> None:
    async def method(principal: Principal, body: bytes) -> bytes:
        return f"{principal.role} {principal.tenant_id == ground.acme.tenant_id}".encode() + body

    async with answering(ground, redis_url, method) as client:
        answers = await asyncio.gather(
            *(client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"%d" % n, seconds=10) for n in range(20))
        )
    assert answers == [b"member True%d" % n for n in range(20)]


async def test_a_refusal_comes_back_with_its_fields_and_a_bug_without_its_words(ground: Ground, redis_url: str) -> None:
    async def method(_: Principal, body: bytes) -> bytes:
        if body == b"wrong":
            raise InvalidInput({"query": "must not be empty"})
        raise ZeroDivisionError("hunter2")

    async with answering(ground, redis_url, method) as client:
        with pytest.raises(Refused) as refused:
            await client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"wrong", seconds=10)
        assert refused.value.details == {"fields": {"query": "must not be empty"}}
        with pytest.raises(Refused) as failed:
            await client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"bug", seconds=10)
    assert failed.value.code == "INTERNAL_ERROR"
    assert "hunter2" not in failed.value.message


async def test_without_an_answer_in_time_there_is_none(ground: Ground, redis_url: str) -> None:
    async def method(_: Principal, body: bytes) -> bytes:
        await asyncio.Event().wait()
        return body

    async with answering(ground, redis_url, method) as client:
        with pytest.raises(NoAnswer):
            await client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"x", seconds=0.2)
        with pytest.raises(NoAnswer):
            await client.ask(CONTEXT_QUEUE, "a method of another build", asker(ground), b"x", seconds=0.2)


async def test_without_redis_there_is_no_answer_at_once(ground: Ground) -> None:
    line = ArqLine("redis://127.0.0.1:1/0")
    client = RequestClient(line, ground.db, ProcessId(new_id()))
    await client.start()
    with pytest.raises(NoAnswer):
        await client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"x", seconds=30)
    await client.stop()
    await line.aclose()


async def test_nothing_of_question_and_answer_is_readable_in_redis(ground: Ground, redis_url: str) -> None:
    seen: list[bytes] = []

    async def method(_: Principal, body: bytes) -> bytes:
        with redis.Redis.from_url(redis_url) as client:
            seen.extend(key + (client.dump(key) or b"") for key in client.scan_iter("*"))
        return body

    async with answering(ground, redis_url, method) as client:
        assert await client.ask(CONTEXT_QUEUE, "echo", asker(ground), CANARY, seconds=10) == CANARY
    assert any(b"arq:job" in each for each in seen)
    assert not any(word in each for each in seen for word in CANARY.split() if len(word) > 5)


async def test_a_question_that_was_not_sealed_by_us_is_not_asked(ground: Ground, redis_url: str) -> None:
    """Somebody who can write to Redis puts one there: of the tenant, but without its key."""
    asked: list[bytes] = []

    async def method(_: Principal, body: bytes) -> bytes:
        asked.append(body)
        return body

    forger = ArqLine(redis_url)
    async with answering(ground, redis_url, method) as client:
        forged = msgspec.msgpack.encode([new_id(), ground.acme.tenant_id, b"not sealed by anybody"])
        await forger.request(CONTEXT_QUEUE, "echo", reply_key="copilot:{x}:replies", body=forged, deadline=time() + 60)
        assert await client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"ours", seconds=10) == b"ours"
        assert await forger.take_reply("copilot:{x}:replies") is not None  # a refusal
    await forger.aclose()
    assert asked == [b"ours"]
