"""How long a process waits for PostgreSQL: every statement of psycopg's, BEGIN and COMMIT included."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from unittest.mock import patch

from psycopg import AsyncCursor


class StatementClock:
    """From a statement's sending to its last row's arrival; decoding rows is not part of it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.count = 0

    def reset(self) -> None:
        self.seconds, self.count = 0.0, 0


@contextmanager
def timed_statements() -> Iterator[StatementClock]:
    """Of all connections of this process: meaningful while one task alone asks."""
    clock, execute = StatementClock(), AsyncCursor.execute

    async def timed(self: AsyncCursor[Any], *args: Any, **options: Any) -> AsyncCursor[Any]:
        began = perf_counter()
        try:
            return await execute(self, *args, **options)
        finally:
            clock.seconds += perf_counter() - began
            clock.count += 1

    with patch.object(AsyncCursor, "execute", timed):
        yield clock
