"""Asking another process over the queue: answered, refused, late, forged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time
from typing import Any

import msgspec
import pytest
import redis

from copilot_common.base.errors import InvalidInput
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.platform.redis import connect_redis
from copilot_common.platform.trace import begin_trace, current_trace
from copilot_common.queue import CONTEXT_QUEUE
from copilot_common.queue.request_line import _MAX_QUESTIONS, RequestLine
from copilot_common.queue.requests import Method, NoAnswer, Refused, RequestClient, RequestServer, _Question
from copilot_common.tenancy import Principal
from integration.queue.ground import Ground

CANARY = b"the words of a secret matter that nobody else may read"


def asker(ground: Ground) -> Principal:
    acme = ground.acme
    return Principal(
        kind="user", tenant_id=acme.tenant_id, credential_id=acme.credential_id, user_id=acme.user_id, role="member"
    )


@asynccontextmanager
async def answering(ground: Ground, redis_url: str, method: Method) -> AsyncIterator[RequestClient]:
    near, far = connect_redis(redis_url), connect_redis(redis_url)
    server = RequestServer(far, ground.db, CONTEXT_QUEUE, {"echo": method})
    client = RequestClient(near, ground.db, ProcessId(new_id()))
    await server.start()
    await client.start()
    try:
        yield client
    finally:
        await client.stop()
        await server.stop()
        await near.aclose()
        await far.aclose()


async def test_a_question_is_answered_as_the_one_who_asks(ground: Ground, redis_url: str) -> None:
    async def method(principal: Principal, body: bytes) -> bytes:
        return f"{principal.role} {principal.tenant_id == ground.acme.tenant_id}".encode() + body

    async with answering(ground, redis_url, method) as client:
        answers = await asyncio.gather(
            *(client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"%d" % n, seconds=10) for n in range(20))
        )
    assert answers == [b"member True%d" % n for n in range(20)]


async def test_an_answer_belongs_to_the_trace_of_its_question(ground: Ground, redis_url: str) -> None:
    async def method(_: Principal, body: bytes) -> bytes:
        trace = current_trace.get()
        assert trace is not None
        return f"{trace.trace_id} {trace.tenant_id}".encode()

    asking = begin_trace()
    async with answering(ground, redis_url, method) as client:
        answer = await client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"", seconds=10)
    assert answer.decode() == f"{asking.trace_id} {ground.acme.tenant_id}"


def test_builds_that_know_nothing_of_traces_and_those_that_do_read_one_anothers_questions() -> None:
    question = _Question(new_id(), new_id(), "echo", "here", 1.0, b"sealed", "00-trace")
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(question))
    older = msgspec.defstruct("Older", [(name, Any) for name in _Question.__struct_fields__[:-1]], array_like=True)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=older).sealed == b"sealed"  # type: ignore[attr-defined]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields[:-1]), type=_Question).traceparent is None


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


async def test_what_a_stopping_server_has_taken_is_answered_and_what_comes_then_is_left_to_others(
    ground: Ground, redis_url: str
) -> None:
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def method(_: Principal, body: bytes) -> bytes:
        has_begun.set()
        await may_end.wait()
        return body

    near, far = connect_redis(redis_url), connect_redis(redis_url)
    client = RequestClient(near, ground.db, ProcessId(new_id()))
    first, second = (RequestServer(far, ground.db, CONTEXT_QUEUE, {"echo": method}) for _ in range(2))
    await client.start()
    await first.start()
    taken = asyncio.create_task(client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"taken", seconds=10))
    await has_begun.wait()
    stopping = asyncio.create_task(first.stop())
    await asyncio.sleep(0)  # it has been told
    may_end.set()
    assert await taken == b"taken"
    await stopping
    left = asyncio.create_task(client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"left", seconds=10))
    await second.start()
    assert await left == b"left"
    for part in (client, second):
        await part.stop()
    for connections in (near, far):
        await connections.aclose()


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
    nobody = connect_redis("redis://127.0.0.1:1/0")
    client = RequestClient(nobody, ground.db, ProcessId(new_id()))
    await client.start()
    with pytest.raises(NoAnswer):
        await client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"x", seconds=30)
    await client.stop()
    await nobody.aclose()


async def test_nothing_of_question_and_answer_is_readable_in_redis(ground: Ground, redis_url: str) -> None:
    seen: list[bytes] = []

    async def method(_: Principal, body: bytes) -> bytes:
        return body

    async with answering(ground, redis_url, method) as client:
        with redis.Redis.from_url(redis_url) as watcher, watcher.monitor() as monitor:
            assert await client.ask(CONTEXT_QUEUE, "echo", asker(ground), CANARY, seconds=10) == CANARY
            watcher.set("copilot:end", b"")
            while "copilot:end" not in (command := monitor.next_command()["command"]):
                seen.append(command.encode())
    assert all(any(b"LPUSH" in each and key in each for each in seen) for key in (b":questions", b":replies"))
    assert not any(word in each for each in seen for word in CANARY.split() if len(word) > 5)


async def test_a_question_that_was_not_sealed_by_us_is_not_asked(ground: Ground, redis_url: str) -> None:
    """Somebody who can write to Redis puts one there: of the tenant, but without its key."""
    asked: list[bytes] = []

    async def method(_: Principal, body: bytes) -> bytes:
        asked.append(body)
        return body

    redis_client = connect_redis(redis_url)
    forger, reply_key = RequestLine(redis_client), "copilot:{x}:replies"
    async with answering(ground, redis_url, method) as client:
        forged = [new_id(), ground.acme.tenant_id, "echo", reply_key, time() + 60, b"not sealed by anybody"]
        await forger.ask(CONTEXT_QUEUE, msgspec.msgpack.encode(forged))
        await forger.ask(CONTEXT_QUEUE, b"no question at all")
        assert await client.ask(CONTEXT_QUEUE, "echo", asker(ground), b"ours", seconds=10) == b"ours"
        assert len(await forger.take_answers(reply_key)) == 1  # a refusal
    await redis_client.aclose()
    assert asked == [b"ours"]


async def test_several_are_taken_at_once_the_oldest_first_and_the_others_stay(redis_url: str) -> None:
    redis_client = connect_redis(redis_url)
    line = RequestLine(redis_client)
    await asyncio.gather(*(line.ask(CONTEXT_QUEUE, b"%d" % number) for number in range(5)))
    assert await line.take_questions(CONTEXT_QUEUE, 3) == [b"0", b"1", b"2"]
    assert await line.take_questions(CONTEXT_QUEUE, 8) == [b"3", b"4"]
    await redis_client.aclose()


async def test_questions_that_nobody_takes_are_bounded(redis_url: str) -> None:
    redis_client = connect_redis(redis_url)
    line = RequestLine(redis_client)
    for number in range(_MAX_QUESTIONS + 5):
        await line.ask(CONTEXT_QUEUE, b"%d" % number)
    assert await line.take_questions(CONTEXT_QUEUE, 1) == [b"5"]
    await redis_client.aclose()
    with redis.Redis.from_url(redis_url) as client:
        key = f"copilot:{{{CONTEXT_QUEUE}}}:questions"
        assert client.llen(key) == _MAX_QUESTIONS - 1
        assert 0 < int(str(client.ttl(key))) <= 60
