"""Texts cut from a document that comes in pieces are those of the whole."""

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.ingestion.texts import cut_texts
from copilot_domain.documents.types import Piece

GAP = 100


async def in_parts(data: bytes, borders: Sequence[int]) -> AsyncIterator[bytes]:
    edges = [0, *sorted(borders), len(data)]
    for start, end in pairwise(edges):
        yield data[start:end]


def piece(start: int, end: int) -> Piece:
    return Piece(start=start, end=end, token_count=1)


async def cut(data: bytes, borders: Sequence[int], pieces: Sequence[Piece]) -> list[str]:
    return [text async for text in cut_texts(in_parts(data, borders), pieces)]


@given(st.data())
async def test_any_pieces_of_any_text_are_cut_wherever_its_bytes_are_split(data: st.DataObject) -> None:
    text = data.draw(st.text(min_size=1, max_size=400))
    content = text.encode()
    borders = data.draw(st.lists(st.integers(0, len(content)), max_size=20))
    starts = sorted(data.draw(st.sets(st.integers(0, len(text) - 1), max_size=10)))
    pieces = [piece(start, data.draw(st.integers(start + 1, len(text)))) for start in starts]
    texts = await cut(content, borders, pieces)
    for number, (made, cutted) in enumerate(zip(pieces, texts, strict=True)):
        following = starts[number + 1] if number + 1 < len(starts) else None
        is_near = following is not None and made.end < following <= made.end + GAP
        assert cutted == text[made.start : following if is_near else made.end]


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        (b"short", [piece(0, 6)]),
        (b"short", [piece(9, 10)]),
        (b"", [piece(0, 1)]),
        (b"long enough", [piece(5, 7), piece(2, 4)]),
        (b"\xff\xfe", [piece(0, 1)]),
        ("half a char: é".encode()[:-1], [piece(0, 14)]),
    ],
    ids=["end outside", "start outside", "nothing", "out of order", "no UTF-8", "cut short"],
)
async def test_what_cannot_be_cut_is_a_value_error(content: bytes, pieces: list[Piece]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of which UnicodeDecodeError is one
        await cut(content, [3, 4], pieces)


async def test_no_more_of_a_text_is_kept_than_its_current_piece() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 100

    texts = cut_texts(endless(), [piece(0, 10), piece(5_000, 5_010)])
    assert await anext(texts) == "x" * 10
    assert read == 1
    assert await anext(texts) == "x" * 10
    assert read == 51
