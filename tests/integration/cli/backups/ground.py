"""A tenant's content written and read by the product's own code, and all rows of a database to compare."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import psycopg
from prometheus_client import CollectorRegistry
from psycopg import sql

from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.blobs import PostgresBlobStore
from copilot_common.encryption import KeyRing
from copilot_common.llm.registry import ModelRegistry
from copilot_common.platform.db import Database as Pool
from copilot_common.platform.settings import load_settings
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.conversations.repository import ConversationRepository
from copilot_domain.conversations.service import ConversationService
from copilot_domain.conversations.types import NewConversation
from support.api import ENCRYPTION_KEY, JWT_SECRET, make_tenant
from support.stack import Database

Rows = dict[str, list[str]]
T = TypeVar("T")


@dataclass
class Product:
    """What was written: titles by conversation, content by blob."""

    database: Database
    principals: list[Principal] = field(default_factory=list)
    titles: dict[UUID, str] = field(default_factory=dict)
    blobs: dict[UUID, bytes] = field(default_factory=dict)

    def found(self, slug: str) -> None:
        made = apart(lambda: make_tenant(self.database, slug))
        self.principals.append(Principal.system(TenantId(UUID(made.tenant_id)), UserId(UUID(made.user_id))))

    def write(self, text: str) -> None:
        """In each tenant a conversation and a blob."""
        apart(lambda: self._write(text))

    def check(self) -> None:
        """All that was written opens, and is what it was."""
        apart(self._check)

    async def _write(self, text: str) -> None:
        async with _opened(self.database) as db:
            for principal in self.principals:
                blob, data = new_id(), f"{text}, in a blob".encode()
                async with db.transaction(principal) as tx:
                    made = await _service().create(tx, NewConversation(title=text, system_prompt=f"Speak of {text}."))
                    await PostgresBlobStore(db).put(tx, blob, data)
                self.titles[made.id], self.blobs[blob] = text, data

    async def _check(self) -> None:
        titles: dict[UUID, str | None] = {}
        blobs: dict[UUID, bytes] = {}
        async with _opened(self.database) as db:
            for principal in self.principals:
                async with db.transaction(principal) as tx:
                    rows = await tx.connection.execute("SELECT id FROM conversations")
                    titles |= {id_: (await _service().get(tx, id_)).title for (id_,) in await rows.fetchall()}
                    rows = await tx.connection.execute("SELECT id FROM blobs")
                    ids = [id_ for (id_,) in await rows.fetchall()]
                for id_ in ids:
                    blobs[id_] = await PostgresBlobStore(db).read_all(principal, id_, max_bytes=10_000)
        assert titles == self.titles
        assert blobs == self.blobs


@asynccontextmanager
async def _opened(database: Database) -> AsyncIterator[TenantDatabase]:
    pool = Pool(database.app_url, max_size=2, application_name="tests")
    await pool.open()
    yield TenantDatabase(pool, KeyRing(bytes.fromhex(ENCRYPTION_KEY)))
    await pool.close()


def _service() -> ConversationService:
    given = {
        "DATABASE_URL": "postgres://-",
        "REDIS_URL": "redis://-",
        "JWT_SECRET": JWT_SECRET,
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
    }
    models = ModelRegistry(load_settings(given), CollectorRegistry())
    return ConversationService(ConversationRepository(), models, Ledger(lambda queue: None))


def apart(action: Callable[[], Awaitable[T]]) -> T:
    """In a thread: asyncio.run here would take pytest-asyncio's loop away from the main one."""

    async def run() -> T:
        return await action()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: asyncio.run(run())).result()


def all_rows(url: str) -> Rows:
    """Every row of every table of ours, as text."""
    tables = (
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'copilot_keys', 'dispatch')"
        " ORDER BY 1, 2"
    )
    with psycopg.connect(url) as connection:
        found: Rows = {}
        for schema, table in connection.execute(tables).fetchall():
            query = sql.SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(sql.Identifier(schema, table))
            found[f"{schema}.{table}"] = [row for (row,) in connection.execute(query).fetchall()]
    return found
