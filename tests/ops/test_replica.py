"""Two API processes and an engine on a primary and its streaming replica, while everything happens to the replica and
to Redis. Every client reads, at whichever process, at least what it was told.

Unless the process that told it has logged that it could not publish that, as when this machine is too busy to answer
within its 250 ms: then it is read in the time of a watermark."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from copilot_common.tenancy.watermarks import LIFETIME_SECONDS
from copilot_devstack import TemporaryStores
from support.api import ApiProcess, Site, StartApi, make_site, start_api
from support.background import ask_later
from support.clients import Client, eventually
from support.simulator import SimulatorHandle
from support.stack import Database, clone_template
from support.standby import StandbyPostgres
from support.workers import ENGINE, WorkerProcess, worker_processes

__all__ = ["start_api"]

_PHASE_SECONDS = 40.0  # in which every kind has to come forward


@dataclass
class Traffic:
    """Writes at one process, reads at the other, and the other way round; a surprise ends it. `done` counts by kind."""

    apis: tuple[ApiProcess, ApiProcess]
    engine: WorkerProcess
    done: Counter[str] = field(default_factory=Counter)
    is_over: bool = False
    kinds: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def flowing(self, site: Site) -> AsyncIterator["Traffic"]:
        async with asyncio.TaskGroup() as group:
            for tenant, credentials in (("acme", site.acme), ("other", site.other)):
                for turn in (1, -1):
                    kinds = {"titles": self._title, "answers": self._answer, "lists": self._lists}
                    for kind, once in kinds.items():
                        name = f"{kind} of {tenant} {turn}"
                        self.kinds.append(name)
                        here, there = [api.client(credentials) for api in self.apis[::turn]]
                        group.create_task(self._repeat(name, here, there, once))
            yield self
            self.is_over = True

    async def more(self, times: int = 1) -> None:
        """Until of each kind so many have begun and ended since."""
        before = {kind: self.done[kind] for kind in self.kinds}

        async def is_done() -> bool:
            return all(self.done[kind] > number + times for kind, number in before.items())

        await eventually(is_done, seconds=_PHASE_SECONDS, what=f"more of each kind than {before}")

    async def _repeat(
        self, kind: str, here: Client, there: Client, once: Callable[[Client, Client], Awaitable[None]]
    ) -> None:
        async with here, there:
            while not self.is_over:
                await once(here, there)
                self.done[kind] += 1

    async def _title(self, here: Client, there: Client) -> None:
        """Made here, seen there; changed there, seen here; deleted here, gone there."""
        made = await here.conversation(title="first")
        path = f"/conversations/{made}"
        await self._is_shown(lambda: title_is("first", there, path))
        changed = await there.call("PATCH", path, {"title": "second"})
        assert changed.status_code == 200, changed.text
        await self._is_shown(lambda: title_is("second", here, path))
        gone = await here.call("DELETE", path)
        assert gone.status_code in {200, 204}, gone.text
        await self._is_shown(lambda: title_is(None, there, path))

    async def _answer(self, here: Client, there: Client) -> None:
        """Made by the engine; whoever has heard its end here finds it complete there."""
        conversation = await here.conversation()
        message = await ask_later(here, conversation)
        events = await here.replay(conversation, message)
        assert events[-1].type == "message_end", events[-1]

        async def is_complete() -> bool:
            shown = await there.call("GET", f"/conversations/{conversation}/messages/{message}")
            return shown.status_code == 200 and shown.json()["status"] == "completed"

        async def is_listed() -> bool:
            shown = await there.call("GET", f"/conversations/{conversation}/messages")
            return shown.status_code == 200 and [found["id"] for found in shown.json()["items"]].count(message) == 1

        await self._is_shown(is_complete)
        await self._is_shown(is_listed)

    async def _lists(self, here: Client, there: Client) -> None:
        """One write, many reads of it, and never a row of the other tenant."""
        assert here.credentials
        ours = f"of {here.credentials.username}"
        made = await here.conversation(title=ours)

        async def is_listed(reader: Client) -> bool:
            items = (await reader.get("/conversations?limit=100"))["items"]
            titles = {str(item["title"]) for item in items if str(item["title"]).startswith("of owner-")}
            assert titles <= {ours}, "another tenant's"
            return made in {item["id"] for item in items}

        for reader in (there, here) * 5:
            await self._is_shown(partial(is_listed, reader))
            await asyncio.sleep(0.05)  # a person's pace: the replica may catch up between two reads
        gone = await here.call("DELETE", f"/conversations/{made}")
        assert gone.status_code in {200, 204}

    async def _is_shown(self, look: Callable[[], Awaitable[bool]]) -> None:
        if not await look():
            assert any(owes(process) for process in (*self.apis, self.engine)), "an old state, and nobody owes a write"
            await eventually(look, seconds=2 * LIFETIME_SECONDS, what="what was told")


async def title_is(title: str | None, client: Client, path: str) -> bool:
    """None: it is gone."""
    shown = await client.call("GET", path)
    if shown.status_code == 404:
        return title is None
    assert shown.status_code == 200, shown.text
    return bool(shown.json()["title"] == title)


def owes(process: ApiProcess | WorkerProcess) -> bool:
    """Because Redis, or the process itself, took too long. Logged once in a watermark's time, and one that another
    process has may live as long."""
    since = datetime.now(UTC) - timedelta(seconds=2 * LIFETIME_SECONDS)
    lines = [line for line in process.log_lines if line["message"].startswith("Writes are not published")]
    return any(line["fault"] == "TimeoutError" and datetime.fromisoformat(line["timestamp"]) > since for line in lines)


def reads(api: ApiProcess) -> Counter[str]:
    """What came of them, by the process's own count."""
    text = httpx.get(f"{api.url}/metrics", timeout=5, trust_env=False).text
    found = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return Counter({s.labels["outcome"]: int(s.value) for s in found if s.name == "replica_reads_total"})


