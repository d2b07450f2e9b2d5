"""Whoever can write to the database but has no key can make a blob unreadable, and nothing else."""

from uuid import UUID

import pytest

from copilot_common.blobs import PIECE_BYTES
from copilot_common.encryption import DecryptionError
from integration.blobs.ground import Ground, random_bytes

DATA = random_bytes(3 * PIECE_BYTES + 7)  # four pieces
COPY = """
    UPDATE blob_pieces SET content_sealed = other.content_sealed
    FROM blob_pieces other
    WHERE blob_pieces.blob_id = %s AND blob_pieces.number = %s AND other.blob_id = %s AND other.number = %s
"""


async def collect(ground: Ground, blob: UUID, received: list[bytes]) -> None:
    async for piece in ground.store.read(ground.acme, blob):
        received.append(piece)  # noqa: PERF401 - what came before the error counts


async def assert_refused(ground: Ground, blob: UUID, *, good_pieces: int) -> None:
    """Whatever was handed out before the spoilt piece is what was written."""
    received: list[bytes] = []
    with pytest.raises(DecryptionError):
        await collect(ground, blob, received)
    assert len(received) == good_pieces
    assert DATA.startswith(b"".join(received))
    with pytest.raises(DecryptionError):
        await ground.store.read_all(ground.acme, blob, max_bytes=len(DATA))


async def test_two_pieces_that_changed_places(in_postgres: Ground) -> None:
    blob = await in_postgres.put(DATA)
    swap = """
        UPDATE blob_pieces p SET content_sealed = o.content_sealed FROM blob_pieces o
        WHERE p.blob_id = %s AND o.blob_id = p.blob_id AND p.number IN (1, 2) AND o.number = 3 - p.number
    """
    in_postgres.spoil(swap, blob)
    await assert_refused(in_postgres, blob, good_pieces=1)


async def test_a_piece_in_place_of_another_one(in_postgres: Ground) -> None:
    blob = await in_postgres.put(DATA)
    in_postgres.spoil(COPY, blob, 2, blob, 1)
    await assert_refused(in_postgres, blob, good_pieces=2)


async def test_a_piece_of_another_blob(in_postgres: Ground) -> None:
    blob, other = await in_postgres.put(DATA), await in_postgres.put(DATA)
    in_postgres.spoil(COPY, blob, 0, other, 0)
    await assert_refused(in_postgres, blob, good_pieces=0)


async def test_a_blob_moved_to_another_tenant(in_postgres: Ground) -> None:
    blob = await in_postgres.put(DATA, in_postgres.other)
    columns = "id, size_bytes, piece_count, manifest_sealed, created_at"
    copy = f"INSERT INTO blobs (tenant_id, {columns}) SELECT %s, {columns} FROM blobs WHERE id = %s"
    in_postgres.spoil(copy, in_postgres.acme.tenant_id, blob)
    in_postgres.spoil("UPDATE blob_pieces SET tenant_id = %s WHERE blob_id = %s", in_postgres.acme.tenant_id, blob)
    await assert_refused(in_postgres, blob, good_pieces=0)


@pytest.mark.parametrize("number", [0, 1, 3])
async def test_a_piece_taken_away(in_postgres: Ground, number: int) -> None:
    blob = await in_postgres.put(DATA)
    in_postgres.spoil("DELETE FROM blob_pieces WHERE blob_id = %s AND number = %s", blob, number)
    await assert_refused(in_postgres, blob, good_pieces=number)


async def test_the_last_piece_taken_away_and_the_counts_made_to_fit(in_postgres: Ground) -> None:
    blob = await in_postgres.put(DATA)
    in_postgres.spoil("DELETE FROM blob_pieces WHERE blob_id = %s AND number = 3", blob)
    in_postgres.spoil("UPDATE blobs SET piece_count = 3, size_bytes = %s WHERE id = %s", 3 * PIECE_BYTES, blob)
    await assert_refused(in_postgres, blob, good_pieces=3)


@pytest.mark.parametrize("kept_bytes", [0, 10, 31, PIECE_BYTES])
async def test_a_piece_cut_short(in_postgres: Ground, kept_bytes: int) -> None:
    blob = await in_postgres.put(DATA)
    cut = "UPDATE blob_pieces SET content_sealed = substr(content_sealed, 1, %s) WHERE blob_id = %s AND number = 1"
    in_postgres.spoil(cut, kept_bytes, blob)
    await assert_refused(in_postgres, blob, good_pieces=1)


async def test_one_bit_of_a_piece_turned(in_postgres: Ground) -> None:
    blob = await in_postgres.put(DATA)
    turn = "UPDATE blob_pieces SET content_sealed = set_bit(content_sealed, 1000, 1 - get_bit(content_sealed, 1000))"
    in_postgres.spoil(turn + " WHERE blob_id = %s AND number = 2", blob)
    await assert_refused(in_postgres, blob, good_pieces=2)


async def test_the_manifest_of_another_blob(in_postgres: Ground) -> None:
    blob, shorter = await in_postgres.put(DATA), await in_postgres.put(DATA[:PIECE_BYTES])
    replace = "UPDATE blobs b SET manifest_sealed = o.manifest_sealed FROM blobs o WHERE b.id = %s AND o.id = %s"
    in_postgres.spoil(replace, blob, shorter)
    await assert_refused(in_postgres, blob, good_pieces=0)


async def test_nothing_of_the_content_can_be_read_in_the_tables(in_postgres: Ground) -> None:
    blob = await in_postgres.put(b"the door is blue " * 1_000)
    stored = "SELECT b::text || p::text FROM blobs b JOIN blob_pieces p ON p.blob_id = b.id WHERE b.id = %s"
    text = in_postgres.site.rows(stored, blob)[0][0]
    assert b"door".hex() not in text
    assert (await in_postgres.store.open(in_postgres.acme, blob)).info.sha256.hex() not in text
