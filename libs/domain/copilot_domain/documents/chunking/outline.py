"""What holds a text together beyond its paragraphs: headings, fenced code, tables."""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

# A fence also counts where a list indents it.
_FENCE: Final = r" {0,12}(?P<fence>`{3,}+(?=[^`\n]*$)|~{3,})"
_HEADING: Final = r" {0,3}#{1,6}[ \t]"
_DELIMITERS: Final = r" {0,3}[|:-][-|: \t]*+\r?$"  # the row below a table's header: `|---|:--|`
_MARK: Final = re.compile(f"^(?:{_FENCE}|(?P<heading>{_HEADING})|(?P<delimiters>{_DELIMITERS}))", re.MULTILINE)
MAX_TITLE: Final = 200  # characters; a longer one is not a heading but a trick


class Block(NamedTuple):
    """A stretch that stays whole where it fits. `header` ends where its header row does; `start` where it has none."""

    start: int
    end: int
    header: int


class Outline:
    """The blocks and the headings of a text, by position. A few bytes are kept of each: there may be millions."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._headings = array("q")
        self._starts, self._ends, self._headers = array("q"), array("q"), array("q")

    @classmethod
    def of_table(cls, text: str, start: int, end: int) -> "Outline":
        outline = cls(text)
        outline._add(Block(start, end, _line_end(text, start, end)))
        return outline

    @classmethod
    def of_markdown(cls, text: str, start: int, end: int) -> "Outline":
        outline, position = cls(text), start
        while (mark := _MARK.search(text, position, end)) is not None:
            position = _line_end(text, mark.end(), end)
            if mark["heading"] is not None:
                if position - mark.start() <= MAX_TITLE:
                    outline._headings.append(mark.start())
            elif (block := _find_block(text, mark, start, end)) is not None:
                outline._add(block)
                position = block.end
        return outline

    def _add(self, block: Block) -> None:
        self._starts.append(block.start)
        self._ends.append(block.end)
        self._headers.append(block.header)

    def block_from(self, position: int) -> Block | None:
        """The block that holds the position, else the next one."""
        index = bisect_right(self._ends, position)
        if index == len(self._ends):
            return None
        return Block(self._starts[index], self._ends[index], self._headers[index])

    def last_border(self, position: int) -> int:
        """Where the last heading or block before the position ends; 0 where there is none."""
        heading = self.last_heading(position)
        block = bisect_left(self._starts, position) - 1
        return max(
            0 if heading is None else _line_end(self._text, heading, len(self._text)),
            0 if block < 0 else self._ends[block],
        )

    def last_heading(self, before: int) -> int | None:
        index = bisect_left(self._headings, before) - 1
        return self._headings[index] if index >= 0 else None

    def headings_between(self, start: int, end: int) -> Iterator[int]:
        return iter(self._headings[bisect_left(self._headings, start) : bisect_left(self._headings, end)])


class HeadingPath:
    """The headings that a position stands under; asked for rising positions."""

    def __init__(self, text: str, outline: Outline) -> None:
        self._text = text
        self._outline = outline
        self._seen = 0
        self._open: list[tuple[int, str]] = []

    def at(self, position: int) -> tuple[str, ...]:
        """Outermost first, a table's header row last. A heading where the position is counts as above it."""
        for start in self._outline.headings_between(self._seen, position + 1):
            level, title = _read_heading(self._text[start : _line_end(self._text, start, start + MAX_TITLE)])
            self._open = [*(pair for pair in self._open if pair[0] < level), (level, title)]
        self._seen = max(self._seen, position + 1)
        return (*(title for _, title in self._open), *self._header_row(position))

    def _header_row(self, position: int) -> tuple[str, ...]:
        block = self._outline.block_from(position)
        if block is None or not block.start < position or block.header == block.start:
            return ()
        row = self._text[block.start : _line_end(self._text, block.start, block.start + MAX_TITLE)].strip()
        return (row,) if row else ()


def _read_heading(line: str) -> tuple[int, str]:
    """`## Title ##`; string methods, since an expression for it takes cubic time."""
    marks, _, title = line.replace("\t", " ").strip().partition(" ")
    title = title.strip()
    bare = title.rstrip("#")
    return len(marks), bare.rstrip() if bare != bare.rstrip() or not bare else title


def _find_block(text: str, mark: re.Match[str], begin: int, end: int) -> Block | None:
    if (fence := mark["fence"]) is not None:
        # Of one character, at least as long as what it ends; where there is none, it is the end of the text.
        closing = re.compile(rf"^ {{0,12}}{fence[0]}{{{len(fence)},}}[ \t]*\r?$", re.MULTILINE)
        found = closing.search(text, _line_end(text, mark.end(), end), end)
        return Block(mark.start(), found.end() if found else end, mark.start())
    header = text.rfind("\n", begin, max(begin, mark.start() - 1)) + 1 or begin
    first_line = text[header : mark.start()]
    if "|" not in first_line or "|" not in mark[0] or "-" not in mark[0]:
        return None
    return Block(header, _table_end(text, mark.end(), end), mark.end())


def _table_end(text: str, position: int, end: int) -> int:
    """Where the last line of those that follow and have a `|` ends."""
    while position < end:
        line_end = _line_end(text, position + 1, end)
        if text.find("|", position, line_end) < 0:
            break
        position = line_end
    return position


def _line_end(text: str, position: int, end: int) -> int:
    found = text.find("\n", position, end)
    return end if found < 0 else found
