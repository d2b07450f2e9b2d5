"""Citations in a model's text: `[1]`, `[1, 2]`, `[1][2]`, `[1-3]`; `\\[1]` is none."""

import re
from collections.abc import Collection
from typing import Final

_MARKER: Final = re.compile(r"(?<!\\)\[(\s*\d{1,6}(?:\s*[,;–-]\s*\d{1,6})*\s*)\]")
# What may still become a marker when more text comes, or guards one.
_UNFINISHED: Final = re.compile(r"\\?\[[\d,;–\-\s]{0,64}\Z|\\\Z")
_PART: Final = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")


class CitationScanner:
    """Finds which passages a text cites while it is being written; each number once, only numbers in `valid`."""

    def __init__(self, valid: Collection[int]) -> None:
        self._open = set(valid)
        self._tail = ""

    def feed(self, delta: str) -> list[int]:
        """The numbers whose marker this piece completes, in order."""
        text = self._tail + delta
        found = [number for match in _MARKER.finditer(text) for number in self._take(match[1])]
        unfinished = _UNFINISHED.search(text)
        self._tail = unfinished[0] if unfinished else ""
        return found

    def _take(self, body: str) -> list[int]:
        found = []
        for part in _PART.finditer(body):
            first, last = int(part[1]), int(part[2] or part[1])
            # Walks what is still open, not the range: `[1-999999]` costs nothing.
            found += sorted(number for number in self._open if first <= number <= last)
            self._open.difference_update(found)
        return found
