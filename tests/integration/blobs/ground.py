"""What the tests of blobs stand on: two tenants, one connection, a store, and a way to spoil what is in it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import obstore
import psycopg

from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.blobs import OBJECT_BYTES, PIECE_BYTES, BlobStore, PostgresBlobStore, S3BlobStore, remove_objects
from copilot_common.blobs.bucket import Bucket, BucketConfig
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database
from copilot_common.tenancy import Principal, TenantDatabase
from support.api import ENCRYPTION_KEY, Site
from support.clients import Credentials
from support.object_store import raw_store

MAX_BYTES = 64 * OBJECT_BYTES


@dataclass
class Ground:
    site: Site
    db: TenantDatabase
    store: BlobStore
    acme: Principal
    other: Principal
    piece_bytes: int = PIECE_BYTES
    bucket: BucketConfig | None = None
    direct: BucketConfig | None = None

    async def put(self, data: bytes, principal: Principal | None = None) -> UUID:
        blob = new_id()
        async with self.db.transaction(principal or self.acme) as tx:
            await self.store.put(tx, blob, data)
        return blob

    async def write(self, data: bytes, principal: Principal | None = None) -> UUID:
        blob = new_id()
        await self.store.write(principal or self.acme, blob, chunks_of(data), max_bytes=len(data))
        return blob

    async def read(self, blob: UUID, principal: Principal | None = None) -> bytes:
        return b"".join([piece async for piece in self.store.read(principal or self.acme, blob)])

    def rows(self, table: str, blob: UUID) -> int:
        column = "id" if table == "blobs" else "blob_id"
        return int(self.site.rows(f"SELECT count(*) FROM {table} WHERE {column} = %s", blob)[0][0])

    async def stored(self, blob: UUID) -> tuple[int, int]:
        """Rows and pieces, wherever the store keeps what it writes; what is due to be removed is removed first."""
        if self.bucket is None:
            return self.rows("blobs", blob), self.rows("blob_pieces", blob)
        while await remove_objects(self.db.database, Bucket(self.bucket)):
            pass
        return self.rows("blobs", blob), len(self.objects(blob))

    def objects(self, blob: UUID) -> list[str]:
        """The keys of a blob's objects, of any tenant."""
        assert self.direct
        found = []
        for tenant in (self.acme.tenant_id, self.other.tenant_id):
            listed = obstore.list(raw_store(self.direct), f"{tenant}/{blob}").collect()
            found += [meta["path"] for meta in listed]
        return found

    def spoil(self, statement: str, *params: object) -> None:
        """As somebody who can write to the database but has no key."""
        with psycopg.connect(self.site.database.admin_url, autocommit=True) as connection:
            assert connection.execute(statement.encode(), params).rowcount > 0


@asynccontextmanager
async def open_ground(
    site: Site, bucket: BucketConfig | None = None, *, direct: BucketConfig | None = None
) -> AsyncIterator[Ground]:
    """With a bucket, what is written goes there; `direct` is the way to it past a proxy. One connection only: a
    transaction left open anywhere would leave none for the next."""
    database = Database(site.database.app_url, max_size=1, application_name="tests")
    await database.open()
    db = TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY)))
    acme, other = _principal(site.acme), _principal(site.other)
    if bucket is None:
        yield Ground(site, db, PostgresBlobStore(db), acme, other)
    else:
        yield Ground(site, db, S3BlobStore(db, Bucket(bucket)), acme, other, OBJECT_BYTES, bucket, direct or bucket)
    await database.close()


def _principal(who: Credentials) -> Principal:
    return Principal.system(TenantId(UUID(who.tenant_id)), UserId(UUID(who.user_id)))


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def random_bytes(size: int) -> bytes:
    return os.urandom(size)
