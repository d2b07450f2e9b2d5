"""Runs of every shape while the engines that lead them are killed and frozen, Redis is flushed, PostgreSQL restarted:
each ends as its shape says, once, and what may not be repeated is not."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import redis

from chaos.calls import Calls
from chaos.losses import Losses, check_takeovers
from chaos.shapes import Ran, Shape, shapes
from copilot_devstack import TemporaryStores
from support.api import Site, StartApi, make_site
from support.clients import Client, eventually
from support.receiver import receiver
from support.runs import define
from support.simulator import SimulatorHandle
from support.stack import clone_template
from support.workers import WorkerProcess, Workers, wait_ready

_ENGINES = 3
_RUNS = 200
_START_EVERY = 0.15
_KILL_EVERY = 1.0
_FREEZE_AT, _FLUSH_AT, _RESTART_AT, _CALM_AT = 8.0, 10.0, 30.0, 50.0
_FROZEN_SECONDS, _THAWED_SECONDS = 9.0, 3.0  # the first is longer than a lease
_SETTLE_SECONDS = 120.0
_AGAIN_SECONDS = 0.3
_GIVEN_UP_AT_MOST = 5
_UNENDED = """
SELECT 1 FROM workflow_runs
WHERE status IN ('pending', 'running', 'waiting') OR (error_code = 'WORKER_LOST' AND parent_run_id IS NULL) LIMIT 1
"""
_OPEN_REVIEWS = "SELECT run_id::text, id::text, path FROM workflow_reviews WHERE decision IS NULL"
_GIVEN_UP = "SELECT id::text FROM workflow_runs WHERE error_code = 'WORKER_LOST' AND parent_run_id IS NULL"


@dataclass
class Chaos:
    """Everything that goes wrong."""

    stores: TemporaryStores
    workers: Workers
    alive: list[WorkerProcess]
    losses: Losses

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(self._kill_forever())
            await asyncio.sleep(_FREEZE_AT)
            freezing = group.create_task(self._freeze())
            await asyncio.sleep(_FLUSH_AT - _FREEZE_AT)
            with redis.Redis.from_url(self.stores.redis.url) as client:
                client.flushall()
            await asyncio.sleep(_RESTART_AT - _FLUSH_AT)
            await freezing
            await self._restart_postgres()
            await asyncio.sleep(_CALM_AT - _RESTART_AT)
            killing.cancel()

    async def _kill_forever(self) -> None:
        """A random one of those that were there the last time, too: what needs a second can be done. Never the last
        one: what it leaves would wait for the next one's start, whose time is not promised."""
        ready: list[WorkerProcess] = []
        while True:
            await asyncio.sleep(_KILL_EVERY)
            before, ready = ready, [worker for worker in self.alive if worker.is_ready()]
            if len(ready) > 1 and (old := [worker for worker in ready if worker in before]):
                victim = random.choice(old)
                self.alive.remove(victim)
                self.alive.append(self.workers.again(victim))
                await self.losses.kill(victim)

    async def _freeze(self) -> None:
        """A busy engine sleeps past its lease, and wakes when others have what it had."""

        async def busy() -> WorkerProcess | None:
            found = [(worker, len(self.losses.claims(worker))) for worker in self.alive if worker.is_ready()]
            return next((worker for worker, count in found if count >= 2), None)

        frozen: WorkerProcess = await eventually(busy, seconds=_FROZEN_SECONDS, what="a busy engine")
        frozen.freeze()
        self.alive.remove(frozen)
        self.alive.append(self.workers.again(frozen))
        await self.losses.note(self.losses.claims(frozen))
        await asyncio.sleep(_FROZEN_SECONDS)
        frozen.thaw()
        await asyncio.sleep(_THAWED_SECONDS)
        frozen.kill()

    async def _restart_postgres(self) -> None:
        before = await self.losses.now()
        await asyncio.to_thread(self.stores.postgres.stop)
        self.stores.postgres.launch()  # here, since servers end with the thread that starts them
        await asyncio.to_thread(self.stores.postgres.wait_ready)
        self.losses.note_away(before, await self.losses.now())


