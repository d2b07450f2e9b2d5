"""Whatever a child says, its parent raises what it knows, or takes what is bounded and in order."""

from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.platform.sandbox.errors import SandboxKilled
from copilot_domain.context.ingestion.errors import IngestionError
from copilot_domain.context.ingestion.reading import _Answer
from copilot_domain.documents.reply import Fault, Part, encode
from copilot_domain.documents.types import Piece


def part(kind: int, payload: bytes = b"") -> bytes:
    return bytes([kind]) + payload


def piece(start: int = 0, end: int = 5, tokens: int = 1, page: int | None = None, *heading: str) -> Piece:
    return Piece(start=start, end=end, token_count=tokens, page=page, heading=heading)


def pieces(*found: Piece) -> bytes:
    return part(Part.PIECES, encode(found))


TEXT = part(Part.TEXT, b"hello world")
DONE = part(Part.DONE, b"text/plain")
FAULT = part(Part.FAULT, encode(Fault("EMPTY", "It holds no text.")))


async def said(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for one in parts:
        yield one


async def heard(*parts: bytes) -> tuple[bytes, list[Piece]]:
    answer = _Answer(said(*parts))
    return b"".join([text async for text in answer.text()]), [found async for found in answer.pieces()]


async def test_texts_pieces_and_the_end_are_heard_in_their_order() -> None:
    found = [piece(0, 5, 1, 1, "A"), piece(3, 11, 2, 2, "A", "B"), piece(6, 12)]
    assert await heard(TEXT, TEXT, pieces(*found[:2]), pieces(found[2]), DONE) == (b"hello world" * 2, found)
    assert await heard(DONE) == (b"", [])


@pytest.mark.parametrize(
    "before", [(), (TEXT,), (TEXT, pieces(piece()))], ids=["at once", "after text", "after pieces"]
)
async def test_a_fault_is_heard_whenever_it_comes_and_to_the_end(before: tuple[bytes, ...]) -> None:
    is_ended = False

    async def parts() -> AsyncGenerator[bytes, None]:
        nonlocal is_ended
        for one in (*before, FAULT):
            yield one
        is_ended = True

    answer = _Answer(parts())
    with pytest.raises(IngestionError) as raised:
        _ = [text async for text in answer.text()], [found async for found in answer.pieces()]
    assert (raised.value.reason, raised.value.message) == ("EMPTY", "It holds no text.")
    assert is_ended  # a child that is left before is killed


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (TEXT,),
        (TEXT, pieces(piece())),
        (pieces(piece()), TEXT, DONE),
        (DONE, TEXT),
        (DONE, DONE),
        (FAULT, DONE),
        (part(0), DONE),
        (part(9, b"x"), DONE),
        (b"", DONE),
        (part(Part.PIECES, b"\xc1"), DONE),
        (part(Part.PIECES, encode([{"start": 0}])), DONE),
        (part(Part.PIECES, encode([{"start": "0", "end": 1, "token_count": 1}])), DONE),
        (part(Part.FAULT, b"\xc1"),),
        (part(Part.FAULT, encode(["CONFLICT", "no code of a document"])),),
        (part(Part.FAULT, encode(["EMPTY", "a\0b"])),),
        (part(Part.FAULT, encode(["EMPTY", "x" * 501])),),
        (pieces(piece(-1, 5)), DONE),
        (pieces(piece(5, 5)), DONE),
        (pieces(piece(5, 6), piece(5, 7)), DONE),
        (pieces(piece(5, 6)), pieces(piece(4, 7)), DONE),
        (pieces(piece(0, 2**31)), DONE),
        (pieces(piece(2**31, 2**31 + 1)), DONE),
        (pieces(piece(0, 1_000_000)), DONE),
        (pieces(piece(0, 5, -1)), DONE),
        (pieces(piece(0, 5, 2**31)), DONE),
        (pieces(piece(0, 5, 1, 0)), DONE),
        (pieces(piece(0, 5, 1, 2**31)), DONE),
        (pieces(piece(0, 5, 1, 1, "x" * 1_000_000)), DONE),
    ],
)
async def test_a_child_that_lies_counts_as_dead(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(SandboxKilled) as raised:
        await heard(*parts)
    assert raised.value.reason == "died"


@given(
    st.lists(
        st.one_of(
            st.builds(lambda kind, payload: bytes([kind]) + payload, st.integers(0, 5), st.binary(max_size=20)),
            st.sampled_from([TEXT, DONE, FAULT, pieces(piece()), pieces(piece(7, 9))]),
        ),
        max_size=6,
    )
)
async def test_any_parts_are_taken_or_refused_in_known_ways(parts: list[bytes]) -> None:
    try:
        _, found = await heard(*parts)
    except (SandboxKilled, IngestionError):
        return
    assert parts[-1][0] == Part.DONE
    assert all(before.start < after.start for before, after in pairwise(found))
