"""What is written is what is read, whatever its length and however it came."""

import hashlib
from uuid import UUID

import pytest

from copilot_common.base.errors import Conflict, NotFound, TooLarge
from copilot_common.base.ids import new_id
from copilot_common.blobs import MAX_PUT_BYTES, OBJECT_BYTES, PIECE_BYTES, BlobInfo
from integration.blobs.ground import MAX_BYTES, Ground, chunks_of, random_bytes

LENGTHS = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, OBJECT_BYTES, OBJECT_BYTES + 1, 5_000_001]


async def test_content_put_in_a_transaction_is_read_back(ground: Ground) -> None:
    for length in LENGTHS:
        data, blob = random_bytes(length), new_id()
        async with ground.db.transaction(ground.acme) as tx:
            info = await ground.store.put(tx, blob, data)
        assert (info.blob_id, info.size_bytes, info.sha256) == (blob, length, hashlib.sha256(data).digest())
        await assert_reads(ground, blob, data, info)
        assert ground.rows("blob_pieces", blob) == -(-length // PIECE_BYTES)


async def test_streamed_content_is_read_back(ground: Ground) -> None:
    for length in LENGTHS:
        data, blob = random_bytes(length), new_id()
        thirds = [data[: length // 3], data[length // 3 :], b""]
        info = await ground.store.write(ground.acme, blob, chunks_of(*thirds), max_bytes=length)
        assert (info.size_bytes, info.sha256) == (length, hashlib.sha256(data).digest())
        await assert_reads(ground, blob, data, info)
        assert await ground.stored(blob) == (1, -(-length // ground.piece_bytes))


async def assert_reads(ground: Ground, blob: UUID, data: bytes, info: BlobInfo) -> None:
    assert (await ground.store.open(ground.acme, blob)).info == info
    assert await ground.read(blob) == data
    assert await ground.store.read_all(ground.acme, blob, max_bytes=len(data)) == data


async def test_what_a_transaction_put_is_gone_when_it_rolls_back(ground: Ground) -> None:
    blob = new_id()

    async def fail() -> None:
        async with ground.db.transaction(ground.acme) as tx:
            await ground.store.put(tx, blob, b"content")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert ground.rows("blobs", blob) == 0


async def test_content_past_its_bound_is_refused_and_leaves_nothing(ground: Ground) -> None:
    blob = new_id()
    size = ground.piece_bytes
    chunks = chunks_of(random_bytes(size), random_bytes(size))
    with pytest.raises(TooLarge) as refused:
        await ground.store.write(ground.acme, blob, chunks, max_bytes=2 * size - 1)
    assert refused.value.max_bytes == 2 * size - 1
    assert await ground.stored(blob) == (0, 0)
    with pytest.raises(TooLarge):
        await ground.put(bytes(MAX_PUT_BYTES + 1))


async def test_reading_all_refuses_what_is_larger_before_it_reads_it(ground: Ground) -> None:
    put, written = await ground.put(b"12345"), await ground.write(b"12345")
    ground.spoil("DELETE FROM blob_pieces WHERE blob_id = %s", put)
    for blob in (put, written):
        with pytest.raises(TooLarge):
            await ground.store.read_all(ground.acme, blob, max_bytes=4)


async def test_an_id_is_used_once(ground: Ground) -> None:
    for blob in (await ground.put(b"first"), await ground.write(b"first")):
        with pytest.raises(Conflict):
            await ground.store.write(ground.acme, blob, chunks_of(b"second"), max_bytes=MAX_BYTES)
        async with ground.db.transaction(ground.acme) as tx:
            with pytest.raises(Conflict):
                await ground.store.put(tx, blob, b"second")
        assert await ground.read(blob) == b"first"


async def test_delete_takes_the_pieces_along_and_asks_for_nothing_to_be_there(ground: Ground) -> None:
    put, written = await ground.put(random_bytes(PIECE_BYTES + 1)), await ground.write(random_bytes(OBJECT_BYTES + 1))
    kept = await ground.write(b"kept")
    for blob in (put, put, written, written):
        async with ground.db.transaction(ground.acme) as tx:
            await ground.store.delete(tx, blob)
        with pytest.raises(NotFound):
            await ground.read(blob)
    assert ground.rows("blobs", put) == ground.rows("blob_pieces", put) == 0
    assert await ground.stored(written) == (0, 0)
    assert await ground.read(kept) == b"kept"


async def test_what_is_deleted_in_a_transaction_is_there_when_it_rolls_back(ground: Ground) -> None:
    blob = await ground.write(b"content")

    async def fail() -> None:
        async with ground.db.transaction(ground.acme) as tx:
            await ground.store.delete(tx, blob)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await ground.stored(blob) == (1, 1)
    assert await ground.read(blob) == b"content"
