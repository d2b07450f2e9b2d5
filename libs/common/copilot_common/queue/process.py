"""A worker process, from its start to its end: what the workflow engine and the context service have in common.

A service's composition root builds a Backbone, its handlers over it, and calls `run_worker`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from loguru import logger
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from copilot_common.base.errors import SettingsError
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.encryption import KeyRing
from copilot_common.platform.backends import stand_back_in_postgres
from copilot_common.platform.booting import calm_garbage_collector, install_stop_signals, until_database_fits
from copilot_common.platform.companions import Companion
from copilot_common.platform.db import Database
from copilot_common.platform.health import Health
from copilot_common.platform.lease import ProcessLease
from copilot_common.platform.logs import configure_logs
from copilot_common.platform.metrics import new_registry, watch_pool
from copilot_common.platform.probes import ProbeServer
from copilot_common.platform.redis import connect_redis
from copilot_common.platform.settings import Settings
from copilot_common.platform.tasks import end_tasks
from copilot_common.platform.trace import Tracer
from copilot_common.platform.tracing.factory import build_tracer
from copilot_common.queue.arq_adapter import ArqLine
from copilot_common.queue.depth import DepthGauges
from copilot_common.queue.dispatching import Dispatcher
from copilot_common.queue.jobs import JobType, Queue
from copilot_common.queue.ledger import Ledger
from copilot_common.queue.metrics import QueueMetrics
from copilot_common.queue.ringing import Ringer
from copilot_common.queue.sweeping import JobSweeper
from copilot_common.queue.worker import Handler, Worker
from copilot_common.tenancy import TenantDatabase, Watermarks

_BACKGROUND_CONNECTIONS = 2  # jobs' transactions have one of them by turns, their claims and completions the other


@dataclass(frozen=True)
class Backbone:
    """What every worker stands on. Connects nothing yet. `background` is the pool for jobs: one of its own, which
    stands back, where nobody waits for them."""

    service: str
    settings: Settings
    process_id: ProcessId
    registry: CollectorRegistry
    tracer: Tracer | None
    database: Database
    background: Database
    tenants_db: TenantDatabase
    watermarks: Watermarks | None
    redis: Redis
    lease: ProcessLease
    line: ArqLine
    ringer: Ringer
    ledger: Ledger
    dispatcher: Dispatcher
    health: Health


def build_backbone(
    service: str,
    settings: Settings,
    *,
    version: str,
    has_llm: bool | None = None,
    is_background: bool = False,
) -> Backbone:
    """`is_background`: nobody waits for its jobs, which may be done again (see Dispatcher)."""
    process_id = ProcessId(new_id())
    database, background = _pools(service, settings, has_background=is_background)
    redis = connect_redis(settings.redis_url)
    watermarks = Watermarks(redis) if settings.database_replica_url else None
    lease = ProcessLease(settings.database_url, process_id, service)
    line = ArqLine(settings.redis_url)
    ringer = Ringer(line)
    return Backbone(
        service=service,
        settings=settings,
        process_id=process_id,
        registry=new_registry(),
        tracer=build_tracer(settings, service=service, version=version, instance=str(process_id)),
        database=database,
        background=background,
        tenants_db=TenantDatabase(database, KeyRing(settings.encryption_key_bytes), watermarks=watermarks),
        watermarks=watermarks,
        redis=redis,
        lease=lease,
        line=line,
        ringer=ringer,
        ledger=Ledger(ringer.ring),
        dispatcher=Dispatcher(background, process_id, waits_for_disk=not is_background),
        health=Health(database, redis, lease, version=version, has_llm=has_llm),
    )


def _pools(service: str, settings: Settings, *, has_background: bool) -> tuple[Database, Database]:
    """For what somebody waits for, and for the rest. Together they have DATABASE_POOL_MAX connections; where that is
    less than four, one pool is for both."""
    share = (
        _BACKGROUND_CONNECTIONS if has_background and settings.database_pool_max >= 2 * _BACKGROUND_CONNECTIONS else 0
    )
    pool = partial(Database, settings.database_url, application_name=service, pool_mode=settings.database_pool_mode)
    database = pool(max_size=settings.database_pool_max - share)
    return database, pool(max_size=share, check=stand_back_in_postgres) if share else database


async def run_worker(
    backbone: Backbone,
    queue: Queue,
    handlers: Mapping[JobType[Any], Handler],
    *,
    probe_port: int,
    companions: Sequence[Companion] = (),
) -> None:
    """The whole life of the process. Raises SettingsError where it must not work."""
    settings = backbone.settings
    configure_logs(backbone.service, level=settings.log_level, style=settings.log_format)
    process = _Process(backbone, queue, handlers, companions)
    stop = install_stop_signals()
    port = probe_port if settings.probe_port is None else settings.probe_port
    try:
        await process.probes.start(settings.host, port)
    except OSError as error:
        raise SettingsError(f"PROBE_PORT {port} cannot be listened on: {error.strerror}") from None
    boot = asyncio.create_task(process.boot())
    boot.add_done_callback(lambda task: stop.set() if not task.cancelled() and task.exception() else None)
    try:
        await stop.wait()
        backbone.health.is_draining = True
        await process.drain(settings.drain_seconds)
    finally:
        boot.cancel()
        result = (await asyncio.gather(boot, return_exceptions=True))[0]
        await process.stop()
    if isinstance(result, Exception):
        raise result
    logger.info("Stopped")


class _Process:
    def __init__(
        self,
        backbone: Backbone,
        queue: Queue,
        handlers: Mapping[JobType[Any], Handler],
        companions: Sequence[Companion],
    ) -> None:
        self._backbone = backbone
        self._queue = queue
        self._companions = companions
        watch_pool(backbone.registry, *{backbone.database, backbone.background})
        settings = backbone.settings
        self._worker = Worker(
            backbone.dispatcher,
            queue,
            handlers,
            slots=settings.job_slots,
            tenant_limit=settings.tenant_job_limit,
            metrics=QueueMetrics(backbone.registry),
            tracer=backbone.tracer,
            pass_on=lambda: backbone.ringer.ring(queue),
        )
        # Of all queues: others wait for what a sweep makes due.
        for_all = Dispatcher(backbone.database, backbone.process_id)
        self._sweeper = JobSweeper(for_all, self._ring, keep_ended=settings.keep_ended_jobs)
        self._loops: list[asyncio.Task[None]] = []
        self._started: list[Companion] = []
        depth = DepthGauges(for_all, backbone.registry, [queue])
        self.probes = ProbeServer(backbone.health, backbone.registry, depth.refresh)

    async def boot(self) -> None:
        """Probes are answered from the start, jobs are claimed once the database is there."""
        backbone = self._backbone
        key_ring = backbone.tenants_db.keyring
        await until_database_fits(
            backbone.settings.database_url, backbone.database, backbone.health, key_ring.refuse_other_key
        )
        await backbone.background.open()
        await backbone.lease.start()
        for companion in self._companions:
            await companion.start()
            self._started.append(companion)
        backbone.ringer.start()
        self._worker.start()
        self._loops = [
            asyncio.create_task(self._sweeper.run_forever(), name="job sweeper"),
            asyncio.create_task(self._listen(), name="listener"),
        ]
        calm_garbage_collector()
        backbone.health.is_booted = True
        logger.bind(queue=self._queue, process_id=str(backbone.process_id)).info("Working")

    async def drain(self, seconds: float) -> None:
        """Answer no more doorbells, let running jobs end, hand back the rest."""
        await self._worker.drain(seconds)

    async def stop(self) -> None:
        """What is not reached in order here, the lease's lapse settles."""
        backbone = self._backbone
        await end_tasks(self._loops)
        await self._worker.stop()
        for companion in reversed(self._started):
            await companion.stop()
        await backbone.ringer.stop()
        await backbone.lease.stop()
        await self.probes.stop()
        await backbone.line.aclose()
        if backbone.watermarks is not None:
            await backbone.watermarks.aclose()
        await backbone.redis.aclose()
        await backbone.background.close()
        await backbone.database.close()
        if backbone.tracer:
            await backbone.tracer.stop()

    async def _listen(self) -> None:
        await self._backbone.line.listen(
            self._queue,
            on_ring=self._worker.wake,
            on_connection=self._worker.note_bell,
        )

    def _ring(self, queue: str) -> None:
        """The sweep has found work: this process need not be rung for it."""
        if queue == self._queue:
            self._worker.wake()
        self._backbone.ringer.ring(queue)
