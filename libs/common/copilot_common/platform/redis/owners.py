"""Who the masters are: asked of the Cluster's nodes or of the Sentinels, in a task of its own.

Not by whoever happens to need it: a caller waits 0.5 s at most, and a node that is gone would cost it all of that
before the next one is asked. Whatever goes wrong on a connection is a reason to ask again, at most every half second;
where a master cannot be connected to, until there is another one or it is back. So a failover is followed while callers
go on as they do without Redis.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from loguru import logger
from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from copilot_common.platform.redis.faults import name_fault
from copilot_common.platform.redis_url import Address

_PAUSE_SECONDS = 0.5
_TRIES = 20  # ten seconds, longer than a failover takes; then the next fault begins anew
_ANSWER_SECONDS = 1.0  # one node's, connecting included


class Owners(ABC):
    """Slots are a Cluster's; the master that Sentinels watch owns them all."""

    def __init__(self) -> None:
        self._asking: asyncio.Task[None] | None = None
        self._may_ask_at = 0.0
        self._doubted = set[Address]()
        self._is_known = True  # until the first try fails
        self._is_closed = False

    async def of(self, slot: int) -> Address:
        """The master that has it, as far as is known; waits where nothing is. Raises redis's ConnectionError."""
        found = self._find(slot)
        if found is None and (asking := self.suspect()) is not None:
            await asyncio.shield(asking)
            found = self._find(slot)
        if found is None:
            raise RedisConnectionError("no master is known")
        return found

    def suspect(self) -> asyncio.Task[None] | None:
        """Something went wrong with a master: ask again. Never blocks. None once closed."""
        if self._is_closed:
            return None
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._renew(), name="redis owners")
        return self._asking

    def doubt(self, address: Address) -> None:
        """It could not be connected to."""
        self._doubted.add(address)
        self.suspect()

    def trust(self, address: Address) -> None:
        """It could."""
        self._doubted.discard(address)

    def close(self) -> None:
        self._is_closed = True
        if self._asking is not None:
            self._asking.cancel()

    def moved(self, slot: int, address: Address) -> None:
        """A node said so."""
        self.suspect()

    @property
    @abstractmethod
    def masters(self) -> frozenset[Address]:
        """All that are known."""

    @abstractmethod
    def _find(self, slot: int) -> Address | None: ...

    @abstractmethod
    async def _ask(self) -> None:
        """Raises what redis raises."""

    async def _renew(self) -> None:
        for _ in range(_TRIES):
            await asyncio.sleep(self._may_ask_at - monotonic())
            self._may_ask_at = monotonic() + _PAUSE_SECONDS
            await self._try_asking()
            if not self._doubted & self.masters:
                break
        self._doubted.clear()

    async def _try_asking(self) -> None:
        try:
            await self._ask()
        except (RedisError, OSError, TimeoutError) as error:
            if self._is_known:
                logger.bind(error_type=name_fault(error)).warning("Redis's masters are not known")
            self._is_known = False
        except Exception as error:  # the client's, or an answer that is none: what is known stays
            logger.opt(exception=error).error("Asking for Redis's masters failed")
        else:
            self._is_known = True


class ClusterOwners(Owners):
    """`connect` opens a client of one node, which is closed after the question."""

    def __init__(self, seeds: Sequence[Address], connect: Callable[[Address], Redis]) -> None:
        super().__init__()
        self._seeds = seeds
        self._connect = connect
        self._slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._nodes: frozenset[Address] = frozenset()

    @property
    def masters(self) -> frozenset[Address]:
        return frozenset(filter(None, self._slots))

    def moved(self, slot: int, address: Address) -> None:
        self._slots[slot] = address
        super().moved(slot, address)

    def _find(self, slot: int) -> Address | None:
        return self._slots[slot]

    async def _ask(self) -> None:
        # The seeds stay among them: their names outlive the addresses of nodes.
        addresses = [*self._nodes, *(seed for seed in self._seeds if seed not in self._nodes)]
        random.shuffle(addresses)  # whoever is cut off from the rest would tell the same again and again
        fault: Exception = RedisConnectionError("no node is known")
        for address in addresses:
            try:
                self._learn(await self._shards_by(address), asked=address)
                return
            except (RedisError, OSError, TimeoutError) as error:
                fault = error
        raise fault

    async def _shards_by(self, address: Address) -> list[list[Any]]:
        client = self._connect(address)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                found: list[list[Any]] = await client.execute_command("CLUSTER SLOTS")
                return found
        finally:
            await client.aclose()

    def _learn(self, shards: Iterable[Sequence[Any]], *, asked: Address) -> None:
        """`CLUSTER SLOTS`: [first slot, last slot, master, replica, …], a node being [host, port, …]."""
        slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        nodes = set[Address]()
        for first, last, *members in shards:
            addresses = [_address(member, asked) for member in members]
            nodes.update(addresses)
            slots[first : last + 1] = [addresses[0]] * (last - first + 1)
        if not nodes:
            raise RedisConnectionError("the node knows of no slot")
        self._slots, self._nodes = slots, frozenset(nodes)


class SentinelOwners(Owners):
    def __init__(self, sentinel: Sentinel, service: str) -> None:
        super().__init__()
        self._sentinel = sentinel
        self._service = service
        self._master: Address | None = None

    @property
    def masters(self) -> frozenset[Address]:
        return frozenset(filter(None, [self._master]))

    def _find(self, slot: int) -> Address | None:
        return self._master

    async def _ask(self) -> None:
        try:
            host, port = await self._sentinel.discover_master(self._service)
        finally:
            for client in self._sentinel.sentinels:
                with suppress(RedisError, OSError):  # over TLS, one that hangs does not say that it closes, too
                    await client.aclose(close_connection_pool=True)
        self._master = str(host), int(port)


def _address(member: Any, asked: Address) -> Address:
    """A node that does not know its own name is at the place where it was asked."""
    host = member[0].decode() if isinstance(member[0], bytes) else str(member[0] or "")
    return (asked[0] if host in ("", "?") else host), int(member[1])
