"""An object store that is slow, refuses, breaks off, or is away: tried again within bounds, and never half a blob."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from loguru import logger

from copilot_common.base.errors import NotFound, Unavailable
from copilot_common.base.ids import new_id
from copilot_common.blobs import OBJECT_BYTES, S3BlobStore, remove_objects
from copilot_common.blobs import bucket as bucket_module
from copilot_common.blobs.bucket import Bucket, BucketConfig
from integration.blobs.ground import MAX_BYTES, Ground, chunks_of, random_bytes
from support.clients import eventually
from support.object_store import ACCESS_KEY, SECRET_KEY, FaultyProxy

DATA = random_bytes(2 * OBJECT_BYTES + 7)
TRIES = 4  # one and three more


@pytest.fixture
def ground(behind_proxy: Ground) -> Ground:
    return behind_proxy


async def test_an_object_store_that_asks_for_patience_is_asked_again(ground: Ground, proxy: FaultyProxy) -> None:
    proxy.statuses = [503, 500]
    blob = await ground.write(DATA)
    proxy.statuses = [503, 429]
    assert await ground.read(blob) == DATA


async def test_a_write_whose_answer_is_lost_is_repeated_and_no_piece_is_twice(
    ground: Ground, proxy: FaultyProxy
) -> None:
    proxy.lost_answers = 2
    blob = await ground.write(DATA)
    assert await ground.read(blob) == DATA
    assert len(ground.objects(blob)) == 3


async def test_an_answer_that_breaks_off_is_read_again_and_never_taken_as_short(
    ground: Ground, proxy: FaultyProxy
) -> None:
    blob = await ground.write(DATA)
    proxy.cuts = [0, 100, OBJECT_BYTES // 2]
    assert await ground.read(blob) == DATA
    proxy.cuts = [100] * 2 * TRIES
    with pytest.raises(Unavailable):
        await ground.read(blob)


async def test_an_object_larger_than_allowed_is_not_read(bucket: BucketConfig) -> None:
    store = Bucket(bucket)
    await store.put("tests/large", DATA)
    assert await store.get("tests/large", max_bytes=len(DATA) - 1) is None
    assert await store.get("tests/large", max_bytes=len(DATA)) == DATA


async def test_tries_have_an_end(bucket: BucketConfig, proxy: FaultyProxy) -> None:
    store = Bucket(bucket)
    await store.put("tests/ends", b"x")
    operations: list[Callable[[], Awaitable[object]]] = [
        lambda: store.put("tests/ends", b"x"),
        lambda: store.get("tests/ends", max_bytes=1),
        lambda: store.delete("tests/ends"),
    ]
    for operation in operations:
        proxy.methods.clear()
        proxy.statuses = [503] * 100
        with pytest.raises(Unavailable):
            await operation()
        assert len(proxy.methods) == TRIES
        proxy.statuses.clear()


async def test_a_store_that_is_away_at_the_first_piece_leaves_nothing(ground: Ground, proxy: FaultyProxy) -> None:
    blob = new_id()
    proxy.statuses = [503] * TRIES
    with pytest.raises(Unavailable):
        await ground.store.write(ground.acme, blob, chunks_of(DATA), max_bytes=MAX_BYTES)
    assert await ground.stored(blob) == (0, 0)


async def test_a_store_that_goes_away_in_the_middle_leaves_nothing(ground: Ground, proxy: FaultyProxy) -> None:
    blob = new_id()

    async def chunks() -> AsyncIterator[bytes]:
        yield random_bytes(OBJECT_BYTES)
        yield random_bytes(OBJECT_BYTES)
        assert len(ground.objects(blob)) == 2
        proxy.statuses = [503] * TRIES
        yield random_bytes(OBJECT_BYTES)

    with pytest.raises(Unavailable):
        await ground.store.write(ground.acme, blob, chunks(), max_bytes=MAX_BYTES)
    with pytest.raises(NotFound):
        await ground.store.open(ground.acme, blob)
    assert await ground.stored(blob) == (0, 0)


async def test_a_refusal_names_neither_endpoint_nor_keys_nor_blob(ground: Ground, proxy: FaultyProxy) -> None:
    """Signed with the wrong secret, which the server notices; then where nobody listens."""
    assert ground.bucket
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message.record)), level="DEBUG")
    wrong, nowhere = (
        replace(ground.bucket, secret_access_key="wrong"),
        replace(ground.bucket, endpoint="http://127.0.0.1:1"),
    )
    try:
        for config in (wrong, nowhere):
            store = S3BlobStore(ground.db, Bucket(config, retries=0))
            with pytest.raises(Unavailable) as refused:
                await store.write(ground.acme, new_id(), chunks_of(b"content"), max_bytes=100)
            lines.append(refused.value.message + repr(refused.value.details) + repr(refused.value.__cause__))
    finally:
        logger.remove(sink)
    text = "".join(lines)
    assert "PermissionDeniedError" in text
    for secret in ("127.0.0.1", ACCESS_KEY, SECRET_KEY, "wrong", str(ground.acme.tenant_id), ground.bucket.name):
        assert secret not in text


async def test_a_call_that_hangs_ends(ground: Ground, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_module, "_CALL_SECONDS", 0.2)
    proxy.gate.clear()
    with pytest.raises(Unavailable):
        await ground.write(b"content")


async def test_no_more_calls_than_the_bound_are_under_way_and_all_get_their_turn(
    bucket: BucketConfig, proxy: FaultyProxy
) -> None:
    store = Bucket(bucket, at_once=3)
    proxy.gate.clear()
    calls = [asyncio.create_task(store.put(f"bound/{number}", b"x")) for number in range(12)]

    async def is_full() -> bool:
        return proxy.running == 3

    await eventually(is_full, what="three calls under way")
    proxy.gate.set()
    await asyncio.gather(*calls)
    assert proxy.most_running == 3


async def test_a_cancelled_writer_holds_no_turn(bucket: BucketConfig, proxy: FaultyProxy) -> None:
    store = Bucket(bucket, at_once=1)
    proxy.gate.clear()
    writing = asyncio.create_task(store.put("cancelled", b"x"))

    async def has_begun() -> bool:
        return proxy.running == 1

    await eventually(has_begun, what="the call under way")
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    proxy.gate.set()
    await store.put("next", b"x")


async def test_no_connection_to_postgresql_is_held_while_the_store_is_waited_for(
    ground: Ground, proxy: FaultyProxy
) -> None:
    """The pool has one."""
    blob = await ground.write(DATA)
    for under_way in (ground.write(DATA), ground.read(blob), _remove(ground, blob)):
        proxy.gate.clear()
        task = asyncio.ensure_future(under_way)

        async def is_waiting() -> bool:
            return proxy.running > 0

        await eventually(is_waiting, what="a call to the store")
        async with ground.db.transaction(ground.other) as tx:
            assert await tx.fetch_value("SELECT 1") == 1
        proxy.gate.set()
        await task


async def _remove(ground: Ground, blob: object) -> None:
    async with ground.db.transaction(ground.acme) as tx:
        await ground.store.delete(tx, blob)  # type: ignore[arg-type]
    assert ground.bucket
    assert await remove_objects(ground.db.database, Bucket(ground.bucket)) == 1
