"""A client of the API as tests need it: it shows statuses, headers and single events instead of hiding them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

V1 = "/api/v1"
_SECONDS = 30.0  # no request of a test may hang longer


@dataclass(frozen=True)
class Credentials:
    """A tenant's owner, with an API key of every scope."""

    tenant_id: str
    user_id: str
    username: str
    api_key: str = field(repr=False)


@dataclass(frozen=True)
class Event:
    number: int
    data: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.data["type"])

    @property
    def text(self) -> str:
        return str(self.data["delta"]["text"]) if self.type == "content_delta" else ""


class Stream:
    """Events as they come; `is_done` after `[DONE]`. Fails where the stream breaks the contract's form."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.events: list[Event] = []
        self.is_done = False
        self._lines = response.aiter_lines()

    async def next(self) -> Event | None:
        """The next event; None after [DONE]."""
        number = None
        async for line in self._lines:
            if self.is_done:
                assert not line, f"a line after [DONE]: {line}"
            elif line.startswith("id: "):
                number = int(line.removeprefix("id: "))
            elif line == "data: [DONE]":
                assert number is None, "[DONE] has no number"
                self.is_done = True
            elif line.startswith("data: "):
                assert number is not None, "an event without a number"
                self.events.append(Event(number, json.loads(line.removeprefix("data: "))))
                return self.events[-1]
            else:
                assert not line or line.startswith(":"), line
        return None

    async def read(self, count: int) -> list[Event]:
        """Until that many events have come."""
        while len(self.events) < count and await self.next():
            pass
        return self.events

    async def rest(self) -> list[Event]:
        """All events, once the stream has ended."""
        while await self.next():
            pass
        return self.events


class Client:
    """One principal (or nobody) at one API process."""

    def __init__(self, url: str, credentials: Credentials | None = None, headers: dict[str, str] | None = None) -> None:
        self.credentials = credentials
        own = {"X-API-Key": credentials.api_key} if credentials else {}
        # A test of what is sent wrongly must not be helped: no redirects, no retries, no proxies of the environment.
        self.http = httpx.AsyncClient(
            base_url=url, headers={**own, **(headers or {})}, timeout=_SECONDS, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """`headers` in snake_case. Without a body none is sent."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            given.setdefault("content-type", "application/json")
        return await self.http.request(method, V1 + path, content=content, headers=given)

    async def get(self, path: str, **headers: str) -> Any:
        """The answer's body; fails when it is not 200."""
        answer = await self.call("GET", path, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def log_in(self, username: str, password: str) -> str:
        answer = await self.call("POST", "/auth/login", {"username_or_email": username, "password": password})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def conversation(self, **fields: object) -> str:
        answer = await self.call("POST", "/conversations", fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def ask(
        self, conversation_id: str, content: str = "Hello?", *, headers: dict[str, str] | None = None, **fields: object
    ) -> httpx.Response:
        path = f"/conversations/{conversation_id}/messages"
        return await self.call("POST", path, {"content": content, **fields}, **(headers or {}))

    @asynccontextmanager
    async def streamed(
        self, conversation_id: str, content: str = "Hello?", *, headers: dict[str, str] | None = None, **fields: object
    ) -> AsyncIterator[Stream]:
        path = f"{V1}/conversations/{conversation_id}/messages/stream"
        body = {"content": content, **fields}
        async with self.http.stream("POST", path, json=body, headers=headers or {}) as response:
            yield await _stream(response)

    @asynccontextmanager
    async def followed(
        self, conversation_id: str, message_id: str, *, after: int | None = None
    ) -> AsyncIterator[Stream]:
        path = f"{V1}/conversations/{conversation_id}/messages/{message_id}/stream"
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        async with self.http.stream("GET", path, headers=headers) as response:
            yield await _stream(response)

    async def stream(self, conversation_id: str, content: str = "Hello?", **fields: Any) -> list[Event]:
        """Ask, and read to the end."""
        async with self.streamed(conversation_id, content, **fields) as stream:
            await stream.rest()
        assert stream.is_done
        return stream.events

    async def replay(self, conversation_id: str, message_id: str, *, after: int | None = None) -> list[Event]:
        async with self.followed(conversation_id, message_id, after=after) as stream:
            await stream.rest()
        assert stream.is_done
        return stream.events

    async def message(self, conversation_id: str, message_id: str) -> Any:
        return await self.get(f"/conversations/{conversation_id}/messages/{message_id}")

    async def messages(self, conversation_id: str) -> Any:
        return (await self.get(f"/conversations/{conversation_id}/messages"))["items"]


async def _stream(response: httpx.Response) -> Stream:
    if response.status_code != 200:
        await response.aread()
        raise AssertionError(f"{response.status_code} instead of a stream: {response.text}")
    assert response.headers["content-type"].startswith("text/event-stream")
    return Stream(response)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events)


def check_whole(events: list[Event], *, first: int = 1) -> None:
    """Numbers without gaps, and exactly one end, at the end."""
    assert [event.number for event in events] == list(range(first, first + len(events)))
    ends = [event.type for event in events if event.type in {"message_end", "error"}]
    assert len(ends) == 1, [event.type for event in events]
    assert events[-1].type in {"message_end", "error"}


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The details of an error in the contract's shape."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:500]}"
    body = answer.json()
    assert set(body) == {"code", "message", "details", "request_id"}
    assert body["code"] == code
    assert answer.headers["x-request-id"] == body["request_id"]
    assert isinstance(body["message"], str)
    return dict(body["details"])


async def eventually(condition: Callable[[], Awaitable[object]], *, seconds: float = 10.0, what: str = "it") -> Any:
    """Poll until the awaited value is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"{what} did not hold within {seconds} s"
        await asyncio.sleep(0.05)
    return value
