"""Stay below a provider's rates instead of running into them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from copilot_common.embedding.protocol import Embedded, Embedder, EmbedderSpec, Purpose
from copilot_common.llm import estimate_tokens

_MINUTE_SECONDS: Final = 60.0
# Of a minute's allowance at once: small enough that no minute gets much more than it may.
_BURST_SECONDS: Final = 6.0


class Rate:
    """A GCRA (see limits.gcra) that takes any number of units, and into debt: whoever takes is told how long to wait.

    `per_minute` is None for no limit.
    """

    def __init__(self, per_minute: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds_per_unit = _MINUTE_SECONDS / per_minute if per_minute else 0.0
        self._clock = clock
        self._paid_until = clock()

    def take(self, units: int) -> float:
        """Seconds to wait until they may be used."""
        now = self._clock()
        before = max(self._paid_until, now)
        self._paid_until = before + units * self._seconds_per_unit
        return max(0.0, before - now - _BURST_SECONDS)


class Paced:
    """An Embedder that lets documents wait until the process's rates allow them. A query is counted and goes at once:
    somebody is waiting for it. Retries are not counted: their pauses are the provider's wish."""

    def __init__(
        self,
        embedder: Embedder,
        requests: Rate,
        tokens: Rate,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._embedder, self._requests, self._tokens, self._sleep = embedder, requests, tokens, sleep

    @property
    def spec(self) -> EmbedderSpec:
        return self._embedder.spec

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        wait = max(self._requests.take(1), self._tokens.take(sum(map(estimate_tokens, texts))))
        if wait and purpose == "document":
            await self._sleep(wait)
        return await self._embedder.embed(texts, purpose=purpose)

    async def load(self) -> None:
        await self._embedder.load()

    async def aclose(self) -> None:
        await self._embedder.aclose()
