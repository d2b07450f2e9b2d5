"""What a run tells while it goes on, and at any time later."""

import asyncio
from typing import Any

from support.api import Site, StartApi
from support.clients import Client, Event, refusal
from support.receiver import answer, hang, receiver
from support.runs import define, ended, events_of, followed, in_status, run_of, start, step, transform
from support.workers import Workers

NO_REDIS = "redis://127.0.0.1:1/0"


def http(step_id: str, port: int, next_step: str | None = None, **more: Any) -> Any:
    given = {"method": "GET", "url": f"http://127.0.0.1:{port}/{step_id}"}
    return step(step_id, "tool", {"tool": "http.request", "arguments": given}, next_step, **more)


def lines(events: list[Event]) -> list[str]:
    """`step_failed b 2 BAD_REQUEST`: what of each event does not differ from run to run."""
    told = []
    for event in events:
        error = event.data.get("error", {})
        parts = [event.type, event.data.get("path"), event.data.get("attempt"), error.get("code")]
        told.append(" ".join(str(part) for part in parts if part is not None))
    return told


async def test_an_ended_run_tells_all_that_happened_from_any_number_on(client: Client) -> None:
    loop = step("each", "loop", {"over": "inputs.items", "body": ["one"]}, "last")
    workflow = await define(client, loop, transform("one", x="item"), transform("last", n="'done'"))
    run = await start(client, workflow, items=["a", "b"])
    await ended(client, run)
    events = await events_of(client, run)
    assert lines(events) == [
        "run_started",
        "step_started each 1",
        "step_started each[0].one 1",
        "step_completed each[0].one 1",
        "step_started each[1].one 1",
        "step_completed each[1].one 1",
        "step_completed each 1",
        "step_started last 1",
        "step_completed last 1",
        "run_completed",
    ]
    first, begun, last = events[0].data, events[4].data, events[-1].data
    assert first["at"] <= begun["at"] <= last["at"]
    assert {**first, "at": ""} == {
        "type": "run_started", "run_id": run, "workflow_id": workflow, "version": 1, "at": ""
    }  # fmt: skip
    assert {**begun, "at": ""} == {
        "type": "step_started", "path": "each[1].one", "step": "one", "step_type": "transform", "attempt": 1,
        "iteration": 1, "at": "",
    }  # fmt: skip
    assert last["outputs"] == {"n": "done"}
    for after in range(len(events) + 1):
        assert await events_of(client, run, after=after) == events[after:]
    assert await events_of(client, run, after=999) == []


async def test_what_is_told_live_on_any_process_is_what_is_told_later(
    client: Client, site: Site, start_api: StartApi
) -> None:
    other = start_api(site.environ())
    workflow = await define(
        client,
        step(
            "ask",
            "human_review",
            {"prompt": "May I, {{ inputs.who }}?", "data": {"n": 1}, "timeout_ms": 60_000},
            "then",
        ),
        step("then", "loop", {"times": 40, "body": ["one", "two"], "concurrency": 8}),
        transform("one", x="index"),
        transform("two", x="index"),
    )
    run = await start(client, workflow, who="Ada")
    async with other.client(site.acme) as elsewhere, followed(elsewhere, run) as live:
        asked = (await live.read(3))[-1].data
        assert lines(live.events) == ["run_started", "step_started ask 1", "review_requested ask"]
        assert (asked["prompt"], asked["data"]) == ("May I, Ada?", {"n": 1})
        assert asked["at"] < asked["due_at"]
        await client.call("POST", f"/workflows/runs/{run}/reviews/{asked['review_id']}", {"decision": "approve"})
        await live.rest()
        assert live.is_done
    assert len(live.events) == 1 + 3 + 2 + 2 * 80 + 1
    assert await events_of(client, run) == live.events


async def test_steps_that_only_compute_have_taken_their_time_too(client: Client) -> None:
    run = await run_of(client, transform("one", x="1"))
    begun, done = (await events_of(client, run["id"]))[1:3]
    assert begun.data["at"] < done.data["at"]


async def test_more_events_than_a_page_has_come_without_a_gap(client: Client) -> None:
    run = await run_of(client, step("many", "loop", {"times": 700, "body": ["one"]}), transform("one", x="index"))
    events = await events_of(client, run["id"])
    assert len(events) == 1 + 2 + 2 * 700 + 1
    assert await events_of(client, run["id"], after=501) == events[501:]


