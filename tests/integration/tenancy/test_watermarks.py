"""Tenants' watermarks, over a real Redis, with it, and without it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger
from redis.asyncio import Redis

from copilot_common.base.ids import TenantId
from copilot_common.platform.redis import connect_redis
from copilot_common.tenancy.watermarks import (
    _MAX_PAYING,
    _MAX_PUBLISHING,
    LIFETIME_SECONDS,
    Lsn,
    NoWatermark,
    Watermarks,
    parse_lsn,
)
from support.clients import eventually

if TYPE_CHECKING:
    from loguru import Record

ACME, OTHER = TenantId(uuid4()), TenantId(uuid4())


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def marks(redis: Redis) -> Watermarks:
    return Watermarks(redis)


async def token(marks: Watermarks) -> str:
    found = await marks.find(ACME)
    assert isinstance(found, NoWatermark)
    assert found.token
    return found.token


async def mark(marks: Watermarks, lsn: int) -> None:
    await marks.set(ACME, await token(marks), Lsn(lsn))
    assert await marks.find(ACME) == lsn


def test_positions_are_read_as_postgresql_writes_them() -> None:
    written = ["0/0", "0/FF", "0/16B374D8", "1/0", "A/1", "FFFFFFFF/FFFFFFFF"]
    assert [parse_lsn(text) for text in written] == [0, 0xFF, 0x16B374D8, 2**32, 10 * 2**32 + 1, 2**64 - 1]


async def test_of_reads_that_find_none_one_may_make_it(marks: Watermarks, redis: Redis) -> None:
    first, second = await marks.find(ACME), await Watermarks(redis).find(ACME)
    assert isinstance(first, NoWatermark)
    assert first.token
    assert second == NoWatermark("unmarked")
    await marks.set(ACME, first.token, Lsn(7))
    assert await Watermarks(redis).find(ACME) == 7
    assert isinstance(await marks.find(OTHER), NoWatermark)


async def test_a_write_takes_the_token_of_a_read_that_may_not_have_seen_it(marks: Watermarks) -> None:
    held = await token(marks)
    await marks.publish(ACME, Lsn(5))
    await marks.set(ACME, held, Lsn(9))
    assert isinstance(await marks.find(ACME), NoWatermark)


async def test_an_older_write_that_is_published_late_does_not_become_the_watermark(marks: Watermarks) -> None:
    await marks.publish(ACME, Lsn(9))
    await token(marks)
    await marks.publish(ACME, Lsn(5))
    assert isinstance(await marks.find(ACME), NoWatermark)


async def test_a_write_makes_no_watermark(marks: Watermarks) -> None:
    await marks.publish(ACME, Lsn(5))
    assert isinstance(await marks.find(ACME), NoWatermark)


async def test_a_watermark_only_rises(marks: Watermarks) -> None:
    await mark(marks, 2**60)
    risen = []
    for lsn in (2**60 + 1, 3, 2**60 - 1, 2**63 + 2**60, 2**63):
        await marks.publish(ACME, Lsn(lsn))
        found = await marks.find(ACME)
        assert not isinstance(found, NoWatermark)
        risen.append(found)
    assert all(before <= after for before, after in pairwise(risen))
    assert risen[-1] == 2**63 + 2**60


async def test_nothing_prolongs_the_life_of_a_watermark(marks: Watermarks, redis: Redis) -> None:
    key = f"copilot:{{{ACME}}}:lsn"
    held = await token(marks)
    assert 0 < await redis.pttl(key) <= LIFETIME_SECONDS * 1_000
    await redis.pexpire(key, 3_000)
    await marks.set(ACME, held, Lsn(1))
    await marks.publish(ACME, Lsn(2))
    assert await marks.find(ACME) == 2
    assert 0 < await redis.pttl(key) <= 3_000


KINDS = ("commit", "publish", "find", "tell", "set", "forget")
steps = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3)), min_size=30, max_size=60)


@given(steps=steps)
@settings(max_examples=80, deadline=None)
def check_history(redis_url: str, steps: list[tuple[str, int]]) -> None:
    """Any number of writers and readers, whose steps may come as late as they like; Redis forgets at any time."""

    async def go() -> None:
        redis = connect_redis(redis_url)
        marks, tenant = Watermarks(redis), TenantId(uuid4())
        end = 0  # of the primary's log
        unpublished: list[int] = []
        published = 0
        readers: list[tuple[str, int | None]] = []
        for step, number in steps:
            if step == "commit":
                end += 1
                unpublished.append(end)
            elif step == "publish" and unpublished:
                lsn = unpublished.pop(number % len(unpublished))
                await marks.publish(tenant, Lsn(lsn))
                published = max(published, lsn)
            elif step == "find":
                found = await marks.find(tenant)
                if not isinstance(found, NoWatermark):
                    assert found >= published
                elif found.token:
                    readers.append((found.token, None))
            elif step == "tell" and readers:
                readers[number % len(readers)] = (readers[number % len(readers)][0], end)
            elif step == "set" and readers:
                held, told = readers[number % len(readers)]
                if told is not None:
                    await marks.set(tenant, held, Lsn(told))
            elif step == "forget":
                await redis.delete(f"copilot:{{{tenant}}}:lsn")
        await redis.aclose()

    asyncio.run(go())


def test_no_watermark_is_ever_below_a_published_write(redis_url: str) -> None:
    check_history(redis_url)


@pytest.fixture
async def cut_off(redis_url: str, redis: Redis) -> AsyncIterator[Redis]:
    """A client whom Redis refuses everything, until `let_in`."""
    name = f"cut-off-{uuid4()}"
    allowed = ["+client", "+hello", "+select", "+auth"]
    await redis.acl_setuser(name, enabled=True, passwords=["+secret"], keys=["*"], commands=allowed)
    client = connect_redis(redis_url.replace("redis://", f"redis://{name}:secret@"))
    yield client
    await client.aclose()
    await redis.acl_deluser(name)


async def let_in(client: Redis, redis: Redis) -> None:
    name = client.connection_pool.connection_kwargs["username"]
    await redis.acl_setuser(name, enabled=True, categories=["+@all"], keys=["*"], passwords=["+secret"])


async def test_a_write_that_could_not_be_published_is_owed_until_redis_is_back(cut_off: Redis, redis: Redis) -> None:
    here, elsewhere = Watermarks(cut_off), Watermarks(redis)
    await mark(elsewhere, 1)
    await here.publish(ACME, Lsn(2))
    assert await here.find(ACME) == NoWatermark("unpublished")
    assert await here.find(OTHER) == NoWatermark("redis_away")
    assert await elsewhere.find(ACME) == 1  # another process can't know, for as long as this watermark lives
    await let_in(cut_off, redis)

    async def is_taken_away() -> bool:
        return not await redis.exists(f"copilot:{{{ACME}}}:lsn")

    async def is_paid() -> bool:
        return await here.find(ACME) == NoWatermark("unmarked")

    await eventually(is_taken_away)
    await token(elsewhere)
    await eventually(is_paid)
    await here.aclose()


async def test_a_write_is_published_as_soon_as_redis_is_back_while_reads_still_pause(
    cut_off: Redis, redis: Redis
) -> None:
    here, elsewhere = Watermarks(cut_off), Watermarks(redis)
    await mark(elsewhere, 1)
    assert await here.find(OTHER) == NoWatermark("redis_away")
    await let_in(cut_off, redis)
    await here.publish(ACME, Lsn(2))
    assert await elsewhere.find(ACME) == 2


async def test_redis_away_the_primary_is_read_and_nothing_raises(no_redis: Redis) -> None:
    marks = Watermarks(no_redis)
    assert await marks.find(ACME) == NoWatermark("redis_away")
    await marks.set(ACME, "?", Lsn(1))
    await marks.publish(ACME, Lsn(1))
    assert await marks.find(ACME) == NoWatermark("unpublished")
    await marks.aclose()


async def test_no_more_than_so_many_writes_wait_for_a_redis_that_hangs(silent_redis: Redis) -> None:
    marks = Watermarks(silent_redis)
    waiting = [asyncio.create_task(marks.publish(ACME, Lsn(number))) for number in range(_MAX_PUBLISHING)]
    await asyncio.sleep(0)
    await marks.publish(OTHER, Lsn(1))
    assert not any(task.done() for task in waiting)
    assert await marks.find(OTHER) == NoWatermark("unpublished")
    await asyncio.gather(*waiting)
    assert await marks.find(ACME) == NoWatermark("unpublished")
    await marks.aclose()


async def test_what_can_be_paid_does_not_wait_for_what_can_not(
    marks: Watermarks, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = [TenantId(uuid4()) for _ in range(_MAX_PAYING)]
    delete = redis.delete

    async def delete_some(key: str) -> int:
        if any(str(tenant) in key for tenant in stuck):
            raise ConnectionError
        return int(await delete(key))

    monkeypatch.setattr(redis, "delete", delete_some)
    for tenant in [*stuck, ACME]:
        marks.owe(tenant, "test")

    async def is_paid() -> bool:
        return await marks.find(ACME) == NoWatermark("unmarked")

    await eventually(is_paid, seconds=LIFETIME_SECONDS / 2)
    assert await marks.find(stuck[0]) == NoWatermark("unpublished")
    await marks.aclose()


@pytest.mark.parametrize("fault", [RuntimeError, IndexError, ValueError])
async def test_whatever_the_client_raises_a_write_that_is_done_is_no_error(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    marks = Watermarks(redis)

    async def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(redis, "execute_command", fail)
    await marks.publish(ACME, Lsn(1))
    assert await marks.find(ACME) == NoWatermark("unpublished")
    assert await marks.find(OTHER) == NoWatermark("redis_away")
    await marks.aclose()


async def test_a_value_that_is_no_watermark_is_none(marks: Watermarks, redis: Redis) -> None:
    await redis.set(f"copilot:{{{ACME}}}:lsn", "foreign", px=1_000)
    assert isinstance(await marks.find(ACME), NoWatermark)


async def test_a_read_that_fails_gives_back_its_token_and_no_other(marks: Watermarks) -> None:
    held = await token(marks)
    await marks.drop(ACME, "?another")
    assert await marks.find(ACME) == NoWatermark("unmarked")
    await marks.drop(ACME, held)
    await mark(marks, 3)
    await marks.drop(ACME, held)
    assert await marks.find(ACME) == 3


async def test_writes_that_are_owed_are_told_once_in_a_while(no_redis: Redis) -> None:
    marks, told = Watermarks(no_redis), list[str]()
    sink = logger.add(lambda message: told.append(message.record["extra"]["fault"]), filter=is_of_writes)
    try:
        for number in range(3):
            await marks.publish(ACME, Lsn(number))
    finally:
        logger.remove(sink)
        await marks.aclose()
    assert told == ["ConnectionError"]


def is_of_writes(record: "Record") -> bool:
    return record["message"].startswith("Writes are not published")


async def test_a_transaction_that_may_be_committed_is_owed_where_its_end_is_not_known(marks: Watermarks) -> None:
    await mark(marks, 1)

    async def fail(*, is_committing: bool) -> None:
        async with marks.publishing(ACME) as publication:
            publication.is_committing = is_committing
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await fail(is_committing=False)
    assert await marks.find(ACME) == 1
    with pytest.raises(ConnectionError):
        await fail(is_committing=True)
    assert await marks.find(ACME) == NoWatermark("unpublished")
    await marks.aclose()


@pytest.fixture
async def no_redis() -> AsyncIterator[Redis]:
    client = connect_redis("redis://127.0.0.1:1")
    yield client
    await client.aclose()


@pytest.fixture
async def silent_redis() -> AsyncIterator[Redis]:
    """Accepts connections, and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect_redis(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        yield client
        await client.aclose()
