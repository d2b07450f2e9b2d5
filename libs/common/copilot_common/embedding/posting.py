"""JSON to a provider and back, over aiohttp alone.

Chat's adapters let an SDK build their first request (ADR 9). Here there is one request, a POST with a key, and an SDK
would cost the process 50 to 80 MB.
"""

import urllib.request
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp

from copilot_common.base.errors import ProviderError, ProviderTimeout
from copilot_common.llm.adapters.failures import (
    connect_timeout,
    connection_failure,
    status_failure,
    unreadable_answer,
)

_CONNECT_SECONDS: Final = 10.0
_MAX_CONNECTIONS: Final = 64
_MAX_REFUSAL_BYTES: Final = 64 * 1024
_REFUSED: Final = 300  # redirects are not followed: one that leads a POST with a key elsewhere must not be

FailureOf = Callable[[int, Mapping[str, str], bytes], ProviderError]


class JsonPoster:
    """Requests to one provider. `failure_of` makes an error of a refusal's status, headers and body, where the status
    does not say all. `timeout_seconds` is for one request."""

    def __init__(
        self,
        provider: str,
        headers: Mapping[str, str],
        *,
        timeout_seconds: float,
        failure_of: FailureOf | None = None,
    ) -> None:
        self._provider, self._failure_of = provider, failure_of
        # Uncompressed: numbers shrink little, and an answer's size is then what it says.
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=_CONNECT_SECONDS)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, content: bytes, *, max_bytes: int) -> bytes:
        """The answer's body. Raises ProviderError in our own words."""
        try:
            async with self._open_session().post(
                url, data=content, headers=self._headers, allow_redirects=False
            ) as answer:
                if answer.status >= _REFUSED:
                    raise await self._refusal(answer)
                return await self._read(answer, max_bytes)
        except aiohttp.ConnectionTimeoutError:
            raise connect_timeout(self._provider) from None
        except TimeoutError:
            message = f"{self._provider} did not answer in time."
            raise ProviderTimeout(message, provider=self._provider, retryable=True) from None
        except (aiohttp.ClientError, OSError):
            raise connection_failure(self._provider) from None

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _read(self, answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
        body = bytearray()
        async for data in answer.content.iter_any():
            body += data
            if len(body) > max_bytes:
                raise unreadable_answer(self._provider)
        return bytes(body)

    async def _refusal(self, answer: aiohttp.ClientResponse) -> ProviderError:
        if self._failure_of is None:
            return status_failure(self._provider, answer.status, answer.headers)
        body = bytearray()
        async for data in answer.content.iter_any():
            body += data
            if len(body) > _MAX_REFUSAL_BYTES:
                break
        return self._failure_of(answer.status, answer.headers, bytes(body))

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                trust_env=bool(urllib.request.getproxies()),
            )
        return self._session