async def test_a_run_whose_engine_is_killed_tells_on_and_leaves_no_number_out(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    """While steps begin, wait and ask at once."""
    environ = site.environ(egress_allow="127.0.0.1", http_tool_hosts="127.0.0.1")
    api = start_api(environ)
    first = workers(environ)
    async with api.client(site.acme) as client, receiver(*[answer(b"x")] * 200) as server:
        workflow = await define(
            client,
            step("each", "loop", {"times": 40, "body": ["call", "ask", "rest", "note"], "concurrency": 20}),
            http("call", server.port),
            step("ask", "human_review", {"prompt": "?", "timeout_ms": 200, "on_timeout": "approve"}),
            step("rest", "wait", {"seconds": 0.1}),
            transform("note", x="index"),
        )
        run = await start(client, workflow)
        async with followed(client, run) as live:
            await live.read(60)
            first.kill()
            workers(environ)
            await live.rest()
        assert lines(live.events)[-1] == "run_completed"
        assert len(live.events) >= 1 + 2 + 40 * 9 + 1
        assert await events_of(client, run) == live.events


async def test_a_stopped_step_and_a_cancelled_run_say_so(client: Client) -> None:
    async with receiver(hang) as server:
        branches = {"branches": [["call"], ["ask"]]}
        workflow = await define(
            client,
            step("both", "parallel", branches),
            http("call", server.port),
            step("ask", "human_review", {"prompt": "?"}),
        )
        run = await start(client, workflow)
        async with followed(client, run) as stream:
            await stream.read(5)
            assert (await client.call("POST", f"/workflows/runs/{run}/cancel")).status_code == 200
            told = lines(await stream.rest())
    assert sorted(told[5:-2]) == ["step_failed both[0].call 1 CANCELLED", "step_failed both[1].ask 1 CANCELLED"]
    assert told[-2:] == ["step_failed both 1 CANCELLED", "run_cancelled"]


async def test_what_a_run_told_before_it_was_begun_again_stays_as_it_was(client: Client) -> None:
    """Also of the loops and branches that it goes on in."""
    no = answer(status="400 Bad Request")
    async with receiver(no, no, answer(b"yes"), answer(b"yes")) as server:
        workflow = await define(
            client,
            step("all", "parallel", {"branches": [["each"], ["ask"]]}),
            step("each", "loop", {"times": 2, "body": ["one", "call"]}),
            transform("one", x="index"),
            http("call", server.port),
            step("ask", "human_review", {"prompt": "?", "timeout_ms": 1_500, "on_timeout": "approve"}),
        )
        run = await start(client, workflow)
        told: list[Event] = []
        for _ in range(2):
            assert (await ended(client, run))["status"] == "failed"
            before, told = told, await events_of(client, run)
            assert told[: len(before)] == before
            assert lines(told)[-1].startswith("run_failed")
            assert told[-1].data["error"]["step"] == "all[0].each[0].call"
            assert (await client.call("POST", f"/workflows/runs/{run}/retry")).status_code == 202
        assert (await ended(client, run))["status"] == "completed"
    events = await events_of(client, run)
    assert events[: len(told)] == told
    failed = told[-1].data["error"]["code"]
    again = [f"step_failed all[0].each 1 {failed}", f"step_failed all 1 {failed}", f"run_failed {failed}"]
    frames = [event for event in events if event.data.get("path", "all") in {"all", "all[0].each"}]
    assert lines(frames) == [
        "run_started",
        "step_started all 1",
        "step_started all[0].each 1",
        *again,
        *again,
        "step_completed all[0].each 1",
        "step_completed all 1",
        "run_completed",
    ]
    calls = [event for event in events if event.data.get("step") in {"call", "ask"} and event.type == "step_started"]
    assert [event.data["attempt"] for event in calls if event.data["step"] == "ask"] == [1, 2, 3]


async def test_without_redis_events_come_all_the_same(site: Site, start_api: StartApi, workers: Workers) -> None:
    environ = site.environ(redis_url=NO_REDIS)
    api = start_api(environ)
    workers(environ)
    async with api.client(site.acme) as client:
        workflow = await define(client, step("rest", "wait", {"seconds": 2}, "then"), transform("then", x="1"))
        run = await start(client, workflow)
        async with followed(client, run) as stream:
            await stream.rest()
        assert lines(stream.events)[-1] == "run_completed"
        assert await events_of(client, run) == stream.events


async def test_readers_that_leave_disturb_nobody(client: Client) -> None:
    run = await start(client, await define(client, step("ask", "human_review", {"prompt": "?"})))
    await in_status(client, run, "waiting")

    async def look() -> None:
        async with followed(client, run, after=3) as stream:
            await asyncio.wait_for(stream.next(), 0.2)

    readers = await asyncio.gather(*(look() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(each, TimeoutError) for each in readers)
    assert (await client.call("POST", f"/workflows/runs/{run}/cancel")).status_code == 200
    assert lines(await events_of(client, run, after=3)) == ["step_failed ask 1 CANCELLED", "run_cancelled"]


async def test_a_number_that_is_none_and_a_run_that_is_none_are_refused(client: Client) -> None:
    run = await start(client, await define(client, transform("one", x="1")))
    asked = await client.call("GET", f"/workflows/runs/{run}/events", last_event_id="x")
    assert "Last-Event-ID" in refusal(asked, 422, "VALIDATION_ERROR")["fields"]
    nobody = "00000000-0000-0000-0000-000000000001"
    refusal(await client.call("GET", f"/workflows/runs/{nobody}/events"), 404, "NOT_FOUND")


async def test_the_engine_counts_runs_and_steps(site: Site, start_api: StartApi, workers: Workers) -> None:
    api = start_api(site.environ())
    engine = workers(site.environ())
    async with api.client(site.acme) as client:
        await run_of(
            client,
            transform("one", "two", x="1"),
            transform(
                "two",
                x="[][0]",
            ),
        )
    metrics = engine.get("/metrics").text
    assert 'workflow_runs_total{status="failed"} 1.0' in metrics
    assert 'workflow_steps_total{status="completed",type="transform"} 1.0' in metrics
    assert 'workflow_steps_total{status="failed",type="transform"} 1.0' in metrics
    assert 'workflow_step_duration_seconds_count{type="transform"} 2.0' in metrics
