"""When a failed call to a provider is made again: counted, with full jitter, within one deadline."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from copilot_common.base.errors import ProviderError

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 8.0


class Attempts:
    """The attempts of one call; its deadline begins with it.

    `jitter(low, high)` picks a pause: full jitter over an exponentially growing range.
    """

    def __init__(
        self,
        max_retries: int,
        timeout_seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._max_retries = max_retries
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._deadline = clock() + timeout_seconds
        self._failures = 0

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - self._clock())

    async def pause(self, error: ProviderError) -> None:
        """Wait before the next attempt, or raise `error` where there is to be none."""
        if not error.retryable or self._failures >= self._max_retries:
            raise error
        delay = error.retry_after_seconds
        if delay is None:
            delay = self._jitter(0.0, min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**self._failures))
        if self._clock() + delay >= self._deadline:
            raise error
        self._failures += 1
        await self._sleep(delay)
