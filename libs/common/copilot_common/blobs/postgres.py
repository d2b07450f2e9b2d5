"""Blobs as sealed pieces in PostgreSQL.

Threat model: that of `encryption`. Each piece is sealed for its tenant, blob and number, so it opens nowhere else. A
sealed manifest holds the size, so pieces cannot be taken away from the end, nor the readable counts lead a reader
astray. Not covered, as for every other value: putting back an old state of the same blob as a whole.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from uuid import UUID

from copilot_common.base.errors import NotFound, TooLarge, Unavailable
from copilot_common.blobs import rows
from copilot_common.blobs.pieces import PIECE_BYTES, Manifest, Tally, regroup, split
from copilot_common.blobs.protocol import BlobInfo, OpenBlob, Upload
from copilot_common.encryption import DecryptionError, Purpose
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, TenantDatabase, Transaction

MAX_PUT_BYTES = 16 * 1024 * 1024
"""What one transaction may insert: about half a second on a busy machine."""

_sql = Queries(__package__)


class PostgresBlobStore:
    """The BlobStore of a process. Each piece that is read or streamed takes a short transaction of its own. What is in
    an object store raises Unavailable here."""

    def __init__(self, db: TenantDatabase) -> None:
        self._db = db

    async def put(self, tx: Transaction, blob_id: UUID, data: bytes) -> BlobInfo:
        if len(data) > MAX_PUT_BYTES:
            raise TooLarge("content", max_bytes=MAX_PUT_BYTES)
        await rows.begin(tx, blob_id)
        tally = Tally(PIECE_BYTES)
        for piece in split(data, PIECE_BYTES):
            await _append(tx, blob_id, tally.add(piece), piece)
        return await rows.write_manifest(tx, blob_id, tally.manifest())

    async def write(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], *, max_bytes: int
    ) -> BlobInfo:
        upload = await self.upload(principal, blob_id, chunks, max_bytes=max_bytes)
        async with rows.discarded_on_failure(self._db, principal, blob_id), self._db.transaction(principal) as tx:
            return await self.finish(tx, upload)

    async def upload(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], *, max_bytes: int
    ) -> Upload:
        async with self._db.transaction(principal) as tx:
            await rows.begin(tx, blob_id)
        async with rows.discarded_on_failure(self._db, principal, blob_id):
            return await self._upload(principal, blob_id, chunks, max_bytes)

    async def _upload(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], max_bytes: int
    ) -> Upload:
        tally = Tally(PIECE_BYTES)
        async with aclosing(regroup(chunks, PIECE_BYTES, max_bytes=max_bytes)) as pieces:
            async for piece in pieces:
                async with self._db.transaction(principal) as tx:
                    await _append(tx, blob_id, tally.add(piece), piece)
        return tally.upload(blob_id)

    async def finish(self, tx: Transaction, upload: Upload) -> BlobInfo:
        return await rows.finish(tx, upload)

    async def discard(self, principal: Principal, blob_id: UUID) -> None:
        await rows.discard(self._db, principal, blob_id)

    async def open(self, principal: Principal, blob_id: UUID) -> OpenBlob:
        manifest, first = await self._begin(principal, blob_id, None)
        return OpenBlob(manifest.info(blob_id), self._pieces(principal, blob_id, manifest, first))

    def read(self, principal: Principal, blob_id: UUID) -> AsyncIterator[bytes]:
        return self.stream(principal, blob_id)

    async def read_all(self, principal: Principal, blob_id: UUID, *, max_bytes: int) -> bytes:
        return b"".join([piece async for piece in self.stream(principal, blob_id, max_bytes)])

    async def stream(
        self, principal: Principal, blob_id: UUID, max_bytes: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """As `read`, and TooLarge before anything is read."""
        async for piece in self._pieces(principal, blob_id, *await self._begin(principal, blob_id, max_bytes)):
            yield piece

    async def _begin(self, principal: Principal, blob_id: UUID, max_bytes: int | None) -> tuple[Manifest, bytes | None]:
        """What it must be, and its first piece; None where it is empty."""
        async with self._db.transaction(principal) as tx:
            stored = await rows.find(tx, blob_id)
            stored.check_size(max_bytes)
            if stored.is_in_objects:
                raise Unavailable("This content is in an object store that is not configured here.")
            return stored.manifest, await _piece(
                tx, blob_id, stored.manifest, 0
            ) if stored.manifest.piece_count else None

    async def _pieces(
        self, principal: Principal, blob_id: UUID, manifest: Manifest, first: bytes | None
    ) -> AsyncGenerator[bytes, None]:
        if first is not None:
            yield first
        del first
        for number in range(1, manifest.piece_count):
            async with self._db.transaction(principal) as tx:
                piece = await _piece(tx, blob_id, manifest, number)
            yield piece

    async def delete(self, tx: Transaction, blob_id: UUID) -> None:
        await rows.delete(tx, blob_id)


async def _append(tx: Transaction, blob_id: UUID, number: int, piece: bytes) -> None:
    sealed = (await tx.cipher()).seal(Purpose.BLOB_PIECE, blob_id, piece, part=number)
    values = {**rows.key_of(tx, blob_id), "number": number, "content_sealed": sealed}
    if not await tx.execute(_sql["insert_piece"], values):
        raise NotFound("blob")


async def _piece(tx: Transaction, blob_id: UUID, manifest: Manifest, number: int) -> bytes:
    sealed = await tx.fetch_value(_sql["find_piece"], {**rows.key_of(tx, blob_id), "number": number})
    if not isinstance(sealed, bytes):
        await rows.find(tx, blob_id)  # NotFound: deleted while it was read
        raise DecryptionError("A piece of a blob is missing.")
    piece = (await tx.cipher()).open(Purpose.BLOB_PIECE, blob_id, sealed, part=number)
    if len(piece) != manifest.length_of(number):
        raise DecryptionError("A piece of a blob has the wrong length.")
    return piece
