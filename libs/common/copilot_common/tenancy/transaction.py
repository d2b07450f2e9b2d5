"""`tenant_transaction`: the only way to a tenant's rows.

Threat model: a forgotten WHERE, a pooled connection reused after an error, a bug in a route. Tenant and user are set
with SET LOCAL semantics, so they end with the transaction whatever happens; without them every policy compares with
null and no row is visible. What SQL injection could still do is set another tenant: hence parameters only.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import lru_cache
from typing import Literal, LiteralString, TypeAlias, TypeVar, cast

from psycopg import AsyncCursor, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow, scalar_row

from copilot_common.base.errors import Unavailable
from copilot_common.base.ids import TenantId, UserId
from copilot_common.encryption import KeyRing, TenantCipher
from copilot_common.platform.db import Connection, Database, Params
from copilot_common.platform.redis import name_fault
from copilot_common.platform.rows import rows_of
from copilot_common.platform.sql import Queries
from copilot_common.tenancy.principal import Principal
from copilot_common.tenancy.replica import Replica, UsePrimary
from copilot_common.tenancy.watermarks import Lsn, Watermarks, parse_lsn

Row = TypeVar("Row")
T = TypeVar("T")
Begin: TypeAlias = Literal["begin", "begin_snapshot", "begin_in_background", "begin_read"]

_sql = Queries(__package__)
# The end of the log, also of what is not yet written to the disk: that can be read already.
_TELL_LSN: LiteralString = "SELECT pg_current_wal_insert_lsn()::text"
# One round trip. Locks count as writing: whoever repeats a request locks what the first one wrote, and tells of it.
_COMMIT_AND_TELL: LiteralString = f"SELECT pg_current_xact_id_if_assigned() IS NOT NULL; COMMIT; {_TELL_LSN}"


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
            await self._send_last("COMMIT")

    async def finish_and_tell(self) -> Lsn | None:
        """As `finish`, but always with the COMMIT. An LSN that is not before it; None where nothing was written."""
        status = self.connection.info.transaction_status
        if status != TransactionStatus.INTRANS:
            await self.finish()
            return None
        if self._last:
            return await _told(await self._send_last("COMMIT", _TELL_LSN))
        cursor = await self.connection.execute(_COMMIT_AND_TELL)
        row = await cursor.fetchone()
        cursor.nextset()
        cursor.nextset()
        return await _told(cursor) if row and row[0] else None

    async def _send_last(self, *then: LiteralString) -> AsyncCursor[TupleRow]:
        async with self.connection.pipeline():
            for query, params in self._last:
                await self.connection.execute(query, params)
            sent = [await self.connection.execute(query) for query in then]
        return sent[-1]

    async def execute_many(self, query: LiteralString, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement once for each row, in few round trips."""
        async with self.connection.cursor() as cursor:
            await cursor.executemany(query, rows)

    async def fetch_all(
        self, row: type[Row], query: LiteralString, params: Params = (), *, prepare: bool | None = None
    ) -> list[Row]:
        """`prepare=False` for a query with optional filters: planned anew for the values given, it can use the index of
        the one that is there. A prepared statement soon gets one plan for all values."""
        async with self.connection.cursor(row_factory=rows_of(row), binary=True) as cursor:
            await cursor.execute(query, params, prepare=prepare)
            return await cursor.fetchall()

    async def fetch_one(self, row: type[Row], query: LiteralString, params: Params = ()) -> Row | None:
        async with self.connection.cursor(row_factory=rows_of(row), binary=True) as cursor:
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
        watermarks: Watermarks | None = None,
        replica: Replica | None = None,
    ) -> None:
        """`connections` and `begin`: see `in_background`. `watermarks`, wherever some process reads from a replica;
        `replica`, where this one does."""
        self.database = database
        self.keyring = keyring
        self._watermarks = watermarks
        self._replica = replica
        self._connections = connections
        self._begin: Begin = begin

    def in_background(self, pool: Database, *, connections: int) -> "TenantDatabase":
        """The same database for jobs that may be done again: their transactions have so many of `pool`'s connections
        together, and don't wait for the disk. A crash of PostgreSQL takes back the last of them; that the job was
        completed comes after them in its log, so then it was not."""
        share = asyncio.Semaphore(connections)
        return TenantDatabase(
            pool, self.keyring, connections=share, begin="begin_in_background", watermarks=self._watermarks
        )

    def durable(self) -> "TenantDatabase":
        """With the same share of connections, for what must be on the disk before something else is done."""
        return TenantDatabase(self.database, self.keyring, connections=self._connections, watermarks=self._watermarks)

    @asynccontextmanager
    async def transaction(self, principal: Principal, *, is_snapshot: bool = False) -> AsyncIterator[Transaction]:
        """Committed when the block ends, rolled back on any exception. Never hold it open across a network call.

        `is_snapshot`: it only reads, and all its statements see the same moment.
        """
        kind: Begin = "begin_snapshot" if is_snapshot else self._begin
        begin = _begin(principal.tenant_id, principal.user_id, principal.is_platform, kind)
        writes = self._watermarks.publishing(principal.tenant_id) if self._watermarks else nullcontext()
        # The watermark is published last, when the connection has been given back.
        async with writes as publication, self._connections or nullcontext(), self.database.connection(begin) as c:
            tx = Transaction(c, principal, self.keyring, can_wait=True)
            yield tx
            if publication is None:
                await tx.finish()
            else:
                publication.is_committing = True
                publication.lsn = await tx.finish_and_tell()
        tx.committed()

    async def read(self, principal: Principal, look: Callable[[Transaction], Awaitable[T]]) -> T:
        """What `look` finds: from the replica, where one is configured that has all the tenant was told of; see
        watermarks.py. `look` may be called twice, and its transaction refuses to write. Not for what decides about a
        write, nor for who waits for news."""
        begin = _begin(principal.tenant_id, principal.user_id, principal.is_platform, "begin_read")
        token = None
        if self._replica is not None:
            try:
                return await self._replica.read(
                    principal.tenant_id, begin, lambda c: look(Transaction(c, principal, self.keyring))
                )
            except UsePrimary as why:
                token = why.token
        if self._watermarks is None or token is None:
            async with self.database.connection(begin) as connection:
                return await look(Transaction(connection, principal, self.keyring))
        lsn = None
        try:
            async with self.database.connection(begin) as connection:
                found = await look(Transaction(connection, principal, self.keyring))
                cursor = await connection.execute(f"COMMIT; {_TELL_LSN}")
                cursor.nextset()
                lsn = await _told(cursor)
        finally:
            if lsn is None:
                await self._watermarks.drop(principal.tenant_id, token)
        if lsn is not None:
            await self._watermarks.set(principal.tenant_id, token, lsn)
        return found

    async def call(self, query: LiteralString, params: Mapping[str, object]) -> TupleRow | None:
        """The first row of a statement that is a transaction of its own and takes one round trip: a call of a function
        that sets the tenant itself (migrations/002), to `params["tenant_id"]`. It may be sent twice when a connection
        dies, so the function does the same when repeated. Raises Unavailable."""
        if self._watermarks is None:
            return await self.database.fetch_row(query, params)
        tenant_id = cast(TenantId, params["tenant_id"])
        async with self._watermarks.publishing(tenant_id) as publication:
            publication.is_committing = True
            row = await self.database.fetch_row(query, params)
            try:
                publication.lsn = _lsn_of(await self.database.fetch_row(_TELL_LSN, ()))
            except Unavailable as error:  # what was to be done is done
                self._watermarks.owe(tenant_id, name_fault(error))
            return row

    async def cipher(self, principal: Principal) -> TenantCipher:
        """The keys of the principal's tenant. Raises DecryptionError where it has none."""
        known = self.keyring.cached(principal.tenant_id)
        if known is not None:
            return known
        async with self.transaction(principal) as tx:
            return await tx.cipher()


async def _told(cursor: AsyncCursor[TupleRow]) -> Lsn | None:
    return _lsn_of(await cursor.fetchone())


def _lsn_of(row: TupleRow | None) -> Lsn | None:
    return parse_lsn(row[0]) if row else None


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
