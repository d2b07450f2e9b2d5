"""Conversations that are deleted while their answer is being written."""

from support.api import SharedApi
from support.clients import check_whole, eventually, refusal
from support.simulator import scripted


async def test_deleting_a_conversation_ends_its_answer_and_keeps_the_bill(shared_api: SharedApi) -> None:
    model, key = scripted("tokens=3000,pace_ms=20")
    async with shared_api.acme as client, shared_api.acme as deleter:
        conversation = await client.conversation()
        async with client.streamed(conversation, model=f"openai/{model}") as stream:
            message_id = (await stream.read(5))[0].data["message_id"]
            assert (await deleter.call("DELETE", f"/conversations/{conversation}")).status_code == 204
            events = await stream.rest()
        assert stream.is_done
        check_whole(events)
        assert events[-1].type == "error"
        refusal(await deleter.call("GET", f"/conversations/{conversation}"), 404, "NOT_FOUND")

        async def left() -> object:
            return await shared_api.site.simulator.wait(key, "disconnected")

        await eventually(left, what="the provider's stream being closed")

        async def bill() -> list[tuple[object, ...]]:
            query = "SELECT outcome, output_tokens > 0 FROM llm_calls WHERE message_id = %s"
            return shared_api.site.rows(query, message_id)

        assert await eventually(bill) == [("cancelled", True)]
