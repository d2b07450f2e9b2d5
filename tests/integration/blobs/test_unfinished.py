"""Writers that stop on the way: nothing half is ever read, and what they leave goes."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest

from copilot_common.base.errors import NotFound
from copilot_common.base.ids import new_id
from copilot_common.blobs import Upload, prune
from copilot_common.tenancy import Principal
from integration.blobs.ground import MAX_BYTES, Ground, chunks_of, random_bytes
from support.clients import eventually


async def abandon(ground: Ground, principal: Principal, *, pieces: int) -> UUID:
    """As a process that dies, or whose client does, leaves it."""
    blob, is_waiting = new_id(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield random_bytes(ground.piece_bytes)
        is_waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(ground.store.write(principal, blob, chunks(), max_bytes=MAX_BYTES))
    await is_waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ground.stored(blob) == (1, pieces)
    return blob


def age(ground: Ground, blob: UUID, interval: str) -> None:
    ground.spoil("UPDATE blobs SET created_at = now() - %s::interval WHERE id = %s", interval, blob)


async def test_a_client_that_fails_leaves_nothing(ground: Ground) -> None:
    blob = new_id()

    async def chunks() -> AsyncIterator[bytes]:
        yield random_bytes(2 * ground.piece_bytes)
        assert await ground.stored(blob) == (1, 2)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await ground.store.write(ground.acme, blob, chunks(), max_bytes=MAX_BYTES)
    assert await ground.stored(blob) == (0, 0)


async def test_what_was_abandoned_a_day_ago_is_pruned_for_every_tenant(ground: Ground) -> None:
    old = [await abandon(ground, ground.acme, pieces=2), await abandon(ground, ground.other, pieces=0)]
    young = await abandon(ground, ground.acme, pieces=1)
    finished = await ground.write(b"kept")
    for blob in (*old, finished):
        age(ground, blob, "25 hours")
    age(ground, young, "23 hours 59 minutes")
    assert await prune(ground.db.database) == (4 if ground.bucket is None else 2)
    assert [await ground.stored(blob) for blob in (*old, young)] == [(0, 0), (0, 0), (1, 1)]
    assert await ground.read(finished) == b"kept"
    assert await prune(ground.db.database) == 0


async def test_pruning_goes_in_bounded_batches(in_postgres: Ground) -> None:
    ground = in_postgres
    blob = await abandon(ground, ground.acme, pieces=5)
    age(ground, blob, "25 hours")
    left = []
    for _ in range(3):
        await prune(ground.db.database, limit=2)
        left.append(await ground.stored(blob))
    assert left == [(1, 3), (1, 1), (0, 0)]


@pytest.mark.parametrize("is_last", [False, True])
async def test_a_writer_gives_up_before_its_blob_may_be_pruned(ground: Ground, is_last: bool) -> None:
    blob = new_id()

    async def chunks() -> AsyncIterator[bytes]:
        yield random_bytes(ground.piece_bytes)
        age(ground, blob, "23 hours")
        if not is_last:
            yield random_bytes(ground.piece_bytes)
            pytest.fail("went on")

    with pytest.raises(NotFound):
        await ground.store.write(ground.acme, blob, chunks(), max_bytes=MAX_BYTES)


async def test_a_writer_whose_blob_was_deleted_stops(ground: Ground) -> None:
    blob = new_id()

    async def chunks() -> AsyncIterator[bytes]:
        yield random_bytes(ground.piece_bytes)
        async with ground.db.transaction(ground.acme) as tx:
            await ground.store.delete(tx, blob)
        yield random_bytes(ground.piece_bytes)
        pytest.fail("went on")

    with pytest.raises(NotFound):
        await ground.store.write(ground.acme, blob, chunks(), max_bytes=MAX_BYTES)
    assert await ground.stored(blob) == (0, 0)


async def test_a_writer_waits_for_who_is_deleting_its_blob_and_then_stops(ground: Ground) -> None:
    blob = new_id()
    deleter = await psycopg.AsyncConnection.connect(ground.site.database.admin_url)

    async def writer_waits() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(await asyncio.to_thread(lambda: ground.site.rows(query)[0][0]))

    async def chunks() -> AsyncIterator[bytes]:
        await deleter.execute("DELETE FROM blobs WHERE id = %s", [blob])
        yield random_bytes(ground.piece_bytes)

    async with deleter:
        writing = asyncio.create_task(ground.store.write(ground.acme, blob, chunks(), max_bytes=MAX_BYTES))
        await eventually(writer_waits, what="the writer waiting for the lock")
        await deleter.commit()
        with pytest.raises(NotFound):
            await writing


async def upload(ground: Ground, *chunks: bytes) -> Upload:
    return await ground.store.upload(ground.acme, new_id(), chunks_of(*chunks), max_bytes=MAX_BYTES)


async def test_an_upload_is_read_only_once_it_is_finished_in_somebodys_transaction(ground: Ground) -> None:
    data = random_bytes(ground.piece_bytes + 1)
    uploaded = await upload(ground, data)
    with pytest.raises(NotFound):
        await ground.read(uploaded.blob_id)
    async with ground.db.transaction(ground.acme) as tx:
        info = await ground.store.finish(tx, uploaded)
    assert info == (await ground.store.open(ground.acme, uploaded.blob_id)).info
    assert await ground.read(uploaded.blob_id) == data


async def test_an_upload_whose_transaction_fails_is_not_there_and_is_pruned(ground: Ground) -> None:
    uploaded = await upload(ground, b"content")

    async def fail() -> None:
        async with ground.db.transaction(ground.acme) as tx:
            await ground.store.finish(tx, uploaded)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    with pytest.raises(NotFound):
        await ground.read(uploaded.blob_id)
    age(ground, uploaded.blob_id, "25 hours")
    assert await prune(ground.db.database) > 0
    assert await ground.stored(uploaded.blob_id) == (0, 0)


async def test_what_is_discarded_goes_unless_it_has_been_finished(ground: Ground) -> None:
    uploaded, finished = await upload(ground, b"content"), await ground.write(b"kept")
    for blob in (uploaded.blob_id, finished, new_id()):
        await ground.store.discard(ground.acme, blob)
    assert await ground.stored(uploaded.blob_id) == (0, 0)
    assert await ground.read(finished) == b"kept"
    async with ground.db.transaction(ground.acme) as tx:
        with pytest.raises(NotFound):
            await ground.store.finish(tx, uploaded)


async def test_another_tenant_neither_finishes_nor_discards_an_upload(ground: Ground) -> None:
    uploaded = await upload(ground, b"content")
    await ground.store.discard(ground.other, uploaded.blob_id)
    async with ground.db.transaction(ground.other) as tx:
        with pytest.raises(NotFound):
            await ground.store.finish(tx, uploaded)
    async with ground.db.transaction(ground.acme) as tx:
        await ground.store.finish(tx, uploaded)
    assert await ground.read(uploaded.blob_id) == b"content"
