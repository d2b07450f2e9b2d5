"""Plain messages at a modest, steady rate: what somebody notices of the work beside it."""

from collections.abc import Sequence

import msgspec

from bench.load.http1 import BadResponse, Connection, post
from bench.load.steady import SteadyPosts
from bench.product import Product
from bench.words import QUESTION, TURNS, json_text

PER_SECOND = 40
"""A tenth of what saturates two cores."""

_AT_ONCE = 40  # conversations in turn: each is asked once a second, long after its last answer
_CONNECTIONS = 8


class Chat:
    def __init__(self, product: Product) -> None:
        self._host, self._port = "127.0.0.1", product.api.port
        self._headers = {"X-API-Key": product.api_key}

    async def talk(self, seconds: float) -> list[float]:
        """Latencies in ms. Raises RuntimeError where a message was not answered."""
        answers: list[float] = []
        count = max(1, int(seconds * PER_SECOND))
        conversations = await self._conversations(-(-count // TURNS) + _AT_ONCE)
        for first in range(0, count, _AT_ONCE * TURNS):
            paths, conversations = conversations[:_AT_ONCE], conversations[_AT_ONCE:]
            answers += await self._send(paths, min(_AT_ONCE * TURNS, count - first))
        return answers

    async def _send(self, conversations: Sequence[str], count: int) -> list[float]:
        paths = [f"/api/v1/conversations/{conversation}/messages" for conversation in conversations]
        body = json_text({"content": QUESTION}).encode()
        load = SteadyPosts(self._host, self._port, paths, self._headers, body)
        try:
            answers = await load.send(count, per_second=PER_SECOND, connections=_CONNECTIONS)
        except BadResponse as error:
            raise RuntimeError(f"a message was not answered: {error}") from None
        finally:
            load.close()
        if any(answer.status not in {200, 201} for answer in answers):
            raise RuntimeError(f"a message was answered by {max(answer.status for answer in answers)}")
        return [(answer.ended - answer.began) * 1000 for answer in answers]

    async def _conversations(self, count: int) -> list[str]:
        connection = await Connection.open(self._host, self._port)
        try:
            return [await self._conversation(connection) for _ in range(count)]
        finally:
            connection.close()

    async def _conversation(self, connection: Connection) -> str:
        body: list[bytes] = []
        request = post(self._host, "/api/v1/conversations", self._headers, b"{}")
        status = await connection.request(request, body.append)
        if status != 201:
            raise RuntimeError(f"no conversation: status {status}")
        return str(msgspec.json.decode(b"".join(body))["id"])
