"""Pieces and the manifest, with pieces small enough for Hypothesis."""

import hashlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.errors import TooLarge
from copilot_common.blobs.pieces import Manifest, Tally, regroup, split

SIZE = 8


async def stream(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def regrouped(chunks: list[bytes], max_bytes: int) -> list[bytes]:
    return [piece async for piece in regroup(stream(chunks), SIZE, max_bytes=max_bytes)]


@given(st.lists(st.binary(max_size=5 * SIZE), max_size=12))
async def test_chunks_of_any_size_become_the_pieces_of_their_whole(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert await regrouped(chunks, len(whole)) == list(split(whole, SIZE))


@given(st.lists(st.binary(max_size=3 * SIZE), min_size=1, max_size=6).filter(any))
async def test_one_byte_too_many_is_refused_wherever_it_is(chunks: list[bytes]) -> None:
    size = sum(map(len, chunks))
    with pytest.raises(TooLarge):
        await regrouped(chunks, size - 1)


@given(st.binary(max_size=5 * SIZE))
def test_a_manifest_tells_the_number_and_the_lengths_of_what_was_added(data: bytes) -> None:
    tally = Tally(SIZE)
    numbers = [tally.add(piece) for piece in split(data, SIZE)]
    manifest = Manifest.decode(tally.manifest().encode())
    assert numbers == list(range(manifest.piece_count))
    assert [manifest.length_of(number) for number in numbers] == [len(piece) for piece in split(data, SIZE)]
    assert (manifest.size_bytes, manifest.sha256) == (len(data), hashlib.sha256(data).digest())


def test_a_manifest_with_another_piece_size_is_read_by_that_size() -> None:
    manifest = Manifest.decode(Manifest(size_bytes=10, piece_bytes=4, sha256=bytes(32)).encode())
    assert [manifest.length_of(number) for number in range(manifest.piece_count)] == [4, 4, 2]


async def test_chunks_are_taken_only_as_pieces_are_asked_for() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(SIZE)

    made = regroup(endless(), SIZE, max_bytes=1_000_000)
    for number in range(1, 5):
        await anext(made)
        assert taken == number
    await made.aclose()
