"""`tenant_transaction`: the only way to a tenant's rows.

Threat model: a forgotten WHERE, a pooled connection reused after an error, a bug in a route. Tenant and user are set
with SET LOCAL semantics, so they end with the transaction whatever happens; without them every policy compares with
null and no row is visible. What SQL injection could still do is set another tenant: hence parameters only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import lru_cache
from typing import Literal, LiteralString, TypeAlias, TypeVar

from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow, class_row, scalar_row

from copilot_common.base.ids import TenantId, UserId
from copilot_common.encryption import KeyRing, TenantCipher
from copilot_common.platform.db import Connection, Database, Params
from copilot_common.platform.sql import Queries
from copilot_common.tenancy.principal import Principal

Row = TypeVar("Row")
Begin: TypeAlias = Literal["begin", "begin_snapshot", "begin_in_background"]

_sql = Queries(__package__)


class Transaction:
    """One open transaction of one principal. Rows come back as the class asked for."""

    def __init__(
        self, connection: Connection, principal: Principal, keyring: KeyRing, *, can_wait: bool = False
    ) -> None:
        """`can_wait`: whoever made it will call `finish`."""
        self.connection = connection
        self.principal = principal
        self.keyring = keyring
        self._can_wait = can_wait
        self._last: list[tuple[LiteralString, Params]] = []
        self._after_commit: list[Callable[[], None]] = []

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` once this transaction is committed, and only then. It must neither block nor fail."""
        self._after_commit.append(action)

    def committed(self) -> None:
        for action in self._after_commit:
            action()

    async def cipher(self) -> TenantCipher:
        """The keys of the principal's tenant. Raises DecryptionError where it has none."""
        return await self.keyring.load(self.connection, self.principal.tenant_id)

    async def execute(self, query: LiteralString, params: Params = ()) -> int:
        """Run a statement; returns how many rows it touched."""
        cursor = await self.connection.execute(query, params)
        return cursor.rowcount

    async def execute_last(self, query: LiteralString, params: Params) -> None:
        """Run a statement together with the COMMIT, in one round trip: for a row that this transaction doesn't read."""
        if self._can_wait:
            self._last.append((query, params))
        else:
            await self.execute(query, params)

    async def finish(self) -> None:
        """What was to be last, and the COMMIT with it; without any, the COMMIT is the caller's."""
        status = self.connection.info.transaction_status
        if self._last and status == TransactionStatus.IDLE:
            raise RuntimeError("somebody has ended this transaction before its last statements")
        if self._last and status == TransactionStatus.INTRANS:
            async with self.connection.pipeline():
                for query, params in self._last:
                    await self.connection.execute(query, params)
                await self.connection.execute("COMMIT")

    async def execute_many(self, query: LiteralString, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement once for each row, in few round trips."""
        async with self.connection.cursor() as cursor:
            await cursor.executemany(query, rows)

    async def fetch_all(
        self, row: type[Row], query: LiteralString, params: Params = (), *, prepare: bool | None = None
    ) -> list[Row]:
        """`prepare=False` for a query with optional filters: planned anew for the values given, it can use the index of
        the one that is there. A prepared statement soon gets one plan for all values."""
        async with self.connection.cursor(row_factory=class_row(row), binary=True) as cursor:
            await cursor.execute(query, params, prepare=prepare)
            return await cursor.fetchall()

    async def fetch_one(self, row: type[Row], query: LiteralString, params: Params = ()) -> Row | None:
        async with self.connection.cursor(row_factory=class_row(row), binary=True) as cursor:
            await cursor.execute(query, params)
            return await cursor.fetchone()

    async def fetch_value(self, query: LiteralString, params: Params = (), *, prepare: bool | None = None) -> object:
        """The first column of the first row, or None. `prepare` as in `fetch_all`."""
        async with self.connection.cursor(row_factory=scalar_row, binary=True) as cursor:
            await cursor.execute(query, params, prepare=prepare)
            return await cursor.fetchone()


class TenantDatabase:
    """The pool and the keys together: opens transactions for principals."""

    def __init__(
        self,
        database: Database,
        keyring: KeyRing,
        *,
        connections: asyncio.Semaphore | None = None,
        begin: Begin = "begin",
    ) -> None:
        """The last two: see `in_background`."""
        self.database = database
        self.keyring = keyring
        self._connections = connections
        self._begin: Begin = begin

    def in_background(self, *, connections: int) -> "TenantDatabase":
        """The same database for jobs that may be done again: their transactions have so many of the pool's connections
        together, and don't wait for the disk. A crash of PostgreSQL takes back the last of them; that the job was
        completed is committed later and does wait, so then it was not."""
        share = asyncio.Semaphore(connections)
        return TenantDatabase(self.database, self.keyring, connections=share, begin="begin_in_background")

    def durable(self) -> "TenantDatabase":
        """With the same share of connections, for what must be on the disk before something else is done."""
        return TenantDatabase(self.database, self.keyring, connections=self._connections)

    @asynccontextmanager
    async def transaction(self, principal: Principal, *, is_snapshot: bool = False) -> AsyncIterator[Transaction]:
        """Committed when the block ends, rolled back on any exception. Never hold it open across a network call.

        `is_snapshot`: it only reads, and all its statements see the same moment.
        """
        kind: Begin = "begin_snapshot" if is_snapshot else self._begin
        begin = _begin(principal.tenant_id, principal.user_id, principal.is_platform, kind)
        async with self._connections or nullcontext(), self.database.connection(begin) as c:
            tx = Transaction(c, principal, self.keyring, can_wait=True)
            yield tx
            await tx.finish()
        tx.committed()

    async def call(self, query: LiteralString, params: Params) -> TupleRow | None:
        """The first row of a statement that is a transaction of its own and takes one round trip: a call of a function
        that sets the tenant itself (migrations/002). It may be sent twice when a connection dies, so the function does
        the same when repeated. Raises Unavailable."""
        return await self.database.fetch_row(query, params)

    async def cipher(self, principal: Principal) -> TenantCipher:
        """The keys of the principal's tenant. Raises DecryptionError where it has none."""
        known = self.keyring.cached(principal.tenant_id)
        if known is not None:
            return known
        async with self.transaction(principal) as tx:
            return await tx.cipher()


@lru_cache(maxsize=1_024)
def _begin(tenant_id: TenantId, user_id: UserId | None, is_platform: bool, kind: Begin) -> bytes:
    """BEGIN and the settings in one round trip. Such a text takes no parameters: the values, two UUIDs and a switch, go
    in as literals quoted by psycopg."""
    return (
        sql.SQL(_sql[kind])
        .format(
            tenant_id=sql.Literal(str(tenant_id)),
            user_id=sql.Literal(str(user_id or "")),
            platform=sql.Literal("on" if is_platform else "off"),
        )
        .as_bytes()
    )
