"""Blobs that an attempt writes for its item: whatever becomes of the attempt, none is left that nobody refers to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from copilot_common.base.errors import CopilotError, NotFound
from copilot_common.base.ids import new_id
from copilot_common.blobs import BlobInfo, BlobStore, Upload
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.ingestion.preparing import ItemVersion
from copilot_domain.context.ingestion.writing import Overtaken, hold, sql, version_key


@asynccontextmanager
async def staged_blob(
    db: TenantDatabase,
    blobs: BlobStore,
    principal: Principal,
    version: ItemVersion,
    chunks: AsyncIterator[bytes],
    *,
    max_bytes: int,
) -> AsyncIterator[tuple[Transaction, BlobInfo]]:
    """A blob of `chunks`, and the transaction that it comes to be in, the block's. The item knows of it before, so that
    the next attempt deletes it if this one dies. Raises Overtaken, TooLarge and what `chunks` raises.
    """
    blob_id = new_id()
    async with db.transaction(principal) as tx:
        if not await tx.execute(sql["stage_blob"], {**version_key(tx, version), "blob_id": blob_id}):
            raise Overtaken
    upload = await _upload(db, blobs, principal, version, blob_id, chunks, max_bytes)
    try:
        async with db.transaction(principal) as tx:
            await _check_held(tx, version)  # whoever overtakes this attempt later finds a finished blob to delete
            yield tx, await blobs.finish(tx, upload)
    except Exception:
        with suppress(CopilotError):  # it is pruned after a day
            await blobs.discard(principal, blob_id)
        raise


async def _upload(
    db: TenantDatabase,
    blobs: BlobStore,
    principal: Principal,
    version: ItemVersion,
    blob_id: UUID,
    chunks: AsyncIterator[bytes],
    max_bytes: int,
) -> Upload:
    try:
        return await blobs.upload(principal, blob_id, chunks, max_bytes=max_bytes)
    except NotFound:  # deleted under this attempt by the next one, unless it is what `chunks` are read from
        async with db.transaction(principal) as tx:
            await _check_held(tx, version)
        raise


async def _check_held(tx: Transaction, version: ItemVersion) -> None:
    if not await hold(tx, version):
        raise Overtaken
