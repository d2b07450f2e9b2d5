"""A body that is read while its client sends it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from copilot_api.http.streamed_body import read_body
from copilot_common.base.errors import CopilotError, TooLarge

Message = Mapping[str, Any]


def messages(*sent: Message) -> Callable[[], Awaitable[Message]]:
    """What a server says; then nothing more, ever."""
    left = iter(sent)

    async def receive() -> Message:
        for message in left:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def more(body: bytes) -> Message:
    return {"type": "http.request", "body": body, "more_body": True}


async def read(*sent: Message, content_length: int | None = None, **limits: Any) -> list[bytes]:
    body = read_body(messages(*sent), content_length=content_length, max_bytes=10, **limits)
    return [piece async for piece in body]


async def test_pieces_come_as_they_were_sent_without_the_empty_ones() -> None:
    last: Message = {"type": "http.request", "body": b"c", "more_body": False}
    assert await read(more(b"a"), more(b""), more(b"b"), last) == [b"a", b"b", b"c"]
    assert await read({"type": "http.request"}) == []


async def test_an_announced_size_is_refused_before_anything_is_read() -> None:
    with pytest.raises(TooLarge):
        await read(content_length=11)


async def test_a_size_that_was_not_announced_is_refused_when_it_is_passed() -> None:
    with pytest.raises(TooLarge):
        await read(more(b"x" * 6), more(b"x" * 5))


@pytest.mark.parametrize("limits", [{"idle_seconds": 0.01}, {"total_seconds": 0.01}])
async def test_a_client_that_falls_silent_is_cut_off(limits: dict[str, Any]) -> None:
    with pytest.raises(CopilotError) as refused:
        await read(more(b"a"), **limits)
    assert refused.value.code == "BAD_REQUEST"
    assert "slowly" in refused.value.message


async def test_a_client_that_drips_is_cut_off_when_its_time_is_over() -> None:
    async def drip() -> Message:
        await asyncio.sleep(0)
        return more(b"")

    with pytest.raises(CopilotError) as refused:
        [piece async for piece in read_body(drip, content_length=None, max_bytes=10, total_seconds=0.01)]
    assert "slowly" in refused.value.message


async def test_a_client_that_leaves_ends_the_body() -> None:
    with pytest.raises(CopilotError) as refused:
        await read(more(b"a"), {"type": "http.disconnect"})
    assert refused.value.code == "BAD_REQUEST"
