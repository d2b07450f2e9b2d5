"""Pieces of Markdown. Whatever comes from a document is escaped where it would read as structure that is not there."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_SPACE: Final = re.compile(r"\s+")
_STRUCTURE: Final = re.compile(r"^( {0,3})(?=#{1,6}(\s|$)|```|~~~|\|)", re.MULTILINE)
_MAX_HEADING: Final = 6


def one_line(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


def heading(level: int, text: str) -> str:
    return f"{'#' * min(max(level, 1), _MAX_HEADING)} {one_line(text)}"


def paragraph(text: str) -> str:
    """Lines stay lines; none of them reads as a heading, a fence or a table."""
    return _STRUCTURE.sub(r"\1\\", text.strip())


def row(cells: Iterable[str]) -> str:
    """Cells between bars: a bar within one is `\\|`, its newlines are spaces, empty ones at the end are left out."""
    flat = [one_line(cell).replace("|", "\\|") for cell in cells]
    while flat and not flat[-1]:
        flat.pop()
    return " | ".join(flat)


def table(rows: Sequence[Sequence[str]]) -> str:
    """A pipe table, its first row the header; "" if every cell is empty."""
    filled = [cells for cells in rows if any(cell.strip() for cell in cells)]
    if not filled:
        return ""
    width = max(map(len, filled))
    lines = ["| " + " | ".join(_padded(cells, width)) + " |" for cells in filled]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


def fence(code: str, language: str = "") -> str:
    marks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    return f"{marks}{language}\n{code.strip(chr(10))}\n{marks}"


def _padded(cells: Sequence[str], width: int) -> list[str]:
    return [one_line(cell).replace("|", "\\|") for cell in cells] + [""] * (width - len(cells))
