"""What becomes of background work when its worker, Redis or PostgreSQL goes away."""

import asyncio
import signal
from datetime import timedelta
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from redis.asyncio import Redis

from copilot_common.base.ids import TenantId, UserId
from copilot_common.encryption import KeyRing
from copilot_common.platform.db import Database
from copilot_common.queue import Ledger, NewJob
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_devstack import TemporaryStores
from copilot_devstack.ports import free_port
from copilot_devstack.processes import wait_until
from support.api import ENCRYPTION_KEY, Site, StartApi, make_site
from support.background import add_item, ask_later, check_restarted, ended_message, job_of, ready_item
from support.clients import Client, Event, check_whole, eventually, refusal
from support.lethal_engine import DIE, Nothing
from support.receiver import answer, receiver
from support.simulator import SimulatorHandle, scripted
from support.stack import clone_template
from support.workers import CONTEXT, ENGINE, LETHAL_ENGINE, WorkerProcess, Workers, wait_ready

TAKEOVER = timedelta(seconds=12)  # the promise is 10
SLOW = "tokens=150,pace_ms=20"
NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
def private_site(private_stack: TemporaryStores, simulator: SimulatorHandle) -> Site:
    return make_site(clone_template(private_stack.postgres.admin_url), private_stack.redis.url, simulator)


async def owner(site: Site, message: str, among: list[WorkerProcess]) -> tuple[WorkerProcess, WorkerProcess]:
    """Who makes this answer, once it is being made; and another one, if there is one."""

    async def found() -> str | None:
        job = job_of(site, message)
        is_making = site.rows("SELECT 1 FROM messages WHERE id = %s AND status = 'generating'", message)
        return job["process_id"] if job["status"] == "running" and is_making else None

    process_id = await eventually(found, what="the start of the job")
    ours = next(worker for worker in among if worker.process_id == process_id)
    return ours, next((worker for worker in among if worker is not ours), ours)


async def bills(site: Site, message: str) -> list[Any]:
    return [row[0] for row in site.rows("SELECT outcome FROM llm_calls WHERE message_id = %s", message)]


def now(site: Site) -> Any:
    return site.rows("SELECT clock_timestamp()")[0][0]


async def followed_while(client: Client, conversation: str, message: str, *, from_event: int, then: Any) -> list[Event]:
    """All events as a reader sees them who is there while `then` happens, at some event."""
    async with client.followed(conversation, message) as stream:
        await stream.read(from_event)
        await then()
        events = await asyncio.wait_for(stream.rest(), 40)
    assert stream.is_done
    return events


@pytest.mark.parametrize(
    ("command", "entry"),
    [
        (CONTEXT, "copilot_domain.documents.child:read_document"),
        (ENGINE, "copilot_common.expressions.child:run"),
    ],
    ids=["documents", "expressions"],
)
def test_a_worker_logs_at_its_start_what_its_children_are_held_to(
    site: Site, workers: Workers, command: tuple[str, ...], entry: str
) -> None:
    """With nothing to do: operators shall not learn of a missing wall from the first document."""
    worker = workers(site.environ(), command)

    def lines() -> list[dict[str, Any]]:
        return [line for line in worker.log_lines if line["message"] == "Sandbox children locked down"]

    assert wait_until(lambda: bool(lines()), 20.0), worker.log_path.read_text()[-3_000:]
    (line,) = lines()
    assert (line["level"], line["entry"]) == ("info", entry)
    assert (type(line["seccomp"]), type(line["landlock_abi"])) == (bool, int)


