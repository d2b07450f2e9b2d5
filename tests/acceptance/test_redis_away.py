"""Redis goes away while clients ask, and comes back."""

import asyncio

import pytest

from copilot_devstack import TemporaryStores
from support.api import Site, StartApi, make_site
from support.clients import check_whole, eventually
from support.simulator import SimulatorHandle, scripted
from support.stack import clone_template


@pytest.fixture
def private_site(private_stack: TemporaryStores, simulator: SimulatorHandle) -> Site:
    return make_site(clone_template(private_stack.postgres.admin_url), private_stack.redis.url, simulator)


async def test_chat_goes_on_without_redis_and_limits_stay(
    private_stack: TemporaryStores, private_site: Site, start_api: StartApi
) -> None:
    first, second = (start_api(private_site.environ(rate_limit_requests=60)) for _ in range(2))
    slow = f"openai/{scripted('tokens=200,pace_ms=20')[0]}"
    async with first.client(private_site.acme) as client, second.client(private_site.acme) as other:
        conversation, plain = await client.conversation(), await client.conversation()
        async with client.streamed(conversation, model=slow) as stream:
            message_id = (await stream.read(10))[0].data["message_id"]
            following = asyncio.create_task(other.replay(conversation, message_id))
            await asyncio.to_thread(private_stack.redis.kill)
            answer = await client.ask(plain, model=f"openai/{scripted('tokens=2')[0]}")
            events = await stream.rest()
            elsewhere = await following
        assert answer.status_code == 201
        check_whole(events)
        assert events[-1].type == "message_end"
        assert elsewhere == events
        statuses = [(await client.call("GET", "/models")).status_code for _ in range(70)]
        assert set(statuses) == {200, 429}
        health = (await client.http.get("/health")).json()
        assert (health["status"], health["components"]["database"]) == ("degraded", "healthy")
        metrics = (await client.http.get("/metrics")).text
        assert "rate_limit_local_decisions_total" in metrics
        await asyncio.to_thread(private_stack.redis.start)

        async def healthy() -> bool:
            return bool((await client.http.get("/health")).json()["components"]["cache"] == "healthy")

        await eventually(healthy)
