"""One connection pool to one API: requests, their errors, and what the answers decode to."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import BinaryIO, TypeVar

import httpx
import msgspec

from copilot_cli.client.errors import ApiError, error_from
from copilot_cli.places import Remote

T = TypeVar("T")
Query = Mapping[str, str | int | None]

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 45.0
"""The longest silence on a stream: the API pings every 15 s, so three pings are missing."""

GENERATION_SECONDS = 600.0
"""For an answer that comes in one piece: a long one takes minutes."""


class Http:
    def __init__(self, remote: Remote, *, transport: httpx.BaseTransport | None = None) -> None:
        """`transport` is for tests."""
        self._client = httpx.Client(
            base_url=remote.base_url,
            headers={"X-API-Key": remote.api_key, "Accept": "application/json"},
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            transport=transport,
        )

    def get(self, path: str, type_: type[T], query: Query | None = None) -> T:
        return self._decoded(self._send("GET", path, query=query), type_)

    def post(
        self, path: str, body: object, type_: type[T], *, seconds: float = _ANSWER_SECONDS, key: str | None = None
    ) -> T:
        """`key` is an Idempotency-Key: the same one again gives the first answer again."""
        headers = _content_type(body) | ({"Idempotency-Key": key} if key else {})
        sent = self._send("POST", path, content=_encoded(body), headers=headers, seconds=seconds)
        return self._decoded(sent, type_)

    def upload(self, method: str, path: str, content: bytes, media_type: str, type_: type[T]) -> T:
        """A body that is sent as it is."""
        headers = {"Content-Type": media_type}
        return self._decoded(self._send(method, path, content=content, headers=headers), type_)

    def send_file(
        self, path: str, name: str, file: BinaryIO, media_type: str, fields: Mapping[str, str], type_: type[T]
    ) -> T:
        """A form whose fields come before its one file; of the file no more than 64 KB is in memory."""
        response = self._client.post(path, data=fields, files={"file": (name, file, media_type)})
        if not response.is_success:
            raise _error(response)
        return self._decoded(response, type_)

    def send_files(
        self,
        path: str,
        files: Sequence[tuple[str, BinaryIO, str]],
        fields: Mapping[str, str],
        type_: type[T],
        *,
        key: str,
        seconds: float,
    ) -> T:
        """The same for several (name, file, media type), under an Idempotency-Key."""
        response = self._client.post(
            path,
            data=fields,
            files=[("file", file) for file in files],
            headers={"Idempotency-Key": key},
            timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
        )
        if not response.is_success:
            raise _error(response)
        return self._decoded(response, type_)

    def text(self, path: str, query: Query | None = None) -> str:
        return self._send("GET", path, query=query).text

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    @contextmanager
    def stream(
        self, method: str, path: str, *, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[Iterator[bytes]]:
        """The body's bytes as they arrive. Raises ApiError."""
        with self._client.stream(
            method,
            path,
            content=_encoded(body),
            headers={"Accept": "text/event-stream", **_content_type(body), **(headers or {})},
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=_CONNECT_SECONDS),
        ) as response:
            if not response.is_success:
                response.read()
                raise _error(response)
            yield response.iter_bytes()

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> "Http":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = _ANSWER_SECONDS,
    ) -> httpx.Response:
        response = self._client.request(
            method,
            path,
            params={name: value for name, value in (query or {}).items() if value is not None},
            content=content,
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
        )
        if not response.is_success:
            raise _error(response)
        return response

    def _decoded(self, response: httpx.Response, type_: type[T]) -> T:
        try:
            return msgspec.json.decode(response.content, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiError(
                status=response.status_code,
                code="UNEXPECTED_ANSWER",
                message=f"The answer is not what this client expects ({error}); do client and API fit together?",
                request_id=response.headers.get("X-Request-Id"),
            ) from None


def _encoded(body: object) -> bytes | None:
    return None if body is None else msgspec.json.encode(body)


def _content_type(body: object) -> dict[str, str]:
    return {} if body is None else {"Content-Type": "application/json"}


def _error(response: httpx.Response) -> ApiError:
    error = error_from(response.status_code, response.content, request_id=response.headers.get("X-Request-Id"))
    after = response.headers.get("Retry-After", "")
    error.retry_after_seconds = float(after) if after.isdecimal() else None
    return error
