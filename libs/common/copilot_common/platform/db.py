"""The connection pool, and what a service checks of its database before it serves."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal, LiteralString, TypeAlias

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from copilot_common.base.errors import SettingsError, Unavailable

Connection = AsyncConnection[TupleRow]
Params = Mapping[str, object] | Sequence[object]
PoolMode: TypeAlias = Literal["session", "transaction"]
"""Whether consecutive transactions of a connection meet the same server process. Through PgBouncer in `transaction`
mode they don't: what one leaves on the session (a prepared statement, a SET) is found by anybody, or by nobody."""

# The pool waits twice as long after each failed attempt to connect; after this long it gives up, and the next one who
# asks begins anew. With its default of five minutes it may not look again for one, long after PostgreSQL has come back.
_RECONNECT_SECONDS = 2.0
_CHECKOUT_SECONDS = 10.0  # a PostgreSQL restart takes about two; a request may wait that long rather than fail
# No query of ours takes a tenth of the first. The second is for a process that is frozen in a transaction: its locks go
# with its lease, else those who take over would wait for it.
TIME_LIMITS = {"statement_timeout": "30s", "idle_in_transaction_session_timeout": "6s"}
_SET_LIMITS = "; ".join(f"SET {name} = '{value}'" for name, value in TIME_LIMITS.items()).encode()
_SET_LOCAL_LIMITS = "".join(f"; SET LOCAL {name} = '{value}'" for name, value in TIME_LIMITS.items()).encode()
# The server goes or comes, or gave this statement up for a deadlock's sake: the same statement may be sent again.
_LOST = ("08", "57P", "40P01")
_PREPARE_THRESHOLD = 5  # psycopg's default: what a connection runs for the fifth time is prepared
_MAX_WAITING = 2_000  # requests queued for a connection; beyond it 503 at once


