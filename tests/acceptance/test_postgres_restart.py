"""PostgreSQL goes away and comes back while clients ask."""

import asyncio
from dataclasses import dataclass, field

import httpx
import pytest

from copilot_devstack import TemporaryStores
from support.api import Site, StartApi, make_site
from support.clients import Client, check_whole, eventually
from support.simulator import SimulatorHandle, scripted
from support.stack import clone_template


@pytest.fixture
def private_site(private_stack: TemporaryStores, simulator: SimulatorHandle) -> Site:
    return make_site(clone_template(private_stack.postgres.admin_url), private_stack.redis.url, simulator)


@dataclass
class Load:
    """Clients that ask until they are told to stop, and what they were answered."""

    client: Client
    accepted: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    is_over: bool = False

    async def run(self, clients: int) -> None:
        await asyncio.gather(*(self._ask() for _ in range(clients)))

    async def _ask(self) -> None:
        model = f"openai/{scripted('tokens=5')[0]}"
        while not self.is_over:
            try:
                made = await self.client.call("POST", "/conversations", {})
                self._note(made)
                if made.status_code == 201:
                    self._note(await self.client.ask(made.json()["id"], model=model))
            except httpx.TransportError:
                pass  # the API itself must not break connections; the count below would show it

    def _note(self, answer: httpx.Response) -> None:
        self.statuses.append(answer.status_code)
        if answer.status_code == 201:
            self.accepted.append(answer.json()["id"])
        else:
            assert answer.status_code == 503, answer.text
            assert answer.json()["code"] == "UNAVAILABLE"
            assert "retry-after" in answer.headers

    async def more(self, count: int) -> None:
        """Until that many further requests have been accepted."""
        target = len(self.accepted) + count

        async def enough() -> bool:
            return len(self.accepted) >= target

        await eventually(enough, seconds=30, what="service")


async def test_no_accepted_request_is_lost_and_the_service_comes_back_by_itself(
    private_stack: TemporaryStores, private_site: Site, start_api: StartApi
) -> None:
    api = start_api(private_site.environ())
    async with api.client(private_site.acme) as client, api.client(private_site.acme) as streamer:
        load = Load(client)
        running = asyncio.create_task(load.run(4))
        await load.more(20)
        conversation = await streamer.conversation()
        slow = f"openai/{scripted('tokens=250,pace_ms=20')[0]}"
        async with streamer.streamed(conversation, model=slow) as stream:
            message_id = (await stream.read(10))[0].data["message_id"]
            await asyncio.to_thread(private_stack.postgres.restart)
            await load.more(20)
            events = await stream.rest()
        load.is_over = True
        await running
        assert stream.is_done
        check_whole(events)
        assert events[-1].type == "message_end"
        assert await streamer.replay(conversation, message_id) == events
        stored = private_site.rows(
            "SELECT id::text FROM conversations UNION ALL SELECT id::text FROM messages WHERE status = 'completed'"
        )
        assert set(load.accepted) <= {row[0] for row in stored}
        assert (await client.http.get("/health/ready")).status_code == 200


async def test_while_the_database_is_away_the_process_says_so_and_keeps_the_answer_it_cannot_store(
    private_stack: TemporaryStores, private_site: Site, start_api: StartApi
) -> None:
    api = start_api(private_site.environ())

    async def could_not_store() -> bool:
        return any(line["message"] == "Answer not stored yet" for line in api.log_lines)

    async with api.client(private_site.acme) as client, api.client(private_site.acme) as streamer:
        conversation = await streamer.conversation()
        model = f"openai/{scripted('tokens=60,pace_ms=20')[0]}"
        async with streamer.streamed(conversation, model=model) as stream:
            message_id = (await stream.read(5))[0].data["message_id"]
            await asyncio.to_thread(private_stack.postgres.stop)
            live, ready, health, asked = await asyncio.gather(
                client.http.get("/health/live"),
                client.http.get("/health/ready"),
                client.http.get("/health"),
                client.call("GET", "/conversations"),
            )
            assert (live.status_code, ready.status_code, health.status_code) == (200, 503, 503)
            assert health.json()["components"]["database"] == "unhealthy"
            assert (asked.status_code, asked.json()["code"]) == (503, "UNAVAILABLE")
            await eventually(could_not_store, seconds=20, what="an answer that cannot be stored")
            await asyncio.to_thread(private_stack.postgres.start)
            events = await stream.rest()
        check_whole(events)
        assert events[-1].type == "message_end"
        assert (await client.message(conversation, message_id))["status"] == "completed"
        assert (await client.http.get("/health/ready")).status_code == 200
