"""How long a process waits for PostgreSQL: every statement of psycopg's, BEGIN and COMMIT included."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from unittest.mock import patch

from psycopg import AsyncCursor

_SHOWN = 50  # characters of a statement


class StatementClock:
    """From a statement's sending to its last row's arrival; decoding rows is not part of it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.count = 0
        self.by_statement: defaultdict[str, float] = defaultdict(float)

    def reset(self) -> None:
        """But for the totals by statement."""
        self.seconds, self.count = 0.0, 0

    def add(self, statement: str, seconds: float) -> None:
        self.seconds += seconds
        self.count += 1
        self.by_statement[" ".join(statement.split())[:_SHOWN]] += seconds


@contextmanager
def timed_statements() -> Iterator[StatementClock]:
    """Of all connections of this process: meaningful while one task alone asks."""
    clock, execute = StatementClock(), AsyncCursor.execute

    async def timed(self: AsyncCursor[Any], query: Any, *args: Any, **options: Any) -> AsyncCursor[Any]:
        began = perf_counter()
        try:
            return await execute(self, query, *args, **options)
        finally:
            text = query.decode() if isinstance(query, bytes) else str(query)
            clock.add(text, perf_counter() - began)

    with patch.object(AsyncCursor, "execute", timed):
        yield clock
