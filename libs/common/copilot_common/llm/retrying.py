"""Try again until the first event, within one deadline; after it, only a limit on silence."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.llm.attempts import Attempts
from copilot_common.llm.collecting import collect
from copilot_common.llm.patience import Patience
from copilot_common.llm.protocol import ChatModel
from copilot_common.llm.types import ChatEvents, ChatRequest, Completion


class RetryPolicy(msgspec.Struct, frozen=True):
    """`timeout_seconds` is to the first event, all attempts and pauses included; `stall_seconds` between two events."""

    max_retries: int
    timeout_seconds: float
    stall_seconds: float


class Retrying:
    """A ChatModel that retries another one.

    `jitter(low, high)` picks a pause: full jitter over an exponentially growing range. What a caller has seen the
    beginning of is never retried. `complete` reads the stream, so that its deadlines are the same.
    """

    def __init__(
        self,
        model: ChatModel,
        policy: RetryPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._model, self._policy = model, policy
        self._clock, self._sleep, self._jitter = clock, sleep, jitter

    @property
    def provider(self) -> str:
        return self._model.provider

    async def complete(self, request: ChatRequest) -> Completion:
        return await collect(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatEvents, None]:
        patience = Patience()
        try:
            batch, batches = await self._begin(request, patience)
            async with aclosing(batches):
                while batch is not None:
                    yield batch
                    batch = await self._next(batches, patience)
        finally:
            patience.close()

    async def aclose(self) -> None:
        await self._model.aclose()

    async def _begin(
        self, request: ChatRequest, patience: Patience
    ) -> tuple[ChatEvents | None, AsyncGenerator[ChatEvents, None]]:
        """The first events of the first attempt that has some, and the rest of that attempt."""
        attempts = Attempts(
            self._policy.max_retries,
            self._policy.timeout_seconds,
            clock=self._clock,
            sleep=self._sleep,
            jitter=self._jitter,
        )
        while True:
            batches = self._model.stream(request)
            try:
                return await patience.next(batches, attempts.seconds_left), batches
            except ProviderError as error:
                await attempts.pause(error)
            except TimeoutError:
                raise self._timeout("sent nothing", self._policy.timeout_seconds) from None

    async def _next(self, batches: AsyncGenerator[ChatEvents, None], patience: Patience) -> ChatEvents | None:
        try:
            return await patience.next(batches, self._policy.stall_seconds)
        except TimeoutError:
            raise self._timeout("fell silent", self._policy.stall_seconds) from None

    def _timeout(self, what: str, seconds: float) -> ProviderTimeout:
        return ProviderTimeout(f"{self.provider} {what} for {seconds:g} s.", provider=self.provider, retryable=True)
