"""Excel workbooks: a table for each sheet, with the values that were calculated when it was saved."""

import datetime
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import python_calamine as calamine

from copilot_domain.documents.extracting import markdown
from copilot_domain.documents.extracting.archive import Archive, damaged, protected
from copilot_domain.documents.extracting.draft import Draft
from copilot_domain.documents.extracting.office import inspect
from copilot_domain.documents.types import DocumentError, Source

# The library holds a sheet as a rectangle, empty cells included, at 30–60 bytes each, and the process ends where that
# can't be had: so the rectangle is measured first.
_MAX_CELLS: Final = 5_000_000
_MAX_SHEETS: Final = 500  # each costs a look at its part
# A cell that holds something, and where it is. One written otherwise is missed; the child's cap is behind this.
_CELL: Final = re.compile(rb"<(?:\w+:)?c\s[^<>]{0,40}?\br=[\"']([A-Z]{1,3})(\d{1,7})[\"'][^<>/]*>")


def read(data: bytes, source: Source, draft: Draft) -> None:
    _Extents().check(Archive(data, draft))
    try:
        book = calamine.load_workbook(io.BytesIO(data))
        names = [sheet.name for sheet in book.sheets_metadata if sheet.typ == calamine.SheetTypeEnum.WorkSheet]
    except calamine.PasswordError:
        raise protected() from None
    except (calamine.CalamineError, ValueError, OSError):
        raise damaged() from None
    if len(names) > _MAX_SHEETS:
        raise DocumentError("TOO_LARGE", "It has more than 500 sheets. Split it into smaller files.")
    for name in names:
        draft.begin("table", heading=(markdown.one_line(name),))
        for line in _lines(book, name):
            draft.write(line)


def _lines(book: calamine.CalamineWorkbook, name: str) -> Iterator[str]:
    try:
        rows = book.get_sheet_by_name(name).iter_rows()
    except (calamine.CalamineError, ValueError, OSError):
        raise damaged() from None
    for cells in rows:
        line = markdown.row(map(_readable, cells))
        if line:
            yield line + "\n"


class _Extents:
    """The last row and column of every sheet that hold something."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = defaultdict(int)
        self._columns: dict[str, int] = defaultdict(int)

    def check(self, archive: Archive) -> None:
        inspect(archive, self._look)
        for part, rows in self._rows.items():
            if rows * self._columns[part] > _MAX_CELLS:
                raise DocumentError("TOO_LARGE", "A sheet spans more than 5 million cells. Split it into smaller ones.")

    def _look(self, part: str, window: bytes) -> None:
        if "/worksheets/" not in part:
            return
        cells = _CELL.findall(window)
        if cells:
            self._rows[part] = max(self._rows[part], *(int(row) for _, row in cells))
            letters = max({column for column, _ in cells}, key=lambda name: (len(name), name))
            self._columns[part] = max(self._columns[part], _number(letters))


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _readable(value: object) -> str:
    """As the sheet shows it, at most 15 digits; dates as ISO 8601."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return f"{value:.15g}"
        case datetime.datetime():
            midnight = value.time() == datetime.time()
            return value.date().isoformat() if midnight else value.isoformat(" ", "seconds")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return str(value)
