"""Objects of blobs that are gone: written down with the deletion, removed afterwards, whoever dies in between."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest

from copilot_common.base.errors import Conflict, Unavailable
from copilot_common.base.ids import new_id
from copilot_common.blobs import OBJECT_BYTES, keep_blobs, prune, remove_objects
from copilot_common.blobs.bucket import Bucket
from integration.blobs.ground import MAX_BYTES, Ground, chunks_of, open_ground, random_bytes
from support.api import Site
from support.clients import eventually
from support.object_store import FaultyProxy, ObjectServer

DATA = random_bytes(2 * OBJECT_BYTES + 7)


@pytest.fixture
def ground(in_objects: Ground) -> Ground:
    return in_objects


async def delete(ground: Ground, blob: UUID) -> None:
    async with ground.db.transaction(ground.acme) as tx:
        await ground.store.delete(tx, blob)


def removals(ground: Ground, blob: UUID) -> int:
    return int(ground.site.rows("SELECT count(*) FROM blob_removals WHERE blob_id = %s", blob)[0][0])


def make_due(ground: Ground, blob: UUID) -> None:
    ground.spoil("UPDATE blob_removals SET due_at = now() WHERE blob_id = %s", blob)


async def remove(ground: Ground) -> int:
    assert ground.bucket
    return await remove_objects(ground.db.database, Bucket(ground.bucket))


async def test_a_process_that_dies_after_the_deletion_leaves_the_removal_to_any_other(ground: Ground) -> None:
    blob = await ground.write(DATA)
    await delete(ground, blob)
    assert (len(ground.objects(blob)), removals(ground, blob)) == (3, 1)
    assert await remove(ground) == 1
    assert (len(ground.objects(blob)), removals(ground, blob)) == (0, 0)
    assert await remove(ground) == 0


async def test_a_process_that_dies_amid_a_removal_leaves_it_to_be_done_again_later(
    behind_proxy: Ground, proxy: FaultyProxy
) -> None:
    blob = await behind_proxy.write(DATA)
    await delete(behind_proxy, blob)
    proxy.gate.clear()
    removing = asyncio.create_task(remove(behind_proxy))

    async def has_begun() -> bool:
        return proxy.running > 0

    await eventually(has_begun, what="the removal under way")
    removing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await removing
    proxy.gate.set()
    assert await remove(behind_proxy) == 0  # claimed for some minutes
    assert removals(behind_proxy, blob) == 1
    make_due(behind_proxy, blob)
    assert await remove(behind_proxy) == 1
    assert behind_proxy.objects(blob) == []


async def test_a_removal_that_fails_is_due_again_later_and_later(behind_proxy: Ground, proxy: FaultyProxy) -> None:
    blob = await behind_proxy.write(b"content")
    await delete(behind_proxy, blob)
    waits = []
    for _ in range(3):
        proxy.statuses = [503] * 4
        assert await remove(behind_proxy) == 1
        query = "SELECT extract(epoch FROM due_at - now()) / 60 FROM blob_removals WHERE blob_id = %s"
        waits.append(round(float(behind_proxy.site.rows(query, blob)[0][0])))
        make_due(behind_proxy, blob)
    assert waits == [5, 10, 20]
    assert await behind_proxy.stored(blob) == (0, 0)


async def test_an_object_that_is_not_deleted_holds_up_no_other_removal(ground: Ground) -> None:
    """The store refuses one of three."""
    blobs = [await ground.write(b"content") for _ in range(3)]
    for blob in blobs:
        await delete(ground, blob)
    assert ground.bucket

    class Refusing(Bucket):
        async def delete(self, key: str) -> None:
            if str(blobs[0]) in key:
                raise Unavailable("no")
            await super().delete(key)

    assert await remove_objects(ground.db.database, Refusing(ground.bucket)) == 3
    assert [removals(ground, blob) for blob in blobs] == [1, 0, 0]
    make_due(ground, blobs[0])
    assert await remove(ground) == 1
    assert removals(ground, blobs[0]) == 0


async def test_two_processes_do_not_claim_the_same_removal(ground: Ground) -> None:
    blobs = [await ground.write(b"content") for _ in range(4)]
    for blob in blobs:
        await delete(ground, blob)
    assert ground.bucket
    claim = "SELECT blob_id FROM dispatch.claim_blob_removals(3)"
    async with await psycopg.AsyncConnection.connect(ground.site.database.app_url) as other:
        claimed = [row[0] for row in await (await other.execute(claim)).fetchall()]
        assert await remove(ground) == 1  # the other three are locked by a transaction that is not committed
        await other.rollback()
    assert len(claimed) == 3
    assert await remove(ground) == 3
    assert [removals(ground, blob) for blob in blobs] == [0, 0, 0, 0]


async def test_a_piece_sent_by_a_writer_that_did_not_know_yet_is_removed_too(
    behind_proxy: Ground, proxy: FaultyProxy
) -> None:
    ground, blob = behind_proxy, new_id()
    proxy.gate.clear()
    writing = asyncio.create_task(ground.store.write(ground.acme, blob, chunks_of(DATA), max_bytes=MAX_BYTES))

    async def is_sending() -> bool:
        return proxy.running == 1

    await eventually(is_sending, what="the first piece on its way")
    await delete(ground, blob)
    proxy.gate.set()
    with pytest.raises(Exception, match="No such blob"):
        await writing
    await ground.stored(blob)
    proxy_free = Bucket(proxy.config(ground.bucket)) if ground.bucket else None
    assert proxy_free
    await proxy_free.put(f"{ground.acme.tenant_id}/{blob}/0", b"late")  # arrives after the first removal
    assert removals(ground, blob) == 1  # in an hour
    make_due(ground, blob)
    assert await ground.stored(blob) == (0, 0)
    assert removals(ground, blob) == 0


async def test_a_piece_stored_after_its_writer_died_is_known_and_pruned(
    behind_proxy: Ground, proxy: FaultyProxy
) -> None:
    ground, blob = behind_proxy, new_id()

    async def chunks() -> AsyncIterator[bytes]:
        yield random_bytes(OBJECT_BYTES)
        proxy.gate.clear()
        yield random_bytes(OBJECT_BYTES)

    async def is_sending() -> bool:
        return not proxy.gate.is_set() and proxy.running == 1

    async def has_arrived() -> bool:
        return len(ground.objects(blob)) == 2

    writing = asyncio.create_task(ground.store.write(ground.acme, blob, chunks(), max_bytes=MAX_BYTES))
    await eventually(is_sending, what="the second piece on its way")
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    proxy.gate.set()
    await eventually(has_arrived, what="the second object stored")
    ground.spoil("UPDATE blobs SET created_at = now() - interval '25 hours' WHERE id = %s", blob)
    assert await prune(ground.db.database) == 1
    assert await ground.stored(blob) == (0, 0)


async def test_an_id_whose_objects_are_still_to_be_removed_is_not_used_again(ground: Ground) -> None:
    blob = await ground.write(b"first")
    await delete(ground, blob)
    with pytest.raises(Conflict):
        await ground.store.write(ground.acme, blob, chunks_of(b"second"), max_bytes=100)


async def test_a_tenant_that_goes_takes_its_objects_along(site: Site, objects: ObjectServer) -> None:
    async with open_ground(site, objects.bucket()) as ground:
        blob, kept = await ground.write(DATA, ground.other), await ground.write(DATA)
        ground.spoil("DELETE FROM tenants WHERE id = %s", str(ground.other.tenant_id))
        assert await remove(ground) == 1
        assert (ground.objects(blob), len(ground.objects(kept))) == ([], 3)


async def test_blobs_in_postgresql_leave_no_removal(ground: Ground) -> None:
    blob = await ground.put(DATA)
    await delete(ground, blob)
    assert removals(ground, blob) == 0


async def test_one_look_clears_up_what_was_abandoned_and_what_was_deleted(ground: Ground) -> None:
    assert ground.bucket
    deleted, abandoned = await ground.write(DATA), new_id()
    is_waiting = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield random_bytes(OBJECT_BYTES)
        is_waiting.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(ground.store.write(ground.acme, abandoned, chunks(), max_bytes=MAX_BYTES))
    await is_waiting.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    ground.spoil("UPDATE blobs SET created_at = now() - interval '25 hours' WHERE id = %s", abandoned)
    await delete(ground, deleted)
    assert (len(ground.objects(deleted)), len(ground.objects(abandoned))) == (3, 1)
    await keep_blobs(ground.db.database, Bucket(ground.bucket))
    assert not ground.objects(deleted)
    assert not ground.objects(abandoned)
    assert ground.rows("blobs", abandoned) == 0
    assert await prune(ground.db.database) == 0


async def test_who_has_no_store_leaves_removals_to_one_that_has_it(ground: Ground) -> None:
    blob = await ground.write(b"content")
    await delete(ground, blob)
    await keep_blobs(ground.db.database, None)
    assert removals(ground, blob) == 1
