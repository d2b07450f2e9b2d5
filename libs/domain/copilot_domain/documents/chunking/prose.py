"""Texts cut at the largest structures that fit, one piece after the other: nothing behind the next piece is looked at.

So the time is linear whatever the text is (the splitter's own grows with the square where it has no structure), and a
change leaves the pieces before it as they were.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, NamedTuple

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from copilot_domain.documents.chunking.counters import TokenCounter
from copilot_domain.documents.chunking.outline import Block, Outline
from copilot_domain.documents.chunking.rules import ChunkRules

_INK: Final = re.compile(r"\S")
_SENTENCE_END: Final = re.compile(r"[.!?…][\"')\]”’»]*\s+|[。！？．][」』”’）]*\s*|\n\s*\n\s*")
# What the splitter sees, in what it may take: enough to tell how the next structure ends from that it doesn't fit.
_SIGHT: Final = 2
# Characters of a sentence to look for in a token of overlap: English has some four.
_OVERLAP_SIGHT: Final = 6


class Span(NamedTuple):
    start: int
    end: int
    token_count: int


class ProseCutter:
    """`splitter` knows what is between the outline's blocks. `shares`: whether neighbours may overlap."""

    def __init__(
        self,
        text: str,
        outline: Outline,
        counter: TokenCounter,
        rules: ChunkRules,
        splitter: type[TextSplitter | MarkdownSplitter] = TextSplitter,
        *,
        shares: bool = True,
    ) -> None:
        self._text = text
        self._outline = outline
        self._counter = counter
        self._max_tokens = rules.max_tokens
        self._overlap_tokens = rules.overlap_tokens if shares else 0
        self._splitter = splitter

    def spans(self, begin: int, end: int) -> Iterator[Span]:
        """In order, of at most `max_tokens`, with all between `begin` and `end` that is not white space."""
        position = start = self._ink(begin, end)
        while position < end:
            span = self._span(start, position, end)
            yield span
            position = self._ink(span.end, end)
            start = self._overlap(span, position)

    def _span(self, start: int, position: int, end: int) -> Span:
        """From `start`, where a shared sentence begins, to somewhere behind `position`, where the last span ended."""
        limit = self._reach(start, end)
        if limit <= position:
            start = position
            limit = self._reach(start, end)
        while True:
            stop = start + len(self._text[start : self._fill(start, position, limit, end)].rstrip())
            count = self._counter.count(self._text[start:stop])
            if count <= self._max_tokens or stop <= position + 1:
                return Span(start, stop, count)
            limit = stop - 1  # the end of a word may be more tokens than the word

    def _fill(self, start: int, position: int, limit: int, end: int) -> int:
        """Take structure after structure until half of what fits is full, and then what is whole."""
        stop, enough = position, start + (limit - start) // 2
        while (at := self._ink(stop, limit)) < limit:
            block = self._outline.block_from(at) or Block(end, end, end)
            whole = min(block.start, end) if at < block.start else min(block.end, end)
            if whole <= limit:
                stop = whole
            elif stop >= enough or (at == block.start and at > position and self._reach(at, end) >= whole):
                break
            else:
                stop = self._part(at, limit, whole, block)
                if stop < enough and at < block.start:
                    continue
                break
        return self._without_headings(position, stop) if stop < end else stop

    def _part(self, at: int, limit: int, whole: int, block: Block) -> int:
        """The end of the largest structure that fits, of one that doesn't."""
        if at >= block.start and block.header > block.start:  # rows
            row = self._text.rfind("\n", at + 1, limit + 1)
            if row > 0:
                return row
        splitter = self._splitter if at < block.start else TextSplitter
        room = limit - at
        first = splitter(room).chunk_indices(self._text[at : min(whole, at + _SIGHT * room)])[:1]
        stop = at + first[0][0] + len(first[0][1]) if first else limit
        return stop if at >= block.start else self._sentence_end(at, stop, whole)

    def _sentence_end(self, at: int, stop: int, end: int) -> int:
        """In the last third, where a line or a word ended amid a sentence: prose is wrapped anywhere."""
        following = self._ink(stop, end)
        letter = self._text[following : following + 1]
        if not letter.isalpha() or letter.isupper():
            return stop
        ends = _SENTENCE_END.finditer(self._text, stop - (stop - at) // 3, following)
        return max((match.end() for match in ends), default=stop)

    def _without_headings(self, position: int, stop: int) -> int:
        """Headings at the end go with what follows them, unless nothing else is there."""
        kept = stop
        while (heading := self._outline.last_heading(kept)) is not None and heading >= position:
            line_end = self._text.find("\n", heading, kept)
            if line_end >= 0 and self._ink(line_end, kept) < kept:
                return kept
            if heading == position:
                return stop
            kept = heading
        return kept

    def _overlap(self, span: Span, position: int) -> int:
        """Where the first of the last sentences begins that together are few enough; `position` where none is."""
        most = self._overlap_tokens
        floor = max(span.start + 1, span.end - _OVERLAP_SIGHT * most, self._outline.last_border(position + 1))
        if not most or floor >= span.end:
            return position
        starts = [match.end() for match in _SENTENCE_END.finditer(self._text, floor, span.end)]
        first = bisect_left(starts, -most, key=lambda at: -self._counter.count(self._text[at : span.end]))
        return starts[first] if first < len(starts) and starts[first] < span.end else position

    def _reach(self, start: int, end: int) -> int:
        return self._counter.reach(self._text, start, end, self._max_tokens)

    def _ink(self, position: int, end: int) -> int:
        """The next character that is not white space."""
        found = _INK.search(self._text, position, end)
        return found.start() if found else end