@dataclass
class People:
    """They answer reviews, some with several answers at once, leave some alone, and cancel runs. What five engines in a
    row have died under is given up (docs/ledger.md): that is begun again."""

    site: Site
    client: Client
    answers: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    async def work(self) -> None:
        done = set[str]()
        while not self.is_over:
            async with asyncio.TaskGroup() as group:
                for run, review, path in await self._rows(_OPEN_REVIEWS):
                    if review not in done:
                        done.add(review)
                        group.create_task(self._look_at(run, review, path))
                for (run,) in await self._rows(_GIVEN_UP):
                    group.create_task(self._post(f"/workflows/runs/{run}/retry"))
                    self.answers["retry"] += 1
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with suppress(psycopg.OperationalError):
            return await asyncio.to_thread(self.site.rows, query)
        return []

    async def _look_at(self, run: str, review: str, path: str) -> None:
        name = path.rpartition(".")[2]
        if name.startswith("ignore") or name == "ask_for_ever":
            return
        if name == "ask_to_cancel":
            await self._post(f"/workflows/runs/{run}/cancel")
            self.answers["cancel"] += 1
            return
        decisions = random.choice((["approve"], ["reject"], ["approve", "reject", "approve"]))
        url = f"/workflows/runs/{run}/reviews/{review}"
        async with asyncio.TaskGroup() as group:
            for decision in decisions:
                body = {"decision": decision, "comment": f"{decision} {path}", "data": {"n": 7}}
                group.create_task(self._post(url, body))
        self.answers["twice" if len(decisions) > 1 else decisions[0]] += 1

    async def _post(self, path: str, body: object = None) -> None:
        """Until it is accepted."""
        key = str(uuid4())
        while True:
            with suppress(httpx.TransportError):
                answer = await self.client.call("POST", path, body, idempotency_key=key)
                if answer.is_success:
                    return
                assert answer.status_code in {409, 503}, answer.text  # 409: our own repeat is still under way
                if answer.json()["code"] == "CONFLICT":
                    assert path.endswith(("/cancel", "/retry")), answer.text  # whose first answer was lost
                    return
            await asyncio.sleep(_AGAIN_SECONDS)


@pytest.fixture
def stores() -> Iterator[TemporaryStores]:
    with TemporaryStores() as started:
        yield started


async def test_runs_end_as_they_should_whatever_happens_to_their_engines(
    stores: TemporaryStores, simulator: SimulatorHandle, start_api: StartApi, workers: Workers
) -> None:
    site = make_site(clone_template(stores.postgres.admin_url), stores.redis.url, simulator)
    losses, calls = Losses(site), Calls()
    losses.watch()
    environ = site.environ(egress_allow="127.0.0.1", http_tool_hosts="127.0.0.1", tenant_job_limit=1_000)
    api = start_api(environ)
    alive = [workers(environ, ready=False) for _ in range(_ENGINES)]
    wait_ready(*alive)
    chaos = Chaos(stores, workers, alive, losses)
    async with api.client(site.acme) as client, receiver(calls) as server:
        people = People(site, client)
        async with asyncio.TaskGroup() as group:  # what fails in one of them ends all
            group.create_task(people.work())
            starting = group.create_task(_start(client, await shapes(client, server.port)))
            await chaos.run()
            runs = await starting
            began = monotonic()
            await _settled(site)
            people.is_over = True
        settling = monotonic() - began
        unknown = [await _check_run(client, shape, n, run) for run, (shape, n) in runs.items()]
    takeovers = losses.takeovers()
    sys.stderr.write(
        f"\nruns: {len(runs)} of {len({shape.name for shape, _ in runs.values()})} shapes, {losses.kills} kills,"
        f" {len(takeovers)} take-overs, the longest {max(takeovers, default=timedelta()).total_seconds():.1f} s;"
        f" {calls.count.total()} calls to {len(calls.count)} places, {sum(unknown)} outcomes unknown;"
        f" answers {dict(people.answers)}; settled in {settling:.1f} s\n"
    )
    calls.check()
    _check_records(site)
    _check_turns(site, [(run, shape.at_once) for run, (shape, _) in runs.items() if shape.at_once is not None])
    assert _jobs(site) <= {"completed", "dead"}
    assert people.answers["retry"] <= _GIVEN_UP_AT_MOST
    check_takeovers(takeovers)
    assert len(runs) == _RUNS
    assert losses.kills >= 20
    assert min(people.answers[what] for what in ("approve", "reject", "twice", "cancel")) >= 2


