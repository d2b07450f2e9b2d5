"""A provider that a test scripts: an OpenAI-compatible server that answers what a function says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from support.receiver import Received, answer, receiver

Reply = Callable[[list[dict[str, Any]]], str]
"""From the messages of a request to the answer's text."""


@asynccontextmanager
async def provider(reply: Reply) -> AsyncIterator[tuple[str, list[list[dict[str, Any]]]]]:
    """Its base URL, and the messages of each request so far."""
    asked: list[list[dict[str, Any]]] = []

    async def complete(request: Received, writer: asyncio.StreamWriter) -> None:
        messages = msgspec.json.decode(request.body)["messages"]
        asked.append(messages)
        text = reply(messages)
        asked_tokens, said = sum(len(str(each["content"])) for each in messages) // 4, len(text) // 4
        usage = {"prompt_tokens": asked_tokens, "completion_tokens": said, "total_tokens": asked_tokens + said}
        body = b"".join(
            (_event({"role": "assistant", "content": text}), _event({}, finish="stop"), _event(usage=usage))
        )
        stream = ("Content-Type: text/event-stream",)
        await answer(body + b"data: [DONE]\n\n", headers=stream)(request, writer)

    async with receiver(complete) as server:
        yield f"http://127.0.0.1:{server.port}/v1", asked


def _event(
    delta: dict[str, str] | None = None, *, finish: str | None = None, usage: dict[str, int] | None = None
) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "sim", "choices": choices}
    return b"data: " + msgspec.json.encode({**chunk, "usage": usage}) + b"\n\n"
