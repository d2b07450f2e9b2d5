"""What is known of a document at each stage. Offsets are in characters of its text, whole and extracted."""

from typing import Final, Literal

import msgspec

MAX_CHUNK_TOKENS: Final = 400
"""From 300 to 500 the same quality (docs/adr/0014); larger is cheaper. Less where the embedder reads less."""

SectionKind = Literal["markdown", "text", "code", "table"]

DocumentFault = Literal["UNSUPPORTED_TYPE", "TOO_LARGE", "EXTRACTION_FAILED", "EMPTY"]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What came in. `media_type` is what the sender or the server said, "" if nothing: a hint, as the name is."""

    name: str
    media_type: str = ""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the text that is cut by one set of rules.

    `markdown` has `#` headings, blocks and pipe tables; `table` is one row a line, its first line the header;
    `language` is that of `code` ("python", "" if it is not known). `heading` stands above all of it: a file's path
    inside an archive, a sheet's name.
    """

    start: int
    end: int
    kind: SectionKind
    language: str = ""
    heading: tuple[str, ...] = ()


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """`sections` are in order, do not overlap and hold every character that is not white space. `pages` are the offsets
    where pages begin, the first page's first; empty for what has none. `media_type` is what it turned out to be."""

    text: str
    sections: tuple[Section, ...]
    pages: tuple[int, ...] = ()
    media_type: str


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Where a chunk is: `text[start:end]`. `page` counts from 1, None where there are no pages; `heading` is the path
    of headings it stands under, outermost first; `token_count` is the embedder's."""

    start: int
    end: int
    token_count: int
    page: int | None = None
    heading: tuple[str, ...] = ()


class DocumentError(Exception):
    """It can't be ingested as it is, and never will be. `code` and `message` go to the user and quote nothing of it."""

    def __init__(self, code: DocumentFault, message: str) -> None:
        super().__init__(message)
        self.code: DocumentFault = code
        self.message = message
