"""PDF: the text layer in the order in which it was written, a page at a time, with headings by the size of type."""

import ctypes
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from copilot_domain.documents.extracting import markdown
from copilot_domain.documents.extracting.archive import damaged, protected
from copilot_domain.documents.extracting.draft import MAX_CHARACTERS, Draft, too_much_text
from copilot_domain.documents.types import DocumentError, Source

_MAX_PAGES: Final = 10_000  # 2 ms each; more is claimed by files that are broken on purpose
_MAX_HEADING: Final = 200  # characters; a longer line in large type is not a heading
_LARGER: Final = 1.15  # times the size of most of the text
_LEVELS: Final = 3
_GAP: Final = 0.5  # of a line's height, above which a paragraph begins
# PDFium's mark for a hyphen at a line's end; the word goes on in the next line.
_HYPHEN: Final = re.compile("[\x02\ufffe]\\s*")


class _Line(NamedTuple):
    text: str
    size: float  # of its first character, in points
    top: float
    bottom: float


def read(data: bytes, source: Source, draft: Draft) -> None:
    document = _open(data)
    try:
        pages = list(_pages(document))
    finally:
        document.close()
    if not any(line.text.strip() for lines in pages for line in lines):
        raise DocumentError(
            "EMPTY", "It has no text layer: its pages are pictures. Run it through a text recognition (OCR) first."
        )
    levels = _levels(pages)
    draft.begin("markdown")
    for lines in pages:
        draft.begin_page()
        for block in _blocks(lines, levels):
            draft.write(block + "\n\n")


def _open(data: bytes) -> pdfium.PdfDocument:
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        locked = getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_PASSWORD
        raise (protected() if locked else damaged()) from None
    if len(document) > _MAX_PAGES:
        raise DocumentError("TOO_LARGE", "It has more than 10 000 pages. Split it into smaller files.")
    return document


def _pages(document: pdfium.PdfDocument) -> Iterator[list[_Line]]:
    """A page that can't be read is an empty one, unless none can."""
    left, broken = MAX_CHARACTERS, 0
    for number in range(len(document)):
        try:
            lines = _lines(document, number)
        except pdfium.PdfiumError:
            lines, broken = [], broken + 1
        left -= sum(len(line.text) for line in lines)
        if left < 0:
            raise too_much_text()
        yield lines
    if broken == len(document):
        raise damaged()


def _lines(document: pdfium.PdfDocument, number: int) -> list[_Line]:
    page = document[number]
    try:
        layer = page.get_textpage()
        try:
            return list(_measured(layer))
        finally:
            layer.close()
    finally:
        page.close()


def _measured(layer: pdfium.PdfTextPage) -> Iterator[_Line]:
    position, box = 0, pdfium_c.FS_RECTF()
    for line in layer.get_text_range(errors="ignore").split("\r\n"):
        index = pdfium_c.FPDFText_GetCharIndexFromTextIndex(layer.raw, position)
        found = index >= 0 and pdfium_c.FPDFText_GetLooseCharBox(layer.raw, index, ctypes.byref(box))
        yield _Line(line, box.top - box.bottom, box.top, box.bottom) if found else _Line(line, 0, 0, 0)
        position += len(line.encode("utf-16-le", "surrogatepass")) // 2 + 2


def _levels(pages: list[list[_Line]]) -> dict[int, int]:
    """The largest sizes of type, in points, as levels of headings."""
    characters: Counter[int] = Counter()
    for lines in pages:
        for line in lines:
            characters[round(line.size)] += len(line.text)
    usual = characters.most_common(1)[0][0]
    larger = sorted((size for size in characters if size > usual * _LARGER), reverse=True)
    return {size: min(rank, _LEVELS) for rank, size in enumerate(larger, 1)} if usual > 0 else {}


def _blocks(lines: list[_Line], levels: dict[int, int]) -> Iterator[str]:
    gathered: list[str] = []
    previous: _Line | None = None
    for line in lines:
        level = levels.get(round(line.size), 0) if len(line.text) <= _MAX_HEADING else 0
        if level or previous is None or _is_apart(previous, line):
            yield from _paragraph(gathered)
        if level and line.text.strip():
            yield markdown.heading(level, line.text)
        else:
            gathered.append(line.text)
        previous = line
    yield from _paragraph(gathered)


def _paragraph(gathered: list[str]) -> Iterator[str]:
    text = _HYPHEN.sub("", "\n".join(line.rstrip() for line in gathered))
    gathered.clear()
    if text.strip():
        yield markdown.paragraph(text)


def _is_apart(above: _Line, line: _Line) -> bool:
    """Further below than the next line is, or above: in another column."""
    gap = above.bottom - line.top
    return gap > _GAP * max(line.size, 1) or line.bottom > above.top
