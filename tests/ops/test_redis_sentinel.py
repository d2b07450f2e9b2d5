"""A master that Sentinels watch dies under load: nothing is lost, and all of it works again with the next one."""

import asyncio
from collections.abc import Iterator

import pytest

from copilot_common.queue.jobs import WORKFLOW_QUEUE
from support.api import StartApi, make_site, start_api
from support.api import wait_ready as wait_api_ready
from support.clients import eventually
from support.redis_servers import SERVICE, RedisServer, WatchedMaster, make_watched_master, redis_servers
from support.redis_traffic import Traffic, doorbell_rings, felt, limits_are_shared
from support.simulator import SimulatorHandle
from support.stack import StackUrls, clone_template, drop
from support.workers import CONTEXT, ENGINE, Workers, wait_ready, workers

__all__ = ["start_api", "workers"]

_PASSWORD = "password-of-redis-and-its-sentinels"


@pytest.fixture
def watched() -> Iterator[WatchedMaster]:
    with redis_servers() as servers:
        yield make_watched_master(servers, password=_PASSWORD)


async def test_nothing_is_lost_with_the_master_that_sentinels_watch(
    watched: WatchedMaster, stack: StackUrls, simulator: SimulatorHandle, start_api: StartApi, workers: Workers
) -> None:
    database = clone_template(stack.admin_url)
    login = f"redis+sentinel://:{_PASSWORD}@{watched.hosts}/{SERVICE}/3?sentinel_password={_PASSWORD}"
    site = make_site(database, login, simulator)
    environ = site.environ()
    engine, searcher = (workers(environ, command, ready=False) for command in (ENGINE, CONTEXT))
    apis = [start_api(environ, ready=False) for _ in range(2)]
    wait_ready(engine, searcher)
    for api in apis:
        wait_api_ready(api)
    async with apis[0].client(site.acme) as near, apis[1].client(site.acme) as far:
        traffic = Traffic(site, near, far)
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic.run())
            await traffic.goes_on()
            watched.master.kill()

            async def promoted() -> RedisServer | None:
                found = watched.current()
                return found if found == watched.replica else None

            await eventually(promoted, seconds=20, what="a new master")
            await doorbell_rings(watched.replica, WORKFLOW_QUEUE)
            assert felt(engine, "Queue not connected"), "the loss was not felt"
            await traffic.goes_on()
            traffic.is_over = True
        for client in (near, far):
            await limits_are_shared(client)
        await traffic.check_nothing_is_lost()
    with watched.replica.client() as client:
        assert {name.partition(",")[0] for name in client.info("keyspace")} == {"db3"}
    drop(database, stack.admin_url)
