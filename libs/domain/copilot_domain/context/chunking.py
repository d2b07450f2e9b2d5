"""Texts cut into chunks: large enough to mean something alone, small enough to be compared and cited."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from copilot_common.llm.estimates import estimate_tokens
from copilot_domain.context.documents.types import Piece as Chunk
from copilot_domain.context.types import ItemType

MAX_CHUNK_TOKENS: Final = 300  # from 200 to 400 the same quality (docs/adr/0014); larger is cheaper
# The splitter's time grows with the square of a text that has no structure (28 s for 600 000 Chinese characters): it is
# given this much at a time, some fifteen chunks.
_WINDOW: Final = 16_000
_BREAKS: Final = ("\n# ", "\n## ", "\n\n", "\n", " ")  # where a window may end, the best first

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING: Final = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_HEADING_CHARACTERS: Final = 200  # of one heading; a longer one is not a heading but a trick


def split_chunks(text: str, kind: ItemType) -> list[Chunk]:
    """Cut at the largest structures that fit: headings and blocks of a `document`, else paragraphs, lines, sentences.

    Every chunk has at most MAX_CHUNK_TOKENS estimated tokens, `text[start:end] == chunk.text`, and every character
    that is not white space is in exactly one chunk.
    """
    is_markdown = kind == "document"
    make = MarkdownSplitter if is_markdown else TextSplitter
    splitter = make.from_callback(estimate_tokens, MAX_CHUNK_TOKENS)
    headings = _Headings(text) if is_markdown else None
    chunks: list[Chunk] = []
    for begin, end in _windows(text):
        for offset, piece in splitter.chunk_indices(text[begin:end]):
            start = begin + offset
            path = headings.at(start) if headings else ()
            chunks.append(Chunk(start=start, end=start + len(piece), token_count=estimate_tokens(piece), heading=path))
    return chunks


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Neighbouring ranges that cover the text, cut in the last quarter of each window."""
    begin = 0
    while len(text) - begin > _WINDOW:
        end = begin + _WINDOW
        cuts = (text.rfind(mark, end - _WINDOW // 4, end) for mark in _BREAKS)
        # The break itself begins the next window, where it is trimmed.
        end = next((cut for cut in cuts if cut > 0), end)
        yield begin, end
        begin = end
    yield begin, len(text)


class _Headings:
    """The headings of a Markdown text (`# …`, outside of code fences) by position."""

    def __init__(self, text: str) -> None:
        self._positions: list[int] = []
        self._paths: list[tuple[str, ...]] = []
        open_: list[tuple[int, str]] = []
        for position, level, title in _find_headings(text):
            open_ = [*(pair for pair in open_ if pair[0] < level), (level, title)]
            self._positions.append(position)
            self._paths.append(tuple(title for _, title in open_))

    def at(self, start: int) -> tuple[str, ...]:
        """The path that holds where the chunk begins; a heading that is its first line counts as above it."""
        index = bisect_right(self._positions, start)
        return self._paths[index - 1] if index else ()


def _find_headings(text: str) -> Iterator[tuple[int, int, str]]:
    position, fence = 0, ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence and (heading := _HEADING.match(line.rstrip("\r\n"))) and len(line) <= _HEADING_CHARACTERS:
            yield position, len(heading[1]), heading[2]
        position += len(line)
