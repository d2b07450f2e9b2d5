"""What the tests of blobs stand on: two tenants, one connection, and a way to spoil what is stored."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg

from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.blobs import PIECE_BYTES, PostgresBlobStore
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database
from copilot_common.tenancy import Principal, TenantDatabase
from support.api import ENCRYPTION_KEY, Site
from support.clients import Credentials

MAX_BYTES = 64 * PIECE_BYTES


@dataclass
class Ground:
    site: Site
    db: TenantDatabase
    store: PostgresBlobStore
    acme: Principal
    other: Principal

    async def put(self, data: bytes, principal: Principal | None = None) -> UUID:
        blob = new_id()
        async with self.db.transaction(principal or self.acme) as tx:
            await self.store.put(tx, blob, data)
        return blob

    async def read(self, blob: UUID, principal: Principal | None = None) -> bytes:
        return b"".join([piece async for piece in self.store.read(principal or self.acme, blob)])

    def rows(self, table: str, blob: UUID) -> int:
        column = "id" if table == "blobs" else "blob_id"
        return int(self.site.rows(f"SELECT count(*) FROM {table} WHERE {column} = %s", blob)[0][0])

    def spoil(self, statement: str, *params: object) -> None:
        """As somebody who can write to the database but has no key."""
        with psycopg.connect(self.site.database.admin_url, autocommit=True) as connection:
            assert connection.execute(statement.encode(), params).rowcount > 0


@asynccontextmanager
async def open_ground(site: Site) -> AsyncIterator[Ground]:
    """One connection only: a transaction left open anywhere would leave none for the next."""
    database = Database(site.database.app_url, max_size=1, application_name="tests")
    await database.open()
    db = TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY)))
    yield Ground(site, db, PostgresBlobStore(db), _principal(site.acme), _principal(site.other))
    await database.close()


def _principal(who: Credentials) -> Principal:
    return Principal.system(TenantId(UUID(who.tenant_id)), UserId(UUID(who.user_id)))


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def random_bytes(size: int) -> bytes:
    return os.urandom(size)