async def _start(client: Client, wanted: list[Shape]) -> dict[str, tuple[Shape, int]]:
    """By run: its shape, and what it was given. Whatever is refused is asked again, under the same key."""
    workflows = {shape.name: await define(client, *shape.steps, **shape.options) for shape in wanted}
    started: dict[str, tuple[Shape, int]] = {}
    for n in range(_RUNS):
        shape = wanted[n % len(wanted)]
        started[await _started(client, workflows[shape.name], n)] = shape, n
        await asyncio.sleep(_START_EVERY)
    return started


async def _started(client: Client, workflow: str, n: int) -> str:
    key, body = str(uuid4()), {"workflow_id": workflow, "inputs": {"n": n}}
    while True:
        with suppress(httpx.TransportError):
            answer = await client.call("POST", "/workflows/runs", body, idempotency_key=key)
            if answer.is_success:
                return str(answer.json()["id"])
            assert answer.status_code in {409, 503}, answer.text
        await asyncio.sleep(_AGAIN_SECONDS)


def _check_turns(site: Site, runs: list[tuple[str, int]]) -> None:
    """Never more at once than may be; but those that were begun again, whose beginning was at another turn."""
    query = """
        SELECT started_at, completed_at FROM workflow_runs r WHERE id = %s AND NOT EXISTS (
            SELECT FROM workflow_steps s WHERE s.run_id = r.id AND s.type = 'retry')
    """
    found = [(times[0], at_once) for run, at_once in runs if (times := site.rows(query, run))]
    assert len(found) >= 5, "hardly any run had to wait for its turn"
    for (began, _), at_once in found:
        assert sum(start <= began < end for (start, end), _ in found) <= at_once


async def _settled(site: Site) -> None:
    async def nothing_left() -> bool:
        return await asyncio.to_thread(site.rows, _UNENDED) == []

    try:
        await eventually(nothing_left, seconds=_SETTLE_SECONDS, what="the end of all runs")
    except AssertionError:
        query = """
            SELECT r.id::text, r.status, r.current_step, r.cancel_requested, j.status, j.fence, j.failures, j.lapses,
                j.error_code, j.run_after
            FROM workflow_runs r LEFT JOIN jobs j ON j.id = r.job_id
            WHERE r.status IN ('pending', 'running', 'waiting')
        """
        raise AssertionError(f"left: {site.rows(query)[:20]}") from None


async def _check_run(client: Client, shape: Shape, n: int, run: str) -> int:
    """Returns how many of its calls were lost."""
    shown = await client.get(f"/workflows/runs/{run}")
    steps = (await client.get(f"/workflows/runs/{run}/steps?limit=100"))["items"]
    shape.check(Ran(n, shown, {each["path"]: each for each in steps}))
    return sum(1 for each in steps if each["error"] and each["error"]["code"] == "OUTCOME_UNKNOWN")


def _check_records(site: Site) -> None:
    """Of all runs, those that runs have started too."""
    columns = "started_event, ended_event, fact, path, attempt, type, status"
    steps: dict[str, list[tuple[Any, ...]]] = {}
    for run, *row in site.rows(f"SELECT run_id::text, {columns} FROM workflow_steps"):
        steps.setdefault(run, []).append(tuple(row))
    reviews: dict[str, list[int]] = {}
    for run, event in site.rows("SELECT run_id::text, event FROM workflow_reviews"):
        reviews.setdefault(run, []).append(event)
    for run, events, facts in site.rows("SELECT id::text, event_count, fact_count FROM workflow_runs"):
        rows = steps.get(run, [])
        told = [1, events, *reviews.get(run, []), *(row[i] for row in rows for i in (0, 1) if row[i] is not None)]
        assert sorted(told) == list(range(1, events + 1)), f"events of {run}: {sorted(told)} of {events}, {rows}"
        recorded = sorted(row[2] for row in rows if row[2] is not None)
        assert recorded == list(range(1, facts + 1)), f"facts of {run}: {recorded} of {facts}, {rows}"
        completed = Counter(row[3] for row in rows if row[6] == "completed")
        assert not [path for path, count in completed.items() if count > 1], f"completed twice in {run}: {rows}"
        unended = [row for row in rows if row[6] in {"running", "waiting"}]
        assert not unended, f"{run} has ended, but {unended}"
        visible = [row for row in rows if row[3] and not row[3].endswith("]") and row[4] > 0]
        unseen = [row for row in visible if row[0] is None or row[1] is None]
        assert not unseen, f"{run} has steps without their events: {unseen}"


def _jobs(site: Site) -> set[str]:
    return {row[0] for row in site.rows("SELECT status FROM jobs WHERE kind = 'run.advance/1'")}
