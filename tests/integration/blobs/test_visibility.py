"""Who sees a blob: its tenant, from the moment it is finished until it is deleted."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from copilot_common.base.errors import NotFound
from copilot_common.base.ids import new_id
from copilot_common.tenancy import Principal
from integration.blobs.ground import MAX_BYTES, Ground, chunks_of, random_bytes


async def assert_not_found(ground: Ground, blob: UUID, principal: Principal) -> None:
    with pytest.raises(NotFound):
        await ground.store.open(principal, blob)
    with pytest.raises(NotFound):
        await ground.read(blob, principal)
    with pytest.raises(NotFound):
        await ground.store.read_all(principal, blob, max_bytes=MAX_BYTES)


async def test_a_blob_that_never_was_is_not_found(ground: Ground) -> None:
    await assert_not_found(ground, new_id(), ground.acme)


async def test_another_tenant_neither_sees_nor_deletes_it(ground: Ground) -> None:
    blob = await ground.write(b"acme's")
    await assert_not_found(ground, blob, ground.other)
    async with ground.db.transaction(ground.other) as tx:
        await ground.store.delete(tx, blob)
    assert await ground.stored(blob) == (1, 1)
    assert await ground.read(blob) == b"acme's"


async def test_the_same_id_in_two_tenants_is_two_blobs(ground: Ground) -> None:
    blob = await ground.write(b"acme's")
    await ground.store.write(ground.other, blob, chunks_of(b"the other's"), max_bytes=MAX_BYTES)
    assert await ground.read(blob) == b"acme's"
    assert await ground.read(blob, ground.other) == b"the other's"


async def test_what_is_still_being_written_is_not_found(ground: Ground) -> None:
    blob = new_id()

    async def chunks() -> AsyncIterator[bytes]:
        for pieces in range(3):
            await assert_not_found(ground, blob, ground.acme)
            assert await ground.stored(blob) == (1, pieces)
            yield random_bytes(ground.piece_bytes)

    await ground.store.write(ground.acme, blob, chunks(), max_bytes=MAX_BYTES)
    assert len(await ground.read(blob)) == 3 * ground.piece_bytes


async def test_a_blob_deleted_while_it_is_read_is_not_found(ground: Ground) -> None:
    blob = await ground.write(random_bytes(3 * ground.piece_bytes))
    reading = ground.store.read(ground.acme, blob)
    await anext(reading)
    async with ground.db.transaction(ground.acme) as tx:
        await ground.store.delete(tx, blob)
    with pytest.raises(NotFound):
        await anext(reading)
