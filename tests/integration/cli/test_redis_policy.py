"""The doctor's look at a Redis that throws things away."""

import redis

from copilot_cli.checks.redis import check_redis
from copilot_devstack import TemporaryStores


async def test_an_evicting_redis_is_warned_of_with_the_reason(private_stack: TemporaryStores) -> None:
    with redis.Redis.from_url(private_stack.redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    policy = (await check_redis(private_stack.redis.url))[1]
    assert policy.status == "warn"
    assert "allkeys-lru" in policy.finding
    assert "throws away" in policy.advice


async def test_a_url_that_is_none_fails(redis_url: str) -> None:
    assert [check.status for check in await check_redis("nonsense")] == ["fail"]
