"""Idempotency-Key over HTTP: the same request twice is one request."""

import asyncio
from functools import partial
from uuid import uuid4

from support.api import SharedApi
from support.clients import check_whole, eventually, refusal
from support.simulator import scripted


def openai(script: str = "") -> str:
    return f"openai/{scripted(script)[0]}"


def key() -> dict[str, str]:
    return {"idempotency-key": uuid4().hex}


async def test_a_repeated_creation_gets_the_first_answer(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        headers = key()
        first = await client.call("POST", "/conversations", {"title": "Once"}, **headers)
        second = await client.call("POST", "/conversations", {"title": "Once"}, **headers)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        other = await client.call("POST", "/conversations", {"title": "Twice"}, **headers)
        refusal(other, 409, "IDEMPOTENCY_MISMATCH")


async def test_the_same_key_of_another_principal_is_another_key(shared_api: SharedApi) -> None:
    async with shared_api.acme as client, shared_api.other as stranger:
        headers = key()
        mine = await client.call("POST", "/conversations", {}, **headers)
        theirs = await stranger.call("POST", "/conversations", {}, **headers)
        assert mine.json()["id"] != theirs.json()["id"]


async def test_requests_at_the_same_time_make_one_conversation(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        headers = key()
        answers = await asyncio.gather(*(client.call("POST", "/conversations", {}, **headers) for _ in range(8)))
        made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
        assert len(made) == 1
        for answer in answers:
            if answer.status_code != 201:
                refusal(answer, 409, "IDEMPOTENCY_IN_PROGRESS")


async def test_a_repeated_question_is_asked_once(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation, headers = await client.conversation(), key()
        model, script_key = scripted("tokens=4")
        ask = partial(client.ask, conversation, model=f"openai/{model}", headers=headers)
        first, second = await ask(), await ask()
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        assert len(await shared_api.site.simulator.requests(script_key)) == 1
        refusal(await ask("Something else"), 409, "IDEMPOTENCY_MISMATCH")


async def test_a_repeat_during_a_plain_answer_is_told_so(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation, headers = await client.conversation(), key()
        model, script_key = scripted("first_ms=1500,tokens=1")
        first = asyncio.create_task(client.ask(conversation, model=f"openai/{model}", headers=headers))
        await eventually(lambda: shared_api.site.simulator.requests(script_key), what="the first question")
        second = await client.ask(conversation, model=f"openai/{model}", headers=headers)
        refusal(second, 409, "IDEMPOTENCY_IN_PROGRESS")
        assert (await first).status_code == 201


async def test_a_repeat_of_a_streamed_question_attaches_to_its_stream(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation, headers, model = await client.conversation(), key(), openai("tokens=60,pace_ms=20")
        async with client.streamed(conversation, model=model, headers=headers) as stream:
            await stream.read(3)
            attached = await client.stream(conversation, model=model, headers=headers)
            events = await stream.rest()
        check_whole(events)
        assert attached == events
        assert await client.stream(conversation, model=model, headers=headers) == events
        assert len(await client.messages(conversation)) == 2


async def test_after_a_providers_failure_a_repeat_asks_anew(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation, headers = await client.conversation(), key()
        model, script_key = scripted("fault=status,status=500,times=2,tokens=2")
        first = await client.ask(conversation, model=f"openai/{model}", headers=headers)
        assert first.status_code == 502, first.text
        second = await client.ask(conversation, model=f"openai/{model}", headers=headers)
        assert (second.status_code, second.json()["status"]) == (201, "completed")
        assert len(await shared_api.site.simulator.requests(script_key)) == 3  # the first was retried once


async def test_a_refused_question_frees_its_key(shared_api: SharedApi) -> None:
    """A conflict is true only for now."""
    async with shared_api.acme as client:
        conversation, headers, model = await client.conversation(), key(), openai("tokens=1")
        async with client.streamed(conversation, model=openai("tokens=40,pace_ms=20")) as stream:
            await stream.read(2)
            refusal(await client.ask(conversation, model=model, headers=headers), 409, "GENERATION_IN_PROGRESS")
            await stream.rest()
        assert (await client.ask(conversation, model=model, headers=headers)).status_code == 201


async def test_a_key_that_is_too_long_or_unprintable_is_refused(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        for bad in ("x" * 256, "", "a\tb"):
            answer = await client.call("POST", "/conversations", {}, **{"idempotency-key": bad})
            assert "Idempotency-Key" in refusal(answer, 422, "VALIDATION_ERROR")["fields"]
        longest = await client.call("POST", "/conversations", {}, **{"idempotency-key": uuid4().hex.ljust(255, "x")})
        assert longest.status_code == 201


async def test_a_repeated_cancel_gets_the_first_answer(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation = (await client.call("POST", "/conversations", {})).json()["id"]
        asked = {"content": "Slowly", "model": openai("tokens=400,pace_ms=50")}
        asking = asyncio.create_task(client.call("POST", f"/conversations/{conversation}/messages", asked))
        answer = ""
        while not answer:
            listed = (await client.call("GET", f"/conversations/{conversation}/messages")).json()["items"]
            answer = next((message["id"] for message in listed if message["role"] == "assistant"), "")
        headers, path = key(), f"/conversations/{conversation}/messages/{answer}/cancel"
        first = await client.call("POST", path, **headers)
        assert (await asking).json()["status"] == "cancelled"
        second = await client.call("POST", path, **headers)
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json() == second.json()
