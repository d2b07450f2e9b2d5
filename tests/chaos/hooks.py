"""A webhook's receiver under chaos. It refuses every fourth delivery once, and keeps what it took."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

from support.clients import Client
from support.receiver import Received, answer, receiver

_TAKEN, _REFUSED = answer(), answer(status="500 Internal Server Error")


@dataclass
class Hooks:
    """`attempts` by delivery; `news` are the deliveries that were taken, with what they said. Unsigned ones fail."""

    secret: str = ""
    attempts: Counter[str] = field(default_factory=Counter)
    news: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        delivery = request.headers["webhook-id"]
        self.attempts[delivery] += 1
        if self.attempts[delivery] == 1 and int(delivery[-1], 16) % 4 == 0:
            await _REFUSED(request, writer)
            return
        self.news[delivery] = Webhook(self.secret).verify(request.body, request.headers)
        await _TAKEN(request, writer)

    def count(self, event: str, name: str) -> Counter[str]:
        """How many deliveries told of each thing, by the field that names it."""
        return Counter(news["data"][name] for news in self.news.values() if news["event"] == event)


@asynccontextmanager
async def listening(client: Client) -> AsyncIterator[Hooks]:
    """Registered for the ends of answers and of items."""
    hooks = Hooks()
    async with receiver(hooks) as server:
        body = {"url": f"http://127.0.0.1:{server.port}/", "events": ["message.created", "context.ready"]}
        made = await client.call("POST", "/webhooks", body)
        assert made.status_code == 201, made.text
        hooks.secret = made.json()["secret"]
        yield hooks
