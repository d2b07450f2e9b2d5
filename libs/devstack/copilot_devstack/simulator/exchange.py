"""One request and its answer, as the request's script wants it."""

import asyncio
from functools import lru_cache

import msgspec

from copilot_devstack.simulator.google_format import WRONG_KEY
from copilot_devstack.simulator.http import STREAM_END, STREAM_HEAD, Request, chunk, plain_answer
from copilot_devstack.simulator.recording import State
from copilot_devstack.simulator.script import Fault, Script
from copilot_devstack.simulator.wire import Ask, Frames, StreamFormat, WireFormat

_CREDENTIALS = ("authorization", "x-api-key", "x-goog-api-key")


class Exchange:
    """`run` writes the answer and tells how it ended."""

    def __init__(
        self, wire: WireFormat, ask: Ask, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # Without a tool the answer does not depend on the question: this keeps the caches below effective.
        self._ask = ask if script.tool else msgspec.structs.replace(ask, tool_input=None)
        self._wire, self._script, self._reader, self._writer = wire, script, reader, writer

    async def run(self, request: Request, *, faulty: bool) -> State:
        script = self._script
        if any("wrong" in request.headers.get(name, "") for name in _CREDENTIALS):
            return self._refuse_key()
        if script.refuse and f'"{script.refuse}"'.encode() in request.body:
            return self._refuse(400)
        if faulty and script.fault == "status":
            wait = {} if script.retry_after is None else {"retry-after": f"{script.retry_after:g}"}
            return self._refuse(script.status, wait)
        broken = faulty and script.fault != "none"
        if self._ask.stream and isinstance(self._wire, StreamFormat):
            return await self._stream(self._wire, broken=broken)
        return await self._document(broken=broken)

    def _refuse_key(self) -> State:
        if self._wire.name != "google":
            return self._refuse(401)
        self._writer.write(plain_answer(400, WRONG_KEY))
        return "faulted"

    def _refuse(self, status: int, headers: dict[str, str] | None = None) -> State:
        self._writer.write(plain_answer(status, self._wire.error(status), headers))
        return "faulted"

    async def _document(self, *, broken: bool) -> State:
        script = self._script
        answer = self._render(spoilt=script.fault if broken else "none")
        if script.first_ms or script.pace_ms:
            await asyncio.sleep((script.first_ms + script.pace_ms * script.tokens) / 1000)
        if broken and script.fault not in {"short", "infinite"}:
            return await self._break(cut=answer[:-20], malformed=plain_answer(200, b'{"broken'))
        self._writer.write(answer)
        return "finished"

    def _render(self, *, spoilt: Fault) -> bytes:
        ask, replace = self._ask, msgspec.structs.replace
        if ask.embedding is not None:
            ask = replace(ask, embedding=replace(ask.embedding, spoilt=spoilt))
        elif ask.reranking is not None:
            ask = replace(ask, reranking=replace(ask.reranking, spoilt=spoilt))
        else:
            return _document(self._wire, self._script, ask)
        # Megabytes, and never the same again: not kept.
        return plain_answer(200, self._wire.document(self._script, ask))

    async def _stream(self, wire: StreamFormat, *, broken: bool) -> State:
        script = self._script
        if not (broken or script.pace_ms or script.first_ms):
            self._writer.write(_instant_stream(wire, script, self._ask))
            return "finished"
        frames = _frames(wire, script, self._ask)
        self._writer.write(STREAM_HEAD + chunk(frames.head))
        if not await self._pace(frames.words[: script.after] if broken else frames.words):
            return "disconnected"
        if broken:
            event = wire.error_event if script.fault == "error_event" else wire.malformed
            return await self._break(cut=b"7f\r\ndata: ", malformed=chunk(event) + STREAM_END)
        self._writer.write(chunk(frames.tail) + STREAM_END)
        return "finished"

    async def _pace(self, words: tuple[bytes, ...]) -> bool:
        """Write the words with their pauses; False when the client has gone."""
        delay_ms = self._script.first_ms
        for word in words:
            if delay_ms:
                await asyncio.sleep(delay_ms / 1000)
            if self._reader.at_eof() or self._writer.is_closing():
                return False
            self._writer.write(chunk(word))
            delay_ms = self._script.pace_ms
        return True

    async def _break(self, *, cut: bytes, malformed: bytes) -> State:
        if self._script.fault == "stall":
            # A client sends nothing while it waits: all that can be read here is its leaving.
            await self._reader.read(1)
            return "disconnected"
        if self._script.fault == "cut":
            self._writer.write(cut)
            await self._writer.drain()
            self._writer.close()
            return "faulted"
        self._writer.write(malformed)
        return "faulted"


# A benchmark asks for the same thing again and again: its answer is rendered once.
@lru_cache(maxsize=256)
def _frames(wire: StreamFormat, script: Script, ask: Ask) -> Frames:
    return wire.frames(script, ask)


@lru_cache(maxsize=256)
def _instant_stream(wire: StreamFormat, script: Script, ask: Ask) -> bytes:
    frames = _frames(wire, script, ask)
    parts = [frames.head, *frames.words, frames.tail]
    return STREAM_HEAD + b"".join(chunk(part) for part in parts) + STREAM_END


@lru_cache(maxsize=256)
def _document(wire: WireFormat, script: Script, ask: Ask) -> bytes:
    return plain_answer(200, wire.document(script, ask))
