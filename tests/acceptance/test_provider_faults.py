"""What a client sees, and what stays, when the provider fails."""

import pytest

from support.api import SharedApi, Site, StartApi
from support.clients import check_whole, refusal, text_of
from support.simulator import scripted


def bill(site: Site, message_id: str) -> list[tuple[object, ...]]:
    return site.rows("SELECT outcome, estimated FROM llm_calls WHERE message_id = %s", message_id)


async def test_a_provider_that_is_busy_once_is_asked_again(shared_api: SharedApi) -> None:
    model, key = scripted("fault=status,status=429,retry_after=0,times=1,tokens=2")
    async with shared_api.acme as client:
        answer = await client.ask(await client.conversation(), model=f"openai/{model}")
        assert (answer.status_code, answer.json()["content"]) == (201, "word0 word1 ")
    assert len(await shared_api.site.simulator.requests(key)) == 2


async def test_a_provider_that_keeps_failing_is_a_502_and_a_failed_answer_on_the_bill(shared_api: SharedApi) -> None:
    model, _ = scripted("fault=status,status=500")
    async with shared_api.acme as client:
        conversation = await client.conversation()
        details = refusal(await client.ask(conversation, model=f"openai/{model}"), 502, "PROVIDER_ERROR")
        assert details["provider"] == "openai"
        question, answer = await client.messages(conversation)
        assert (question["status"], answer["status"]) == ("completed", "failed")
        assert details["message_id"] == answer["id"]
        assert bill(shared_api.site, answer["id"]) == [("failed", True)]
        assert (await client.ask(conversation, model=f"openai/{scripted()[0]}")).status_code == 201


@pytest.mark.parametrize("fault", ["cut", "malformed", "error_event"])
async def test_a_stream_that_breaks_ends_with_an_error_after_the_text_so_far(shared_api: SharedApi, fault: str) -> None:
    model, _ = scripted(f"fault={fault},after=3")
    async with shared_api.acme as client:
        conversation = await client.conversation()
        events = await client.stream(conversation, model=f"openai/{model}")
        check_whole(events)
        assert (events[-1].type, events[-1].data["code"]) == ("error", "PROVIDER_ERROR")
        message = await client.message(conversation, events[0].data["message_id"])
        assert (message["status"], message["content"]) == ("failed", "word0 word1 word2 ")
        assert text_of(events) == message["content"]
        assert await client.replay(conversation, message["id"]) == events
        assert bill(shared_api.site, message["id"]) == [("failed", True)]


async def test_a_provider_that_falls_silent_is_a_504(site: Site, start_api: StartApi) -> None:
    """Before the first word, between two words, and plain."""
    api = start_api(site.environ(timeout_ms=700, stall_timeout_ms=700, max_retries=0))
    async with api.client(site.acme) as client:
        for script, text in (("fault=stall", ""), ("fault=stall,after=2", "word0 word1 ")):
            conversation = await client.conversation()
            events = await client.stream(conversation, model=f"openai/{scripted(script)[0]}")
            check_whole(events)
            assert (events[-1].data["code"], text_of(events)) == ("PROVIDER_TIMEOUT", text)
        plain = await client.ask(await client.conversation(), model=f"openai/{scripted('fault=stall')[0]}")
        refusal(plain, 504, "PROVIDER_TIMEOUT")


async def test_a_model_whose_provider_has_no_key_names_the_variable(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        conversation = await client.conversation()
        details = refusal(await client.ask(conversation, model="google/gemini"), 422, "VALIDATION_ERROR")
        assert "GOOGLE_API_KEY" in details["fields"]["model"]
        refusal(await client.call("POST", "/conversations", {"model": "nobody/knows"}), 422, "VALIDATION_ERROR")
        assert await client.messages(conversation) == []
