"""A build and the next one, side by side, under traffic: there and back without an error that a client sees."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from copilot_common.platform import migrate
from copilot_devstack.processes import wait_until
from copilot_domain.context.jobs import MERGE_SEGMENTS
from support.api import ApiProcess, Site, StartApi, wait_ready
from support.builds import Build, operator_environ, two_builds
from support.steady_traffic import Traffic
from support.workers import CONTEXT, ENGINE, WorkerProcess, Workers
from support.workers import wait_ready as wait_workers_ready

_START_SECONDS = 60.0  # the context service reads its model, on a machine that is busy with the rest of the test
_TRANSACTIONS = """
SELECT application_name, state, wait_event, clock_timestamp() - xact_start, pg_blocking_pids(pid), left(query, 200)
FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL
"""
_CUT_OFF = ("asyncio", "InvalidStateError")
_EXIT_SECONDS = 45.0  # DRAIN_SECONDS, and what closing takes


@dataclass
class Release:
    """A build's three processes, as the three Deployments have them."""

    build: Build
    api: ApiProcess
    workers: list[WorkerProcess]

    async def ready(self, traffic: Traffic) -> None:
        """Only then the Service sends requests."""
        await asyncio.to_thread(wait_ready, self.api)
        await asyncio.to_thread(wait_workers_ready, *self.workers)
        traffic.balancer.ports.append(self.port)

    async def drain(self, traffic: Traffic) -> None:
        """As a kubelet does: the API's pod, then the workers'."""
        await traffic.balancer.remove(self.port)
        for going in [self.api], self.workers:
            for process in going:
                process.process.send(signal.SIGTERM)
            for process in going:
                assert await asyncio.to_thread(process.process.wait, _EXIT_SECONDS)
                assert process.exit_code == 0, process.log_path.read_text()[-3_000:]

    @property
    def processes(self) -> list[ApiProcess | WorkerProcess]:
        return [self.api, *self.workers]

    @property
    def port(self) -> int:
        return urlsplit(self.api.url).port or 0

    def is_too_early(self) -> bool:
        return all(status == 503 and "schema is too old" in text for status, text in self.probes())

    def probes(self) -> list[tuple[int, str]]:
        """What each says of its readiness; status 0 where it does not answer yet."""
        return [_probe(process.url) for process in self.processes]

    def errors(self) -> list[object]:
        """But one: Granian ends its server after the readers it cut, when the event loop has given that up already."""
        lines = [line for process in self.processes for line in process.log_lines]
        errors = [line for line in lines if line["level"] in {"error", "critical"}]
        return [line for line in errors if (line.get("logger"), line.get("error_type")) != _CUT_OFF]


def _probe(url: str) -> tuple[int, str]:
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return 0, type(error).__name__
    return answer.status_code, answer.text


@dataclass
class Cluster:
    site: Site
    start_api: StartApi
    start_worker: Workers
    traffic: Traffic
    releases: list[Release] = field(default_factory=list)

    def start(self, build: Build) -> Release:
        environ = {**self.site.environ(), **build.environ}
        api = self.start_api(environ, ready=False)
        workers = [self.start_worker(environ, command, ready=False) for command in (ENGINE, CONTEXT)]
        self.releases.append(Release(build, api, workers))
        return self.releases[-1]

    @asynccontextmanager
    async def observed(self) -> AsyncIterator[None]:
        """What fails in the block says what the database was doing, and what each process has logged last."""
        try:
            yield
        except BaseException as error:
            logs = [process.log_path.read_text()[-1_000:] for release in self.releases for process in release.processes]
            error.add_note("\n".join(map(str, [*self.site.rows(_TRANSACTIONS), *logs])))
            raise

    async def copilot(self, build: Build, *arguments: str) -> None:
        environ = operator_environ(self.site.database)
        done = await asyncio.to_thread(build.copilot, *arguments, **environ)
        assert done.returncode == 0, done.stderr


@pytest.fixture
async def builds(site: Site, tmp_path: Path) -> tuple[Build, Build]:
    """The database is at the older one's schema."""
    older, newer = two_builds(site.database, tmp_path)
    urls = migrate.DatabaseUrls(migration=site.database.owner_url, admin=site.database.admin_url)
    await migrate.down(urls, to_version=older.schema)
    return older, newer


async def test_an_upgrade_and_the_way_back_are_seen_by_no_client(
    site: Site, start_api: StartApi, workers: Workers, builds: tuple[Build, Build]
) -> None:
    older, newer = builds
    traffic = Traffic(site)
    cluster = Cluster(site, start_api, workers, traffic)
    first = cluster.start(older)
    await first.ready(traffic)
    async with cluster.observed(), traffic.flowing():
        second = await _upgraded(cluster, first, newer)
        await _rolled_back(cluster, second, older)
    assert set(traffic.balancer.statuses) <= {200, 201, 202, 204}, traffic.balancer.statuses
    assert [release.errors() for release in cluster.releases] == [[], [], []]
    _check_nothing_is_lost(site, traffic)


async def _upgraded(cluster: Cluster, first: Release, newer: Build) -> Release:
    """What `helm upgrade` does, chart by chart, and the other way round: new pods that come too early."""
    traffic = cluster.traffic
    second = cluster.start(newer)
    assert await asyncio.to_thread(wait_until, second.is_too_early, _START_SECONDS), second.probes()
    await traffic.more()
    assert second.is_too_early()
    await cluster.copilot(newer, "migrate", "up")
    await second.ready(traffic)
    await traffic.more()
    assert {status for status, _ in first.probes()} == {200}
    async with traffic.reader_of(first.api.url):
        await first.drain(traffic)
    await traffic.more()
    return second


async def _rolled_back(cluster: Cluster, second: Release, older: Build) -> None:
    """The code first, while the schema stays; then the schema, when nobody needs it any more."""
    traffic = cluster.traffic
    third = cluster.start(older)
    await third.ready(traffic)
    await second.drain(traffic)
    await traffic.more()
    await cluster.copilot(second.build, "migrate", "down", "--to", str(older.schema), "--yes")
    await traffic.more()


def _check_nothing_is_lost(site: Site, traffic: Traffic) -> None:
    answers = sum(traffic.done[kind] for kind in ("answers", "streams", "background answers", "long answers"))
    made = "SELECT status, count(*) FROM messages WHERE role = 'assistant' GROUP BY 1"
    assert site.rows(made) == [("completed", answers)]
    assert site.rows("SELECT status, count(*) FROM workflow_runs GROUP BY 1") == [("completed", traffic.done["runs"])]
    bills = "SELECT outcome, count(*) FROM llm_calls WHERE message_id IS NOT NULL GROUP BY 1"
    assert site.rows(bills) == [("completed", answers)]
    # A merge that meets another one, in a process beside, comes again: nothing else may have failed.
    failed = (
        "SELECT kind, status, error_code FROM jobs WHERE lapses > 0 OR status = 'dead' OR (failures > 0 AND kind <> %s)"
    )
    assert site.rows(failed, MERGE_SEGMENTS.kind) == []