@pytest.mark.parametrize("is_log_lost", [False, True], ids=["log kept", "log lost"])
async def test_a_killed_engines_answer_is_taken_over_and_its_stream_goes_on(
    site: Site, start_api: StartApi, workers: Workers, is_log_lost: bool
) -> None:
    """Also when Redis lost, with the worker, what its reader had seen and no checkpoint has."""
    api = start_api(site.environ())
    engines = [workers(site.environ()), workers(site.environ())]
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        message = await ask_later(client, conversation, SLOW)
        killed = []

        async def kill() -> None:
            ours, _ = await owner(site, message, engines)
            killed.append(now(site))
            ours.kill()
            if is_log_lost:
                async with Redis.from_url(site.redis_url) as redis:
                    await redis.flushdb()

        events = await followed_while(client, conversation, message, from_event=30, then=kill)
        made = await ended_message(client, conversation, message)
        assert made["status"] == "completed"
        assert made["content"].endswith("word149 ")
        job = job_of(site, message)
        assert (job["status"], job["fence"], job["failures"]) == ("completed", 2, 0)
        check_restarted(events, made["content"], restarts=1)
        again = await client.replay(conversation, message)
        check_whole(again)
        assert again == events or (is_log_lost and _from_restart(again) == _from_restart(events))
        assert job["started_at"] - killed[0] <= TAKEOVER
        assert await bills(site, message) == ["completed"]


def _from_restart(events: list[Event]) -> list[Event]:
    return events[[event.type for event in events].index("restart") :]


