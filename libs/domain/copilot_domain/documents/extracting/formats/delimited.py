"""CSV, TSV and their kin: one table, a record a line."""

import csv
import io
from typing import Final

from copilot_domain.documents.extracting import markdown
from copilot_domain.documents.extracting.draft import MAX_CHARACTERS, Draft
from copilot_domain.documents.extracting.formats.plain import decoded
from copilot_domain.documents.types import Source

_DELIMITERS: Final = (",", ";", "\t", "|")  # the first of equals
_SAMPLE: Final = 64 * 1024  # characters
_SAMPLE_RECORDS: Final = 50


def read(data: bytes, source: Source, draft: Draft) -> None:
    """What the parser of CSV can't read is plain text."""
    text = decoded(data, source).replace("\0", "").lstrip("\ufeff")
    csv.field_size_limit(MAX_CHARACTERS)
    try:
        with draft.attempt():
            draft.begin("table")
            for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text)):
                line = markdown.row(cells)
                if line:
                    draft.write(line + "\n")
    except csv.Error:
        draft.begin("text")
        draft.write(text)


def delimiter_of(text: str) -> str:
    """The one that cuts the first records into the same number of cells, and into most."""
    return max(_DELIMITERS, key=lambda delimiter: _evenness(text[:_SAMPLE], delimiter))


def _evenness(sample: str, delimiter: str) -> tuple[float, int]:
    widths: list[int] = []
    try:
        for cells in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            if cells:
                widths.append(len(cells))
            if len(widths) > _SAMPLE_RECORDS:
                break
    except csv.Error:
        return 0.0, 0
    if not widths:
        return 0.0, 0
    usual = max(set(widths), key=widths.count)
    return (widths.count(usual) / len(widths) if usual > 1 else 0.0), usual
