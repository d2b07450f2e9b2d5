"""What a child of the context service answers is of a bounded size, whatever the document is."""

from io import BytesIO

import pytest

from copilot_common.platform.sandbox.frames import MAX_PART_BYTES
from copilot_domain.documents import child
from copilot_domain.documents.chunking.outline import MAX_TITLE
from copilot_domain.documents.reply import Part, ReadRequest, decode_pieces, encode
from copilot_domain.documents.types import MAX_CHUNK_TOKENS, Piece, Source

TITLES = 13


def answer(text: str) -> list[bytes]:
    request = ReadRequest(
        source=Source(name="a.md"), form="document", tokenizer="wordllama", max_tokens=MAX_CHUNK_TOKENS
    )
    return list(child.read_document(encode(request), BytesIO(text.encode())))


def test_the_largest_pieces_fit_into_a_part() -> None:
    heading = ("\U00010e80" * MAX_TITLE,) * TITLES
    piece = Piece(start=2**31, end=2**31, token_count=400, page=2**31, heading=heading)
    assert len(encode([piece] * child._PIECES)) < MAX_PART_BYTES


@pytest.mark.parametrize("count", [0, 1, child._PIECES, child._PIECES + 1])
def test_all_pieces_come_in_parts_and_then_the_end(count: int) -> None:
    text = "\n".join(f"# {number}\n\n{'walrus ' * 150}\n" for number in range(count))
    *parts, end = answer(text)
    assert end == bytes([Part.DONE]) + b"text/plain"
    assert {part[0] for part in parts} <= {Part.PIECES}
    pieces = [piece for part in parts for piece in decode_pieces(part[1:])]
    assert [piece.heading for piece in pieces] == [(str(number),) for number in range(count)]
