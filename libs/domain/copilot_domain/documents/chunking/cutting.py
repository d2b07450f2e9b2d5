"""A document's sections, each cut by the rules of its kind."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final, assert_never

from semantic_text_splitter import MarkdownSplitter

from copilot_domain.documents.chunking import code, counters
from copilot_domain.documents.chunking.outline import MAX_TITLE, HeadingPath, Outline
from copilot_domain.documents.chunking.prose import ProseCutter, Span
from copilot_domain.documents.chunking.rules import ChunkRules, TokenizerName
from copilot_domain.documents.types import Document, Piece, Section

Spans = Iterator[Span]
Path = Callable[[int], tuple[str, ...]]

# Of a section's own: a file in folders of an archive, a sheet. Headings of Markdown are six at most.
_SECTION_TITLES: Final = 6


def warm_up(tokenizer: TokenizerName) -> None:
    """Load what is in files (about 0.5 s): no file is opened afterwards."""
    counters.warm_up(tokenizer)
    code.warm_up()


def cut(document: Document, rules: ChunkRules) -> Iterator[Piece]:
    """Pieces in order; starts and ends rise strictly. Every character that is not white space is in one, and in two
    where neighbours of one section overlap. A piece has at most `max_tokens` tokens, and no white space at its ends.

    A heading has at most 200 characters, a path 13: those of the section, those of Markdown, and a table's header row
    above rows that are not in one piece with it. Of a path that is too long for `shown_tokens` the innermost are kept.
    The text may have no lone surrogates (UnicodeEncodeError).
    """
    counter = counters.open_counter(rules.tokenizer)
    for section in document.sections:
        own = tuple(title[:MAX_TITLE] for title in section.heading[:_SECTION_TITLES])
        spans, path = _cut_section(document.text, section, counter, rules)
        for span in spans:
            heading = own + path(span.start)
            if rules.shown_tokens is not None:
                heading = _innermost(heading, document.text[span.start : span.end], counter, rules.shown_tokens)
            yield Piece(
                start=span.start,
                end=span.end,
                token_count=span.token_count,
                page=_page(document.pages, span.start),
                heading=heading,
            )


def _cut_section(text: str, section: Section, counter: counters.TokenCounter, rules: ChunkRules) -> tuple[Spans, Path]:
    start, end = section.start, section.end
    match section.kind:
        case "code":
            return code.cut_code(text, start, end, section.language, counter, rules), lambda _: ()
        case "text":
            return ProseCutter(text, Outline(text), counter, rules).spans(start, end), lambda _: ()
        case "markdown":
            outline = Outline.of_markdown(text, start, end)
            cutter = ProseCutter(text, outline, counter, rules, MarkdownSplitter)
            return cutter.spans(start, end), HeadingPath(text, outline).at
        case "table":
            outline = Outline.of_table(text, start, end)
            return ProseCutter(text, outline, counter, rules).spans(start, end), HeadingPath(text, outline).at
    assert_never(section.kind)


def _innermost(
    heading: tuple[str, ...], text: str, counter: counters.TokenCounter, shown_tokens: int
) -> tuple[str, ...]:
    while heading and counter.count("\n".join([*heading, text])) > shown_tokens:
        heading = heading[1:]
    return heading


def _page(pages: Sequence[int], position: int) -> int | None:
    return max(1, bisect_right(pages, position)) if pages else None
