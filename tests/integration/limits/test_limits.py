"""Limits over a real Redis, with it, and without it."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from copilot_common.base.errors import RateLimited
from copilot_common.base.ids import TenantId
from copilot_common.limits import Bucket, Limit, Limiter, Lockout, RequestLimits
from copilot_common.limits.local import LocalBuckets
from copilot_common.limits.shared import RedisBuckets
from copilot_common.platform.redis import connect_redis
from copilot_common.tenancy import Principal
from support.clients import eventually


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def no_redis() -> AsyncIterator[Redis]:
    client = connect_redis("redis://127.0.0.1:1")
    yield client
    await client.aclose()


def local_decisions(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("rate_limit_local_decisions_total") or 0


# Windows from far shorter to far longer than a round trip, so that buckets refill, run dry and stay dry.
limits = st.builds(Limit, st.integers(1, 8), st.sampled_from([1, 2, 5, 20, 100, 60_000]))


@given(chosen=st.lists(limits, min_size=1, max_size=3), requests=st.integers(1, 25))
@settings(max_examples=60, deadline=None)
def decisions_agree(redis_url: str, chosen: list[Limit], requests: int) -> None:
    async def compare() -> None:
        client = connect_redis(redis_url)
        tag = uuid4()
        buckets = [Bucket(f"{{{tag}}}:{number}", limit) for number, limit in enumerate(chosen)]
        now_us = 0
        local = LocalBuckets(lambda: now_us)
        for _ in range(requests):
            shared = await RedisBuckets(client).consume(buckets)
            now_us = shared.now_us
            assert local.consume(buckets) == shared
        await client.aclose()

    asyncio.run(compare())


def test_redis_and_local_decide_alike(redis_url: str) -> None:
    decisions_agree(redis_url)


async def test_a_parallel_burst_gets_exactly_the_limit(redis: Redis) -> None:
    limiter, bucket = Limiter(redis, CollectorRegistry()), Bucket("{t}:p", Limit(10, 3_600_000))
    answers = await asyncio.gather(*(limiter.consume(bucket) for _ in range(40)))
    assert sum(answer.allowed for answer in answers) == 10


async def test_a_refused_request_takes_nothing_from_the_other_buckets(redis: Redis) -> None:
    limiter = Limiter(redis, CollectorRegistry())
    empty, other = Bucket("{t}:empty", Limit(1, 3_600_000)), Bucket("{t}:other", Limit(5, 3_600_000))
    await limiter.consume(empty)
    for _ in range(3):
        assert not (await limiter.consume(other, empty)).allowed
    assert (await limiter.consume(other)).remaining == 4


async def test_keys_expire_once_their_bucket_is_full(redis: Redis) -> None:
    await Limiter(redis, CollectorRegistry()).consume(Bucket("{t}:p", Limit(4, 60_000)))
    assert 14_000 < await redis.pttl("{t}:p") <= 15_000


async def test_limits_hold_after_redis_lost_its_scripts_and_data(redis: Redis) -> None:
    limiter, bucket = Limiter(redis, CollectorRegistry()), Bucket("{t}:p", Limit(1, 3_600_000))
    await limiter.consume(bucket)
    await redis.flushdb()
    await redis.script_flush()
    assert (await limiter.consume(bucket)).allowed
    assert not (await limiter.consume(bucket)).allowed


async def test_a_burst_holds_its_limits_after_redis_lost_its_scripts(redis: Redis) -> None:
    registry = CollectorRegistry()
    limiter, buckets = Limiter(redis, registry), [Bucket(f"{{t}}:{name}", Limit(3, 3_600_000)) for name in "ab"]
    await redis.script_flush()
    answers = await asyncio.gather(*(limiter.consume(bucket) for bucket in buckets * 5))
    assert [sum(one.allowed for one in answers[number::2]) for number in range(2)] == [3, 3]
    assert local_decisions(registry) == 0


async def test_a_redis_that_no_longer_answers_keeps_no_connections() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while words := await reader.read(4_096):
            writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n" if b"HELLO" in words else b"+OK\r\n" * words.count(b"SETINFO"))
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        client = connect_redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        registry, pool = CollectorRegistry(), client.connection_pool
        await Limiter(client, registry).consume(Bucket("{t}:p", Limit(2, 3_600_000)))
        assert local_decisions(registry) == 1

        async def is_none_in_use() -> bool:
            return not pool._in_use_connections and bool(pool._available_connections)

        await eventually(is_none_in_use)
        await client.aclose()


async def test_with_redis_away_the_same_limit_holds_locally_and_is_counted(no_redis: Redis) -> None:
    registry = CollectorRegistry()
    limiter, bucket = Limiter(no_redis, registry), Bucket("{t}:p", Limit(2, 3_600_000))
    answers = [(await limiter.consume(bucket)).allowed for _ in range(3)]
    assert answers == [True, True, False]
    assert local_decisions(registry) == 3


async def test_a_dead_redis_is_asked_once_not_by_every_request(
    no_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter, asked = Limiter(no_redis, CollectorRegistry()), 0

    async def dead(_: RedisBuckets, buckets: object) -> None:
        nonlocal asked
        asked += 1
        raise ConnectionError

    monkeypatch.setattr(RedisBuckets, "consume", dead)
    for _ in range(50):
        await limiter.consume(Bucket("{t}:p", Limit(2, 3_600_000)))
    assert asked == 1


async def test_a_redis_that_never_answers_does_not_hold_a_request(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()
    limiter = Limiter(redis, registry)

    async def hang(_: RedisBuckets, buckets: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(RedisBuckets, "consume", hang)
    assert (await limiter.consume(Bucket("{t}:p", Limit(2, 3_600_000)))).allowed
    assert local_decisions(registry) == 1


async def test_once_redis_is_back_it_decides_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("copilot_common.limits.limiter.monotonic", lambda: now)
    registry = CollectorRegistry()
    limiter, bucket = Limiter(redis, registry), Bucket("{t}:p", Limit(100, 3_600_000))

    async def dead(_: RedisBuckets, buckets: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(RedisBuckets, "consume", dead)
        await limiter.consume(bucket)
    now += 2
    await limiter.consume(bucket)
    await limiter.consume(bucket)
    assert local_decisions(registry) == 1
    assert await redis.exists("{t}:p")


def member(tenant: TenantId) -> Principal:
    return Principal(kind="api_key", tenant_id=tenant, credential_id=uuid4())


async def test_a_tenant_may_send_ten_times_as_much_as_one_principal(redis: Redis) -> None:
    limits, tenant = RequestLimits(Limiter(redis, CollectorRegistry()), Limit(2, 3_600_000)), TenantId(uuid4())
    answers = [(await limits.consume(member(tenant))).allowed for _ in range(21)]
    assert answers == [True] * 20 + [False]
    assert (await limits.consume(member(TenantId(uuid4())))).allowed


async def test_all_keys_of_one_tenant_fall_into_one_cluster_slot(redis: Redis) -> None:
    tenant = TenantId(uuid4())
    await RequestLimits(Limiter(redis, CollectorRegistry()), Limit(2, 60_000)).consume(member(tenant))
    keys = [key.decode() async for key in redis.scan_iter()]
    assert len(keys) == 2
    assert {key[key.index("{") : key.index("}") + 1] for key in keys} == {f"{{{tenant}}}"}


async def attempts(lockout: Lockout, identifier: str, address: str | None, count: int) -> int:
    allowed = 0
    for _ in range(count):
        try:
            await lockout.begin(identifier, address)
            allowed += 1
        except RateLimited:
            pass
    return allowed


@pytest.fixture
def lockout(redis: Redis) -> Lockout:
    limiter = Limiter(redis, CollectorRegistry())
    return Lockout(limiter, per_account=Limit(3, 3_600_000), per_address=Limit(5, 3_600_000))


async def test_parallel_guesses_are_counted_before_they_are_checked(lockout: Lockout) -> None:
    results = await asyncio.gather(*(lockout.begin("ann", f"10.0.0.{n}") for n in range(10)), return_exceptions=True)
    assert sum(isinstance(result, RateLimited) for result in results) == 7


async def test_an_account_locks_whatever_address_guesses_and_however_it_is_written(lockout: Lockout) -> None:
    assert await attempts(lockout, "ann", "10.0.0.1", 2) == 2
    assert await attempts(lockout, " ANN ", "10.0.0.2", 2) == 1


async def test_an_address_locks_whatever_account_it_guesses_at_and_then_locks_no_account(lockout: Lockout) -> None:
    for name in "abcde":
        await lockout.begin(name, "10.0.0.1")
    assert await attempts(lockout, "ann", "10.0.0.1", 9) == 0
    assert await attempts(lockout, "ann", "10.0.0.2", 3) == 3


async def test_ipv6_addresses_of_one_network_count_as_one(lockout: Lockout) -> None:
    assert [await attempts(lockout, f"user{n}", f"2001:db8::{n}", 1) for n in range(6)] == [1, 1, 1, 1, 1, 0]
    assert await attempts(lockout, "user", "2001:db8:0:1::1", 1) == 1


async def test_a_right_password_opens_the_account_but_gives_the_address_only_its_own_guess_back(
    lockout: Lockout,
) -> None:
    for name in "abc":
        await lockout.begin(name, "10.0.0.1")
    await lockout.forgive(await lockout.begin("mine", "10.0.0.1"))
    assert await attempts(lockout, "mine", "10.0.0.2", 3) == 3
    assert await attempts(lockout, "other", "10.0.0.1", 3) == 2


async def test_redis_holds_no_readable_identifier(lockout: Lockout, redis: Redis) -> None:
    await lockout.begin("ann@example.org", "10.0.0.1")
    assert not [key async for key in redis.scan_iter() if b"ann" in key or b"10.0.0.1" in key]
