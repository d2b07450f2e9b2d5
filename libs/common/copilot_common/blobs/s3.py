"""Blobs whose rows are in PostgreSQL and whose pieces are objects of an S3-compatible store (ADR 22).

Threat model: as for pieces in PostgreSQL, and whoever reads the bucket learns no more than who reads the tables: ids,
sizes, times. Whoever can write there can make a blob unreadable, and nothing else.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from uuid import UUID

from copilot_common.blobs import rows
from copilot_common.blobs.objects import OBJECT_BYTES, ObjectStore, object_key
from copilot_common.blobs.pieces import Manifest, Tally, regroup
from copilot_common.blobs.postgres import PostgresBlobStore
from copilot_common.blobs.protocol import BlobInfo, OpenBlob, Upload
from copilot_common.encryption import SEAL_OVERHEAD_BYTES, DecryptionError, Purpose
from copilot_common.tenancy import Principal, TenantDatabase, Transaction


class S3BlobStore:
    """The BlobStore of a process. What is written goes to the object store; what is put in a transaction stays in
    PostgreSQL, because no transaction waits for another server. Reads each blob from where it is.

    Without `takes_new` everything new stays in PostgreSQL: an installation on its way back.
    """

    def __init__(self, db: TenantDatabase, objects: ObjectStore, *, takes_new: bool = True) -> None:
        self._db = db
        self._objects = objects
        self._takes_new = takes_new
        self._postgres = PostgresBlobStore(db)

    async def put(self, tx: Transaction, blob_id: UUID, data: bytes) -> BlobInfo:
        return await self._postgres.put(tx, blob_id, data)

    async def write(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], *, max_bytes: int
    ) -> BlobInfo:
        upload = await self.upload(principal, blob_id, chunks, max_bytes=max_bytes)
        async with rows.discarded_on_failure(self._db, principal, blob_id), self._db.transaction(principal) as tx:
            return await self.finish(tx, upload)

    async def upload(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], *, max_bytes: int
    ) -> Upload:
        if not self._takes_new:
            return await self._postgres.upload(principal, blob_id, chunks, max_bytes=max_bytes)
        async with self._db.transaction(principal) as tx:
            await rows.begin(tx, blob_id, in_objects=True)
        async with rows.discarded_on_failure(self._db, principal, blob_id):
            return await self._upload(principal, blob_id, chunks, max_bytes)

    async def _upload(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], max_bytes: int
    ) -> Upload:
        tally = Tally(OBJECT_BYTES)
        async with aclosing(regroup(chunks, OBJECT_BYTES, max_bytes=max_bytes)) as pieces:
            async for piece in pieces:
                await self._append(principal, blob_id, tally.add(piece), piece)
        return tally.upload(blob_id)

    async def finish(self, tx: Transaction, upload: Upload) -> BlobInfo:
        return await self._postgres.finish(tx, upload)

    async def discard(self, principal: Principal, blob_id: UUID) -> None:
        """Its objects follow, as with `delete`."""
        await self._postgres.discard(principal, blob_id)

    async def _append(self, principal: Principal, blob_id: UUID, number: int, piece: bytes) -> None:
        async with self._db.transaction(principal) as tx:
            await rows.announce_object(tx, blob_id, number)
            cipher = await tx.cipher()
        sealed = cipher.seal(Purpose.BLOB_PIECE, blob_id, piece, part=number)
        await self._objects.put(object_key(principal.tenant_id, blob_id, number), sealed)

    async def open(self, principal: Principal, blob_id: UUID) -> OpenBlob:
        stored = await self._find(principal, blob_id)
        if not stored.is_in_objects:
            return await self._postgres.open(principal, blob_id)
        first = await self._first(principal, blob_id, stored.manifest)
        return OpenBlob(stored.manifest.info(blob_id), self._pieces(principal, blob_id, stored.manifest, first))

    def read(self, principal: Principal, blob_id: UUID) -> AsyncIterator[bytes]:
        return self._stream(principal, blob_id)

    async def read_all(self, principal: Principal, blob_id: UUID, *, max_bytes: int) -> bytes:
        return b"".join([piece async for piece in self._stream(principal, blob_id, max_bytes)])

    async def _stream(
        self, principal: Principal, blob_id: UUID, max_bytes: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        stored = await self._find(principal, blob_id)
        stored.check_size(max_bytes)
        if not stored.is_in_objects:
            async with aclosing(self._postgres.stream(principal, blob_id)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        first = await self._first(principal, blob_id, stored.manifest)
        pieces = self._pieces(principal, blob_id, stored.manifest, first)
        del first  # one piece in memory
        async for piece in pieces:
            yield piece

    async def _first(self, principal: Principal, blob_id: UUID, manifest: Manifest) -> bytes | None:
        """None where it is empty."""
        return await self._piece(principal, blob_id, manifest, 0) if manifest.piece_count else None

    async def _pieces(
        self, principal: Principal, blob_id: UUID, manifest: Manifest, first: bytes | None
    ) -> AsyncGenerator[bytes, None]:
        if first is not None:
            yield first
        del first
        for number in range(1, manifest.piece_count):
            await self._find(principal, blob_id)  # its objects outlive it for a while
            yield await self._piece(principal, blob_id, manifest, number)

    async def _find(self, principal: Principal, blob_id: UUID) -> rows.Stored:
        async with self._db.transaction(principal) as tx:
            return await rows.find(tx, blob_id)

    async def _piece(self, principal: Principal, blob_id: UUID, manifest: Manifest, number: int) -> bytes:
        length = manifest.length_of(number)
        key = object_key(principal.tenant_id, blob_id, number)
        sealed = await self._objects.get(key, max_bytes=length + SEAL_OVERHEAD_BYTES)
        if sealed is None:
            await self._find(principal, blob_id)  # NotFound: deleted meanwhile
            raise DecryptionError("A piece of a blob is missing.")
        cipher = await self._db.cipher(principal)
        piece = cipher.open(Purpose.BLOB_PIECE, blob_id, sealed, part=number)
        if len(piece) != length:
            raise DecryptionError("A piece of a blob has the wrong length.")
        return piece

    async def delete(self, tx: Transaction, blob_id: UUID) -> None:
        """Its objects follow once this is committed (`keeping`)."""
        await self._postgres.delete(tx, blob_id)
