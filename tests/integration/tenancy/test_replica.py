"""Reads from a real streaming replica, and what else than its answer may come of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from loguru import logger
from prometheus_client import CollectorRegistry
from psycopg.rows import TupleRow
from redis.asyncio import Redis

from copilot_common.base.errors import NotFound, SettingsError, Unavailable
from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database as Pool
from copilot_common.platform.db import Params
from copilot_common.platform.redis import connect_redis
from copilot_common.platform.tasks import end_tasks
from copilot_common.tenancy import Principal, Replica, TenantDatabase, Transaction, Watermarks
from copilot_common.tenancy import replica as replica_module
from copilot_devstack import TemporaryStores
from copilot_domain.conversations import ConversationRepository, NewConversation
from support.api import ENCRYPTION_KEY, make_tenant
from support.clients import eventually
from support.stack import Database, clone_template
from support.standby import StandbyPostgres

TITLES = "SELECT id FROM conversations"


@dataclass(frozen=True)
class Pair:
    primary: Database
    standby: StandbyPostgres
    acme: Principal
    other: Principal

    @property
    def replica_url(self) -> str:
        return self.standby.url_of(self.primary.app_url)

    def catch_up(self) -> None:
        self.standby.catch_up(self.primary)


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    with TemporaryStores() as stores:
        primary = clone_template(stores.postgres.admin_url)
        standby = StandbyPostgres(stores)
        try:
            standby.start()
            yield Pair(primary, standby, _principal(primary, "acme"), _principal(primary, "other"))
        finally:
            standby.stop()


def _principal(database: Database, slug: str) -> Principal:
    with ThreadPoolExecutor(max_workers=1) as pool:
        made = pool.submit(lambda: asyncio.run(make_tenant(database, slug))).result()
    return Principal.system(TenantId(UUID(made.tenant_id)), UserId(UUID(made.user_id)))


@pytest.fixture
def pair(servers: Pair) -> Iterator[Pair]:
    """Ready to be read: replaying, and with all that there is."""
    servers.catch_up()
    yield servers
    servers.standby.start()
    servers.standby.resume(servers.primary)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_redis(redis_url)
    yield client
    await client.aclose()


@dataclass(frozen=True)
class Reader:
    """What a process has."""

    db: TenantDatabase
    replica: Replica
    registry: CollectorRegistry

    def count(self, outcome: str) -> float:
        return self.registry.get_sample_value("replica_reads_total", {"outcome": outcome}) or 0

    async def is_usable(self) -> bool:
        return self.registry.get_sample_value("replica_usable") == 1

    async def sees(self, principal: Principal) -> set[UUID]:
        return await self.db.read(principal, ids)

    async def outcome(self, principal: Principal) -> tuple[set[UUID], str]:
        """What a read sees, and what the metric says came of it."""
        outcomes = (
            "replica",
            "unmarked",
            "unpublished",
            "redis_away",
            "unusable",
            "behind",
            "conflict",
            "busy",
            "failed",
        )
        before = [self.count(outcome) for outcome in outcomes]
        seen = await self.sees(principal)
        changed = [name for name, count in zip(outcomes, before, strict=True) if self.count(name) != count]
        assert len(changed) == 1
        return seen, changed[0]

    async def write(self, principal: Principal) -> UUID:
        made = new_id()
        async with self.db.transaction(principal) as tx:
            await ConversationRepository().insert(tx, made, NewConversation(title="new"))
        return made


async def ids(tx: Transaction) -> set[UUID]:
    return {row[0] for row in await (await tx.connection.execute(TITLES)).fetchall()}


StartReader = Callable[..., Awaitable[Reader]]


@pytest.fixture
async def start_reader(pair: Pair, redis: Redis) -> AsyncIterator[StartReader]:
    closing: list[Callable[[], Awaitable[None]]] = []

    async def start(url: str | None = None, *, redis: Redis = redis, primary: Pool | None = None) -> Reader:
        pool = Pool(pair.primary.app_url, max_size=2, application_name="tests")
        await pool.open()
        registry, watermarks = CollectorRegistry(), Watermarks(redis)
        replica = Replica(url or pair.replica_url, watermarks, registry, max_size=2, application_name="tests")
        closing.extend([watermarks.aclose, replica.stop, pool.close])
        await replica.start(primary or pool)
        db = TenantDatabase(pool, KeyRing(bytes.fromhex(ENCRYPTION_KEY)), watermarks=watermarks, replica=replica)
        return Reader(db, replica, registry)

    yield start
    for close in closing:
        await close()


@pytest.fixture
async def reader(start_reader: StartReader) -> Reader:
    made = await start_reader()
    await eventually(made.is_usable)
    return made


async def test_a_tenant_that_only_reads_gets_to_the_replica(pair: Pair, reader: Reader) -> None:
    assert (await reader.outcome(pair.acme))[1] == "unmarked"
    pair.catch_up()
    assert [(await reader.outcome(pair.acme))[1] for _ in range(3)] == ["replica"] * 3


async def test_a_write_is_seen_in_any_process_at_once(pair: Pair, start_reader: StartReader, reader: Reader) -> None:
    other_process = await start_reader()
    await eventually(other_process.is_usable)
    await reader.sees(pair.acme)
    pair.catch_up()
    assert (await other_process.outcome(pair.acme))[1] == "replica"
    pair.standby.pause(pair.primary)
    made = await reader.write(pair.acme)
    seen, outcome = await other_process.outcome(pair.acme)
    assert made in seen
    assert outcome == "behind"
    pair.standby.resume(pair.primary)
    pair.catch_up()
    seen, outcome = await other_process.outcome(pair.acme)
    assert made in seen
    assert outcome == "replica"


async def test_a_function_that_is_a_transaction_of_its_own_is_published_too(pair: Pair, reader: Reader) -> None:
    await reader.sees(pair.acme)
    pair.catch_up()
    pair.standby.pause(pair.primary)
    await reader.db.call("SELECT pg_logical_emit_message(true, 'tests', %(tenant_id)s::text)", _key(pair.acme))
    assert (await reader.outcome(pair.acme))[1] == "behind"


async def test_what_only_reads_raises_nothing(pair: Pair, reader: Reader) -> None:
    await reader.sees(pair.acme)
    pair.catch_up()
    pair.standby.pause(pair.primary)
    await reader.write(pair.other)
    async with reader.db.transaction(pair.acme) as tx:
        assert await ids(tx) is not None
    assert (await reader.outcome(pair.acme))[1] == "replica"


async def test_statements_that_come_with_the_commit_are_published(pair: Pair, reader: Reader) -> None:
    await reader.sees(pair.acme)
    pair.catch_up()
    pair.standby.pause(pair.primary)
    async with reader.db.in_background(reader.db.database, connections=1).transaction(pair.acme) as tx:
        await tx.execute_last("SELECT pg_logical_emit_message(true, 'tests', %(tenant_id)s::text)", _key(pair.acme))
    assert (await reader.outcome(pair.acme))[1] == "behind"


async def test_no_row_of_another_tenant_is_seen_on_the_replica(pair: Pair, reader: Reader) -> None:
    ours, theirs = await reader.write(pair.acme), await reader.write(pair.other)
    for principal in (pair.acme, pair.other):
        await reader.sees(principal)
    pair.catch_up()
    (seen, first), (seen_by_other, second) = [await reader.outcome(p) for p in (pair.acme, pair.other)]
    assert (first, second) == ("replica", "replica")
    assert ours in seen
    assert theirs not in seen
    assert theirs in seen_by_other
    assert ours not in seen_by_other
    async with reader.replica.database.connection() as connection:
        assert await (await connection.execute(TITLES)).fetchall() == []


async def test_a_read_that_would_write_is_refused(pair: Pair, reader: Reader) -> None:
    async def write(tx: Transaction) -> None:
        await ConversationRepository().insert(tx, new_id(), NewConversation(title="new"))

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await reader.db.read(pair.acme, write)


async def test_an_error_of_the_read_itself_is_the_callers(pair: Pair, reader: Reader) -> None:
    async def find_nothing(tx: Transaction) -> None:
        raise NotFound("conversation")

    await reader.sees(pair.acme)
    pair.catch_up()
    with pytest.raises(NotFound):
        await reader.db.read(pair.acme, find_nothing)
    assert (await reader.outcome(pair.acme))[1] == "replica"


async def test_a_read_that_fails_does_not_keep_the_next_one_from_making_the_watermark(
    pair: Pair, reader: Reader, redis: Redis
) -> None:
    async def find_nothing(tx: Transaction) -> None:
        raise NotFound("conversation")

    async def hang(tx: Transaction) -> None:
        is_hanging.set()
        await asyncio.Event().wait()

    key, is_hanging = f"copilot:{{{pair.acme.tenant_id}}}:lsn", asyncio.Event()
    await redis.delete(key)
    with pytest.raises(NotFound):
        await reader.db.read(pair.acme, find_nothing)
    assert not await redis.exists(key)
    hanging = asyncio.create_task(reader.db.read(pair.acme, hang))
    await is_hanging.wait()
    assert await redis.exists(key)
    await end_tasks([hanging])
    assert not await redis.exists(key)


async def test_a_query_cancelled_by_what_is_replayed_is_done_on_the_primary(pair: Pair, reader: Reader) -> None:
    await reader.sees(pair.acme)
    pair.catch_up()
    calls = 0

    async def look(tx: Transaction) -> set[UUID]:
        nonlocal calls
        calls += 1
        seen = await ids(tx)
        if calls == 1:
            await asyncio.gather(tx.execute("SELECT pg_sleep(30)"), asyncio.to_thread(_lock, pair.primary))
        return seen

    assert await reader.db.read(pair.acme, look)
    assert reader.count("conflict") == 1
    pair.catch_up()
    assert (await reader.outcome(pair.acme))[1] == "replica"


async def test_a_slow_read_does_not_switch_the_replica_off(
    pair: Pair, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reader.sees(pair.acme)
    pair.catch_up()
    monkeypatch.setattr(replica_module, "_READ_SECONDS", 0.2)
    calls = 0

    async def look(tx: Transaction) -> set[UUID]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await tx.execute("SELECT pg_sleep(30)")
        return await ids(tx)

    await reader.db.read(pair.acme, look)
    monkeypatch.undo()
    await doubts_end()
    assert (reader.count("busy"), reader.count("failed")) == (1, 0)
    assert (await reader.outcome(pair.acme))[1] == "replica"


async def test_a_full_pool_does_not_switch_the_replica_off(pair: Pair, reader: Reader) -> None:
    await reader.sees(pair.acme)
    pair.catch_up()
    async with reader.replica.database.connection(), reader.replica.database.connection():
        assert (await reader.outcome(pair.acme))[1] == "busy"
        await doubts_end()
    assert (await reader.outcome(pair.acme))[1] == "replica"


async def test_a_replica_that_hangs_is_given_up_once_it_answers_nobody(
    pair: Pair, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reader.sees(pair.acme)
    pair.catch_up()
    monkeypatch.setattr(replica_module, "_READ_SECONDS", 0.2)
    monkeypatch.setattr(replica_module, "_DOUBT_SECONDS", 0.2)
    with pair.standby.frozen():
        assert (await reader.outcome(pair.acme))[1] == "busy"
        await doubts_end()
        assert (await reader.outcome(pair.acme))[1] == "unusable"
    monkeypatch.undo()
    await eventually(reader.is_usable)


async def test_a_dead_replica_is_left_alone_until_it_is_back(pair: Pair, reader: Reader) -> None:
    await reader.sees(pair.acme)
    pair.catch_up()
    assert (await reader.outcome(pair.acme))[1] == "replica"
    pair.standby.kill()
    made = await reader.write(pair.acme)
    assert made in await reader.sees(pair.acme)
    seen, outcome = await reader.outcome(pair.acme)
    assert made in seen
    assert outcome == "unusable"
    assert reader.count("failed") == 1
    pair.standby.start()
    pair.catch_up()
    await eventually(reader.is_usable)
    await reader.sees(pair.acme)
    seen, outcome = await reader.outcome(pair.acme)
    assert made in seen
    assert outcome == "replica"


async def test_a_process_starts_without_its_replica_and_uses_it_when_it_appears(
    pair: Pair, start_reader: StartReader
) -> None:
    pair.standby.kill()
    reader = await start_reader()
    assert (await reader.outcome(pair.acme))[1] == "unusable"
    pair.standby.start()
    await eventually(reader.is_usable)


async def test_a_process_starts_while_its_primary_blinks(
    pair: Pair, start_reader: StartReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "_LOOK_SECONDS", 0.05)
    async with blinking(pair.primary.app_url) as primary:
        reader = await start_reader(primary=primary)
        await eventually(reader.is_usable)
        assert primary.blinks == 0


async def test_a_server_without_our_roles_ends_no_process(
    start_reader: StartReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(url: str, *, variable: str) -> None:
        raise psycopg.errors.UndefinedObject(variable)

    monkeypatch.setattr(replica_module, "refuse_powerful_role", refuse)
    reader = await start_reader()
    await eventually(reader.is_usable)


async def test_a_primary_is_no_replica(pair: Pair, start_reader: StartReader) -> None:
    with told() as faults:
        reader = await start_reader(pair.primary.app_url)

        async def is_told() -> bool:
            return faults == ["it is not a replica"]

        await eventually(is_told)
        made = await reader.write(pair.acme)
        seen, outcome = await reader.outcome(pair.acme)
        assert made in seen
        assert outcome == "unusable"
        assert faults == ["it is not a replica"]


async def test_another_cluster_is_no_replica(pair: Pair, start_reader: StartReader, database: Database) -> None:
    with told() as faults:
        reader = await start_reader(database.app_url)

        async def is_told() -> bool:
            return faults == ["it is not a copy of the primary"]

        await eventually(is_told)
        assert (await reader.outcome(pair.acme))[1] == "unusable"


async def test_a_role_that_could_bypass_the_policies_is_refused(pair: Pair, start_reader: StartReader) -> None:
    for url in (pair.primary.admin_url, pair.primary.owner_url):
        with pytest.raises(SettingsError, match="DATABASE_REPLICA_URL"):
            await start_reader(pair.standby.url_of(url))


async def test_without_redis_the_primary_is_read(pair: Pair, start_reader: StartReader) -> None:
    away = connect_redis("redis://127.0.0.1:1")
    reader = await start_reader(redis=away)
    await eventually(reader.is_usable)
    assert (await reader.outcome(pair.acme))[1] == "redis_away"
    made = await reader.write(pair.acme)
    seen, outcome = await reader.outcome(pair.acme)
    assert made in seen
    assert outcome == "unpublished"
    await away.aclose()


@contextmanager
def told() -> Iterator[list[str]]:
    """What the log says of the replica."""
    faults: list[str] = []

    def note(message: Any) -> None:
        if "fault" in message.record["extra"]:
            faults.append(message.record["extra"]["fault"])

    sink = logger.add(note, level="WARNING")
    try:
        yield faults
    finally:
        logger.remove(sink)


class Blinking(Pool):
    """Restarts as it is first asked."""

    blinks = 1

    async def fetch_row(self, query: LiteralString, params: Params) -> TupleRow | None:
        if self.blinks:
            self.blinks -= 1
            raise Unavailable("It blinks.")
        return await super().fetch_row(query, params)


@asynccontextmanager
async def blinking(url: str) -> AsyncIterator[Blinking]:
    pool = Blinking(url, max_size=1, application_name="tests")
    await pool.open()
    yield pool
    await pool.close()


async def doubts_end() -> None:
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "replica in doubt"))


def _lock(database: Database) -> None:
    """The replica may keep nobody from it while it replays this."""
    with psycopg.connect(database.owner_url) as primary:
        primary.execute("LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE")


def _key(principal: Principal) -> dict[str, object]:
    return {"tenant_id": principal.tenant_id}
