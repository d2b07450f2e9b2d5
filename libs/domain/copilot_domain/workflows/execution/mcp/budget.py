"""How much a server may say in one session: bytes, and JSON values, whose number decides what parsing costs."""

import re
from typing import Final

from copilot_common.base.errors import EgressFailed

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_VALUES: Final = 100_000
"""Measured for a whole session at its worst: an object of 49 000 keys 0.3 s and 35 MB, as many blocks 0.15 s and 54 MB;
sixteen sessions at once up to 4.3 s and 250 MB. That holds as long as nobody lists what is wrong with each value: the
library's type of results made 0.7 s and 209 MB of it, sixteen times 11 s and 2.4 GB (`results`)."""

MAX_OPENING_VALUES: Final = 5_000
"""Before the call. The library reads these itself, twice, into types that list every fault; real servers need 100."""

_ESCAPED = re.compile(rb"\\[^\r\n]")


class Budget:
    def __init__(self, max_bytes: int = MAX_BYTES, max_values: int = MAX_VALUES) -> None:
        self._max_bytes = max_bytes
        self._max_values = max_values
        self._bytes = 0
        self._values = 0

    def spend(self, size: int, values: int) -> None:
        """Raises EgressFailed."""
        self._bytes += size
        self._values += values
        if self._bytes > self._max_bytes:
            raise EgressFailed("too_large", f"The server said more than {self._max_bytes} bytes.")
        if self._values > self._max_values:
            raise EgressFailed("too_large", f"The server's answer has more than {self._max_values} values.")


class ValueCounter:
    """Of one body that comes in pieces, JSON or an event stream. Never counts less than a parser would make.

    No JSON string goes beyond its line. So whatever else a line of an event stream holds, say a comment with one
    quotation mark, the next line is read afresh.
    """

    def __init__(self) -> None:
        self._carried = b""

    def count(self, piece: bytes) -> int:
        """Lines, and what stands outside strings and begins a value or a further one."""
        text = _ESCAPED.sub(b"", self._carried + piece)
        half = b"\\" if text.endswith(b"\\") else b""
        lines = text.removesuffix(half).splitlines(keepends=True)
        outside = [b"".join(line.split(b'"')[::2]) for line in lines]
        is_inside = bool(lines) and not lines[-1].endswith((b"\n", b"\r")) and lines[-1].count(b'"') % 2
        self._carried = (b'"' if is_inside else b"") + half
        return sum(1 + part.count(b",") + part.count(b"[") + part.count(b"{") for part in outside)
