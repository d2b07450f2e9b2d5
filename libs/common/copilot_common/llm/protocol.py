"""The one interface every provider adapter and every wrapper around it has."""

from collections.abc import AsyncGenerator
from typing import Protocol

from copilot_common.llm.types import ChatEvents, ChatRequest, Completion


class ChatModel(Protocol):
    """A provider that answers chat requests.

    Both calls raise ProviderError (or ProviderTimeout) and nothing else for a provider's failure. Cancelling the
    awaiting task closes the provider's connection.
    """

    @property
    def provider(self) -> str: ...

    async def complete(self, request: ChatRequest) -> Completion: ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatEvents, None]:
        """Yield text and tool calls as they come; the very last event is a Finished, the only one.

        Whoever stops early calls `aclose()`: that is what closes the provider's connection.
        """
        ...

    async def aclose(self) -> None: ...
