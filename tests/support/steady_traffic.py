"""Clients that use everything all the time, through whatever processes are ready, and put up with no error.

A stream may break where its process goes: its reader goes on elsewhere, after the last event it has, missing nothing.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import httpx

from support.api import Site
from support.background import add_item, ask_later, check_restarted, ended_message, ready_item
from support.clients import Client, Event, eventually
from support.runs import define, ended, start, step, transform
from support.simulator import scripted

_PHASE_SECONDS = 60.0  # in which every kind has to come forward
_TOKENS = 25
_SCRIPT = f"tokens={_TOKENS},pace_ms=30"
_LONG_SCRIPT = f"tokens={_TOKENS},pace_ms=300"  # longer than an API that stops waits for readers of others' answers
_PAUSE_SECONDS = 0.25  # that processes which start have some of the machine
_TEXT = "".join(f"word{number} " for number in range(_TOKENS))


class Balancer(httpx.AsyncBaseTransport):
    """Sends each request to the next of `ports`, as a Service does; none is sent twice."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.statuses: Counter[int] = Counter()
        self._turn = 0
        self._unsent: Counter[int] = Counter()
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._turn += 1
        port = self.ports[self._turn % len(self.ports)]
        request.url = request.url.copy_with(port=port)
        self._unsent[port] += 1
        is_sent = False

        async def trace(event: str, _: object) -> None:
            nonlocal is_sent
            if event.endswith("send_request_body.complete"):
                is_sent = True
                self._unsent[port] -= 1

        request.extensions["trace"] = trace
        try:
            response = await self._inner.handle_async_request(request)
        finally:
            self._unsent[port] -= not is_sent
        self.statuses[response.status_code] += 1
        return response

    async def remove(self, port: int) -> None:
        """From now on nothing is sent there; what was about to be has been, for which pods wait with `preStop`."""
        self.ports.remove(port)

        async def is_quiet() -> bool:
            return not self._unsent[port]

        await eventually(is_quiet, what="the last request being sent")

    async def aclose(self) -> None:
        await self._inner.aclose()


class Traffic:
    """`done` counts, by kind, what ended as it should. Anything else ends the traffic with an error."""

    def __init__(self, site: Site) -> None:
        self.balancer = Balancer()
        self.done: Counter[str] = Counter()
        self._is_over = False
        self._kinds: list[str] = []
        self._credentials = site.acme
        self._client = Client("http://127.0.0.1", site.acme)
        self._client.http = httpx.AsyncClient(
            transport=self.balancer, base_url="http://127.0.0.1", headers=self._client.http.headers, timeout=30
        )

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator["Traffic"]:
        """Until the end of the block; what has begun by then ends."""
        kinds: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "answers": self._answer,
            "streams": self._stream,
            "background answers": self._background,
            "runs": await self._runs(),
            "items": self._item,
            "searches": await self._searches(),
        }
        async with self._client, asyncio.TaskGroup() as group:
            self._kinds = list(kinds)
            for kind, once in kinds.items():
                group.create_task(self._repeat(kind, once))
            yield self
            self._is_over = True

    async def more(self) -> None:
        """Until of each kind one has begun and ended since."""
        before = {kind: self.done[kind] for kind in self._kinds}

        async def is_done() -> bool:
            return all(self.done[kind] >= count + 2 for kind, count in before.items())  # one had begun before

        await eventually(is_done, seconds=_PHASE_SECONDS, what=f"more of each kind than {before}")

    @asynccontextmanager
    async def reader_of(self, url: str) -> AsyncIterator[None]:
        """Somebody who follows, at that process, an answer which the engine makes, and is cut within the block."""
        conversation = await self._client.conversation()
        message = await ask_later(self._client, conversation, _LONG_SCRIPT)
        async with Client(url, self._credentials) as there, there.followed(conversation, message) as stream:
            await stream.read(2)
            yield
            with suppress(httpx.TransportError):
                await stream.rest()
            events = stream.events
        assert not stream.is_done, "it ended before it could be cut"
        await self._follow(conversation, message, events)
        check_restarted(events, _TEXT)
        self.done["long answers"] += 1

    async def _repeat(self, kind: str, once: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._is_over:
            await once()
            self.done[kind] += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _answer(self) -> None:
        conversation = await self._client.conversation()
        answer = await self._client.ask(conversation, model=f"openai/{scripted(_SCRIPT)[0]}")
        assert answer.status_code == 201, answer.text
        assert (answer.json()["status"], answer.json()["content"]) == ("completed", _TEXT)
        shown = await self._client.messages(conversation)
        assert [message["id"] for message in shown].count(answer.json()["id"]) == 1

    async def _stream(self) -> None:
        """Left in the middle, and read on from another process."""
        conversation = await self._client.conversation()
        async with self._client.streamed(conversation, model=f"openai/{scripted(_SCRIPT)[0]}") as stream:
            events = list(await stream.read(5))
        message = events[0].data["message_id"]
        await self._follow(conversation, message, events)
        assert check_restarted(events, _TEXT) == 0

    async def _background(self) -> None:
        conversation = await self._client.conversation()
        message = await ask_later(self._client, conversation, _SCRIPT)
        events: list[Event] = []
        await self._follow(conversation, message, events)
        made = await ended_message(self._client, conversation, message)
        assert (made["status"], made["content"]) == ("completed", _TEXT)
        check_restarted(events, _TEXT)

    async def _follow(self, conversation: str, message: str, events: list[Event]) -> None:
        """To the end, on whatever connections it takes."""
        while not events or events[-1].type not in {"message_end", "error"}:
            async with self._client.followed(conversation, message, after=len(events) or None) as stream:
                try:
                    await stream.rest()
                except httpx.TransportError:
                    self.done["cut streams"] += 1
                finally:
                    events += stream.events

    async def _runs(self) -> Callable[[], Coroutine[Any, Any, None]]:
        ask = {"prompt": "Tell {{ inputs.n }}.", "model": f"openai/{scripted(_SCRIPT)[0]}"}
        workflow = await define(
            self._client,
            transform("add", "rest", n="inputs.n + 1"),
            step("rest", "wait", {"seconds": 1}, "ask"),
            step("ask", "llm", ask, "told"),
            transform("told", n="steps.add.output.n", text="steps.ask.output.text"),
        )

        async def once() -> None:
            run = await ended(self._client, await start(self._client, workflow, n=1), seconds=_PHASE_SECONDS)
            assert (run["status"], run["outputs"]) == ("completed", {"n": 2, "text": _TEXT}), run["error"]

        return once

    async def _item(self) -> None:
        """Ingested, found, deleted."""
        word = f"w{uuid4().hex}"
        item = await add_item(self._client, f"This is the note on {word}.")
        made = await ready_item(self._client, item, seconds=_PHASE_SECONDS)
        assert made["status"] == "ready", made["error"]
        assert await self._found(word) == item
        gone = await self._client.call("DELETE", f"/context/{item}")
        assert gone.status_code == 204, gone.text

    async def _searches(self) -> Callable[[], Coroutine[Any, Any, None]]:
        item = await add_item(self._client, "Invoices are due within thirty days.")
        await ready_item(self._client, item)

        async def once() -> None:
            assert await self._found("invoices") == item

        return once

    async def _found(self, query: str) -> str | None:
        answer = await self._client.call("POST", "/context/search", {"query": query, "mode": "hybrid", "limit": 1})
        assert answer.status_code == 200, answer.text
        assert not answer.json()["degraded"], answer.text
        results = answer.json()["results"]
        return str(results[0]["item_id"]) if results else None
