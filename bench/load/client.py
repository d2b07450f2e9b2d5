"""One client: its connection, its conversation, and the clock readings of its requests."""

import re
from time import perf_counter

from bench.load.http1 import Connection, post
from bench.load.job import TOKEN_MARK, Target

_ID = re.compile(rb'"id":\s*"([0-9a-f-]{36})"')


class Unexpected(Exception):
    """An answer that is not the one asked for; its text groups the failures."""


class Sample:
    """Clock readings of one request, in seconds."""

    __slots__ = ("began", "ended", "tokens")

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self.tokens: list[float] = []


class Client:
    """`tokens` is how many each answer must carry; 0 for answers that are not streamed."""

    def __init__(self, target: Target, tokens: int) -> None:
        self._target, self._tokens = target, tokens
        self._connection: Connection | None = None
        self._stock: list[str] = []
        self._messages: list[bytes] = []
        self._turn = target.turns

    async def fill_stock(self, count: int) -> None:
        """Make conversations to be used later."""
        await self._connect()
        if self._target.conversations is not None:
            self._stock = [await self._begin_conversation() for _ in range(count)]

    async def prepare(self) -> None:
        """Connect; with conversations, begin a new one when the last is used up. Not part of any sample."""
        await self._connect()
        if self._turn == self._target.turns:
            conversation = self._stock.pop() if self._stock else await self._begin_conversation()
            path = self._target.path.replace("{conversation}", conversation)
            self._messages = [self._post(path, body.encode()) for body in self._target.bodies]
            self._turn = 0
        self._turn += 1

    async def send(self) -> Sample:
        """Raises Unexpected or BadResponse."""
        sample = Sample()
        body: list[bytes] = []

        def on_body(data: bytes) -> None:
            body.append(data)
            if marks := data.count(TOKEN_MARK):
                sample.tokens.extend([perf_counter()] * marks)

        sample.began = perf_counter()
        status = await self._connected().request(self._messages[min(self._turn, len(self._messages)) - 1], on_body)
        sample.ended = perf_counter()
        if status not in {200, 201}:
            raise Unexpected(f"status {status}: {b''.join(body)[:200].decode(errors='replace')}")
        if self._tokens and len(sample.tokens) != self._tokens:
            raise Unexpected(f"{len(sample.tokens)} tokens instead of {self._tokens}")
        return sample

    def forget(self) -> None:
        """After a failure: the next request has a new connection and a new conversation."""
        self.close()
        self._connection, self._turn = None, self._target.turns

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _begin_conversation(self) -> str:
        path = self._target.conversations
        if path is None:
            return ""
        body: list[bytes] = []
        status = await self._connected().request(self._post(path, b"{}"), body.append)
        found = _ID.search(b"".join(body))
        if status != 201 or found is None:
            raise Unexpected(f"no conversation: status {status}")
        return found[1].decode()

    async def _connect(self) -> None:
        if self._connection is None:
            self._connection = await Connection.open(self._target.host, self._target.port)

    def _post(self, path: str, body: bytes) -> bytes:
        return post(self._target.host, path, self._target.headers, body)

    def _connected(self) -> Connection:
        if self._connection is None:
            raise Unexpected("not connected")
        return self._connection
