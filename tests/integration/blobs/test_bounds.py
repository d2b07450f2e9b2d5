"""What a blob costs whoever reads or writes it: a few pieces of memory, and no transaction while others are slow."""

import tracemalloc
from collections.abc import AsyncIterator

from copilot_common.base.ids import new_id
from copilot_common.blobs import PIECE_BYTES
from integration.blobs.ground import Ground, random_bytes

PIECES = 64  # 16 MB, in objects 64 MB
HELD_PIECES = 8  # plaintext, sealed, psycopg's copies: five measured
READ_CHUNK = PIECE_BYTES // 3


async def use_the_connection(ground: Ground) -> None:
    """Whoever else wants the pool's only connection gets it."""
    async with ground.db.transaction(ground.other) as tx:
        assert await tx.fetch_value("SELECT 1") == 1


async def test_any_number_of_megabytes_passes_through_a_few_pieces_of_memory(ground: Ground) -> None:
    blob = new_id()

    async def chunks() -> AsyncIterator[bytes]:
        chunk = random_bytes(READ_CHUNK)
        for _ in range(PIECES * ground.piece_bytes // READ_CHUNK):
            yield chunk

    await ground.write(b"warm")
    tracemalloc.start()
    try:
        await ground.store.write(ground.acme, blob, chunks(), max_bytes=PIECES * ground.piece_bytes)
        _, written_peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        count = 0
        async for piece in ground.store.read(ground.acme, blob):
            count += len(piece) == ground.piece_bytes
        _, read_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count >= PIECES - 1
    assert written_peak < HELD_PIECES * ground.piece_bytes
    assert read_peak < HELD_PIECES * ground.piece_bytes


async def test_no_connection_is_held_while_a_chunk_or_a_reader_is_waited_for(ground: Ground) -> None:
    blob = new_id()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            await use_the_connection(ground)
            yield random_bytes(ground.piece_bytes)
        await use_the_connection(ground)

    await ground.store.write(ground.acme, blob, chunks(), max_bytes=3 * ground.piece_bytes)
    async for _ in ground.store.read(ground.acme, blob):
        await use_the_connection(ground)
