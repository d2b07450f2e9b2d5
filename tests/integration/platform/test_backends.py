"""Connections whose server process stands back within PostgreSQL, and only theirs."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from copilot_common.platform import backends
from copilot_common.platform.backends import stand_back_in_postgres
from copilot_common.platform.db import Connection, Database
from support.niceness import may_be_changed, niceness
from support.stack import Database as Made

PARTS_BY_SESSION = os.access("/proc/self/autogroup", os.W_OK)


def session_niceness(pid: int) -> int:
    """Its last word: `/autogroup-123 nice 10`."""
    return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])


async def connect(url: str) -> Connection:
    return await AsyncConnection.connect(url, autocommit=True)


@asynccontextmanager
async def passed_on(host: str, port: int) -> AsyncIterator[int]:
    """A port whose connections are passed on to another: to PostgreSQL the client is somebody else."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_the_server_process_of_each_new_connection_stands_back(database: Made) -> None:
    pool = Database(database.app_url, max_size=1, application_name="tests", check=stand_back_in_postgres)
    await pool.open()
    async with await connect(database.app_url) as other, pool.connection() as ours:
        if not may_be_changed(other.info.backend_pid):
            pytest.skip("PostgreSQL has an account that this one may not change")
        assert niceness(ours.info.backend_pid) == min(niceness(other.info.backend_pid) + 10, 19)
        if PARTS_BY_SESSION:
            assert [session_niceness(one.info.backend_pid) for one in (ours, other)] == [10, 0]
    await pool.close()


async def test_who_is_somebody_else_to_postgresql_changes_nothing(database: Made) -> None:
    """Through a pooler or a proxy, or with a server elsewhere, the number may be that of any process here."""
    parts = conninfo_to_dict(database.app_url)
    async with (
        passed_on(str(parts["host"]), int(str(parts["port"]))) as port,
        await connect(make_conninfo(database.app_url, port=str(port))) as through,
    ):
        before = niceness(through.info.backend_pid)
        await stand_back_in_postgres(through)
        assert niceness(through.info.backend_pid) == before


async def test_linux_is_asked_again_where_it_wants_to_be(database: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all but root it changes one session in a tenth of a second."""
    refusals = [BlockingIOError(), BlockingIOError()]
    told: list[int] = []

    def refusing(pid: int) -> None:
        if refusals:
            raise refusals.pop()
        told.append(pid)

    monkeypatch.setattr(backends, "stand_back", lambda niceness, _pid: told.append(niceness))
    monkeypatch.setattr(backends, "stand_back_as_session", refusing)
    async with await connect(database.app_url) as ours:
        await stand_back_in_postgres(ours)
        assert told == [10, ours.info.backend_pid]


async def test_a_connection_is_used_though_its_process_may_not_be_changed(
    database: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(_niceness: int, _pid: int) -> None:
        raise PermissionError

    monkeypatch.setattr(backends, "stand_back", refusing)
    pool = Database(database.app_url, max_size=1, application_name="tests", check=stand_back_in_postgres)
    await pool.open()
    assert await pool.fetch_row("SELECT 1", ()) == (1,)
    await pool.close()
