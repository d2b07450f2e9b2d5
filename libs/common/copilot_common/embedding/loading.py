"""A local model, read from disk once, in a thread."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Loaded(Generic[T]):
    """Callers that come together share one loading, and none of them can cancel it. One that failed is tried again."""

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self._loading: asyncio.Task[T] | None = None

    async def get(self) -> T:
        if self._loading is None or (self._loading.done() and _has_failed(self._loading)):
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._loading)


def _has_failed(loading: "asyncio.Task[T]") -> bool:
    return loading.cancelled() or loading.exception() is not None
