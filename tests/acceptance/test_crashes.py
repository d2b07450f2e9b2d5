"""What is left of an answer when its process is killed, stopped, frozen, or when it runs beside a second one."""

import asyncio
import signal
from contextlib import suppress
from typing import Any

import httpx
import pytest
import redis

from support.api import Site, StartApi
from support.clients import Client, Event, Stream, check_whole, eventually, refusal, text_of
from support.simulator import scripted

TAKEOVER_SECONDS = 12.0  # the promise is 10


def openai(script: str) -> str:
    return f"openai/{scripted(script)[0]}"


SLOW = "tokens=2000,pace_ms=20"


async def ended(
    client: Client, conversation: str, message_id: str, *, seconds: float = TAKEOVER_SECONDS
) -> dict[str, object]:
    """The message, once it is no longer being generated."""

    async def message() -> dict[str, object] | None:
        found = await client.message(conversation, message_id)
        return found if found["status"] != "generating" else None

    return dict(await eventually(message, seconds=seconds, what="the end of the answer"))


async def read_until_broken(stream: Stream) -> list[Event]:
    with pytest.raises(httpx.HTTPError):
        await stream.rest()
    return stream.events


async def checkpointed(site: Site, message_id: str) -> None:
    """A checkpoint with text has been written."""

    async def found() -> object:
        return site.rows("SELECT 1 FROM messages WHERE id = %s AND events_sealed IS NOT NULL", message_id)

    await eventually(found, what="a checkpoint")


async def test_a_killed_process_leaves_an_interrupted_answer_that_another_one_ends(
    site: Site, start_api: StartApi
) -> None:
    """With the text so far, its end in the stream, a line on the bill; then the conversation goes on."""
    first, second = start_api(site.environ()), start_api(site.environ())
    async with first.client(site.acme) as client, second.client(site.acme) as other:
        conversation = await client.conversation()
        async with client.streamed(conversation, model=openai(SLOW)) as stream:
            message_id = (await stream.read(30))[0].data["message_id"]
            async with other.followed(conversation, message_id) as attached:
                await attached.read(20)
                first.kill()
                seen = await read_until_broken(stream)
                seen_elsewhere = await asyncio.wait_for(attached.rest(), TAKEOVER_SECONDS)
        message = await ended(other, conversation, message_id)
        assert message["status"] == "interrupted"
        assert str(message["content"]).startswith(text_of(seen))
        check_whole(seen_elsewhere)
        assert seen_elsewhere[: len(seen)] == seen
        assert seen_elsewhere[-1].data["code"] == "INTERRUPTED"
        assert text_of(seen_elsewhere) == message["content"]
        assert await other.replay(conversation, message_id) == seen_elsewhere
        bill = "SELECT outcome, estimated, output_tokens > 0 FROM llm_calls WHERE message_id = %s"
        assert site.rows(bill, message_id) == [("interrupted", True, True)]
        answer = await other.ask(conversation, model=openai("tokens=2"))
        assert answer.json()["status"] == "completed"


async def test_the_next_process_to_start_ends_what_a_killed_one_left(site: Site, start_api: StartApi) -> None:
    """Without Redis, from the checkpoints alone."""
    first = start_api(site.environ(redis_url="redis://127.0.0.1:1/0"))
    async with first.client(site.acme) as client:
        conversation = await client.conversation()
        async with client.streamed(conversation, model=openai(SLOW)) as stream:
            message_id = (await stream.read(2))[0].data["message_id"]
            await checkpointed(site, message_id)
            first.kill()
            seen = await read_until_broken(stream)
    second = start_api(site.environ(redis_url="redis://127.0.0.1:1/0"))
    async with second.client(site.acme) as client:
        message = await ended(client, conversation, message_id)
        events = await client.replay(conversation, message_id)
        check_whole(events)
        assert (message["status"], events[-1].data["code"]) == ("interrupted", "INTERRUPTED")
        assert len(str(message["content"])) > 0
        # Which of the two is ahead depends on the moment of the kill; they never differ.
        kept, shown = str(message["content"]), text_of(seen)
        assert shown.startswith(kept) or kept.startswith(shown)
        # Whoever has seen more than was kept still learns of the end, once.
        number = len(events) + 3
        late = await client.replay(conversation, message_id, after=number)
        check_whole(late, first=number + 1)
        assert [event.type for event in late] == ["error"]


