"""The client that carries every call to an address a tenant chose. The package's docstring has the threat model."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from copilot_common.base.errors import EgressFailed
from copilot_common.platform.egress.calls import Call, prepare_call, redirect_call
from copilot_common.platform.egress.failures import classify_failure
from copilot_common.platform.egress.lookup import Lookup, SystemLookup
from copilot_common.platform.egress.pinning import Pin
from copilot_common.platform.egress.rules import EgressRules

_USER_AGENT: Final = "llm-copilot-agent"
_MAX_HEADER_BYTES: Final = 8_190  # of one line; aiohttp takes 128 of them
_DEFAULT_MAX_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EgressResponse:
    """`headers` ignores the case of names; `content` is decompressed; `url` is where the last redirect led."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str


@dataclass(frozen=True, slots=True)
class EgressStream:
    """`pieces`: the decompressed body. Reading it raises EgressFailed for what is too large, too late or breaks off."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class Egress:
    """Made in a composition root, once per process; `aclose` at its end.

    `tls` replaces the system's certificate authorities; `lookup` the system's resolver.
    """

    def __init__(
        self,
        rules: EgressRules,
        *,
        max_connections: int = 64,
        connect_seconds: float = 5.0,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self.rules = rules
        self._lookup: Lookup = lookup or SystemLookup()
        self._slots = asyncio.Semaphore(max_connections)
        self._connect_seconds = connect_seconds
        self._tls: ssl.SSLContext | bool = tls or True

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        max_bytes: int = _DEFAULT_MAX_BYTES,
        timeout_seconds: float = 30.0,
        redirects: int = 0,
    ) -> EgressResponse:
        """Send once, never again on its own; any status is an answer, also a redirect beyond `redirects`.

        `timeout_seconds` holds for all of it: a free connection, the name, every hop, the body. Raises EgressRefused
        for what the rules forbid, EgressFailed for what went wrong or is larger than `max_bytes`; with 0 the body is
        not read at all, so that neither its size nor its end decides.
        """
        call = prepare_call(method, self.rules.admit(url), headers or {}, content)
        async with _Deadline(timeout_seconds).watch(), self._slots:
            return await self._follow(call, max_bytes, redirects)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        max_bytes: int = _DEFAULT_MAX_BYTES,
        timeout_seconds: float = 30.0,
        redirects: int = 0,
    ) -> AsyncIterator[EgressStream]:
        """As `request`, but the body is read as it comes. What the block itself raises comes out as it is; what is left
        of the body when it ends is not read."""
        call = prepare_call(method, self.rules.admit(url), headers or {}, content)
        deadline = _Deadline(timeout_seconds)
        async with AsyncExitStack() as stack:
            async with deadline.watch():
                await stack.enter_async_context(self._slots)
                answer = await self._last_answer(stack, call, redirects)
            pieces = await stack.enter_async_context(aclosing(_read_until(deadline, _pieces(answer, max_bytes))))
            yield EgressStream(answer.status, answer.headers, pieces)

    async def aclose(self) -> None:
        if isinstance(self._lookup, SystemLookup):
            self._lookup.close()

    async def _last_answer(self, stack: AsyncExitStack, call: Call, redirects: int) -> aiohttp.ClientResponse:
        """Of those that redirects lead to; it is open until the stack ends, those before are closed."""
        for left in range(redirects, -1, -1):
            async with AsyncExitStack() as exchange:
                answer = await exchange.enter_async_context(self._answer(call))
                following = left and redirect_call(call, answer.status, answer.headers.get("Location"), self.rules)
                if not following:
                    stack.push_async_exit(exchange.pop_all())
                    return answer
            call = following
        raise RuntimeError("a last answer is always returned")

    async def _follow(self, call: Call, max_bytes: int, redirects: int) -> EgressResponse:
        response = await self._exchange(call, max_bytes)
        for _ in range(redirects):
            following = redirect_call(call, response.status, response.headers.get("Location"), self.rules)
            if following is None:
                break
            call = following
            response = await self._exchange(call, max_bytes)
        return response

    async def _exchange(self, call: Call, max_bytes: int) -> EgressResponse:
        async with self._answer(call) as answer:
            content = b"".join([piece async for piece in _pieces(answer, max_bytes)]) if max_bytes else b""
            return EgressResponse(answer.status, answer.headers, content, str(call.to.url))

    @asynccontextmanager
    async def _answer(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """Its status and headers are there."""
        async with self._open_session(call) as session:
            try:
                answer = await session.request(
                    call.method, call.to.url, headers=call.headers, data=call.content or None, allow_redirects=False
                )
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise classify_failure(error) from None
            async with answer:
                yield answer

    def _open_session(self, call: Call) -> aiohttp.ClientSession:
        """A session for one exchange: with it go its connection, its resolver and what it knows of names."""
        pin = Pin(call.to, self.rules, self._lookup)
        connector = aiohttp.TCPConnector(
            resolver=pin, use_dns_cache=False, socket_factory=pin.open_socket, force_close=True, ssl=self._tls
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_seconds),
            headers={"User-Agent": _USER_AGENT},
            skip_auto_headers=("Content-Type",),
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            middlewares=(_send_once,),
            trust_env=False,
        )


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp repeats a GET, PUT or DELETE whose connection broke, unless the error is none of its own."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise classify_failure(error) from None


async def _pieces(answer: aiohttp.ClientResponse, max_bytes: int) -> AsyncGenerator[bytes, None]:
    size = 0
    try:
        async for piece in answer.content.iter_any():
            size += len(piece)
            if size > max_bytes:
                raise EgressFailed("too_large", f"The answer has more than {max_bytes} bytes.")
            yield piece
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise classify_failure(error) from None


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        """Raises EgressFailed where the block is not done in time."""
        try:
            async with asyncio.timeout_at(self._at):
                yield
        except TimeoutError:
            raise EgressFailed("timeout", f"No complete answer within {self._seconds:g} s.") from None


async def _read_until(deadline: _Deadline, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Only the reading is watched: whoever reads may do so in one task and be elsewhere when the time is up."""
    async with aclosing(pieces):
        while True:
            async with deadline.watch():
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield piece
