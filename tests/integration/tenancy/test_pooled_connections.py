"""A connection of the pool, used by one tenant and then by nobody or another: nothing of the first is left on it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import psycopg
import pytest

from copilot_common.base.errors import Unavailable
from copilot_common.base.ids import TenantId, UserId
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.conversations import ConversationRepository, NewConversation
from support.api import ENCRYPTION_KEY, Site
from support.clients import Credentials

SETTINGS = "SELECT current_setting('app.tenant_id', true), current_setting('app.user_id', true), current_setting('app.platform', true)"  # noqa: E501
VISIBLE = "SELECT count(*) FROM conversations"


@pytest.fixture
async def db(site: Site) -> AsyncIterator[TenantDatabase]:
    """One connection only: whoever comes next gets the one that was used before."""
    database = Database(site.database.app_url, max_size=1, application_name="tests")
    await database.open()
    made = TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY)))
    async with made.transaction(principal(site.acme)) as tx:
        await ConversationRepository().insert(tx, UUID(int=7), NewConversation(title="acme's"))
    yield made
    await database.close()


def principal(credentials: Credentials) -> Principal:
    return Principal.system(TenantId(UUID(credentials.tenant_id)), UserId(UUID(credentials.user_id)))


async def assert_clean(db: TenantDatabase) -> None:
    """On the same connection, in a transaction of nobody."""
    async with db.database.connection() as connection:
        settings = await (await connection.execute(SETTINGS)).fetchone()
        visible = await (await connection.execute(VISIBLE)).fetchone()
    assert settings in {("", "", ""), (None, None, None)}
    assert visible == (0,)


async def acme_sees(db: TenantDatabase, site: Site) -> object:
    async with db.transaction(principal(site.acme)) as tx:
        return await tx.fetch_value(VISIBLE)


async def test_after_a_commit(db: TenantDatabase, site: Site) -> None:
    assert await acme_sees(db, site) == 1
    await assert_clean(db)


async def test_after_a_failed_statement(db: TenantDatabase, site: Site) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        async with db.transaction(principal(site.acme)) as tx:
            await tx.execute("SELECT * FROM no_such_table")
    await assert_clean(db)
    assert await acme_sees(db, site) == 1


async def test_after_an_error_of_the_callers_own(db: TenantDatabase, site: Site) -> None:
    async def fail() -> None:
        async with db.transaction(principal(site.acme)) as tx:
            await tx.execute("DELETE FROM conversations")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await assert_clean(db)
    assert await acme_sees(db, site) == 1


async def test_after_a_hidden_error_nothing_is_committed_silently(db: TenantDatabase, site: Site) -> None:
    async def hide() -> None:
        async with db.transaction(principal(site.acme)) as tx:
            with suppress(psycopg.errors.DivisionByZero):
                await tx.execute("SELECT 1/0")

    with pytest.raises(RuntimeError, match="failed transaction"):
        await hide()
    await assert_clean(db)


@pytest.mark.parametrize("repetition", range(3))
async def test_after_a_cancel_in_the_middle_of_a_query(db: TenantDatabase, site: Site, repetition: int) -> None:
    entered = asyncio.Event()

    async def long_query() -> None:
        async with db.transaction(principal(site.acme)) as tx:
            entered.set()
            await tx.execute("SELECT pg_sleep(30)")

    task = asyncio.create_task(long_query())
    await entered.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_clean(db)
    assert await acme_sees(db, site) == 1


async def test_after_a_cancel_between_two_statements(db: TenantDatabase, site: Site) -> None:
    entered = asyncio.Event()

    async def dawdle() -> None:
        async with db.transaction(principal(site.acme)) as tx:
            await tx.execute("DELETE FROM conversations")
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(dawdle())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_clean(db)
    assert await acme_sees(db, site) == 1


async def test_after_the_server_ended_the_session(db: TenantDatabase, site: Site) -> None:
    async def lose() -> None:
        async with db.transaction(principal(site.acme)) as tx:
            pid = await tx.fetch_value("SELECT pg_backend_pid()")
            await asyncio.to_thread(site.rows, "SELECT pg_terminate_backend(%s)", pid)
            await tx.execute("SELECT 1")

    with pytest.raises(Unavailable):
        await lose()
    await assert_clean(db)
    assert await acme_sees(db, site) == 1


async def test_what_is_to_be_last_is_committed_with_the_rest(db: TenantDatabase, site: Site) -> None:
    async with db.transaction(principal(site.acme)) as tx:
        await tx.execute_last("UPDATE conversations SET message_count = 3", {})
        await tx.execute_last("UPDATE conversations SET message_count = message_count + 1", {})
        assert await tx.fetch_value("SELECT message_count FROM conversations") == 0
    await assert_clean(db)
    async with db.transaction(principal(site.acme)) as tx:
        assert await tx.fetch_value("SELECT message_count FROM conversations") == 4


async def test_after_the_last_statement_failed_nothing_is_committed(db: TenantDatabase, site: Site) -> None:
    async def fail() -> None:
        async with db.transaction(principal(site.acme)) as tx:
            tx.after_commit(lambda: pytest.fail("it is not committed"))
            await tx.execute("DELETE FROM conversations")
            await tx.execute_last("SELECT 1/0", {})
            await tx.execute_last("SELECT 1", {})

    with pytest.raises(psycopg.errors.DivisionByZero):
        await fail()
    await assert_clean(db)
    assert await acme_sees(db, site) == 1


async def test_after_the_server_ended_the_session_before_what_is_to_be_last(db: TenantDatabase, site: Site) -> None:
    async def lose() -> None:
        async with db.transaction(principal(site.acme)) as tx:
            await tx.execute_last("DELETE FROM conversations", {})
            pid = await tx.fetch_value("SELECT pg_backend_pid()")
            await asyncio.to_thread(site.rows, "SELECT pg_terminate_backend(%s)", pid)

    with pytest.raises(Unavailable):
        await lose()
    await assert_clean(db)
    assert await acme_sees(db, site) == 1


async def test_whoever_shares_a_connection_runs_its_last_statements_at_once(db: TenantDatabase, site: Site) -> None:
    """The COMMIT is not its own."""
    async with db.transaction(principal(site.acme)) as tx:
        other = Transaction(tx.connection, tx.principal, tx.keyring)
        await other.execute_last("UPDATE conversations SET message_count = 3", {})
        assert await tx.fetch_value("SELECT message_count FROM conversations") == 3


async def test_another_tenant_on_the_same_connection_sees_only_its_own(db: TenantDatabase, site: Site) -> None:
    async def see(who: Credentials) -> tuple[object, object]:
        async with db.transaction(principal(who)) as tx:
            return await backend(tx), await tx.fetch_value(VISIBLE)

    first, second = await see(site.acme), await see(site.other)
    assert first[0] == second[0], "it was another connection"
    assert (first[1], second[1]) == (1, 0)


async def backend(tx: Transaction) -> object:
    return await tx.fetch_value("SELECT pg_backend_pid()")
