"""The pools of a worker process: what somebody waits for, and what nobody waits for."""

import pytest

from copilot_common.platform import db
from copilot_common.platform.settings import load_settings
from copilot_common.queue.process import Backbone, build_backbone
from support.api import ENCRYPTION_KEY, JWT_SECRET
from support.niceness import may_be_changed, niceness
from support.stack import Database


@pytest.fixture
def environ(database: Database, redis_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database.app_url,
        "REDIS_URL": redis_url,
        "JWT_SECRET": JWT_SECRET,
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
    }


def built(environ: dict[str, str], *, is_background: bool) -> Backbone:
    return build_backbone("tests", load_settings(environ), version="1", is_background=is_background)


async def serving(pool: db.Database) -> int:
    """The process in PostgreSQL that serves one of its connections."""
    async with pool.connection() as connection:
        return connection.info.backend_pid


async def test_jobs_that_nobody_waits_for_have_connections_that_stand_back(environ: dict[str, str]) -> None:
    backbone = built(environ, is_background=True)
    pools = (backbone.database, backbone.background)
    for pool in pools:
        await pool.open()
    waited_for, background = [await serving(pool) for pool in pools]
    steps = 10 if may_be_changed(background) else 0
    first, second = niceness(waited_for), niceness(background)
    for pool in pools:
        await pool.close()
    await backbone.redis.aclose()
    assert second == min(first + steps, 19)


@pytest.mark.parametrize(("limit", "pools"), [(1, [1]), (3, [3]), (4, [2, 2]), (8, [6, 2])])
async def test_both_pools_have_as_many_connections_as_one_had(
    environ: dict[str, str], limit: int, pools: list[int]
) -> None:
    backbone = built(environ | {"DATABASE_POOL_MAX": str(limit)}, is_background=True)
    both = dict.fromkeys([backbone.database, backbone.background])
    await backbone.redis.aclose()
    assert [pool.use.limit for pool in both] == pools


async def test_jobs_that_somebody_waits_for_share_the_one_pool(environ: dict[str, str]) -> None:
    backbone = built(environ, is_background=False)
    await backbone.redis.aclose()
    assert backbone.background is backbone.database
