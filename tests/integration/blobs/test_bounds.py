"""What a blob costs whoever reads or writes it: a few pieces of memory, and no transaction while others are slow."""

import tracemalloc
from collections.abc import AsyncIterator

from copilot_common.base.ids import new_id
from copilot_common.blobs import PIECE_BYTES
from integration.blobs.ground import Ground, random_bytes

PIECES = 80  # 20 MB
HELD_PIECES = 8  # plaintext, sealed, psycopg's copies: five measured
READ_CHUNK = PIECE_BYTES // 3


async def use_the_connection(ground: Ground) -> None:
    """Whoever else wants the pool's only connection gets it."""
    async with ground.db.transaction(ground.other) as tx:
        assert await tx.fetch_value("SELECT 1") == 1


async def test_twenty_megabytes_pass_through_a_few_pieces_of_memory(ground: Ground) -> None:
    blob = new_id()

    async def chunks() -> AsyncIterator[bytes]:
        chunk = random_bytes(READ_CHUNK)
        for _ in range(PIECES * PIECE_BYTES // READ_CHUNK):
            yield chunk

    await ground.put(b"warm")
    tracemalloc.start()
    try:
        await ground.store.write(ground.acme, blob, chunks(), max_bytes=PIECES * PIECE_BYTES)
        _, written_peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        count = 0
        async for piece in ground.store.read(ground.acme, blob):
            count += len(piece) == PIECE_BYTES
        _, read_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count >= PIECES - 1
    assert written_peak < HELD_PIECES * PIECE_BYTES
    assert read_peak < HELD_PIECES * PIECE_BYTES


async def test_no_connection_is_held_while_a_chunk_or_a_reader_is_waited_for(ground: Ground) -> None:
    blob = new_id()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            await use_the_connection(ground)
            yield random_bytes(PIECE_BYTES)
        await use_the_connection(ground)

    await ground.store.write(ground.acme, blob, chunks(), max_bytes=3 * PIECE_BYTES)
    async for _ in ground.store.read(ground.acme, blob):
        await use_the_connection(ground)
