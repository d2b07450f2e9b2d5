"""A little of everything that a running installation does, failures too: what dashboards have to show."""

from support.background import add_item, ask_later, ended_message, ready_item
from support.clients import Client, eventually
from support.receiver import answer, receiver
from support.runs import define, ended, start, step, transform
from support.simulator import scripted

_FAILS = "fault=status,status=500"
_NOBODY = 9  # the port of "discard", which nobody serves any more


async def make_traffic(client: Client) -> None:
    """Of a tenant's owner, at an API with both workers and a reranker behind it; EGRESS_ALLOW has 127.0.0.1."""
    await _search(client)  # first: what measures recall wants a moment without searches
    await _answer(client)
    await _notify(client)
    await _refuse(client)
    await _run(client)


async def _answer(client: Client) -> None:
    conversation = await client.conversation()
    for script in ("cached=5,reasoning=2", "tokens=5"):
        await client.stream(conversation, model=f"openai/{scripted(script)[0]}")
    assert (await client.ask(conversation, model="openai/sim")).status_code == 201
    assert (await client.ask(conversation, model=f"openai/{scripted(_FAILS)[0]}")).status_code == 502
    background = await client.conversation()
    await ended_message(client, background, await ask_later(client, background))


async def _notify(client: Client) -> None:
    """Of an answer, somebody who is not there, and somebody who wants no more of it: jobs that fail, and die."""
    async with receiver(answer(status="410 Gone")) as gone:
        for port in (_NOBODY, gone.port):
            body = {"url": f"http://127.0.0.1:{port}/", "events": ["message.created"]}
            assert (await client.call("POST", "/webhooks", body)).status_code == 201
        await client.stream(await client.conversation(), model="openai/sim")

        async def have_failed() -> bool:
            jobs = (await client.get("/jobs?queue=workflow"))["items"]
            return {"scheduled", "dead"} <= {job["status"] for job in jobs if job["failures"]}

        await eventually(have_failed, seconds=30, what="the failure of deliveries")


async def _refuse(client: Client) -> None:
    assert (await client.call("GET", "/conversations/nobody")).status_code in {404, 422}
    assert (await client.call("POST", "/context/search", {"query": ""})).status_code == 422
    for _ in range(5):
        await client.get("/conversations")


async def _run(client: Client) -> None:
    works = await define(client, transform("a", x="1"))
    fails = await define(client, step("a", "transform", {"set": {"x": "inputs.nothing + 1"}}))
    assert (await ended(client, await start(client, works), seconds=30))["status"] == "completed"
    assert (await ended(client, await start(client, fails), seconds=30))["status"] == "failed"


async def _search(client: Client) -> None:
    for text in ("The lamp stands in the harbour.", "All the invoices are paid in the summer."):
        await ready_item(client, await add_item(client, text), seconds=60)
    assert (await ready_item(client, await add_item(client, "\n \n")))["status"] == "failed"
    body = {"query": "invoices of the summer", "mode": "hybrid", "rerank": True}
    answer = await client.call("POST", "/context/search", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"]
