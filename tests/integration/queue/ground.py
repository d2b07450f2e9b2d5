"""What the tests of the ledger stand on: two tenants, a dispatcher a process, jobs that do nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from copilot_common.base.ids import ProcessId, TenantId, UserId, new_id
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database
from copilot_common.queue import (
    WORKFLOW_QUEUE,
    Claim,
    ClaimedJob,
    Dispatcher,
    Job,
    JobClass,
    JobPayload,
    JobType,
    Ledger,
    NewJob,
)
from copilot_common.tenancy import Principal, TenantDatabase
from support.api import ENCRYPTION_KEY, make_tenant
from support.clients import Credentials
from support.stack import Database as TestDatabase


class Nothing(JobPayload, frozen=True):
    note: int = 0


NOTHING = JobType("nothing.do", Nothing, WORKFLOW_QUEUE, max_failures=3, first_pause=timedelta(milliseconds=1))
URGENT = JobType("urgent.do", Nothing, WORKFLOW_QUEUE, JobClass.WAITED_FOR)
KINDS = [NOTHING.kind, URGENT.kind]


@dataclass
class Ground:
    """`rung` are the queues that were rung, in order."""

    urls: TestDatabase
    database: Database
    db: TenantDatabase
    acme: Principal
    other: Principal
    rung: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.rung.append)

    def rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        """Any statement, as the superuser, who sees all tenants."""
        with psycopg.connect(self.urls.admin_url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), params)
            return cursor.fetchall() if cursor.description else []

    def process(self, *, lease_seconds: float = 600.0) -> "ProcessHandle":
        """One whose lease lasts."""
        process_id = ProcessId(new_id())
        self.rows(
            "INSERT INTO processes (id, service, lease_expires_at)"
            " VALUES (%s, 'test', clock_timestamp() + make_interval(secs => %s))",
            process_id,
            lease_seconds,
        )
        return ProcessHandle(self, process_id, Dispatcher(self.database, process_id))

    async def enqueue(self, *, principal: Principal | None = None, count: int = 1, **fields: Any) -> list[UUID]:
        job_type = fields.pop("type", NOTHING)
        made = []
        async with self.db.transaction(principal or self.acme) as tx:
            for number in range(count):
                new: NewJob[Any] = NewJob(type=job_type, payload=Nothing(number), **fields)
                job_id = await self.ledger.enqueue(tx, new)
                assert job_id is not None
                made.append(job_id)
        return made

    def status(self, job_id: UUID) -> str:
        return str(self.rows("SELECT status FROM jobs WHERE id = %s", job_id)[0][0])

    def job(self, job_id: UUID) -> dict[str, Any]:
        names = ("status", "fence", "failures", "lapses", "process_id", "error_code")
        return dict(zip(names, self.rows(f"SELECT {', '.join(names)} FROM jobs WHERE id = %s", job_id)[0], strict=True))


@dataclass
class ProcessHandle:
    ground: Ground
    id: ProcessId
    dispatcher: Dispatcher

    async def claim(
        self, *, limit: int = 10, running: int = 0, tenant_limit: int = 1_000, known: list[str] | None = None
    ) -> list[ClaimedJob]:
        return await self.dispatcher.claim(
            WORKFLOW_QUEUE, known=known or KINDS, limit=limit, running=running, tenant_limit=tenant_limit
        )

    async def claim_one(self) -> tuple[ClaimedJob, Claim]:
        (claimed,) = await self.claim(limit=1)
        assert claimed.fence is not None
        return claimed, Claim(claimed.tenant_id, claimed.id, claimed.fence)

    def die(self) -> None:
        """Its lease has lapsed."""
        self.ground.rows("UPDATE processes SET lease_expires_at = '-infinity' WHERE id = %s", self.id)


def job_of(claimed: ClaimedJob, principal: Principal) -> Job[Any]:
    assert claimed.fence is not None
    return Job(id=claimed.id, fence=claimed.fence, payload=Nothing(), principal=principal, failures=claimed.failures)


def acting(credentials: Credentials) -> Principal:
    return Principal.system(TenantId(UUID(credentials.tenant_id)), UserId(UUID(credentials.user_id)))


@asynccontextmanager
async def open_ground(urls: TestDatabase) -> AsyncIterator[Ground]:
    database = Database(urls.app_url, max_size=8, application_name="tests")
    await database.open()
    acme, other = await make_tenant(urls, "acme"), await make_tenant(urls, "other")
    yield Ground(
        urls,
        database,
        TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY))),
        acting(acme),
        acting(other),
    )
    await database.close()


async def past_postgres_start(ground: Ground) -> bool:
    """For 6 s after a start of PostgreSQL no lease is judged lapsed."""
    return bool(ground.rows("SELECT pg_postmaster_start_time() < clock_timestamp() - interval '6 seconds'")[0][0])
