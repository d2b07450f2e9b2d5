"""Whether Redis is there, new enough, and keeps what it was given."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from copilot_cli.checks.report import Check, fail, ok, warn
from copilot_common.platform.redis import connect_redis, name_fault
from copilot_common.platform.redis_url import RedisKind, RedisUrl, parse_redis_url

_OLDEST = (6, 2)
_KINDS: dict[RedisKind, str] = {"single": "at", "sentinel": "watched by", "cluster": "Cluster with"}
_WITHOUT = "Chat goes on without it; limits count per process, and streams are followed through the database."


async def check_redis(url: str) -> list[Check]:
    try:
        place, client = parse_redis_url(url), connect_redis(url)
    except ValueError as error:
        return [fail("redis", f"REDIS_URL {error}", "redis://host:6379")]
    try:
        info = await client.info("server")
        return [_version(str(info["redis_version"]), place), await _policy(client)]
    except RedisError as error:
        finding = f"not reachable ({name_fault(error)})"
        return [fail("redis", finding, f"Start it, or correct REDIS_URL. {_WITHOUT}")]
    finally:
        await client.aclose(close_connection_pool=True)


def _version(version: str, place: RedisUrl) -> Check:
    finding = f"Redis {version} {_KINDS[place.kind]} {place.places}"
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        return warn("redis", finding, "Use 6.2 or newer, better 7.")
    return ok("redis", finding)


async def _policy(client: "Redis") -> Check:
    try:
        policy = str((await client.config_get("maxmemory-policy"))["maxmemory-policy"])
    except (RedisError, KeyError):
        return warn("redis eviction", "CONFIG is not allowed here", "See to maxmemory-policy noeviction yourself.")
    if policy == "noeviction":
        return ok("redis eviction", "maxmemory-policy noeviction")
    advice = "Set noeviction: when memory is full, this policy throws away doorbells, running streams and rate limits."
    return warn("redis eviction", f"maxmemory-policy {policy}", advice)
