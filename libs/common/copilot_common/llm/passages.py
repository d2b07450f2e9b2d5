"""Texts cut into passages an answer can stand on and cite."""

import re
from collections.abc import Iterator
from typing import Final

from copilot_common.llm.types import Passage

# Each pattern looks at any character a bounded number of times: a hostile text costs no more than an honest one.
_PARAGRAPH_END: Final = re.compile(r"\n[^\S\n]*\n\s*|\n(?=#{1,6}\s)")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")
_HEADING: Final = re.compile(r"#{1,6}\s")

Span = tuple[int, int]


def split_passages(name: str, text: str, first_number: int, target_chars: int = 600) -> list[Passage]:
    """Cut at headings, paragraphs, sentences, words, in this order of preference.

    Every passage has at most `target_chars` characters, `text[start:end] == passage.text`, and every character that is
    not white space is in exactly one passage. Numbers count up from `first_number`.
    """
    spans = (_trim(text, span) for span in _pack(text, _atoms(text, target_chars), target_chars))
    kept = [span for span in spans if span[0] < span[1]]
    return [
        Passage(number, name, text[start:end], start, end) for number, (start, end) in enumerate(kept, first_number)
    ]


def _atoms(text: str, target: int) -> Iterator[Span]:
    """The largest natural pieces that fit, without gaps."""
    for paragraph in _split(text, (0, len(text)), _PARAGRAPH_END):
        if paragraph[1] - paragraph[0] <= target:
            yield paragraph
            continue
        for sentence in _split(text, paragraph, _SENTENCE_END):
            yield from _cut(text, sentence, target)


def _split(text: str, span: Span, end: re.Pattern[str]) -> Iterator[Span]:
    start = span[0]
    for match in end.finditer(text, *span):
        if match.end() > start:
            yield start, match.end()
            start = match.end()
    if start < span[1]:
        yield start, span[1]


def _cut(text: str, span: Span, target: int) -> Iterator[Span]:
    """At the last space of each window, or through the middle of a word where there is none."""
    start, end = span
    while end - start > target:
        space = text.rfind(" ", start + target // 2, start + target)
        cut = space + 1 if space > 0 else start + target
        yield start, cut
        start = cut
    yield start, end


def _pack(text: str, atoms: Iterator[Span], target: int) -> Iterator[Span]:
    """Neighbours together, as long as they fit and no heading begins (but a text of headings is not cut to crumbs)."""
    begin = end = 0
    for start, stop in atoms:
        is_section = end - begin >= target // 4 and _HEADING.match(text, start)
        if end > begin and (stop - begin > target or is_section):
            yield begin, end
            begin = start
        end = stop
    yield begin, end


def _trim(text: str, span: Span) -> Span:
    piece = text[span[0] : span[1]]
    stripped = piece.strip()
    start = span[0] + len(piece) - len(piece.lstrip())
    return start, start + len(stripped)