async def test_a_frozen_engine_that_wakes_up_changes_nothing_and_shows_nothing(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    """It wakes while another one makes its answer anew: a reader sees that one's events and no other's."""
    api = start_api(site.environ())
    engines = [workers(site.environ()), workers(site.environ())]
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        message = await ask_later(client, conversation, SLOW)

        async def freeze_and_wake() -> None:
            ours, other = await owner(site, message, engines)
            ours.freeze()

            async def is_taken_over() -> bool:
                return bool(job_of(site, message)["process_id"] == other.process_id)

            await eventually(is_taken_over, seconds=TAKEOVER.total_seconds(), what="the take-over")

            # What the frozen one was sent meanwhile it reads all at once, and is ahead of the other.
            async def is_shown() -> bool:
                return any(event.type == "restart" for event in await _so_far(client, conversation, message))

            await eventually(is_shown, what="the new beginning")
            ours.thaw()

        events = await followed_while(client, conversation, message, from_event=30, then=freeze_and_wake)
        made = await ended_message(client, conversation, message)
        assert (made["status"], made["content"]) == ("completed", "".join(f"word{n} " for n in range(150)))
        check_restarted(events, made["content"], restarts=1)
        assert await client.replay(conversation, message) == events
        job = job_of(site, message)
        assert (job["status"], job["fence"], job["failures"]) == ("completed", 2, 0)
        assert await bills(site, message) == ["completed"]


async def _so_far(client: Client, conversation: str, message: str) -> list[Event]:
    """What a reader is shown within a moment."""
    async with client.followed(conversation, message) as stream:
        try:
            async with asyncio.timeout(0.5):
                await stream.rest()
        except TimeoutError:
            pass
        return stream.events


async def test_a_stopped_engine_hands_back_what_does_not_end_in_time(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    api = start_api(site.environ())
    engines = [workers(site.environ(drain_seconds=1)), workers(site.environ(drain_seconds=1))]
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        message = await ask_later(client, conversation, "tokens=250,pace_ms=20")
        ours, _ = await owner(site, message, engines)

        async def stop() -> None:
            ours.terminate()
            assert await asyncio.to_thread(ours.process.wait, 8)  # 1 s, and what stopping takes on a busy machine
            assert ours.exit_code == 0

        events = await followed_while(client, conversation, message, from_event=20, then=stop)
        made = await ended_message(client, conversation, message)
        assert made["status"] == "completed"
        check_restarted(events, made["content"], restarts=1)
        job = job_of(site, message)
        assert (job["status"], job["fence"], job["failures"], job["lapses"]) == ("completed", 2, 0, 0)
        assert await bills(site, message) == ["completed"]


async def test_a_stopped_engine_lets_short_answers_end(site: Site, start_api: StartApi, workers: Workers) -> None:
    api, engine = start_api(site.environ()), workers(site.environ())
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        message = await ask_later(client, conversation, "tokens=60,pace_ms=20")
        await owner(site, message, [engine])
        engine.terminate()
        assert await asyncio.to_thread(engine.process.wait, 10), engine.log_path.read_text()[-3_000:]
        assert engine.exit_code == 0
        assert (await client.message(conversation, message))["status"] == "completed"
        assert job_of(site, message)["fence"] == 1


async def test_without_redis_background_work_goes_on(site: Site, start_api: StartApi, workers: Workers) -> None:
    """Away from the start: jobs are polled for; what needs an answer at once says that it has none."""
    environ = site.environ(redis_url=NO_REDIS)
    api = start_api(environ)
    wait_ready(workers(environ, ready=False), workers(environ, CONTEXT, ready=False))
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        message = await ask_later(client, conversation, "tokens=20,pace_ms=10")
        item = await add_item(client, "Invoices are due within thirty days.")
        made = await ended_message(client, conversation, message)
        assert made["status"] == "completed"
        events = await client.replay(conversation, message)
        check_restarted(events, made["content"], restarts=0)
        ingested = await ready_item(client, item)
        assert (ingested["status"], ingested["chunk_count"]) == ("ready", 1)
        search = await client.call("POST", "/context/search", {"query": "invoices"})
        assert (search.status_code, search.json()["code"]) == (503, "UNAVAILABLE")
        model = f"openai/{scripted('tokens=3')[0]}"
        grounded = await client.ask(conversation, "When are invoices due?", model=model, context={"search": True})
        assert grounded.status_code == 201, grounded.text
        assert (grounded.json()["status"], grounded.json()["degraded"]) == ("completed", True)


async def test_a_job_that_ends_every_process_is_dead_while_others_go_on(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    api = start_api(site.environ())
    job_id = await enqueue_lethal(site)
    async with api.client(site.acme) as client:
        messages = []
        for _ in range(3):
            conversation = await client.conversation()
            messages.append((conversation, await ask_later(client, conversation, "tokens=40,pace_ms=20")))
        deaths = 0
        deadline = monotonic() + 90
        engine = workers(site.environ(), LETHAL_ENGINE, ready=False)
        while (status := lethal_status(site, job_id)) != "dead":
            assert monotonic() < deadline, (status, deaths)
            if not engine.process.is_alive:
                deaths += 1
                # As six seconds would.
                site.rows("UPDATE processes SET lease_expires_at = '-infinity' WHERE service = 'workflow-engine'")
                engine = workers.again(engine)
            if status == "scheduled":  # as its pause would
                site.rows("UPDATE jobs SET run_after = now() WHERE id = %s AND run_after > now()", job_id)
            await asyncio.sleep(0.05)
        assert deaths == 5
        error = site.rows("SELECT error_code, lapses, failures FROM jobs WHERE id = %s", job_id)
        assert error == [("WORKER_LOST", 5, 0)]
        for conversation, message in messages:
            assert (await ended_message(client, conversation, message))["status"] == "completed"
            assert await bills(site, message) == ["completed"]
        assert engine.process.is_alive


async def enqueue_lethal(site: Site) -> UUID:
    database = Database(site.database.app_url, max_size=1, application_name="tests")
    await database.open()
    try:
        db = TenantDatabase(database, KeyRing(bytes.fromhex(ENCRYPTION_KEY)))
        principal = Principal.system(TenantId(UUID(site.acme.tenant_id)), UserId(UUID(site.acme.user_id)))
        async with db.transaction(principal) as tx:
            job_id = await Ledger(lambda _: None).enqueue(tx, NewJob(type=DIE, payload=Nothing()))
        assert job_id is not None
        return job_id
    finally:
        await database.close()


def lethal_status(site: Site, job_id: UUID) -> str:
    return str(site.rows("SELECT status FROM jobs WHERE id = %s", job_id)[0][0])


async def test_while_postgresql_is_away_no_worker_exits_and_nothing_is_taken_over(
    private_stack: TemporaryStores, private_site: Site, start_api: StartApi, workers: Workers
) -> None:
    """And once it is back, work goes on within seconds."""
    environ = private_site.environ()
    api = start_api(environ)
    alive = [workers(environ, ready=False), workers(environ, ready=False), workers(environ, CONTEXT, ready=False)]
    wait_ready(*alive)
    async with api.client(private_site.acme) as client:
        conversation = await client.conversation()
        message = await ask_later(client, conversation, "tokens=100,pace_ms=20")
        ours, _ = await owner(private_site, message, alive[:2])
        await asyncio.to_thread(private_stack.postgres.stop)
        away_until = monotonic() + 60
        while monotonic() < away_until:
            for worker in alive:
                live = await asyncio.to_thread(worker.get, "/health/live")
                assert live.status_code == httpx.codes.OK, worker.log_path.read_text()[-2_000:]
            await asyncio.sleep(1)
        assert (await asyncio.to_thread(ours.get, "/health/ready")).status_code == 503
        await asyncio.to_thread(private_stack.postgres.start)
        back = monotonic()
        made = await ended_message(client, conversation, message)
        assert made["status"] == "completed"
        job = job_of(private_site, message)
        assert (job["status"], job["fence"], job["lapses"]) == ("completed", 1, 0)
        assert await bills(private_site, message) == ["completed"]
        check_whole(await client.replay(conversation, message))
        another = await ask_later(client, conversation, "tokens=2")
        item = await add_item(client, "Invoices are due within thirty days.")
        assert (await ended_message(client, conversation, another))["status"] == "completed"
        assert (await ready_item(client, item))["status"] == "ready"
        assert monotonic() - back < 8, "work did not go on"
    assert all(worker.process.is_alive for worker in alive)


CANARIES = (
    "zebra-question-quagga",
    "zebra-later-quagga",
    "zebra-item-quagga",
    "zebra-query-quagga",
    "zebra-name-quagga",
    "zebra-hook-quagga",
)


async def test_what_passes_through_workers_is_readable_nowhere(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    """Not in Redis while it is on its way, in no job, no log line, no metric of any process."""
    question, later, item_text, query, name, hook = CANARIES
    environ = site.environ(log_level="debug", egress_allow="127.0.0.1")
    api = start_api(environ)
    running = [workers(environ, ready=False), workers(environ, CONTEXT, ready=False)]
    wait_ready(*running)
    seen: list[bytes] = []
    is_over = asyncio.Event()
    recording = asyncio.create_task(record_redis(site.redis_url, seen, is_over))
    async with api.client(site.acme) as client, receiver(answer()) as server:
        told = {"url": f"http://127.0.0.1:{server.port}/{hook}", "events": ["message.created", "context.ready"]}
        webhook = (await client.call("POST", "/webhooks", {**told, "description": hook})).json()
        item = await add_item(client, f"Of {item_text} and {query} there is much to say.", name=name)
        assert (await ready_item(client, item))["status"] == "ready"
        conversation, other = await client.conversation(), await client.conversation()
        context = {"search": f"{query} {question}"}
        await client.stream(conversation, question, model=f"openai/{scripted('tokens=9')[0]}", context=context)
        fields: dict[str, Any] = {"content": f"{later} {query}", "context": {"search": True}}
        message = await ask_later(client, other, "tokens=40,pace_ms=5", **fields)
        assert (await ended_message(client, other, message))["degraded"] is False
        found = await client.call("POST", "/context/search", {"query": f"{query} {item_text}"})
        assert [hit["item_id"] for hit in found.json()["results"]] == [item]

        async def is_told() -> bool:
            return len(server.requests) == 3

        await eventually(is_told, what="the webhooks")
        metrics = [(await client.http.get("/metrics")).content, *(worker.get("/metrics").content for worker in running)]
    is_over.set()
    await recording
    jobs = site.rows("SELECT to_jsonb(j)::text, encode(j.payload, 'escape') FROM jobs j")
    logs = [path.read_bytes() for path in (api.log_path, *(worker.log_path for worker in running))]
    places = {"Redis": seen, "jobs": [repr(row).encode() for row in jobs], "logs": logs, "metrics": metrics}
    assert len(jobs) >= 3
    for commands in (b"xadd", b"lpush", b"context.search"):
        assert any(commands in line.lower() for line in seen), commands
    for place, texts in places.items():
        found_there = [
            canary
            for canary in (*CANARIES, webhook["secret"], "word3 word4")
            for text in texts
            if canary.encode() in text
        ]
        assert found_there == [], place


async def record_redis(url: str, seen: list[bytes], is_over: asyncio.Event) -> None:
    """Every command that Redis is sent by anybody, with its arguments: more than what is left there in the end."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"MONITOR\r\n")
    reading = asyncio.create_task(_read_lines(reader, seen))
    await is_over.wait()
    reading.cancel()
    writer.close()


async def _read_lines(reader: asyncio.StreamReader, seen: list[bytes]) -> None:
    while line := await reader.readline():
        seen.append(line)


async def test_a_cancelled_answer_ends_within_seconds(site: Site, start_api: StartApi, workers: Workers) -> None:
    api, engine = start_api(site.environ()), workers(site.environ())
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        message = await ask_later(client, conversation, "tokens=2000,pace_ms=20")
        await owner(site, message, [engine])
        path = f"/conversations/{conversation}/messages/{message}/cancel"
        assert (await client.call("POST", path)).status_code == 202
        assert (await ended_message(client, conversation, message, seconds=6))["status"] == "cancelled"
        assert job_of(site, message)["status"] == "completed"


async def test_an_answer_cancelled_while_it_waits_ends_without_being_asked(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    api = start_api(site.environ())
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        message = await ask_later(client, conversation)
        assert (
            await client.call("POST", f"/conversations/{conversation}/messages/{message}/cancel")
        ).status_code == 202
        workers(site.environ())
        made = await ended_message(client, conversation, message)
        assert (made["status"], made["content"], made["usage"]["output_tokens"]) == ("cancelled", "", 0)


async def test_a_conversation_takes_a_bounded_number_of_waiting_answers_which_the_api_counts(
    site: Site, start_api: StartApi
) -> None:
    api = start_api(site.environ())
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        for _ in range(20):
            await ask_later(client, conversation)
        assert 'queue_depth{queue="workflow"} 20.0' in (await client.http.get("/metrics")).text
        refusal(await client.ask(conversation, background=True), 409, "CONFLICT")
        await ask_later(client, await client.conversation())


async def test_an_answer_whose_model_is_offered_no_longer_ends_at_once(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    anthropic = {"anthropic_api_key": "sk-of-tests", "anthropic_base_url": site.simulator.base_urls["anthropic"]}
    api = start_api(site.environ(**anthropic))
    workers(site.environ())
    async with api.client(site.acme) as client:
        conversation = await client.conversation()
        asked = await client.ask(conversation, model="anthropic/sim", background=True)
        message = asked.json()["id"]
        made = await ended_message(client, conversation, message)
        assert made["status"] != "completed"
        job = job_of(site, message)
        assert (job["status"], job["failures"]) == ("dead", 1)


def test_a_worker_that_waits_for_its_database_can_be_stopped(site: Site, workers: Workers) -> None:
    away = workers(site.environ(database_url="postgresql://copilot_app:x@127.0.0.1:1/copilot"), ready=False)
    assert wait_until(away.is_live, 30)
    assert away.get("/health/ready").status_code == httpx.codes.SERVICE_UNAVAILABLE
    away.terminate()
    assert away.process.wait(10)
    assert away.exit_code == 0, away.log_path.read_text()[-2_000:]


@pytest.mark.parametrize("command", [ENGINE, CONTEXT, ("-m", "copilot_api")], ids=lambda command: command[1])
def test_a_process_with_another_key_than_the_databases_ends_before_it_serves(
    site: Site, workers: Workers, command: tuple[str, ...]
) -> None:
    """What it wrote could not be read under the right one."""
    other = workers(site.environ(encryption_key=ENCRYPTION_KEY[::-1], port=free_port()), command, ready=False)
    assert other.process.wait(30)
    assert other.exit_code != 0
    assert "ENCRYPTION_KEY is not the one this database was filled under" in other.log_path.read_text()


def test_signals_reach_workers(site: Site, workers: Workers) -> None:
    """What every test here stands on."""
    engine = workers(site.environ())
    engine.freeze()
    with pytest.raises(httpx.TimeoutException):
        httpx.get(f"{engine.url}/health/live", timeout=0.5, trust_env=False)
    engine.thaw()
    assert engine.get("/health/live").status_code == httpx.codes.OK
    engine.kill()
    assert engine.exit_code == -signal.SIGKILL
