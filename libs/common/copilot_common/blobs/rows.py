"""The row of a blob: whether it exists, whose it is, and what its content must be, wherever that is kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from copilot_common.base.errors import Conflict, CopilotError, NotFound, TooLarge
from copilot_common.blobs.pieces import Manifest
from copilot_common.blobs.protocol import BlobInfo, Upload
from copilot_common.encryption import Purpose
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, TenantDatabase, Transaction

_sql = Queries(__package__)


@dataclass(frozen=True)
class Stored:
    """A finished blob."""

    manifest: Manifest
    is_in_objects: bool

    def check_size(self, max_bytes: int | None) -> None:
        if max_bytes is not None and self.manifest.size_bytes > max_bytes:
            raise TooLarge("content", max_bytes=max_bytes)


@dataclass(frozen=True)
class _Row:
    manifest_sealed: bytes | None
    is_in_objects: bool


async def begin(tx: Transaction, blob_id: UUID, *, in_objects: bool = False) -> None:
    statement = _sql["insert_blob_in_objects" if in_objects else "insert_blob"]
    if not await tx.execute(statement, key_of(tx, blob_id)):
        raise Conflict("There is a blob of this id; take a new one.", details={"blob_id": str(blob_id)})


async def announce_object(tx: Transaction, blob_id: UUID, number: int) -> None:
    """Committed before the object is sent: what may exist in the object store is known here. Raises NotFound."""
    if not await tx.execute(_sql["announce_object"], {**key_of(tx, blob_id), "number": number}):
        raise NotFound("blob")


async def finish(tx: Transaction, upload: Upload) -> BlobInfo:
    manifest = Manifest(upload.size_bytes, upload.piece_bytes, upload.sha256)
    return await write_manifest(tx, upload.blob_id, manifest)


async def write_manifest(tx: Transaction, blob_id: UUID, manifest: Manifest) -> BlobInfo:
    """It is readable from now on. Raises NotFound."""
    values = {
        **key_of(tx, blob_id),
        "size_bytes": manifest.size_bytes,
        "piece_count": manifest.piece_count,
        "manifest_sealed": (await tx.cipher()).seal(Purpose.BLOB_MANIFEST, blob_id, manifest.encode()),
    }
    if not await tx.execute(_sql["finish_blob"], values):
        raise NotFound("blob")
    return manifest.info(blob_id)


async def find(tx: Transaction, blob_id: UUID) -> Stored:
    """Raises NotFound."""
    row = await tx.fetch_one(_Row, _sql["find_manifest"], key_of(tx, blob_id))
    if row is None or row.manifest_sealed is None:
        raise NotFound("blob")
    encoded = (await tx.cipher()).open(Purpose.BLOB_MANIFEST, blob_id, row.manifest_sealed)
    return Stored(Manifest.decode(encoded), row.is_in_objects)


async def delete(tx: Transaction, blob_id: UUID) -> None:
    """A trigger writes down which objects are to follow."""
    await tx.execute(_sql["delete_blob"], key_of(tx, blob_id))


async def discard(db: TenantDatabase, principal: Principal, blob_id: UUID) -> None:
    async with db.transaction(principal) as tx:
        await tx.execute(_sql["discard_blob"], key_of(tx, blob_id))


@asynccontextmanager
async def discarded_on_failure(db: TenantDatabase, principal: Principal, blob_id: UUID) -> AsyncIterator[None]:
    """Around what fills a blob that was begun."""
    try:
        yield
    except Exception:
        # Else it would take its room until it is pruned, as it does when the process dies or the task is cancelled.
        with suppress(CopilotError):
            await discard(db, principal, blob_id)
        raise


def key_of(tx: Transaction, blob_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "blob_id": blob_id}
