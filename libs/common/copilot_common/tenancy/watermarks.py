"""How far a replica must have replayed before it may answer a tenant's reads: an LSN in Redis for each tenant.

A watermark is made by a read that finds none: it puts a token there, reads from the primary, and puts an LSN that the
primary told after that in the token's place. A committed write raises the watermark, or takes a token away. So, without
any clock, whatever Redis forgets and in whichever order processes come through: a watermark that is there is not below
any write whose `publish` Redis has carried out. None is there: the primary is read.

A watermark lives for LIFETIME_SECONDS from its token on, and nothing prolongs it. So no read is older than that, also
where a write was never published: its process died, Redis was away, Redis came back from an older copy of its memory,
or it was none of a tenant (sweeps, operators). The proofs are in docs/adr/0036-reads-from-a-replica.md.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Literal, NewType, TypeVar

from loguru import logger
from redis.asyncio import Redis

from copilot_common.base.ids import TenantId
from copilot_common.platform.redis import Script, name_fault
from copilot_common.platform.tasks import end_tasks

Lsn = NewType("Lsn", int)
"""A position in PostgreSQL's log, in bytes. A commit is contained in every LSN that is told after it."""
Missing = Literal["unmarked", "unpublished", "redis_away"]
T = TypeVar("T")

LIFETIME_SECONDS = 10.0  # how old a read can be at worst; a tenant's read goes to the primary once in so long
_TIMEOUT_SECONDS = (
    0.25  # a command takes well under a millisecond; a request should not wait longer for the replica's sake
)
_PAUSE_SECONDS = 1.0  # after a failure: one read in so long tries Redis again, all others do without
_MAX_PUBLISHING = 64  # writes that wait for Redis at once: a quarter of our connections to it
_MAX_PAYING = 16  # at once, too
_MAX_OWED = 10_000  # tenants whose writes could not be published; beyond it all tenants read from the primary
_TOKEN = b"?"


def parse_lsn(text: str) -> Lsn:
    """PostgreSQL's `16/B374D848`."""
    high, low = text.split("/")
    return Lsn((int(high, 16) << 32) + int(low, 16))


@dataclass(frozen=True, slots=True)
class NoWatermark:
    """The primary is to be read. `token`: this read may then `set` the watermark."""

    reason: Missing
    token: str | None = None


@dataclass(slots=True)
class Publication:
    """Of one transaction: it may be committed as soon as `is_committing`; `lsn` is then not before its end."""

    is_committing: bool = False
    lsn: Lsn | None = None


class _Away(Exception):
    """Redis did not answer, in the words of `name_fault`, or is not asked."""


