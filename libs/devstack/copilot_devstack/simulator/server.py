"""The simulator's connections: who asks in which format, and what is recorded of it."""

import asyncio
import itertools
from urllib.parse import parse_qs

import msgspec

from copilot_devstack.simulator.anthropic_format import AnthropicFormat
from copilot_devstack.simulator.embedding_formats import GoogleEmbeddings, OpenAIEmbeddings
from copilot_devstack.simulator.exchange import Exchange
from copilot_devstack.simulator.google_format import GoogleFormat
from copilot_devstack.simulator.http import Request, plain_answer, read_request
from copilot_devstack.simulator.openai_format import OpenAIFormat
from copilot_devstack.simulator.recording import Recorded, Recorder, State
from copilot_devstack.simulator.rerank_format import RerankFormat
from copilot_devstack.simulator.script import parse_script
from copilot_devstack.simulator.wire import WireFormat

_MAX_WAIT_SECONDS = 30.0


class Simulator:
    """All providers at once; `serve_connection` is what asyncio.start_server takes."""

    def __init__(self) -> None:
        self._by_end: dict[str, WireFormat] = {
            "/chat/completions": OpenAIFormat(),
            "/embeddings": OpenAIEmbeddings(),
            "/rerank": RerankFormat(),
            ":batchEmbedContents": GoogleEmbeddings(),
            "/v1/messages": AnthropicFormat(),
        }
        self._google = GoogleFormat()
        self._recorder = Recorder()
        self._numbers = itertools.count(1)
        self._connections = 0

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._numbers)
        self._connections += 1
        try:
            while (request := await read_request(reader, number)) and not writer.is_closing():
                await self._answer(request, reader, writer)
                await writer.drain()
        except (ValueError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # not HTTP, or a client that left: nobody is there to be told
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = self._format_of(request)
        if wire is None:
            writer.write(await self._control(request))
            return
        try:
            ask = wire.read(request.path, request.body)
            script = parse_script(ask.model)
        except ValueError:
            writer.write(plain_answer(400, wire.error(400)))
            return
        recorded = self._recorder.begin(wire.name, ask, script.key, request)
        faulty = script.times == 0 or self._recorder.occurrence(wire.name, ask.model) < script.times
        state: State = "disconnected"
        try:
            state = await Exchange(wire, ask, script, reader, writer).run(request, faulty=faulty)
        finally:
            self._recorder.end(recorded, state)

    def _format_of(self, request: Request) -> WireFormat | None:
        if request.method != "POST":
            return None
        for end, wire in self._by_end.items():
            if request.path.endswith(end):
                return wire
        return self._google if "/models/" in request.path else None

    async def _control(self, request: Request) -> bytes:
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        found: list[Recorded] | dict[str, int]
        if request.path == "/_sim/requests":
            found = self._recorder.matching(query.get("key"))
        elif request.path == "/_sim/wait":
            seconds = min(float(query.get("seconds", "10")), _MAX_WAIT_SECONDS)
            found = await self._recorder.wait(query.get("key"), query.get("state", "finished"), seconds)
        elif request.path == "/_sim/stats":
            total, active = self._recorder.total, self._recorder.active
            found = {"requests": total, "active": active, "connections": self._connections}
        else:
            return plain_answer(404, b'{"error": {"message": "no such path"}}')
        return plain_answer(200, msgspec.json.encode(found))
