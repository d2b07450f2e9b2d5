"""The HTTP client the SDKs send through: httpx2's interface over aiohttp's connections.

An SDK builds, authenticates and sends the first request for a model; what it sends through is ours, because that is
where the time goes. Later requests for that model repeat the first one's headers with another body (ADR 9). CPU per
stream of 20 chunks with the openai SDK: typed models over httpx2 9.5 ms, over the SDK's own aiohttp client 6.7 ms; raw
bytes over that client 1.2 ms, over this one 1.0 ms (0.6 with the two other SDKs), repeated 0.4 ms. What it leaves out
is redirects (one that leads a POST with a key elsewhere is not to be followed), cookies and httpx2's auth flow.
"""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import httpx2
import yarl
from multidict import CIMultiDict

# 1 000 generations per process is the default of MAX_CONCURRENT_GENERATIONS; beyond this bound requests queue.
_MAX_CONNECTIONS: Final = 1_024
_KEEPALIVE_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 10.0
# A provider's last bytes follow its last event at once; waiting this long for them keeps the connection reusable.
_SETTLE_SECONDS: Final = 0.1
_REFUSAL_SECONDS: Final = 1.0
_MAX_REFUSAL_BYTES: Final = 64 * 1024
# Of a repeated request: what aiohttp adds itself, and what belongs to the first one alone.
_LEFT_OUT: Final = frozenset({"content-length", "host", "traceparent", "tracestate", "baggage"})


class Body(httpx2.AsyncByteStream):
    """The bytes of an answer as they arrive."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._answer.content.iter_any():
                yield data
        except (aiohttp.ClientError, OSError) as error:
            raise httpx2.ReadError(type(error).__name__) from None

    async def settle(self) -> None:
        """Read to the end if that is near, so that the connection goes back to the pool."""
        if self._answer.content.at_eof():
            return
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self._answer.content.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._answer.close()

    async def read_refusal(self) -> bytes:
        """What a provider says about a refused request, or nothing where it takes its time; ends the body."""
        text = b""
        try:
            async with asyncio.timeout(_REFUSAL_SECONDS):
                while len(text) < _MAX_REFUSAL_BYTES and (piece := await self._answer.content.readany()):
                    text += piece
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        finally:
            self._answer.close()
        return text

    async def aclose(self) -> None:
        """Close the connection, unless the answer was read to its end."""
        self._answer.close()


@dataclass(frozen=True, slots=True)
class Template:
    """What an SDK has sent once: where to, and with which headers."""

    target: yarl.URL
    headers: CIMultiDict[str] = field(repr=False)  # they hold the key


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body has not been read."""

    status: int
    headers: Mapping[str, str]
    body: Body


class LeanClient(httpx2.AsyncClient):
    """What an SDK takes as its `http_client`. `build_request` and `send` are the only methods the SDKs call."""

    def __init__(self) -> None:
        super().__init__(transport=httpx2.AsyncBaseTransport())
        self._session: aiohttp.ClientSession | None = None
        # Reads the certificates: here, so that it is done before the first request.
        self._ssl = httpx2.create_ssl_context()
        self._urls: dict[str, tuple[httpx2.URL, yarl.URL]] = {}

    def build_request(self, method: str, url: httpx2.URL | str, **options: Any) -> httpx2.Request:
        """Like httpx2's, without merging defaults: the SDKs pass complete URLs and headers."""
        parsed, target = self._parse(str(url))
        return httpx2.Request(
            method,
            parsed,
            params=options.get("params"),
            headers=options.get("headers"),
            content=options.get("content"),
            json=options.get("json"),
            extensions={"target": target},
        )

    async def send(self, request: httpx2.Request, **_options: Any) -> httpx2.Response:
        """Always streamed, asked or not: the caller reads `response.stream`, a Body, and closes it."""
        answer = await self._exchange(request.method, template_of(request), request.content)
        headers = [pair for pair in answer.raw_headers if pair[0].lower() != b"content-encoding"]
        return httpx2.Response(answer.status, headers=headers, stream=Body(answer), request=request)

    async def repeat(self, template: Template, content: bytes) -> Answer:
        """What the SDK would send, without asking it again. Raises httpx2's TransportError, as `send` does."""
        answer = await self._exchange("POST", template, content)
        return Answer(answer.status, answer.headers, Body(answer))

    async def _exchange(self, method: str, template: Template, content: bytes) -> aiohttp.ClientResponse:
        try:
            return await self._open_session().request(
                method, template.target, headers=template.headers, data=content, allow_redirects=False
            )
        except TimeoutError:
            raise httpx2.ConnectTimeout("no connection in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise httpx2.ConnectError(type(error).__name__) from None

    async def aclose(self) -> None:
        await super().aclose()
        if self._session is not None:
            await self._session.close()

    def _parse(self, url: str) -> tuple[httpx2.URL, yarl.URL]:
        known = self._urls.get(url)
        if known is None:
            # Google's URLs carry the model id, which callers choose: keep few.
            if len(self._urls) > 256:
                self._urls.clear()
            known = self._urls[url] = (httpx2.URL(url), yarl.URL(url, encoded=True))
        return known

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=_MAX_CONNECTIONS, keepalive_timeout=_KEEPALIVE_SECONDS, ssl=self._ssl
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                # Looking for proxies costs each request a scan of the environment.
                trust_env=bool(urllib.request.getproxies()),
            )
        return self._session


def template_of(request: httpx2.Request) -> Template:
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
    headers = CIMultiDict((name, value) for name, value in pairs if name.lower() not in _LEFT_OUT)
    return Template(request.extensions["target"], headers)
