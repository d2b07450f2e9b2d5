"""Workers killed, frozen and restarted, Redis flushed and stopped, PostgreSQL restarted, all under load: whatever was
accepted ends, once."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
import redis

from chaos.hooks import Hooks, listening
from chaos.load import TEXT, Load
from chaos.losses import Losses, check_takeovers
from copilot_devstack import TemporaryStores
from support.api import Site, StartApi, make_site
from support.background import check_restarted
from support.clients import Client, eventually
from support.simulator import SimulatorHandle
from support.stack import clone_template
from support.workers import CONTEXT, ENGINE, WorkerProcess, Workers, wait_ready

_LOAD_SECONDS = 75.0
_SETTLE_SECONDS = 100.0  # a job that lost three workers waits
_KILL_EVERY = 2.0
_FROZEN_SECONDS = 9.0
_REDIS_AWAY_SECONDS = 10.0

# Work that came back and had been asked for again meanwhile is done by whoever was asked.
ENDS = {("completed", None), ("cancelled", "SUPERSEDED")}
_JOB_OF = "SELECT j.* FROM jobs j JOIN messages m ON m.job_id = j.id WHERE m.id = %s"


@dataclass
class Chaos:
    """Everything that goes wrong."""

    site: Site
    stores: TemporaryStores
    workers: Workers
    alive: list[WorkerProcess]
    losses: Losses
    frozen: WorkerProcess | None = None
    frozen_claims: list[tuple[str, int]] = field(default_factory=list)
    taken_over_when_thawed: dict[str, Any] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(self._kill_forever())
            for what, at in (
                # First, before anybody is killed: a job that lost a worker already would have to be alone, or to wait.
                (self._freeze, 1), (self._flush, 6), (self._flush, 24), (self._redis_away, 30), (self._flush, 45),
                (self._restart_postgres, 52),
            ):  # fmt: skip
                group.create_task(self._later(what, at))
            await asyncio.sleep(_LOAD_SECONDS)
            killing.cancel()

    async def _later(self, what: Any, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await what()

    async def _kill_forever(self) -> None:
        while True:
            await asyncio.sleep(_KILL_EVERY)
            victim = self._victim()
            if victim is None:
                continue
            await self.losses.kill(victim)
            self.kills[victim.command[-1]] += 1
            self.alive.remove(victim)
            self.alive.append(self.workers.again(victim))

    def _victim(self) -> WorkerProcess | None:
        """Whoever lives longest and has a second: what is lost with the last one of a queue waits for the next one's
        start, whose time is not promised."""
        ready = [worker for worker in self.alive if worker is not self.frozen and worker.is_ready()]
        kinds = Counter(worker.command[-1] for worker in ready)
        return next((worker for worker in ready if kinds[worker.command[-1]] > 1), None)

    async def _flush(self) -> None:
        with redis.Redis.from_url(self.stores.redis.url) as client:
            client.flushall()

    async def _redis_away(self) -> None:
        await asyncio.to_thread(self.stores.redis.stop)
        await asyncio.sleep(_REDIS_AWAY_SECONDS)
        await self._started(self.stores.redis)

    async def _restart_postgres(self) -> None:
        before = await self.losses.now()
        await asyncio.to_thread(self.stores.postgres.stop)
        await self._started(self.stores.postgres)
        self.losses.note_away(before, await self.losses.now())

    async def _started(self, server: Any) -> None:
        """Launched here, since servers end with the thread that starts them."""
        server.launch()
        await asyncio.to_thread(server.wait_ready)

    async def _freeze(self) -> None:
        """An engine in the middle of its answers; it wakes when others have made them."""

        async def busy() -> WorkerProcess | None:
            for worker in self.alive:
                if worker.command == ENGINE and worker.is_ready() and len(self.losses.claims(worker)) >= 2:
                    return worker
            return None

        victim: WorkerProcess = await eventually(busy, what="a busy engine")
        self.frozen = victim
        victim.freeze()
        self.frozen_claims = self.losses.claims(victim)
        await self.losses.note(self.frozen_claims)
        await asyncio.sleep(_FROZEN_SECONDS)
        await eventually(self._others_have_ended, seconds=20, what="an answer taken over from the frozen engine")
        victim.thaw()
        await asyncio.sleep(4)  # it lives on for a while, and is killed in its turn
        self.frozen = None

    async def _others_have_ended(self) -> bool:
        for job, fence in self.frozen_claims:
            ended = self._ended(job)
            if ended and ended[0][0] > fence:
                self.taken_over_when_thawed[job] = ended
        return bool(self.taken_over_when_thawed)

    def _ended(self, job: str) -> list[Any]:
        """Job and answer as whoever ended them wrote them; empty while they have not ended."""
        return self.site.rows(
            "SELECT j.fence, j.ended_at, j.error_code, m.status, m.fence, m.content_sealed, m.events_sealed,"
            " m.finish_reason FROM jobs j JOIN messages m ON m.job_id = j.id"
            " WHERE j.id = %s AND j.status = 'completed'",
            job,
        )

    def check_frozen_changed_nothing(self) -> None:
        assert self.taken_over_when_thawed, "nothing was taken over from the frozen engine: nothing was proved"
        for job, ended in self.taken_over_when_thawed.items():
            assert self._ended(job) == ended


@pytest.fixture
def stores() -> Iterator[TemporaryStores]:
    with TemporaryStores() as started:
        yield started


@pytest.mark.usefixtures("simulator")
async def test_whatever_was_accepted_ends_once(
    stores: TemporaryStores, simulator: SimulatorHandle, start_api: StartApi, workers: Workers
) -> None:
    site = make_site(clone_template(stores.postgres.admin_url), stores.redis.url, simulator)
    losses = Losses(site)
    losses.watch()
    environ = site.environ(egress_allow="127.0.0.1")
    api = start_api(environ)
    alive = [workers(environ, command, ready=False) for command in (ENGINE, CONTEXT, ENGINE, CONTEXT)]
    wait_ready(*alive)
    chaos = Chaos(site, stores, workers, alive, losses)
    async with api.client(site.acme) as client, listening(client) as hooks:
        load = Load(client)
        async with asyncio.TaskGroup() as group:  # what fails in one of the two ends both
            group.create_task(load.run())
            await chaos.run()
            load.is_over = True
        began = monotonic()
        await settled(site)
        settling = monotonic() - began
        takeovers = losses.takeovers()
        restarts = await check_messages(site, client, load)
        await check_items(client, load)
        check_news(load, hooks)
    ends = Counter(site.rows("SELECT status, error_code FROM jobs"))
    lapses = Counter(row[0] for row in site.rows("SELECT max(lapses) FROM chaos_claims GROUP BY job_id"))
    sys.stderr.write(
        f"\nchaos: {len(load.messages)} messages ({restarts} restarts), {len(load.items)} items,"
        f" searches {dict(load.searches)}, refused {dict(load.refused)}; kills {dict(chaos.kills)},"
        f" {len(takeovers)} take-overs, the longest {max(takeovers, default=timedelta()).total_seconds():.1f} s;"
        f" jobs by workers lost: {dict(sorted(lapses.items()))};"
        f" {len(hooks.news)} webhooks in {hooks.attempts.total()} attempts;"
        f" settled in {settling:.1f} s; jobs {dict(ends)}; {len(load.live)} followed live\n"
    )
    assert ends.keys() <= ENDS
    chaos.check_frozen_changed_nothing()
    check_takeovers(takeovers)
    assert min(len(load.messages), len(load.items), load.searches[200]) >= 20, "hardly anything was asked"
    assert sum(chaos.kills.values()) >= 15


async def settled(site: Site) -> None:
    async def nothing_left() -> bool:
        query = "SELECT 1 FROM jobs WHERE status IN ('pending', 'scheduled', 'running') LIMIT 1"
        return site.rows(query) == []

    try:
        await eventually(nothing_left, seconds=_SETTLE_SECONDS, what="the end of all jobs")
    except AssertionError:
        query = "SELECT kind, status, fence, failures, lapses, error_code, run_after, process_id::text FROM jobs"
        left = site.rows(query + " WHERE status IN ('pending', 'scheduled', 'running')")
        raise AssertionError(f"left: {left[:20]}") from None


async def check_messages(site: Site, client: Client, load: Load) -> int:
    """Each is completed and whole, and was paid for once as completed. Returns how often a text began anew."""
    restarts = 0
    bills = Counter(
        (row[0], row[1])
        for row in site.rows("SELECT message_id::text, outcome FROM llm_calls WHERE message_id IS NOT NULL")
    )
    assert len({message for _, message in load.messages}) == len(load.messages)
    for conversation, message in load.messages:
        made = await client.message(conversation, message)
        assert (made["status"], made["content"]) == ("completed", TEXT), (made, site.rows(_JOB_OF, message))
        events = await client.replay(conversation, message)
        restarts += check_restarted(events, TEXT)
        if (live := load.live.get(message)) is not None:
            check_restarted(live, TEXT)
        assert bills.pop((message, "completed"), 0) == 1
    assert not bills, f"unexpected bills: {list(bills.items())[:5]}"
    answers = site.rows("SELECT count(*) FROM messages WHERE role = 'assistant'")
    assert answers == [(len(load.messages),)], "an accepted message was made twice, or one was never acknowledged"
    return restarts


async def check_items(client: Client, load: Load) -> None:
    for item in load.items:
        made = await client.get(f"/context/{item.id}")
        assert (made["status"], made["chunk_count"]) == ("ready", item.chunks), made
        assert [hit["item_id"] for hit in await found(client, item.word)] == [item.id]


async def found(client: Client, word: str) -> Any:
    async def answered() -> Any:
        """An honest 503 on a machine that is still busy is asked again."""
        answer = await client.call("POST", "/context/search", {"query": word, "limit": 1, "mode": "text"})
        assert answer.status_code in {200, 503}, answer.text
        return answer if answer.status_code == 200 else None

    return (await eventually(answered, seconds=30, what="an answer to a search")).json()["results"]


def check_news(load: Load, hooks: Hooks) -> None:
    """Everything was told of once, however often it was tried."""
    assert hooks.count("message.created", "message_id") == Counter(message for _, message in load.messages)
    assert hooks.count("context.ready", "item_id") == Counter(item.id for item in load.items)
    assert hooks.attempts.total() > len(hooks.news), "no delivery was tried again: nothing was proved"
