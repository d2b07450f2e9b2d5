"""A steady mixed load: what is asked over HTTP, and what was accepted of it.

Whatever a server or a broken connection refuses is asked again, with the same Idempotency-Key, until it is accepted.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from copilot_domain.documents.chunking import ChunkRules, cut
from copilot_domain.documents.types import Document, Section
from support.clients import Client, Event, check_whole
from support.simulator import scripted

_AGAIN_SECONDS = 0.3
_TOKENS = 25
TEXT = "".join(f"word{number} " for number in range(_TOKENS))
"""Of every background answer."""
_SCRIPT = f"tokens={_TOKENS},pace_ms=50"


@dataclass(frozen=True)
class AcceptedItem:
    id: str
    word: str
    chunks: int


@dataclass
class Load:
    """`messages` are (conversation, message). `live` are streams that were followed while all this went on."""

    client: Client
    messages: list[tuple[str, str]] = field(default_factory=list)
    items: list[AcceptedItem] = field(default_factory=list)
    live: dict[str, list[Event]] = field(default_factory=dict)
    searches: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(self._converse(is_followed=number == 0))
            group.create_task(self._ingest())
            group.create_task(self._search())

    async def _converse(self, *, is_followed: bool) -> None:
        while not self.is_over:
            conversation = (await self._post("/conversations", {}))["id"]
            for _ in range(random.randint(1, 3)):  # answers of one conversation wait for one another
                model = f"openai/{scripted(_SCRIPT)[0]}"
                body = {"content": "Hello?", "model": model, "background": True}
                message = (await self._post(f"/conversations/{conversation}/messages", body))["id"]
                self.messages.append((conversation, message))
                if is_followed:
                    self.live[message] = await self._follow(conversation, message)
            await asyncio.sleep(0 if is_followed else 1.5)

    async def _follow(self, conversation: str, message: str) -> list[Event]:
        """To the end, on whatever connections it takes."""
        events: list[Event] = []
        while not events or events[-1].type not in {"message_end", "error"}:
            try:
                async with self.client.followed(conversation, message, after=len(events) or None) as stream:
                    try:
                        await stream.rest()
                    finally:
                        events += stream.events
            except (httpx.TransportError, AssertionError):
                await asyncio.sleep(_AGAIN_SECONDS)
        check_whole(events)
        return events

    async def _ingest(self) -> None:
        for number in range(1_000_000):
            if self.is_over:
                return
            word = f"w{uuid4().hex}"
            text = "\n\n".join(
                f"Paragraph {part} tells of {word}. " + "It goes on. " * 60 for part in range(1 + number % 6)
            )
            item = await self._post("/context", {"name": "note", "type": "text", "content": text})
            self.items.append(AcceptedItem(item["id"], word, _chunk_count(text)))
            await asyncio.sleep(0.4)

    async def _search(self) -> None:
        """An answer or a 503; nothing else, and never a hang."""
        while not self.is_over:
            answer = await self.client.call("POST", "/context/search", {"query": "paragraph", "limit": 3})
            assert answer.status_code in {200, 503}, answer.text
            self.searches[answer.status_code] += 1
            await asyncio.sleep(0.5)

    async def _post(self, path: str, body: dict[str, object]) -> Any:
        key = str(uuid4())
        while True:
            try:
                answer = await self.client.call("POST", path, body, idempotency_key=key)
            except httpx.TransportError as error:
                self.refused[type(error).__name__] += 1
            else:
                if answer.is_success:
                    return answer.json()
                assert answer.status_code in {409, 503}, answer.text  # 409: our own repeat is still under way
                self.refused[str(answer.status_code)] += 1
            await asyncio.sleep(_AGAIN_SECONDS)


def _chunk_count(text: str) -> int:
    section = Section(start=0, end=len(text), kind="text")
    document = Document(text=text, sections=(section,), media_type="text/plain")
    return len(list(cut(document, ChunkRules(tokenizer="wordllama"))))