class Watermarks:
    """Never raises for Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._raise = Script(redis, __package__, "raise_watermark.lua")
        self._set = Script(redis, __package__, "set_watermark.lua")
        self._drop = Script(redis, __package__, "drop_token.lua")
        self._paused_until = 0.0
        self._publishing = asyncio.Semaphore(_MAX_PUBLISHING)
        self._owed: dict[TenantId, float] = {}  # until when
        self._silent_until = 0.0
        self._all_owed_until = 0.0
        self._paying: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        await end_tasks([self._paying])

    async def find(self, tenant_id: TenantId) -> Lsn | NoWatermark:
        """The tenant's watermark. The replica's answer must be looked for after this, not before."""
        if self._owes(tenant_id):
            return NoWatermark("unpublished")
        try:
            return await self._ask_for_read(lambda: self._find(_key(tenant_id)))
        except _Away:
            return NoWatermark("redis_away")

    async def set(self, tenant_id: TenantId, token: str, lsn: Lsn) -> None:
        """`lsn` was told by the primary after `find` had given the token."""
        with suppress(_Away):  # the token's time to live ends it
            await self._ask_for_read(lambda: self._set([_key(tenant_id)], [token, _text(lsn)]))

    async def drop(self, tenant_id: TenantId, token: str) -> None:
        """The read to which `find` gave the token has failed: another may make the watermark."""
        with suppress(_Away):
            await self._ask_for_read(lambda: self._drop([_key(tenant_id)], [token]))

    async def publish(self, tenant_id: TenantId, lsn: Lsn) -> None:
        """The tenant has written, and `lsn` was told after the COMMIT. To be done before anybody hears of the write.
        Where it can't be, the tenant's reads in this process go to the primary instead.

        It is always tried, also just after a failure: other processes may reach Redis, and what was away may be another
        tenant's master, or this process itself, for a moment. So many at once wait for one that hangs, not more."""
        if self._publishing.locked():
            self.owe(tenant_id, "too many publications wait")
            return
        try:
            async with self._publishing:
                await _ask(lambda: self._raise([_key(tenant_id)], [_text(lsn)]))
        except _Away as away:
            self.owe(tenant_id, str(away))
        except BaseException as error:
            self.owe(tenant_id, name_fault(error))
            raise

    @asynccontextmanager
    async def publishing(self, tenant_id: TenantId) -> AsyncIterator[Publication]:
        """Around a transaction: publishes what it tells, and owes what it may have committed without a word."""
        publication = Publication()
        try:
            yield publication
        except BaseException as error:
            if publication.is_committing:
                self.owe(tenant_id, name_fault(error))
            raise
        if publication.lsn is not None:
            await self.publish(tenant_id, publication.lsn)

    def owe(self, tenant_id: TenantId, fault: str) -> None:
        """A write of the tenant may be there that is not published. It is paid as soon as Redis can be reached, by
        taking the watermark away, and at the latest when any watermark of now has ended. `fault` is logged."""
        until = monotonic() + LIFETIME_SECONDS
        if monotonic() >= self._silent_until:
            self._silent_until = until
            logger.bind(fault=fault).warning("Writes are not published: other processes may show what was before")
        if len(self._owed) >= _MAX_OWED:
            self._owed.clear()
            self._all_owed_until = until
        self._owed[tenant_id] = until
        if self._paying is None or self._paying.done():
            self._paying = asyncio.create_task(self._pay_all(), name="watermarks that are owed")

    def _owes(self, tenant_id: TenantId) -> bool:
        if not self._owed and not self._all_owed_until:
            return False
        return monotonic() < max(self._owed.get(tenant_id, 0.0), self._all_owed_until)

    async def _pay_all(self) -> None:
        """Some at once, and those that can't be paid last: they may be of one master that hangs."""
        while self._owed:
            share = list(islice(self._owed.items(), _MAX_PAYING))
            paid = await asyncio.gather(*(self._is_paid(tenant_id, until) for tenant_id, until in share))
            for (tenant_id, until), is_paid in zip(share, paid, strict=True):
                if (owed := self._owed.pop(tenant_id, until)) != until or not is_paid:
                    self._owed[tenant_id] = owed
            if not any(paid):
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _is_paid(self, tenant_id: TenantId, until: float) -> bool:
        if monotonic() > until:
            return True
        try:
            await _ask(lambda: self._redis.delete(_key(tenant_id)))
        except _Away:
            return False
        return True

    async def _find(self, key: str) -> Lsn | NoWatermark:
        held: bytes | None = await self._redis.get(key)
        if held is None:
            token = (_TOKEN + secrets.token_hex(8).encode()).decode()
            is_ours = await self._redis.set(key, token, nx=True, px=int(LIFETIME_SECONDS * 1_000))
            return NoWatermark("unmarked", token if is_ours else None)
        return NoWatermark("unmarked") if held.startswith(_TOKEN) else Lsn(int(held, 16))

    async def _ask_for_read(self, command: Callable[[], Awaitable[T]]) -> T:
        if monotonic() < self._paused_until:
            raise _Away("paused")
        was_paused = self._paused_until > 0
        if was_paused:
            self._paused_until = monotonic() + _PAUSE_SECONDS  # only this one tries; the others need not wait
        try:
            result = await _ask(command)
        except _Away as away:
            self._paused_until = monotonic() + _PAUSE_SECONDS
            if not was_paused:
                logger.bind(error_type=str(away)).warning("Redis is away: the primary is read")
            raise
        self._paused_until = 0.0
        return result


async def _ask(command: Callable[[], Awaitable[T]]) -> T:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await command()
    except Exception as error:  # whatever the client raises, or makes of a foreign value: what was committed is done
        raise _Away(name_fault(error)) from None


def _key(tenant_id: TenantId) -> str:
    return f"copilot:{{{tenant_id}}}:lsn"


def _text(lsn: Lsn) -> str:
    """Of fixed width, so that Redis can compare texts: its numbers are exact to 53 bits only."""
    return f"{lsn:016x}"