async def test_a_reader_in_a_second_process_sees_all_events(site: Site, start_api: StartApi) -> None:
    first, second = start_api(site.environ()), start_api(site.environ())
    async with first.client(site.acme) as client, second.client(site.acme) as other:
        conversation = await client.conversation()
        async with client.streamed(conversation, model=openai("tokens=60,pace_ms=20")) as stream:
            message_id = (await stream.read(5))[0].data["message_id"]
            same, elsewhere, late = await asyncio.gather(
                client.replay(conversation, message_id),
                other.replay(conversation, message_id),
                other.replay(conversation, message_id, after=20),
            )
            events = await stream.rest()
        check_whole(events)
        assert same == elsewhere == events
        assert late == events[20:]


async def test_without_redis_a_reader_in_a_second_process_follows_the_checkpoints(
    site: Site, start_api: StartApi
) -> None:
    """Redis is away from the start, and chat goes on."""
    away = site.environ(redis_url="redis://127.0.0.1:1/0")
    first, second = start_api(away), start_api(away)
    async with first.client(site.acme) as client, second.client(site.acme) as other:
        conversation = await client.conversation()
        async with client.streamed(conversation, model=openai("tokens=150,pace_ms=20")) as stream:
            message_id = (await stream.read(5))[0].data["message_id"]
            elsewhere = await other.replay(conversation, message_id)
            events = await stream.rest()
        check_whole(events)
        assert elsewhere == events
        health = (await client.http.get("/health")).json()
        assert (health["status"], health["components"]["cache"]) == ("degraded", "degraded")


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_can_be_cancelled_from_another_process(site: Site, start_api: StartApi, streamed: bool) -> None:
    first, second = start_api(site.environ()), start_api(site.environ())
    async with first.client(site.acme) as client, second.client(site.acme) as other:
        conversation = await client.conversation()
        asking = asyncio.create_task(
            client.stream(conversation, model=openai(SLOW))
            if streamed
            else client.ask(conversation, model=openai("first_ms=60000"))
        )

        async def generating() -> str | None:
            items = await other.messages(conversation)
            return next((item["id"] for item in items if item["status"] == "generating"), None)

        message_id = await eventually(generating)
        path = f"/conversations/{conversation}/messages/{message_id}/cancel"
        assert (await other.call("POST", path)).status_code == 202
        message = await ended(other, conversation, message_id, seconds=6)
        assert message["status"] == "cancelled"
        refusal(await other.call("POST", path), 409, "CONFLICT")
        answer: Any = await asking
        if isinstance(answer, list):
            check_whole(answer)
            assert answer[-1].data["code"] == "CANCELLED"
        else:
            assert (answer.status_code, answer.json()["status"]) == (201, "cancelled")
        outcomes = site.rows("SELECT outcome FROM llm_calls WHERE message_id = %s", message_id)
        assert outcomes == [("cancelled",)]


async def test_sigterm_lets_answers_end_and_then_the_process_exits_with_0(site: Site, start_api: StartApi) -> None:
    api = start_api(site.environ())
    async with api.client(site.acme) as client, api.client(site.acme) as late:
        conversation, second = await client.conversation(), await late.conversation()
        async with client.streamed(conversation, model=openai("tokens=100,pace_ms=20")) as stream:
            await stream.read(3)
            api.send(signal.SIGTERM)
            await eventually(lambda: drains(api.log_path.read_text), what="draining")
            with suppress(httpx.TransportError):  # a closed connection is a refusal as well
                refusal(await late.ask(second), 503, "UNAVAILABLE")
            events = await stream.rest()
        check_whole(events)
        assert events[-1].type == "message_end"
    assert api.process.wait(10)
    assert api.exit_code == 0