class Busy(Unavailable):
    """No connection could be had in time, or a statement took too long; none that we had was lost."""


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Connections: how many there may be, how many there are (some being opened), how many of them nobody uses; and how
    many wait for one."""

    limit: int
    size: int
    idle: int
    waiting: int


class Database:
    """A bounded pool. Open it once per process, close it at the end."""

    def __init__(
        self,
        url: str,
        *,
        max_size: int,
        application_name: str,
        pool_mode: PoolMode = "session",
        checkout_seconds: float = _CHECKOUT_SECONDS,
        check: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        """`check` is given each new connection before it is used, and raises where it must not be."""
        self.pool_mode = pool_mode
        self._check = check
        is_own_session = pool_mode == "session"
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=max_size,
            open=False,
            timeout=checkout_seconds,
            reconnect_timeout=_RECONNECT_SECONDS,
            max_waiting=_MAX_WAITING,
            # A dead server must be noticed in seconds, not by TCP's two hours.
            kwargs={
                # Transactions are begun and ended here, explicitly; a lone statement needs none.
                "autocommit": True,
                "application_name": application_name,
                "prepare_threshold": _PREPARE_THRESHOLD if is_own_session else None,
                "connect_timeout": 5,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                # Keepalives are not sent while sent data is unanswered; this bounds that case.
                "tcp_user_timeout": 10_000,
            },
            configure=self._configure,
            name=application_name,
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close(timeout=5)

    @property
    def use(self) -> PoolUse:
        """As it is now; asks nobody."""
        stats = self._pool.get_stats()
        names = ("pool_max", "pool_size", "pool_available", "requests_waiting")
        return PoolUse(*(stats.get(name, 0) for name in names))

    @asynccontextmanager
    async def connection(
        self,
        begin: LiteralString | bytes = "BEGIN",
        judge: Callable[[AsyncCursor[TupleRow]], Awaitable[None]] | None = None,
    ) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end, rolled back on any exception.

        `begin` is one round trip, and may set what the transaction needs (`BEGIN; SELECT set_config(…)`); `judge` is
        given what it answered, and may raise. Raises Unavailable when none can be had in time, or when the server goes
        away on the way.
        """
        if self.pool_mode == "transaction":
            begin = (begin if isinstance(begin, bytes) else begin.encode()) + _SET_LOCAL_LIMITS
        connection, begun = await self._first_statement(begin)
        try:
            if judge is not None:
                await judge(begun)
            yield connection
            await _commit(connection)
        except BaseException as error:
            with suppress(psycopg.Error):
                await connection.rollback()
            if isinstance(error, psycopg.OperationalError) or (isinstance(error, psycopg.Error) and connection.closed):
                raise (Unavailable if connection.closed else Busy)("The database went away; try again.") from None
            raise
        finally:
            await self._pool.putconn(connection)  # a broken one is replaced

    async def fetch_row(self, query: LiteralString, params: Params) -> TupleRow | None:
        """The first row of a statement that is a transaction of its own: one round trip. Raises Unavailable."""
        connection, cursor = await self._first_statement(query, params)
        try:
            return await cursor.fetchone()
        finally:
            await self._pool.putconn(connection)

    async def fetch_rows(self, query: LiteralString, params: Params) -> list[TupleRow]:
        """All rows of a statement that is a transaction of its own. Raises Unavailable."""
        connection, cursor = await self._first_statement(query, params)
        try:
            return await cursor.fetchall()
        finally:
            await self._pool.putconn(connection)

    async def _first_statement(
        self, query: LiteralString | bytes, params: Params | None = None
    ) -> tuple[Connection, AsyncCursor[TupleRow]]:
        """After a restart of PostgreSQL the pool may hold dead connections: until the first statement has run nothing
        has happened, so another one can be tried."""
        for attempt in range(self._pool.max_size + 1):
            connection = await self._checkout(is_after_loss=attempt > 0)
            try:
                # Several statements in one text need the simple protocol, which knows no binary results.
                cursor = connection.cursor(binary=params is not None)
                return connection, await cursor.execute(query, params)
            except psycopg.OperationalError as error:
                is_lost = connection.closed or (error.sqlstate or "").startswith(_LOST)
                await self._pool.putconn(connection)
                if not is_lost:
                    raise Busy("The database could not do it in time; try again.") from None
            except BaseException:
                await self._pool.putconn(connection)
                raise
        raise Unavailable("The database is not reachable.")

    async def _configure(self, connection: Connection) -> None:
        set_json_loads(msgspec.json.decode, connection)  # in a quarter of the time of Python's own, or less
        if self.pool_mode == "session":  # else the role's own limits bound statements
            await _bound_statements(connection)
        if self._check is not None:
            await self._check(connection)

    async def _checkout(self, *, is_after_loss: bool) -> Connection:
        try:
            return await self._pool.getconn()
        except PoolTimeout:
            raise (Unavailable if is_after_loss else Busy)("The database is not reachable.") from None
        except TooManyRequests:
            raise Busy("Too many requests are waiting for the database.") from None


async def _bound_statements(connection: Connection) -> None:
    """By SET, not as a start-up option, which PgBouncer refuses."""
    await connection.execute(_SET_LIMITS)


async def _commit(connection: Connection) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with a silent rollback; somebody must have hidden the error.
    Where the caller has sent one along with its last statements, nothing is left to commit."""
    status = connection.info.transaction_status
    if status == TransactionStatus.IDLE:
        return
    if status == TransactionStatus.INERROR:
        raise RuntimeError("a failed transaction cannot be committed")
    await connection.execute("COMMIT")


async def refuse_powerful_role(url: str, *, variable: str = "DATABASE_URL") -> None:
    """Raise SettingsError when the role that `variable` names could get around row-level security."""
    async with await AsyncConnection.connect(url, connect_timeout=10) as connection:
        if await is_powerful_role(connection):
            raise SettingsError(
                f"{variable} names a role that could bypass row-level security; use copilot_app",
                details={"variable": variable},
            )


async def is_powerful_role(connection: Connection) -> bool:
    """Whether the connection's role could get around row-level security."""
    cursor = await connection.execute(
        """
        SELECT rolsuper OR rolbypassrls OR pg_has_role(oid, 'copilot_owner', 'member')
            OR EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid AND relkind IN ('r', 'p'))
        FROM pg_roles WHERE rolname = current_user
        """
    )
    row = await cursor.fetchone()
    return row is None or bool(row[0])
