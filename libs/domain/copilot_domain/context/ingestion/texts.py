"""The texts of chunks, cut from a document that is read piece by piece: memory follows the chunks, not the document."""

import codecs
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from itertools import zip_longest
from typing import Final

from copilot_domain.documents.types import Piece

_MAX_GAP: Final = 100  # characters of white space between two chunks


async def cut_texts(content: AsyncIterable[bytes], pieces: Sequence[Piece]) -> AsyncIterator[str]:
    """The text of each piece, on to where the next one begins if that is near: so neighbours can be shown as one.

    `content` is UTF-8 and pieces are in order of their starts. Raises UnicodeDecodeError, and ValueError for a piece
    outside of the text.
    """
    window = _Window(content)
    starts = [piece.start for piece in pieces[1:]]
    for piece, next_start in zip_longest(pieces, starts):
        is_near = next_start is not None and piece.end < next_start <= piece.end + _MAX_GAP
        yield await window.cut(piece.start, next_start if is_near else piece.end)


async def once(content: bytes) -> AsyncIterator[bytes]:
    """What is in memory already, as what is read piece by piece."""
    yield content


class _Window:
    """The part of the text that is in memory."""

    def __init__(self, content: AsyncIterable[bytes]) -> None:
        self._content = aiter(content)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._start = 0
        self._text = ""
        self._is_done = False

    async def cut(self, start: int, end: int) -> str:
        if start < self._start:
            raise ValueError("pieces are not in order")
        while self._start + len(self._text) < end and not self._is_done:
            self._forget(start)
            await self._read_on()
        if self._start + len(self._text) < end:
            raise ValueError("a piece lies outside of the text")
        return self._text[start - self._start : end - self._start]

    def _forget(self, start: int) -> None:
        passed = min(start - self._start, len(self._text))
        self._text = self._text[passed:]
        self._start += passed

    async def _read_on(self) -> None:
        data = await anext(self._content, None)
        self._is_done = data is None
        self._text += self._decode(data or b"", data is None)
