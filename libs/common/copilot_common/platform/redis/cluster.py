"""A client of a Redis Cluster that is used like one of a single server.

redis-py's own (5.3, asyncio) has neither transactions nor subscriptions; it closes its connections to every node when
one of them fails, learns the nodes within the time of whoever asks, and loses a connection with each pipeline that is
cancelled, as ours are when time is up. So each master has an ordinary client here, and this one picks it by the key's
slot, and follows what has moved. A call's keys must share a slot: ours carry a {hash tag}.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisError

from copilot_common.platform.redis.owners import ClusterOwners
from copilot_common.platform.redis_url import Address

_TRIES = 3  # a slot that moves twice while one asks for it is not followed further
_SCRIPTS = ("EVAL", "EVALSHA")

Command = tuple[tuple[Any, ...], Mapping[str, Any]]


def slot_of(key: str | bytes) -> int:
    return int(key_slot(key.encode() if isinstance(key, str) else key))


class ClusterRedis(Redis):
    """What has no key (subscriptions, too: what is published reaches all nodes) goes to `anywhere`."""

    def __init__(
        self, owners: ClusterOwners, open_pool: Callable[[Address], ConnectionPool], anywhere: ConnectionPool
    ) -> None:
        super().__init__(connection_pool=anywhere)
        self._owners = owners
        self._open_pool = open_pool
        self._masters: dict[Address, Redis] = {}
        self._closing = set[asyncio.Task[None]]()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        slot = _slot(args)
        if slot is None:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # redis-py has it so
        for _ in range(_TRIES - 1):
            try:
                return await (await self._master_of(slot)).execute_command(*args, **options)
            except MovedError:
                continue  # the connection has noted where to
            except AskError as error:
                return await self._execute_asking(error, args, options)
        return await (await self._master_of(slot)).execute_command(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "ClusterPipeline":
        return ClusterPipeline(self, transaction)

    async def ping(self, **options: Any) -> bool:
        """Every master's: one that is away is a part of the keys."""
        await self._owners.of(0)
        clients = [await self._client(address) for address in self._owners.masters]
        pings = (client.ping(**options) for client in clients)
        answers = await asyncio.gather(*pings, return_exceptions=True)  # none goes on after this
        fault = next((answer for answer in answers if isinstance(answer, BaseException)), None)
        if fault is not None:
            raise fault
        return True

    async def execute_pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """Their results or faults, in their order; all masters at once."""
        results: list[Any] = [None] * len(commands)
        left: Iterable[int] = range(len(commands))
        for _ in range(_TRIES):
            shares = defaultdict[Address, list[int]](list)
            for number in left:
                shares[await self._owners.of(_slot(commands[number][0]) or 0)].append(number)
            await asyncio.gather(
                *(self._execute_share(address, commands, share, results) for address, share in shares.items())
            )
            left = [number for number in left if isinstance(results[number], MovedError)]
            if not left:
                break
        for number, result in enumerate(results):
            if isinstance(result, AskError) and not isinstance(result, MovedError):
                try:
                    results[number] = await self._execute_asking(result, *commands[number])
                except (RedisError, OSError) as error:
                    results[number] = error
        return results

    async def execute_transaction(self, commands: Sequence[Command], *, raise_on_error: bool) -> list[Any]:
        """All in the slot of the first one's key."""
        slot = _slot(commands[0][0]) or 0
        for _ in range(_TRIES - 1):
            try:
                return await _execute(await self._master_of(slot), commands, transaction=True, raises=raise_on_error)
            except MovedError:
                continue
        return await _execute(await self._master_of(slot), commands, transaction=True, raises=raise_on_error)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        pools = [client.connection_pool for client in (self, *self._masters.values())]
        await asyncio.gather(*self._closing, *(pool.disconnect() for pool in pools))

    async def _execute_share(
        self, address: Address, commands: Sequence[Command], share: Sequence[int], results: list[Any]
    ) -> None:
        """A master that is away is the fault of its own commands alone."""
        try:
            found = await _execute(await self._client(address), [commands[number] for number in share])
        except (RedisError, OSError) as error:
            found = [error] * len(share)
        for number, result in zip(share, found, strict=True):
            results[number] = result

    async def _execute_asking(self, error: AskError, args: Any, options: Mapping[str, Any]) -> Any:
        """A slot on its way: the node it goes to takes what is not at the old one, where it is told so each time."""
        client = await self._client((error.host, error.port))
        return (await _execute(client, [(("ASKING",), {}), (args, options)], raises=True))[1]

    async def _master_of(self, slot: int) -> Redis:
        return await self._client(await self._owners.of(slot))

    async def _client(self, address: Address) -> Redis:
        client = self._masters.get(address)
        if client is None:
            client = self._masters[address] = Redis(connection_pool=self._open_pool(address))
            for gone in self._masters.keys() - self._owners.masters - {address}:
                self._leave(self._masters.pop(gone))
        return client

    def _leave(self, former: Redis) -> None:
        """Whoever is here needs another master, and this one may hang."""
        closing = asyncio.create_task(former.connection_pool.disconnect(inuse_connections=False), name="redis closing")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class ClusterPipeline(Pipeline):
    """Commands of one slot, where it is a transaction; else of any. Knows no WATCH."""

    def __init__(self, cluster: ClusterRedis, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands, self.command_stack = self.command_stack, []
        if not commands:
            return []
        if self.is_transaction:
            return await self._cluster.execute_transaction(commands, raise_on_error=raise_on_error)
        results = await self._cluster.execute_pipeline(commands)
        fault = next((result for result in results if isinstance(result, Exception)), None)
        if raise_on_error and fault is not None:
            raise fault
        return results


async def _execute(
    client: Redis, commands: Sequence[Command], *, transaction: bool = False, raises: bool = False
) -> list[Any]:
    pipeline = client.pipeline(transaction=transaction)
    for args, options in commands:
        pipeline.execute_command(*args, **options)
    results: list[Any] = await pipeline.execute(raise_on_error=raises)
    return results


def _slot(args: Sequence[Any]) -> int | None:
    """The first key's. A command that has words but no key gets a slot as well, which does no harm."""
    place = 3 if args[0] in _SCRIPTS else 1
    return slot_of(args[place]) if len(args) > place and isinstance(args[place], str | bytes) else None
