"""Try a request again, within one deadline."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.embedding.protocol import Embedded, Embedder, EmbedderSpec, Purpose
from copilot_common.llm.attempts import Attempts

T = TypeVar("T")


async def try_within(attempts: Attempts, call: Callable[[], Awaitable[T]], provider: str, timeout_seconds: float) -> T:
    """What `call` returns at last. `timeout_seconds` is the attempts' whole deadline. Raises ProviderError."""
    while True:
        try:
            async with asyncio.timeout(attempts.seconds_left):
                return await call()
        except ProviderError as error:
            await attempts.pause(error)
        except TimeoutError:
            message = f"{provider} sent nothing for {timeout_seconds:g} s."
            raise ProviderTimeout(message, provider=provider, retryable=True) from None


class Retrying:
    """An Embedder that retries another one by the rules of chat models. `begin` starts a call's attempts, and with them
    its deadline: `timeout_seconds` from now."""

    def __init__(
        self, embedder: Embedder, provider: str, *, timeout_seconds: float, begin: Callable[[], Attempts]
    ) -> None:
        self._embedder, self._provider = embedder, provider
        self._timeout_seconds = timeout_seconds
        self._begin = begin

    @property
    def spec(self) -> EmbedderSpec:
        return self._embedder.spec

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        call = partial(self._embedder.embed, texts, purpose=purpose)
        return await try_within(self._begin(), call, self._provider, self._timeout_seconds)

    async def load(self) -> None:
        await self._embedder.load()

    async def aclose(self) -> None:
        await self._embedder.aclose()
