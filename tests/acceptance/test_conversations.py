"""A conversation over HTTP, as a client sees it."""

import redis

from support.api import SharedApi
from support.clients import check_whole, refusal, text_of
from support.simulator import scripted


def openai(script: str = "") -> str:
    """A model of the simulator's that nobody else asks."""
    return f"openai/{scripted(script)[0]}"


async def test_a_plain_answer_is_whole_and_stays(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation = await client.conversation(title="First")
        answer = await client.ask(conversation, model=openai("tokens=3"))
        assert answer.status_code == 201, answer.text
        message = answer.json()
        assert (message["role"], message["status"], message["content"]) == (
            "assistant",
            "completed",
            "word0 word1 word2 ",
        )
        assert await client.message(conversation, message["id"]) == message


async def test_a_streamed_answer_is_numbered_from_one_and_ends_once(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation = await client.conversation()
        events = await client.stream(conversation, model=openai("tokens=3"))
        check_whole(events)
        assert [event.type for event in events] == ["message_start", *["content_delta"] * 3, "message_end"]
        message = await client.message(conversation, events[0].data["message_id"])
        assert message["content"] == text_of(events) == "word0 word1 word2 "
        assert message["usage"] == events[-1].data["usage"]


async def test_a_replay_gives_the_same_events_while_the_log_lives_and_after_it_expired(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation = await client.conversation()
        document = {"name": "a.md", "text": "Copper melts at 1085 degrees."}
        events = await client.stream(conversation, model=openai("tokens=40,cite=1"), documents=[document])
        check_whole(events)
        assert "citation" in {event.type for event in events}
        message_id = events[0].data["message_id"]
        assert await client.replay(conversation, message_id) == events
        assert await client.replay(conversation, message_id, after=7) == events[7:]
        with redis.Redis.from_url(shared_api.site.redis_url) as log:
            assert log.delete(f"copilot:{{{message_id}}}:stream:0") == 1
        assert await client.replay(conversation, message_id) == events
        assert await client.replay(conversation, message_id, after=7) == events[7:]
        assert await client.replay(conversation, message_id, after=len(events)) == []


async def test_a_second_question_during_an_answer_is_refused(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation = await client.conversation()
        async with client.streamed(conversation, model=openai("tokens=60,pace_ms=20")) as stream:
            await stream.read(2)
            refusal(await client.ask(conversation), 409, "GENERATION_IN_PROGRESS")
            await stream.rest()
        assert (await client.ask(conversation, model=openai("tokens=1"))).status_code == 201
