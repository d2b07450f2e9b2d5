"""A whole installation behind a PgBouncer in transaction mode, with fewer server connections than the processes have of
their own: an engine is killed and PgBouncer restarted, and whatever was accepted ends as it should."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from chaos.load import TEXT, Load
from chaos.test_chaos import ENDS, check_items, check_messages, settled
from support.api import ApiProcess, Site, StartApi
from support.background import ask_later, check_restarted, ended_message, job_of
from support.clients import Client, eventually
from support.pgbouncer import PgBouncer, pgbouncer
from support.runs import define, ended, in_status, start, step, steps_of, transform
from support.steady_traffic import Traffic
from support.tools import tool
from support.workers import CONTEXT, ENGINE, WorkerProcess, Workers, wait_ready

_SERVER_CONNECTIONS, _RESERVE = 4, 1  # for up to 5 of each of four processes
_LONG_SCRIPT = "tokens=25,pace_ms=300"


@pytest.fixture
def bouncer(site: Site) -> Iterator[PgBouncer]:
    more = {"reserve_pool_size": _RESERVE, "reserve_pool_timeout": 1}
    program = tool("pgbouncer", package="pgbouncer")
    with pgbouncer(program, site.database, pool_size=_SERVER_CONNECTIONS, more=more) as started:
        yield started


@pytest.fixture
def api(bouncer: PgBouncer, site: Site, start_api: StartApi) -> ApiProcess:
    url = bouncer.through(site.database.app_url)
    return start_api(site.environ(database_url=url, database_pool_mode="transaction"))


@pytest.fixture
def engines(api: ApiProcess, workers: Workers) -> list[WorkerProcess]:
    """Two, and beside them a context service."""
    made = [workers(api.environ, command, ready=False) for command in (ENGINE, ENGINE, CONTEXT)]
    wait_ready(*made)
    return made[:2]


async def test_clients_of_two_tenants_see_no_error_and_nothing_of_each_other_while_an_engine_is_killed(
    site: Site, api: ApiProcess, engines: list[WorkerProcess]
) -> None:
    traffics = Traffic(site), Traffic(replace(site, acme=site.other))
    for traffic in traffics:
        traffic.balancer.ports.append(int(api.url.rpartition(":")[2]))
    async with traffics[0].flowing() as one, traffics[1].flowing() as other:
        await asyncio.gather(one.more(), other.more())
        async with api.client(site.acme) as client:
            conversation, message, killed = await killed_at_work(site, client, engines)
            await asyncio.gather(one.more(), other.more())
            made = await ended_message(client, conversation, message)
            assert (made["status"], made["content"]) == ("completed", TEXT)
            check_restarted(await client.replay(conversation, message), TEXT, restarts=1)
        assert 0 < server_connections(site) <= _SERVER_CONNECTIONS + _RESERVE
    async with api.client(site.acme) as mine, api.client(site.other) as theirs:
        seen = [set(await conversations(client)) for client in (mine, theirs)]
    assert all(seen)
    assert not seen[0] & seen[1]
    assert not troubles(api, *(engine for engine in engines if engine is not killed))


async def test_whatever_was_accepted_ends_once_though_pgbouncer_is_killed_and_an_engine(
    site: Site, api: ApiProcess, engines: list[WorkerProcess], workers: Workers, bouncer: PgBouncer
) -> None:
    async with api.client(site.acme) as client:
        load = Load(client)
        runs = [await start(client, await reviewed(client)) for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            await accepted(load, 5)
            *answer, killed = await killed_at_work(site, client, engines)
            load.messages.append((answer[0], answer[1]))
            bouncer.kill()
            bouncer.start()
            workers.again(killed)
            await accepted(load, 5)
            load.is_over = True
        for run in runs:
            await answer_review(client, run)
            assert (await ended(client, run, seconds=60))["outputs"] == {"said": "approve", "n": 2}
            paths = [each["path"] for each in await steps_of(client, run)]
            assert len(paths) == len(set(paths))
        await settled(site)
        await check_messages(site, client, load)
        await check_items(client, load)
    assert set(site.rows("SELECT status, error_code FROM jobs")) <= ENDS


async def killed_at_work(site: Site, client: Client, engines: list[WorkerProcess]) -> tuple[str, str, WorkerProcess]:
    """An answer of eight seconds, and the engine that was making it."""
    conversation = await client.conversation()
    message = await ask_later(client, conversation, _LONG_SCRIPT)

    async def has_begun() -> object:
        return job_of(site, message)["process_id"]

    process_id = await eventually(has_begun, what="an engine that makes the answer")
    async with client.followed(conversation, message) as stream:
        await stream.read(3)
    (killed,) = [engine for engine in engines if engine.process_id == process_id]
    killed.kill()
    return conversation, message, killed


def server_connections(site: Site) -> int:
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND usename = 'copilot_app'"
    return len(site.rows(query))


async def conversations(client: Client) -> list[str]:
    found = await client.get("/conversations?limit=100")
    return [each["id"] for each in found["items"]]


async def accepted(load: Load, more: int) -> None:
    """Of each kind, from now on."""
    before = len(load.messages), len(load.items), load.searches[200]

    async def enough() -> bool:
        now = len(load.messages), len(load.items), load.searches[200]
        return all(count >= least + more for count, least in zip(now, before, strict=True))

    await eventually(enough, seconds=60, what=f"{more} more of each kind than {before}")


async def reviewed(client: Client) -> str:
    """A workflow with a timer and a person in it."""
    return await define(
        client,
        transform("add", "rest", n="1 + 1"),
        step("rest", "wait", {"seconds": 2}, "review"),
        step("review", "human_review", {"prompt": "Well?"}, "told"),
        transform("told", said="steps.review.output.decision", n="steps.add.output.n"),
    )


async def answer_review(client: Client, run: str) -> None:
    await in_status(client, run, "waiting", seconds=60)

    async def asked() -> list[dict[str, str]]:
        return list((await client.get(f"/workflows/runs/{run}/reviews"))["items"])

    (review,) = await eventually(asked, seconds=60, what="a review")
    answer = await client.call("POST", f"/workflows/runs/{run}/reviews/{review['id']}", {"decision": "approve"})
    assert answer.status_code == 200, answer.text


def troubles(*processes: ApiProcess | WorkerProcess) -> list[object]:
    """What they have logged of errors, and of leases that were nearly lost."""
    lines = [line for each in processes for line in each.log_lines]
    return [line for line in lines if line["level"] == "error" or line["message"] == "Process lease not renewed"]