async def drains(read: object) -> bool:
    return "Draining" in read()  # type: ignore[operator]


async def test_answers_longer_than_the_drain_time_are_interrupted(site: Site, start_api: StartApi) -> None:
    api = start_api(site.environ(drain_seconds=1))
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        async with client.streamed(conversation, model=openai(SLOW)) as stream:
            message_id = (await stream.read(10))[0].data["message_id"]
            api.send(signal.SIGTERM)
            events = await stream.rest()
        assert stream.is_done
        check_whole(events)
        assert events[-1].data["code"] == "INTERRUPTED"
    assert api.process.wait(10)
    assert api.exit_code == 0
    second = start_api(site.environ())
    async with second.client(site.acme) as client:
        assert await client.replay(conversation, message_id) == events
    assert site.rows("SELECT count(*) FROM llm_calls WHERE message_id = %s", message_id) == [(1,)]


async def test_a_frozen_process_that_wakes_up_changes_nothing(site: Site, start_api: StartApi) -> None:
    first, second = start_api(site.environ()), start_api(site.environ())
    async with first.client(site.acme) as client, second.client(site.acme) as other:
        conversation = await client.conversation()
        async with client.streamed(conversation, model=openai(SLOW)) as stream:
            message_id = (await stream.read(20))[0].data["message_id"]
            first.send(signal.SIGSTOP)
            message = await ended(other, conversation, message_id)
            assert message["status"] == "interrupted"
            events = await other.replay(conversation, message_id)
            rows = "SELECT content_sealed, events_sealed, status, fence FROM messages WHERE id = %s"
            before = site.rows(rows, message_id)
            first.send(signal.SIGCONT)
            # Its reader is sent to the stored end: one end, no gap, whatever it had still shown on its own.
            woken = await asyncio.wait_for(stream.rest(), 20)
        assert stream.is_done
        check_whole(woken)
        assert woken[-1].data["code"] == "INTERRUPTED"
        assert site.rows(rows, message_id) == before
        assert await client.replay(conversation, message_id) == events
        assert site.rows("SELECT count(*) FROM llm_calls WHERE message_id = %s", message_id) == [(1,)]
        answer = await client.ask(conversation, model=openai("tokens=1"))
        assert answer.status_code == 201


async def test_a_client_that_leaves_does_not_end_the_answer(site: Site, start_api: StartApi) -> None:
    api = start_api(site.environ())
    async with api.client(site.acme) as client, api.client(site.acme) as leaver:
        conversation = await client.conversation()
        async with leaver.streamed(conversation, model=openai("tokens=50,pace_ms=20")) as stream:
            message_id = (await stream.read(3))[0].data["message_id"]
        await leaver.http.aclose()
        message = await ended(client, conversation, message_id)
        assert message["status"] == "completed"
        assert str(message["content"]).endswith("word49 ")
        bill = "SELECT outcome, output_tokens, estimated FROM llm_calls WHERE message_id = %s"
        assert site.rows(bill, message_id) == [("completed", 50, False)]


async def test_a_flushed_redis_costs_no_event(site: Site, start_api: StartApi) -> None:
    first, second = start_api(site.environ()), start_api(site.environ())
    async with first.client(site.acme) as client, second.client(site.acme) as other:
        conversation = await client.conversation()
        async with client.streamed(conversation, model=openai("tokens=150,pace_ms=20")) as stream:
            message_id = (await stream.read(5))[0].data["message_id"]
            following = asyncio.create_task(other.replay(conversation, message_id))
            await stream.read(30)
            with redis.Redis.from_url(site.redis_url) as client_of_redis:
                client_of_redis.flushdb()
            events = await stream.rest()
            assert await following == events
        check_whole(events)
        assert await other.replay(conversation, message_id) == events
