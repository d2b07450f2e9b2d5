"""A streaming replica of the database, for reads that it is far enough for.

Whatever is wrong with it, the primary is read instead (`UsePrimary`): it lags behind the tenant's watermark, is not
there, hangs, cancels the query because of what it replays, or is none. One that fails is left alone until a look in the
background finds it well again, so that requests don't wait for it one after another. A read that gets no answer in time
may be slow itself, or our pool be full: then a look apart from the pool tells whether the replica fails.

Threat model: as for the primary, and a replica is reached at another address, perhaps later than the process starts. So
each new connection is checked before its first use: its role must be bound by the policies, and the server must be a
copy of the primary itself: elsewhere an LSN means nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, TypeVar

import psycopg
from loguru import logger
from prometheus_client import CollectorRegistry, Counter, Gauge
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow

from copilot_common.base.errors import SettingsError, Unavailable
from copilot_common.base.ids import TenantId
from copilot_common.platform.db import Busy, Connection, Database, PoolMode, is_powerful_role, refuse_powerful_role
from copilot_common.platform.pooler import pooling_fault
from copilot_common.platform.queries import sql
from copilot_common.platform.tasks import Overtime, end_tasks
from copilot_common.tenancy.watermarks import Lsn, Missing, NoWatermark, Watermarks, parse_lsn

Reason = Missing | Literal["unusable", "behind", "conflict", "busy", "failed"]
T = TypeVar("T")

_CHECKOUT_SECONDS = 1.0  # then the primary is asked, which is there
_READ_SECONDS = 5.0  # as much as any read takes, and more: a replica that hangs answers nothing, not even a cancel
_LOOK_SECONDS = 2.0
_DOUBT_SECONDS = 2.0  # to connect anew and to answer
_START_SECONDS = 3.0  # a process that starts does not wait longer for its replica


class UsePrimary(Exception):
    """The replica has not answered. `token`: see `Watermarks.set`."""

    def __init__(self, reason: Reason, token: str | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.token = token


class Replica:
    """A bounded pool of its own. Nothing is read before `start`."""

    def __init__(
        self,
        url: str,
        watermarks: Watermarks,
        registry: CollectorRegistry,
        *,
        max_size: int,
        application_name: str,
        pool_mode: PoolMode = "session",
    ) -> None:
        self._url = url
        self._watermarks = watermarks
        self.database = Database(
            url,
            max_size=max_size,
            application_name=application_name,
            pool_mode=pool_mode,
            checkout_seconds=_CHECKOUT_SECONDS,
            check=self._check,
        )
        self._cluster: object = None
        self._is_usable = False
        self._fault = ""
        self._watching: asyncio.Task[None] | None = None
        self._doubting: asyncio.Task[None] | None = None
        self._overtime = Overtime()
        self._reads = Counter(
            "replica_reads",
            "Reads that a replica may answer: by what came of it; only `replica` was answered there",
            ["outcome"],
            registry=registry,
        )
        usable = Gauge("replica_usable", "Whether reads may go to the replica", registry=registry)
        usable.set_function(lambda: float(self._is_usable))

    async def start(self, primary: Database) -> None:
        """Raises SettingsError where the role could get around row-level security. Whatever else is
        wrong is found again by the looks."""
        try:
            await self._overtime.within(
                _START_SECONDS, refuse_powerful_role(self._url, variable="DATABASE_REPLICA_URL")
            )
        except (psycopg.Error, TimeoutError) as error:
            logger.bind(error_type=type(error).__name__).warning("Replica not reachable yet")
        self._watching = asyncio.create_task(self._watch(primary), name="replica")

    async def stop(self) -> None:
        await end_tasks([self._watching, self._doubting])
        await self._overtime.end()
        await self.database.close()

    async def read(self, tenant_id: TenantId, begin: bytes, look: Callable[[Connection], Awaitable[T]]) -> T:
        """What `look` finds in a transaction that `begin` begins, as in `begin_read`. Raises UsePrimary."""
        try:
            found = await self._read(tenant_id, begin, look)
        except UsePrimary as why:
            self._reads.labels(why.reason).inc()
            raise
        self._reads.labels("replica").inc()
        return found

    async def _read(self, tenant_id: TenantId, begin: bytes, look: Callable[[Connection], Awaitable[T]]) -> T:
        if not self._is_usable:
            raise UsePrimary("unusable")
        wanted = await self._watermarks.find(tenant_id)
        if isinstance(wanted, NoWatermark):
            raise UsePrimary(wanted.reason, wanted.token)
        try:
            return await self._overtime.within(_READ_SECONDS, self._read_from(begin, wanted, look))
        except (Busy, TimeoutError):
            self._doubt()
            raise UsePrimary("busy") from None
        except Unavailable as error:
            self._give_up(type(error).__name__)
            raise UsePrimary("failed") from None

    async def _read_from(self, begin: bytes, wanted: Lsn, look: Callable[[Connection], Awaitable[T]]) -> T:
        async def judge(begun: AsyncCursor[TupleRow]) -> None:
            begun.nextset()  # what BEGIN answered comes first
            row = await begun.fetchone()
            replayed = row[-1] if row else None
            if replayed is None:
                self._give_up("it is not a replica")
                raise UsePrimary("failed")
            if parse_lsn(replayed) < wanted:
                raise UsePrimary("behind")

        async with self.database.connection(begin, judge) as connection:
            try:
                return await look(connection)
            except psycopg.errors.SerializationFailure:  # what it replays removes rows that the query may need
                raise UsePrimary("conflict") from None
            except psycopg.ProgrammingError:  # its schema may be older than this build needs; else the primary says so
                raise UsePrimary("behind") from None

    async def _watch(self, primary: Database) -> None:
        while True:
            if not self._is_usable:
                with suppress(psycopg.Error, Unavailable, TimeoutError):
                    await self._overtime.within(_READ_SECONDS, self._look(primary))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self, primary: Database) -> None:
        if (fault := await self._pooling_fault()) is not None:
            return self._tell(fault)
        if self._cluster is None:
            row = await primary.fetch_row(sql["cluster"], {})
            self._cluster = row[0] if row else None
        await self.database.open()
        row = await self.database.fetch_row(sql["is_replica"], {})
        if row is None or not row[0]:
            return self._tell("it is not a replica")
        self._is_usable = True
        self._fault = ""
        logger.info("Reads go to the replica")

    async def _pooling_fault(self) -> str | None:
        try:
            return await pooling_fault(self._url, self.database.pool_mode, variable="DATABASE_REPLICA_URL")
        except SettingsError as error:
            return error.message

    def _doubt(self) -> None:
        """One look at a time; reads go on meanwhile."""
        if self._doubting is None or self._doubting.done():
            self._doubting = asyncio.create_task(self._look_apart(), name="replica in doubt")

    async def _look_apart(self) -> None:
        try:
            await self._overtime.within(_DOUBT_SECONDS, self._connect_apart())
        except SettingsError:
            self._is_usable = False  # `_check` has told why
        except (psycopg.Error, TimeoutError) as error:
            self._give_up(type(error).__name__)

    async def _connect_apart(self) -> None:
        async with await AsyncConnection.connect(self._url, autocommit=True, prepare_threshold=None) as connection:
            await self._check(connection)

    def _give_up(self, fault: str) -> None:
        self._is_usable = False
        self._tell(fault)

    def _tell(self, fault: str) -> None:
        """Once for each fault, not at each look."""
        if fault != self._fault:
            self._fault = fault
            logger.bind(fault=fault).warning("The primary is read instead of the replica")

    async def _check(self, connection: Connection) -> None:
        """Of a new connection. Raises SettingsError, which to the pool is a connection that could not be had."""
        fault = None
        row = await (await connection.execute(sql["cluster"])).fetchone()
        if row is None or row[0] != self._cluster:
            fault = "it is not a copy of the primary"
        elif await is_powerful_role(connection):  # which asks for roles that another server may lack
            fault = "its role could bypass row-level security"
        if fault is not None:
            self._tell(fault)
            await connection.close()
            raise SettingsError(f"DATABASE_REPLICA_URL: {fault}", details={"variable": "DATABASE_REPLICA_URL"})
