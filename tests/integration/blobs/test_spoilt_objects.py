"""Whoever can write to the bucket but has no key can make a blob unreadable, and nothing else."""

from collections.abc import Callable

import obstore
import pytest

from copilot_common.base.errors import NotFound, Unavailable
from copilot_common.blobs import OBJECT_BYTES, PostgresBlobStore, S3BlobStore
from copilot_common.blobs.bucket import Bucket
from copilot_common.encryption import DecryptionError
from integration.blobs.ground import Ground, chunks_of, random_bytes
from support.object_store import raw_store

DATA = random_bytes(2 * OBJECT_BYTES + 7)  # three objects


def cut_off(kept_bytes: int) -> Callable[[bytes], bytes]:
    return lambda sealed: sealed[:kept_bytes]


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "empty": cut_off(0),
    "cut within the header": cut_off(3),
    "cut within the nonce": cut_off(10),
    "cut by its last byte": lambda sealed: sealed[:-1],
    "longer by a byte": lambda sealed: sealed + b"x",
    "far too large": lambda sealed: sealed * 5,
    "one bit turned": lambda sealed: sealed[:999] + bytes([sealed[999] ^ 1]) + sealed[1000:],
    "of another version": lambda sealed: b"\xff" + sealed[1:],
}


@pytest.fixture
def ground(in_objects: Ground) -> Ground:
    return in_objects


def key(ground: Ground, blob: object, number: int) -> str:
    return f"{ground.acme.tenant_id}/{blob}/{number}"


def stored(ground: Ground, key: str) -> bytes:
    assert ground.bucket
    return bytes(obstore.get(raw_store(ground.bucket), key).bytes())


def overwrite(ground: Ground, key: str, sealed: bytes) -> None:
    assert ground.bucket
    obstore.put(raw_store(ground.bucket), key, sealed)


async def assert_refused(ground: Ground, blob: object, *, good_pieces: int) -> None:
    """Whatever was handed out before the spoilt piece is what was written."""
    received: list[bytes] = []

    async def collect() -> None:
        async for piece in ground.store.read(ground.acme, blob):  # type: ignore[arg-type]
            received.append(piece)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(DecryptionError):
        await collect()
    assert len(received) == good_pieces
    assert DATA.startswith(b"".join(received))


async def test_an_object_that_was_changed_is_refused_however_it_was(ground: Ground) -> None:
    blob = await ground.write(DATA)
    good = stored(ground, key(ground, blob, 1))
    for spoil in SPOILT.values():
        overwrite(ground, key(ground, blob, 1), spoil(good))
        await assert_refused(ground, blob, good_pieces=1)
    overwrite(ground, key(ground, blob, 1), good)
    assert await ground.read(blob) == DATA


async def test_an_object_of_another_place_is_refused(ground: Ground) -> None:
    blob, other = await ground.write(DATA), await ground.write(DATA)
    foreign = await ground.write(DATA, ground.other)
    foreign_key = f"{ground.other.tenant_id}/{foreign}/0"
    for source in (key(ground, blob, 1), key(ground, other, 0), foreign_key):
        overwrite(ground, key(ground, blob, 0), stored(ground, source))
        await assert_refused(ground, blob, good_pieces=0)


@pytest.mark.parametrize("number", [0, 2])
async def test_an_object_that_is_missing_is_refused(ground: Ground, number: int) -> None:
    blob = await ground.write(DATA)
    assert ground.bucket
    obstore.delete(raw_store(ground.bucket), key(ground, blob, number))
    await assert_refused(ground, blob, good_pieces=number)


async def test_counts_made_to_fit_make_it_no_shorter(ground: Ground) -> None:
    blob = await ground.write(DATA)
    ground.spoil("UPDATE blobs SET object_count = 1, piece_count = 1, size_bytes = 1 WHERE id = %s", blob)
    assert await ground.read(blob) == DATA


async def test_nothing_of_the_content_can_be_read_in_the_bucket(ground: Ground) -> None:
    content = b"the door is blue " * 100_000
    blob = await ground.write(content)
    keys = ground.objects(blob)
    assert keys == [key(ground, blob, 0), key(ground, blob, 1)]
    assert not any(b"door" in stored(ground, each) for each in keys)
    assert (await ground.store.open(ground.acme, blob)).info.sha256.hex() not in "".join(keys)


async def test_what_was_put_stays_in_postgresql_and_both_are_read_by_one_store(ground: Ground) -> None:
    put, written = await ground.put(DATA), await ground.write(DATA)
    assert (ground.objects(put), ground.rows("blob_pieces", written)) == ([], 0)
    assert await ground.read(put) == await ground.read(written) == DATA


async def test_an_installation_can_switch_to_objects_and_back_and_reads_what_is_old(ground: Ground) -> None:
    assert ground.bucket
    postgres = PostgresBlobStore(ground.db)
    on_its_way_back = S3BlobStore(ground.db, Bucket(ground.bucket), takes_new=False)
    old = await ground.write(b"in objects")
    for store in (postgres, on_its_way_back):
        ground.store = store
        blob = await ground.write(b"in rows")
        assert (ground.objects(blob), ground.rows("blob_pieces", blob)) == ([], 1)
        assert await ground.read(blob) == b"in rows"
    assert await ground.read(old) == b"in objects"
    ground.store = postgres
    with pytest.raises(Unavailable):
        await ground.read(old)
    async with ground.db.transaction(ground.acme) as tx:
        await ground.store.delete(tx, old)
    with pytest.raises(NotFound):
        await ground.read(old)
    assert await ground.stored(old) == (0, 0)


async def test_an_object_that_vanishes_with_its_blob_is_not_found_rather_than_spoilt(ground: Ground) -> None:
    """The removal is through before the reader asks for its first object."""
    assert ground.bucket
    blob, bucket = await ground.write(b"content"), Bucket(ground.bucket)

    class DeletesFirst(Bucket):
        async def get(self, key: str, *, max_bytes: int) -> bytes | None:
            async with ground.db.transaction(ground.acme) as tx:
                await ground.store.delete(tx, blob)
            await bucket.delete(key)
            return await bucket.get(key, max_bytes=max_bytes)

    store = S3BlobStore(ground.db, DeletesFirst(ground.bucket))
    with pytest.raises(NotFound):
        await store.read_all(ground.acme, blob, max_bytes=100)


async def test_two_writers_of_one_id_cannot_mix_their_objects(ground: Ground) -> None:
    blob = await ground.write(DATA)
    with pytest.raises(Exception, match="There is a blob of this id"):
        await ground.store.write(ground.acme, blob, chunks_of(b"other"), max_bytes=10)
    assert await ground.read(blob) == DATA
