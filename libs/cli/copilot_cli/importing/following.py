"""Items on their way to being found, by lists of those that have come to their end: one request tells of a hundred."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from uuid import UUID

from copilot_cli.client import ApiError, Item
from copilot_cli.importing.sending import Calls

_FEW = 3
"""So many are asked for one by one; and of many, when no list tells anything new, so many of the oldest."""

_SHORTEST_SECONDS, _FEW_SECONDS, _LONGEST_SECONDS = 1.0, 0.25, 4.0


class Follower:
    """`waiting` has the paths of the items that are neither ready nor failed, oldest first."""

    def __init__(self, calls: Calls, import_id: str) -> None:
        self._calls = calls
        self._import_id = import_id
        self.waiting: dict[UUID, str] = {}
        self._pause = _FEW_SECONDS
        self._due = 0.0
        self.last_news = time.monotonic()

    @property
    def seconds_left(self) -> float:
        """Until it is worth looking again."""
        return max(0.0, self._due - time.monotonic())

    def look(self) -> Iterator[tuple[str, UUID, Item | None]]:
        """Those that have settled since the last look; None for an item that is there no more."""
        is_new = False
        for item_id, item in self._settled():
            path = self.waiting.pop(item_id, None)
            if path is not None:
                is_new = True
                yield path, item_id, item
        now = time.monotonic()
        shortest = _FEW_SECONDS if len(self.waiting) <= _FEW else _SHORTEST_SECONDS
        self._pause = shortest if is_new else min(max(shortest, self._pause * 1.5), _LONGEST_SECONDS)
        self._due = now + self._pause
        self.last_news = now if is_new else self.last_news

    def _settled(self) -> Iterator[tuple[UUID, Item | None]]:
        if len(self.waiting) > _FEW:
            before = len(self.waiting)
            yield from self._listed("ready")
            if len(self.waiting) == before:
                yield from self._listed("failed")
            if len(self.waiting) < before:
                return
        for item_id in list(islice(self.waiting, _FEW)):
            item = self._shown(item_id)
            if item is None or item.is_settled:
                yield item_id, item

    def _listed(self, status: str) -> Iterator[tuple[UUID, Item]]:
        """The newest first, until a whole page tells nothing new: they settle about in the order that they came in."""
        context, cursor = self._calls.client.context, None
        wanted = {"import": self._import_id}
        is_more = True
        while is_more:
            page = self._calls.patiently(partial(context.page, status=status, metadata=wanted, cursor=cursor))
            news = [item for item in page.items if item.id in self.waiting]
            yield from ((item.id, item) for item in news)
            cursor = page.next_cursor
            is_more = bool(news) and cursor is not None

    def _shown(self, item_id: UUID) -> Item | None:
        try:
            return self._calls.patiently(lambda: self._calls.client.context.show(item_id))
        except ApiError as error:
            if error.code != "NOT_FOUND":
                raise
            return None
