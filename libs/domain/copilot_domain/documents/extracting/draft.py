"""A document in the making: pieces of text, where sections and pages begin, and what may still be used up."""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from copilot_domain.documents.types import Document, DocumentError, Section, SectionKind

# Some 4 000 pages of a book, 50 000 chunks: beyond it one item would fill an index by itself.
MAX_CHARACTERS: Final = 16_000_000
# Inflated, of one upload with all that is inside: XML of a sheet has up to eight times the characters of its text.
MAX_INFLATED_BYTES: Final = 256 * 1024 * 1024

_GAP: Final = "\n\n"
# C0 and C1 without tab, line feed and form feed; DEL; surrogates, which no encoding can carry; U+FFFE and U+FFFF.
_DROPPED: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_NEWLINES: Final = re.compile("\r\n?|\x85")


def normalise(text: str) -> str:
    """Line feeds for every newline, no control characters but tab, line feed and form feed, Unicode NFC."""
    return unicodedata.normalize("NFC", _DROPPED.sub("", _NEWLINES.sub("\n", text)))


def too_much_text() -> DocumentError:
    return DocumentError("TOO_LARGE", "It holds more than 16 million characters of text. Split it into smaller files.")


class Draft:
    """Text is written at its end only. Everything raises DocumentError (TOO_LARGE) at its bound."""

    def __init__(self) -> None:
        self.depth = 0  # of archives around what is being read
        self._heading: tuple[str, ...] = ()
        self._pieces: list[str] = []
        self._length = 0
        self._sections: list[Section] = []
        self._pages: list[int] = []
        self._inflated = 0
        self._members = 0

    def begin(self, kind: SectionKind, *, language: str = "", heading: tuple[str, ...] = ()) -> None:
        """A section, which ends where the next one begins."""
        self._close()
        if self._length:
            self._append(_GAP)
        at, path = self._length, (*self._heading, *heading)
        self._sections.append(Section(start=at, end=at, kind=kind, language=language, heading=path))

    def write(self, text: str) -> None:
        if len(text) > MAX_CHARACTERS:
            raise too_much_text()
        self._append(normalise(text))

    def begin_page(self) -> None:
        """Pages are those of a document; in an archive several would count from 1, so there are none."""
        if self.depth == 0:
            self._pages.append(self._length)

    def inflate(self, count: int) -> None:
        """Counts bytes that were compressed."""
        self._inflated += count
        if self._inflated > MAX_INFLATED_BYTES:
            raise DocumentError("TOO_LARGE", "Unpacked it is larger than 256 MB. Split it into smaller files.")

    def count_member(self, most: int) -> None:
        """One more file of an archive."""
        self._members += 1
        if self._members > most:
            raise DocumentError("TOO_LARGE", f"It holds more than {most} files. Split it into smaller archives.")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """If it raises, nothing was written; what was used up remains so."""
        pieces, length, sections, pages = len(self._pieces), self._length, list(self._sections), len(self._pages)
        try:
            yield
        except BaseException:
            del self._pieces[pieces:], self._pages[pages:]
            self._length, self._sections = length, sections
            raise

    @contextmanager
    def member(self, name: str) -> Iterator[None]:
        """An attempt whose sections stand under `name`."""
        outer, self._heading = self._heading, (*self._heading, name)
        self.depth += 1
        try:
            with self.attempt():
                yield
        finally:
            self._heading = outer
            self.depth -= 1

    def finish(self, media_type: str) -> Document:
        """Raises DocumentError (EMPTY) if nothing but white space was written."""
        self._close()
        text = "".join(self._pieces)
        sections = tuple(section for section in self._sections if not _is_blank(text, section))
        if not sections:
            raise DocumentError("EMPTY", "It holds no text.")
        return Document(text=text, sections=sections, pages=tuple(self._pages), media_type=media_type)

    def _append(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_CHARACTERS:
            raise too_much_text()
        self._pieces.append(text)

    def _close(self) -> None:
        if self._sections:
            last = self._sections[-1]
            self._sections[-1] = Section(
                start=last.start, end=self._length, kind=last.kind, language=last.language, heading=last.heading
            )


def _is_blank(text: str, section: Section) -> bool:
    return re.compile(r"\s*").fullmatch(text, section.start, section.end) is not None
