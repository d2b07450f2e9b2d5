"""A model that is made when it is first needed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from copilot_common.llm.collecting import collect
from copilot_common.llm.protocol import ChatModel
from copilot_common.llm.types import ChatEvents, ChatRequest, Completion


class OnDemand:
    """A ChatModel around one that `create` makes, in a thread: importing an SDK takes seconds, and a process that
    never needs it saves 50 to 80 MB.
    """

    def __init__(self, provider: str, create: Callable[[], ChatModel]) -> None:
        self.provider = provider
        self._create = create
        self._making: asyncio.Future[ChatModel] | None = None
        self._model: ChatModel | None = None

    async def prepare(self) -> ChatModel:
        """Make the model now. Callers that come together share one making, and none of them can cancel it."""
        if self._model is None:
            if self._making is None:
                self._making = asyncio.ensure_future(asyncio.to_thread(self._create))
            making = self._making
            try:
                self._model = await asyncio.shield(making)
            finally:
                # One that failed is not remembered.
                if making.done() and self._making is making:
                    self._making = None
        return self._model

    async def complete(self, request: ChatRequest) -> Completion:
        return await collect(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatEvents, None]:
        model = self._model or await self.prepare()
        async with aclosing(model.stream(request)) as batches:
            async for batch in batches:
                yield batch

    async def aclose(self) -> None:
        if self._model is not None:
            await self._model.aclose()
