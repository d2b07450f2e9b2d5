"""What the adapters of remote providers share: open a stream, decode its events, fail in our own words."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import Final, Protocol

import httpx2
import msgspec

from copilot_common.base.errors import ProviderError
from copilot_common.llm.adapters.failures import (
    broken_stream,
    connect_timeout,
    connection_failure,
    status_failure,
    unreadable_answer,
)
from copilot_common.llm.adapters.sse import SseDecoder
from copilot_common.llm.adapters.transport import Answer, Body, LeanClient, Template, template_of
from copilot_common.llm.collecting import collect
from copilot_common.llm.types import ChatEvent, ChatEvents, ChatRequest, Completion, Finished

_MAX_TEMPLATES: Final = 256  # by model id, which callers choose
_REFUSED: Final = 300  # redirects are not followed


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
        self._templates: dict[str, Template] = {}

    @abstractmethod
    def _encode(self, request: ChatRequest) -> bytes:
        """The body of the provider's request for a stream."""

    @abstractmethod
    async def _send(self, request: ChatRequest, content: bytes) -> httpx2.Response:
        """Through the SDK; raises ProviderError. The response's stream is a Body not yet read."""

    @abstractmethod
    def _decoder(self, request: ChatRequest) -> StreamDecoder: ...

    async def complete(self, request: ChatRequest) -> Completion:
        return await collect(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatEvents, None]:
        body = await self._open(request)
        try:
            async for batch in self._batches(body, self._decoder(request)):
                yield batch
        except httpx2.TransportError:
            raise connection_failure(self.provider) from None
        except (msgspec.DecodeError, ValueError):
            raise unreadable_answer(self.provider) from None
        finally:
            await body.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _open(self, request: ChatRequest) -> Body:
        """The answer's body, not yet read. Raises ProviderError."""
        return await self._open_with(request, self._encode(request))

    async def _open_with(self, request: ChatRequest, content: bytes) -> Body:
        template = self._templates.get(request.model)
        if template is not None:
            return await self._repeat(template, content)
        response = await self._send(request, content)
        if len(self._templates) >= _MAX_TEMPLATES:
            self._templates.clear()
        self._templates[request.model] = template_of(response.request)
        assert isinstance(response.stream, Body)  # noqa: S101 — LeanClient makes no other
        return response.stream

    async def _repeat(self, template: Template, content: bytes) -> Body:
        try:
            answer = await self._http.repeat(template, content)
        except httpx2.TimeoutException:
            raise connect_timeout(self.provider) from None
        except httpx2.TransportError:
            raise connection_failure(self.provider) from None
        if answer.status >= _REFUSED:
            raise self._refusal(answer, await answer.body.read_refusal())
        return answer.body

    def _refusal(self, answer: Answer, text: bytes) -> ProviderError:
        """`text` is the provider's own, to be read for what it says of when to come back, and not to be passed on."""
        return status_failure(self.provider, answer.status, answer.headers)

    async def _batches(self, body: Body, decoder: StreamDecoder) -> AsyncGenerator[ChatEvents, None]:
        sse = SseDecoder()
        async for data in body:
            events, fault = _decode(sse.feed(data), decoder)
            if events:
                yield events
            if fault is not None:
                raise fault
            if decoder.is_done:
                await body.settle()
                break
        else:
            events, fault = _decode(sse.finish(), decoder)
            if events:
                yield events
            if fault is not None:
                raise fault
        finished = decoder.finish()
        if finished is None:
            raise broken_stream(self.provider)
        yield [finished]


def _decode(payloads: list[bytes], decoder: StreamDecoder) -> tuple[ChatEvents, Exception | None]:
    """The events of what came together, and the fault that ended them: what came before it counts."""
    events: list[ChatEvent] = []
    try:
        for payload in payloads:
            events += decoder.feed(payload)
    except Exception as error:  # raised by the caller, after the events
        return events, error
    return events, None