@dataclass
class Ground:
    site: Site
    stores: TemporaryStores
    standby: StandbyPostgres
    apis: tuple[ApiProcess, ApiProcess]
    engine: WorkerProcess

    @property
    def database(self) -> Database:
        return self.site.database

    async def until_read(self, outcome: str, *, more: int = 2) -> None:
        """Each process counts so many more."""
        before = [reads(api)[outcome] for api in self.apis]

        async def is_counted() -> bool:
            return all(reads(api)[outcome] >= was + more for api, was in zip(self.apis, before, strict=True))

        what = f"more reads that are {outcome} than {[reads(api) for api in self.apis]}"
        await eventually(is_counted, seconds=_PHASE_SECONDS, what=what)

    def transactions_there(self) -> int:
        """That the replica itself counts for our role's database."""
        query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        return int(self.standby.value(self.database, query))

    def conflict(self) -> None:
        """What the replica replays then cancels whoever reads."""
        for table in ("conversations", "messages"):
            with psycopg.connect(self.database.owner_url) as connection:
                connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())


@pytest.fixture
def ground(private_stack: TemporaryStores, simulator: SimulatorHandle, start_api: StartApi) -> Iterator[Ground]:
    database = clone_template(private_stack.postgres.admin_url)
    site = make_site(database, private_stack.redis.url, simulator)
    standby = StandbyPostgres(private_stack)
    try:
        standby.start()
        environ = site.environ(database_replica_url=standby.url_of(database.app_url))
        with worker_processes() as workers:
            engine = workers(environ, ENGINE)
            yield Ground(site, private_stack, standby, (start_api(environ), start_api(environ)), engine)
    finally:
        standby.stop()


async def test_every_client_reads_what_it_was_told_whatever_happens_to_replica_and_redis(ground: Ground) -> None:
    standby, redis = ground.standby, ground.stores.redis
    async with Traffic(ground.apis, ground.engine).flowing(ground.site) as traffic:
        there = ground.transactions_there()
        await ground.until_read("replica", more=10)
        assert ground.transactions_there() > there

        standby.pause(ground.database)
        await traffic.more()
        await ground.until_read("behind")
        standby.resume(ground.database)
        await ground.until_read("replica")

        for _ in range(20):
            await asyncio.to_thread(ground.conflict)
        await traffic.more()

        standby.kill()
        await traffic.more()
        await ground.until_read("unusable")
        standby.start()
        await ground.until_read("replica")

        with standby.frozen():
            await traffic.more()
        await ground.until_read("replica")

        with Redis.from_url(redis.url) as client:
            for _ in range(5):
                client.flushall()
                await ground.until_read("unmarked", more=1)
        await ground.until_read("replica")

        redis.kill()
        await ground.until_read("unpublished")
        await traffic.more()
        redis.start()
        await ground.until_read("replica")
        await traffic.more()
    outcomes = sum((reads(api) for api in ground.apis), Counter())
    assert outcomes["replica"] > 0
    for api in ground.apis:
        warnings = [line for line in api.log_lines if line["message"] == "The primary is read instead of the replica"]
        assert 1 <= len(warnings) <= 12, "once for each fault, not for each read"
