"""Blobs as sealed pieces in PostgreSQL.

Threat model: that of `encryption`. Each piece is sealed for its tenant, blob and number, so it opens nowhere else. A
sealed manifest holds the size, so pieces cannot be taken away from the end, nor the readable counts lead a reader
astray. Not covered, as for every other value: putting back an old state of the same blob as a whole.
"""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing, suppress
from uuid import UUID

from copilot_common.base.errors import Conflict, CopilotError, NotFound, TooLarge
from copilot_common.blobs.pieces import Manifest, Tally, regroup, split
from copilot_common.blobs.protocol import BlobInfo
from copilot_common.encryption import DecryptionError, Purpose
from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, TenantDatabase, Transaction

MAX_PUT_BYTES = 16 * 1024 * 1024
"""What one transaction may insert: about half a second on a busy machine."""

_PRUNED_ROWS = 1_000  # 250 MB in pieces, a fraction of the statement timeout

_sql = Queries(__package__)


class PostgresBlobStore:
    """The BlobStore of a process. Each piece that is read or streamed takes a short transaction of its own."""

    def __init__(self, db: TenantDatabase) -> None:
        self._db = db

    async def put(self, tx: Transaction, blob_id: UUID, data: bytes) -> BlobInfo:
        if len(data) > MAX_PUT_BYTES:
            raise TooLarge("content", max_bytes=MAX_PUT_BYTES)
        await _begin(tx, blob_id)
        tally = Tally()
        for piece in split(data):
            await _append(tx, blob_id, tally.add(piece), piece)
        return await _finish(tx, blob_id, tally.manifest())

    async def write(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], *, max_bytes: int
    ) -> BlobInfo:
        async with self._db.transaction(principal) as tx:
            await _begin(tx, blob_id)
        try:
            return await self._write(principal, blob_id, chunks, max_bytes)
        except Exception:
            # Else it would take its room until it is pruned, as it does when the process dies or the task is cancelled.
            with suppress(CopilotError):
                async with self._db.transaction(principal) as tx:
                    await self.delete(tx, blob_id)
            raise

    async def _write(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], max_bytes: int
    ) -> BlobInfo:
        tally = Tally()
        async with aclosing(regroup(chunks, max_bytes=max_bytes)) as pieces:
            async for piece in pieces:
                async with self._db.transaction(principal) as tx:
                    await _append(tx, blob_id, tally.add(piece), piece)
        async with self._db.transaction(principal) as tx:
            return await _finish(tx, blob_id, tally.manifest())

    async def find(self, principal: Principal, blob_id: UUID) -> BlobInfo:
        async with self._db.transaction(principal) as tx:
            return (await _manifest(tx, blob_id)).info(blob_id)

    def read(self, principal: Principal, blob_id: UUID) -> AsyncIterator[bytes]:
        return self._read(principal, blob_id, None)

    async def read_all(self, principal: Principal, blob_id: UUID, *, max_bytes: int) -> bytes:
        return b"".join([piece async for piece in self._read(principal, blob_id, max_bytes)])

    async def _read(self, principal: Principal, blob_id: UUID, max_bytes: int | None) -> AsyncIterator[bytes]:
        async with self._db.transaction(principal) as tx:
            manifest = await _manifest(tx, blob_id)
            if max_bytes is not None and manifest.size_bytes > max_bytes:
                raise TooLarge("content", max_bytes=max_bytes)
            first = await _piece(tx, blob_id, manifest, 0) if manifest.piece_count else None
        if first is not None:
            yield first
        del first
        for number in range(1, manifest.piece_count):
            async with self._db.transaction(principal) as tx:
                piece = await _piece(tx, blob_id, manifest, number)
            yield piece

    async def delete(self, tx: Transaction, blob_id: UUID) -> None:
        await tx.execute(_sql["delete_blob"], _key(tx, blob_id))


async def prune(database: Database, *, limit: int = _PRUNED_ROWS) -> int:
    """Delete what was begun a day ago and never finished, all tenants', at most `limit` pieces; returns how many rows
    went. Raises Unavailable."""
    row = await database.fetch_row(_sql["prune_blobs"], {"limit": limit})
    return int(row[0]) if row else 0


async def _begin(tx: Transaction, blob_id: UUID) -> None:
    if not await tx.execute(_sql["insert_blob"], _key(tx, blob_id)):
        raise Conflict("There is a blob of this id; take a new one.", details={"blob_id": str(blob_id)})


async def _append(tx: Transaction, blob_id: UUID, number: int, piece: bytes) -> None:
    sealed = (await tx.cipher()).seal(Purpose.BLOB_PIECE, blob_id, piece, part=number)
    values = {**_key(tx, blob_id), "number": number, "content_sealed": sealed}
    if not await tx.execute(_sql["insert_piece"], values):
        raise NotFound("blob")


async def _finish(tx: Transaction, blob_id: UUID, manifest: Manifest) -> BlobInfo:
    values = {
        **_key(tx, blob_id),
        "size_bytes": manifest.size_bytes,
        "piece_count": manifest.piece_count,
        "manifest_sealed": (await tx.cipher()).seal(Purpose.BLOB_MANIFEST, blob_id, manifest.encode()),
    }
    if not await tx.execute(_sql["finish_blob"], values):
        raise NotFound("blob")
    return manifest.info(blob_id)


async def _manifest(tx: Transaction, blob_id: UUID) -> Manifest:
    sealed = await tx.fetch_value(_sql["find_manifest"], _key(tx, blob_id))
    if not isinstance(sealed, bytes):
        raise NotFound("blob")
    return Manifest.decode((await tx.cipher()).open(Purpose.BLOB_MANIFEST, blob_id, sealed))


async def _piece(tx: Transaction, blob_id: UUID, manifest: Manifest, number: int) -> bytes:
    sealed = await tx.fetch_value(_sql["find_piece"], {**_key(tx, blob_id), "number": number})
    if not isinstance(sealed, bytes):
        await _manifest(tx, blob_id)  # NotFound: deleted while it was read
        raise DecryptionError("A piece of a blob is missing.")
    piece = (await tx.cipher()).open(Purpose.BLOB_PIECE, blob_id, sealed, part=number)
    if len(piece) != manifest.length_of(number):
        raise DecryptionError("A piece of a blob has the wrong length.")
    return piece


def _key(tx: Transaction, blob_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "blob_id": blob_id}
