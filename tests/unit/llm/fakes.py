"""A ChatModel that does what a test tells it, and time that passes when a test says so."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from copilot_common.base.errors import ProviderError
from copilot_common.llm import (
    ChatEvent,
    ChatEvents,
    ChatMessage,
    ChatRequest,
    Completion,
    Finished,
    TextDelta,
    TokenUsage,
    collect,
)

REQUEST = ChatRequest(model="m", messages=(ChatMessage("user", "Hello?"),))
Script = Sequence[ChatEvent | Exception | None]
ANSWER: Script = [TextDelta("hi"), Finished("stop", TokenUsage(3, 2, 1, 1))]


class FakeModel:
    """Each call takes the next script: events to yield, an exception to raise, None to stall for ever."""

    provider = "fake"

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.calls = 0
        self.closed_streams = 0

    async def complete(self, request: ChatRequest) -> Completion:
        return await collect(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatEvents, None]:
        self.calls += 1
        try:
            for step in self._scripts.pop(0):
                if isinstance(step, Exception):
                    raise step
                if step is None:
                    await asyncio.Event().wait()
                else:
                    yield [step]
        finally:
            self.closed_streams += 1

    async def aclose(self) -> None:
        pass


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def failure(*, retryable: bool = True, retry_after: float | None = None) -> ProviderError:
    return ProviderError("no", provider="fake", retryable=retryable, status=503, retry_after_seconds=retry_after)
