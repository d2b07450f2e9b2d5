"""A limit on each wait for the next event of a stream."""

import asyncio
from collections.abc import AsyncGenerator

from copilot_common.llm.types import ChatEvents


class Patience:
    """What `asyncio.timeout` around every wait would do, at a tenth of its 11 µs an event: one timer for a whole
    stream, which looks at the deadline of the wait only when it fires.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._deadline = 0.0
        self._is_expired = False

    async def next(self, batches: AsyncGenerator[ChatEvents, None], seconds: float) -> ChatEvents | None:
        """The next events, None at the end. Raises TimeoutError when it does not come within `seconds`."""
        task = self._task = asyncio.current_task()
        cancelling = task.cancelling() if task else 0
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._arm()
        try:
            return await anext(batches, None)
        except asyncio.CancelledError:
            # Ours, unless somebody else has cancelled the task as well.
            if self._is_expired and task is not None and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._task = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.close()
        self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._deadline:
            self._arm()
            return
        self._is_expired = True
        self._task.cancel()
