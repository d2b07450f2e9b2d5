"""Everything that goes through Redis, at once, over two API processes: asked at one and read at the other."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import redis.asyncio

from support.api import ApiProcess, Site
from support.clients import Client, Event, check_whole, eventually
from support.redis_servers import RedisServer
from support.runs import ENDED, define, start, transform
from support.simulator import scripted
from support.workers import WorkerProcess

_TOKENS = 25
_TEXT = "".join(f"word{number} " for number in range(_TOKENS))
_SCRIPT = f"tokens={_TOKENS},pace_ms=40"
_END_SECONDS = 40.0
_REQUESTS = 20
_MORE = 3
_LOCAL = "rate_limit_local_decisions_total"
_STATES = "SELECT status, count(*) FROM jobs GROUP BY status"
_BILLS = "SELECT message_id::text, count(*) FROM llm_calls WHERE outcome = 'completed' GROUP BY 1"
_FINISHED = "SELECT run_id::text, count(*) FROM workflow_steps WHERE status = 'completed' GROUP BY 1"


@dataclass
class Traffic:
    """`answers` are those that were read live, and `made` those that a worker made; both (conversation, message)."""

    site: Site
    near: Client
    far: Client
    answers: dict[tuple[str, str], list[Event]] = field(default_factory=dict)
    made: list[tuple[str, str]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    searches: Counter[int] = field(default_factory=Counter)
    is_over: bool = False

    async def run(self) -> None:
        """Until `is_over`; then what has begun ends. Fails where anything is not answered as it should."""
        workflow = await define(
            self.near, transform("a", "b", x="1"), transform("b", "c", y="2"), transform("c", z="3")
        )
        async with asyncio.TaskGroup() as group:
            for each in (self._answer, self._answer, self._make, self._make, self._search):
                group.create_task(self._repeat(each))
            group.create_task(self._start_runs(workflow))

    async def goes_on(self) -> None:
        """Until some more of each has been asked, and answered."""
        before = self._counts()

        async def is_more() -> bool:
            return all(now >= then + _MORE for now, then in zip(self._counts(), before, strict=True))

        await eventually(is_more, seconds=_END_SECONDS, what="more traffic")

    def _counts(self) -> tuple[int, int, int]:
        return len(self.answers), len(self.made), len(self.runs)

    async def _repeat(self, each: Callable[[], Awaitable[None]]) -> None:
        while not self.is_over:
            await each()

    async def _answer(self) -> None:
        """Read where it is made and, while it is made, where it is not."""
        conversation = await self.near.conversation()
        async with self.near.streamed(conversation, model=f"openai/{scripted(_SCRIPT)[0]}") as stream:
            message = (await stream.read(1))[0].data["message_id"]
            elsewhere = asyncio.create_task(self.far.replay(conversation, message))
            events = await stream.rest()
        check_whole(events)
        assert await elsewhere == events
        self.answers[conversation, message] = events

    async def _make(self) -> None:
        """By a worker; and read meanwhile."""
        conversation = await self.near.conversation()
        asked = await self.near.ask(conversation, model=f"openai/{scripted(_SCRIPT)[0]}", background=True)
        assert asked.status_code == 202, asked.text
        message = asked.json()["id"]
        self.made.append((conversation, message))
        check_whole(await self.far.replay(conversation, message))

    async def _search(self) -> None:
        """An answer, or an honest 503."""
        answer = await self.far.call("POST", "/context/search", {"query": "paragraph", "limit": 3})
        assert answer.status_code in {200, 503}, answer.text
        self.searches[answer.status_code] += 1
        await asyncio.sleep(0.2)

    async def _start_runs(self, workflow: str) -> None:
        while not self.is_over:
            self.runs.append(await start(self.far, workflow))
            await asyncio.sleep(0.2)

    async def check_nothing_is_lost(self) -> None:
        """Every job has ended, once; every answer is complete, was paid for once, and its stream replays identically at
        either process."""

        async def all_have_ended() -> bool:
            return {row[0] for row in self.site.rows(_STATES)} <= {"completed"}

        await eventually(all_have_ended, seconds=_END_SECONDS, what="the end of all jobs")
        for run in self.runs:
            shown = await self.near.get(f"/workflows/runs/{run}")
            assert shown["status"] in ENDED
            assert shown["status"] == "completed", shown
        assert dict(self.site.rows(_FINISHED)) == dict.fromkeys(self.runs, 3)
        for conversation, message in [*self.answers, *self.made]:
            answer = await self.near.message(conversation, message)
            assert (answer["status"], answer["content"]) == ("completed", _TEXT)
            events = await self.near.replay(conversation, message)
            assert await self.far.replay(conversation, message) == events
            assert self.answers.get((conversation, message), events) == events
        messages = [message for _, message in [*self.answers, *self.made]]
        assert {row[0]: row[1] for row in self.site.rows(_BILLS) if row[0]} == dict.fromkeys(messages, 1)
        assert self.searches[200], "no search was answered"


async def doorbell_rings(master: RedisServer, queue: str) -> None:
    """Seen at the master: somebody is woken through it, and a worker answers a doorbell."""
    wanted = [f"LPUSH copilot:{{{queue}}}:wake", f"ZREM arq:{{{queue}}}"]
    client = redis.asyncio.Redis(port=master.port, **cast(Any, master.login))
    async with asyncio.timeout(_END_SECONDS), client, client.monitor() as monitor:
        while wanted:
            if (await monitor.next_command())["command"].startswith(wanted[0]):
                wanted.pop(0)


async def limits_are_shared(client: Client) -> None:
    """Redis decides again: not one of some requests is decided by the process alone."""

    async def none_is_local() -> bool:
        before = await _local_decisions(client)
        for _ in range(_REQUESTS):
            await client.get("/models")
        return await _local_decisions(client) == before

    await eventually(none_is_local, seconds=_END_SECONDS, what="limits in Redis")
    health = (await client.http.get("/health")).json()
    assert health["components"]["cache"] == "healthy"


def felt(process: ApiProcess | WorkerProcess, message: str) -> list[str]:
    """The faults that its log tells of, by that line."""
    return [line["error_type"] for line in process.log_lines if line["message"] == message]


async def _local_decisions(client: Client) -> float:
    lines = (await client.http.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(_LOCAL))
