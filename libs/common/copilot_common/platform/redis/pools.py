"""Connections that tell what goes wrong on them, and a pool of those to a slot's master, whoever that is by now."""

from typing import Any

from loguru import logger
from redis.asyncio import Connection, ConnectionPool, SSLConnection
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, ResponseError

from copilot_common.platform.redis.faults import name_fault
from copilot_common.platform.redis.owners import Owners

# The commands' own faults, which say nothing about the node; these of them do.
_OF_THE_NODE = (ClusterDownError, ReadOnlyError)


class WatchedConnection(Connection):
    def __init__(self, *, owners: Owners, **options: Any) -> None:
        self._owners = owners
        super().__init__(**options)

    async def connect(self) -> None:
        try:
            await super().connect()  # type: ignore[no-untyped-call] # redis-py has it so
        except BaseException:  # a caller's time-out is a cancellation here
            self._owners.doubt((self.host, self.port))
            raise
        self._owners.trust((self.host, self.port))

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except AskError as error:  # MOVED is one; a node that does not know its name means the one that was asked
            error.host = error.host or self.host
            if isinstance(error, MovedError):
                self._owners.moved(error.slot_id, (error.host, error.port))
            raise
        except BaseException as error:
            if not isinstance(error, ResponseError) or isinstance(error, _OF_THE_NODE):
                self._owners.suspect()
            raise


class WatchedTlsConnection(WatchedConnection, SSLConnection):
    """The same over TLS."""


class CalmPool(ConnectionPool):
    """Closing never fails: over TLS, a server that hangs does not say that it closes, too."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        try:
            await super().disconnect(inuse_connections)  # all of them, whatever one raises
        except Exception as error:
            logger.bind(error_type=name_fault(error)).warning("Redis did not close a connection")


class OwnerPool(CalmPool):
    """Each connection is looked at before use: one that leads to a former master is made anew."""

    def __init__(self, owners: Owners, slot: int, **options: Any) -> None:
        super().__init__(owners=owners, **options)
        self._owners = owners
        self._slot = slot

    async def ensure_connection(self, connection: Any) -> None:
        address = await self._owners.of(self._slot)
        if (connection.host, connection.port) != address:
            # Over TLS, closing would wait for the former master's word, and all callers for that.
            await connection.disconnect(nowait=True)
            connection.host, connection.port = address
        await super().ensure_connection(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """All of them: nobody needs to know the master any more."""
        if inuse_connections:
            self._owners.close()
        await super().disconnect(inuse_connections)
