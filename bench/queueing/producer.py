"""Who asks for the jobs: connected as an API process is, with a ledger that rings the workers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic, time
from typing import LiteralString

import psycopg

from bench.product import Product
from bench.queueing.jobs import NOTHING, Nothing
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database
from copilot_common.queue import ArqLine, Dispatcher, Ledger, NewJob, Ringer
from copilot_common.tenancy import Principal, TenantDatabase

_POOL = 4
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Producer:
    principal: Principal
    db: TenantDatabase
    redis_url: str
    ledger: Ledger
    dispatcher: Dispatcher

    async def enqueue(self, numbers: Sequence[int]) -> float:
        """One transaction; returns when it was committed, in epoch seconds."""
        async with self.db.transaction(self.principal) as tx:
            committed: list[float] = []
            tx.after_commit(lambda: committed.append(time()))  # before the ring, which is another one
            for number in numbers:
                await self.ledger.enqueue(tx, NewJob(type=NOTHING, payload=Nothing(number)))
        return committed[0]


@asynccontextmanager
async def open_producer(product: Product) -> AsyncIterator[Producer]:
    connections = product.connections
    database = Database(connections["DATABASE_URL"], max_size=_POOL, application_name="bench")
    line = ArqLine(connections["REDIS_URL"])
    ringer = Ringer(line)
    await database.open()
    ringer.start()
    try:
        yield Producer(
            product.principal,
            TenantDatabase(database, KeyRing(bytes.fromhex(connections["ENCRYPTION_KEY"]))),
            connections["REDIS_URL"],
            Ledger(ringer.ring),
            Dispatcher(database, ProcessId(new_id())),
        )
    finally:
        await ringer.stop()
        await line.aclose()
        await database.close()


async def until_ended(product: Product, kind: str, *, seconds: float) -> None:
    """Until every job of a kind is completed: what conversations have left behind (titles) nobody does here. Raises
    RuntimeError where that takes too long."""
    deadline = monotonic() + seconds
    query = "SELECT count(*) FROM jobs WHERE status <> 'completed' AND kind = %s"
    while as_superuser(product, query, kind)[0][0]:
        if monotonic() > deadline:
            raise RuntimeError(f"the jobs have not ended within {seconds:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)


def forget_jobs(product: Product) -> None:
    """Each round begins with an empty ledger."""
    as_superuser(product, "TRUNCATE jobs CASCADE")


def as_superuser(product: Product, query: LiteralString, *params: object) -> list[tuple[object, ...]]:
    """Any statement, in a session of its own."""
    with psycopg.connect(product.stores.postgres.admin_url, autocommit=True) as connection:
        cursor = connection.execute(query, params or None)
        return cursor.fetchall() if cursor.description else []
