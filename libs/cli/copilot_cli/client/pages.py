"""Lists, read page by page."""

from collections.abc import Iterator
from typing import TypeVar

from copilot_cli.client.http import Http, Query
from copilot_cli.client.types import Page

T = TypeVar("T")

V1 = "/api/v1"
PAGE = 100
"""The most that the API gives at once."""


def items(http: Http, path: str, page_type: type[Page[T]], limit: int, query: Query | None = None) -> Iterator[T]:
    """At most `limit`, in the API's order."""
    cursor: str | None = None
    while limit > 0:
        page = http.get(path, page_type, {**(query or {}), "limit": min(limit, PAGE), "cursor": cursor})
        yield from page.items
        limit -= len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return
