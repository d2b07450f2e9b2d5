"""The customers of the recording: what they ask of the API, and when. The same for the same seed, but for how fast the
product answers."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import msgspec

from bench.load.http1 import Connection, post
from bench.retrieval.texts import CHUNK_CHARACTERS, Author
from bench.words import QUESTION, json_text

# A provider's usual pace: half a second to the first word, then fifty a second.
_FIRST_MS, _PACE_MS = 500, 20
_ANSWER_TOKENS, _ANSWER_SPREAD = 180, 0.6  # median and sigma of a log-normal distribution: most short, some long
_TOKEN_BOUNDS = (20, 1_000)
_TURNS = (1, 6)  # of a conversation
_THINK_SECONDS = 12.0  # mean, between an answer and the next question
_DOCUMENT_CHUNKS = (4, 40)


@dataclass
class Customer:
    """A tenant's program. `sent`: when each of its requests was sent, in monotonic seconds."""

    host: str
    port: int
    api_key: str
    sent: list[float] = field(default_factory=list)

    async def post(self, path: str, body: dict[str, object]) -> dict[str, object]:
        """Raises RuntimeError where the API refuses, BadResponse where it goes away."""
        connection = await Connection.open(self.host, self.port)  # a kept one is closed while somebody reads
        parts: list[bytes] = []
        request = post(self.host, path, {"X-API-Key": self.api_key}, json_text(body).encode())
        self.sent.append(monotonic())
        try:
            status = await connection.request(request, parts.append)
        finally:
            connection.close()
        if status >= 400:
            raise RuntimeError(f"{path} was answered by {status}")
        return msgspec.json.decode(b"".join(parts), type=dict[str, object])


class Traffic:
    """What is done by customers, each time by one of them."""

    def __init__(self, customers: Sequence[Customer], seed: int) -> None:
        self._customers = customers
        self._chance = random.Random(seed)
        self._author = Author()

    async def conversation(self) -> None:
        """Questions that are answered at once, with pauses in which somebody reads."""
        chance, customer = self._chance, self._chance.choice(self._customers)
        path = f"/api/v1/conversations/{(await customer.post('/api/v1/conversations', {}))['id']}/messages"
        for turn in range(chance.randint(*_TURNS)):
            if turn:
                await asyncio.sleep(chance.expovariate(1 / _THINK_SECONDS))
            await customer.post(path, {"content": QUESTION})

    async def answer(self, customer: Customer | None = None) -> None:
        """One that is made in the background, at a provider's pace."""
        customer = customer or self._chance.choice(self._customers)
        tokens = int(_ANSWER_TOKENS * self._chance.lognormvariate(0, _ANSWER_SPREAD))
        tokens = min(max(tokens, _TOKEN_BOUNDS[0]), _TOKEN_BOUNDS[1])
        model = f"openai/sim,first_ms={_FIRST_MS},pace_ms={_PACE_MS},tokens={tokens}"
        made = await customer.post("/api/v1/conversations", {"title": "Background"})
        body: dict[str, object] = {"content": QUESTION, "background": True, "model": model}
        await customer.post(f"/api/v1/conversations/{made['id']}/messages", body)

    async def document(self, customer: Customer | None = None) -> None:
        customer = customer or self._chance.choice(self._customers)
        characters = self._chance.randint(*_DOCUMENT_CHUNKS) * CHUNK_CHARACTERS
        text = self._author.document(self._chance.randrange(2**31), characters)
        await customer.post("/api/v1/context", {"name": "document.txt", "type": "text", "content": text})

    async def now_and_then(
        self, what: Callable[[], Awaitable[None]], per_second: Callable[[float], float], seconds: float
    ) -> None:
        """As a Poisson process whose rate may change with the seconds since its begin. Waits for all to be done."""
        began = monotonic()
        async with asyncio.TaskGroup() as group:
            moment = 0.0
            while (moment := moment + self._chance.expovariate(max(per_second(moment), 1e-3))) < seconds:
                await asyncio.sleep(max(0.0, began + moment - monotonic()))
                group.create_task(_run(what))

    async def all_at_once(self, what: Callable[[], Awaitable[None]], count: int, *, connections: int) -> None:
        """A program that sends its next request when the last one is answered, over so many connections."""
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await what()

        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(work())


async def _run(what: Callable[[], Awaitable[None]]) -> None:
    await what()
