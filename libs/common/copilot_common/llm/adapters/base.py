"""What the adapters of remote providers share: open a stream, decode its events, fail in our own words."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import Protocol

import httpx2
import msgspec

from copilot_common.llm.adapters.failures import broken_stream, connection_failure, unreadable_answer
from copilot_common.llm.adapters.sse import SseDecoder
from copilot_common.llm.adapters.transport import Body, LeanClient
from copilot_common.llm.collecting import collect
from copilot_common.llm.types import ChatEvent, ChatRequest, Completion, Finished


class StreamDecoder(Protocol):
    """One answer's state: payloads in, events out."""

    @property
    def is_done(self) -> bool:
        """The provider has said all it has to say."""
        ...

    def feed(self, payload: bytes) -> list[ChatEvent]:
        """Raises ProviderError for a failure the provider reports, msgspec.DecodeError for what cannot be read."""
        ...

    def finish(self) -> Finished | None:
        """None where the stream ended before the answer did."""
        ...


class RemoteModel(ABC):
    """A ChatModel over an SDK. `complete` reads the stream too.

    A plain call would show its first byte only when the whole answer is written, so that no deadline could tell a slow
    answer from a dead provider, and TIMEOUT_MS would kill long answers. A stream of 20
    chunks costs 0.2 ms more.
    """

    provider: str

    def __init__(self, http: LeanClient) -> None:
        self._http = http

    @abstractmethod
    async def _open(self, request: ChatRequest) -> httpx2.Response:
        """Send the request; raises ProviderError. The response's stream is a Body not yet read."""

    @abstractmethod
    def _decoder(self, request: ChatRequest) -> StreamDecoder: ...

    async def complete(self, request: ChatRequest) -> Completion:
        return await collect(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        response = await self._open(request)
        body = response.stream
        assert isinstance(body, Body)  # noqa: S101 — LeanClient makes no other
        try:
            async for event in self._events(body, self._decoder(request)):
                yield event
        except httpx2.TransportError:
            raise connection_failure(self.provider) from None
        except (msgspec.DecodeError, ValueError):
            raise unreadable_answer(self.provider) from None
        finally:
            await body.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _events(self, body: Body, decoder: StreamDecoder) -> AsyncGenerator[ChatEvent, None]:
        sse = SseDecoder()
        async for data in body:
            for payload in sse.feed(data):
                for event in decoder.feed(payload):
                    yield event
            if decoder.is_done:
                await body.settle()
                break
        else:
            for payload in sse.finish():
                for event in decoder.feed(payload):
                    yield event
        finished = decoder.finish()
        if finished is None:
            raise broken_stream(self.provider)
        yield finished
