"""Pages of a list: an opaque cursor for going on, an offset for jumping, a total that never costs a full count.

A repository asks for `request.fetch` rows after `request.position(...)`, sorted by a key that ends in a unique column;
`page` cuts them. A cursor is only a place in an order, not a right: every query still runs behind row-level security.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from copilot_common.base.errors import InvalidInput

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
MAX_OFFSET = 10_000  # an offset reads what it skips; further than this a cursor is the way
EXACT_TOTAL = 1_000
"""Counts stop one row after this; `total` is then null."""

_MAX_CURSOR_CHARACTERS = 512  # several times the longest sort key

Item = TypeVar("Item")
Row = TypeVar("Row")
Key = TypeVar("Key")


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """A list's answer on the wire. `total` is exact up to 1 000, else null."""

    items: list[Item]
    total: int | None
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Checked `limit`, `offset`, `cursor` of a request; made by `page_request`."""

    limit: int
    offset: int = 0
    cursor: str | None = None

    @property
    def fetch(self) -> int:
        """How many rows to ask for: one more than the page, which tells whether there is a next one."""
        return self.limit + 1

    def position(self, key_type: type[Key]) -> Key | None:
        """The sort key of the last row seen, None at the start. Raises InvalidInput for a cursor we did not make.

        `key_type` is what `page` was given, for example `UUID` or `tuple[datetime, UUID]`.
        """
        if self.cursor is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4))
            return msgspec.msgpack.decode(raw, type=key_type)
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            raise InvalidInput({"cursor": "is not one of ours"}) from None


def page_request(
    limit: int | None, offset: int | None, cursor: str | None, *, default_limit: int = DEFAULT_LIMIT
) -> PageRequest:
    """Raises InvalidInput naming each parameter that is out of range."""
    faults: dict[str, str] = {}
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        faults["limit"] = f"must be from 1 to {MAX_LIMIT}"
    if offset is not None and not 0 <= offset <= MAX_OFFSET:
        faults["offset"] = f"must be from 0 to {MAX_OFFSET}"
    if offset and cursor is not None:
        faults["offset"] = "cannot be used together with cursor"
    if cursor is not None and not 0 < len(cursor) <= _MAX_CURSOR_CHARACTERS:
        faults["cursor"] = "is not one of ours"
    if faults:
        raise InvalidInput(faults)
    return PageRequest(limit=limit or default_limit, offset=offset or 0, cursor=cursor)


def page(
    request: PageRequest,
    rows: list[Row],
    *,
    key: Callable[[Row], object],
    item: Callable[[Row], Item],
    counted: int | None,
) -> Page[Item]:
    """Cut `rows` (at most `request.fetch` of them) into a page.

    `key` gives a row's sort key; `counted` is a count that stopped at EXACT_TOTAL + 1, or None where none was made.
    """
    shown = rows[: request.limit]
    has_more = len(rows) > request.limit
    return Page(
        items=[item(row) for row in shown],
        total=counted if counted is not None and counted <= EXACT_TOTAL else None,
        limit=request.limit,
        offset=request.offset,
        has_more=has_more,
        next_cursor=_encode(key(shown[-1])) if has_more else None,
    )


def _encode(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(key)).decode().rstrip("=")
