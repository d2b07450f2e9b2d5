"""Runs whose process is lost, or only seems to be."""

import asyncio

from support.api import Site, StartApi
from support.clients import eventually
from support.receiver import Answer, Received, answer, receiver
from support.runs import define, ended, events_of, in_status, start, step, transform
from support.workers import Workers

_ITERATIONS = 2_000
_LEAD_SECONDS = 40.0  # a lapsed lease, an engine that starts, on a machine that is busy

LAST = transform("last", count="size(steps.count.outputs)", at="steps.count.output.at")


async def test_a_run_whose_job_is_dead_has_failed_and_its_children_are_cancelled(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ()
    engine = workers(environ)
    async with start_api(environ).client(site.acme) as client:
        child = await define(client, step("ask", "human_review", {"prompt": "?"}))
        run = await start(client, await define(client, step("call", "workflow", {"workflow_id": child})))
        await in_status(client, run, "waiting")
        (started,) = (await client.get(f"/workflows/runs?workflow_id={child}"))["items"]
        await in_status(client, started["id"], "waiting")
        engine.kill()
        dead = "UPDATE jobs SET status = 'dead', ended_at = now(), error_code = 'WORKER_LOST' WHERE id = %s"
        site.rows(dead, *site.rows("SELECT job_id FROM workflow_runs WHERE id = %s", run)[0])
        workers(environ)
        shown = await ended(client, run, seconds=_LEAD_SECONDS)
        assert (shown["status"], shown["error"]["code"]) == ("failed", "WORKER_LOST")
        assert (await ended(client, started["id"], seconds=_LEAD_SECONDS))["status"] == "cancelled"


async def test_a_run_whose_opening_postgresql_has_forgotten_goes_on(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    """Its process outlived a crash that was sooner than the disk."""
    environ = site.environ(egress_allow="127.0.0.1", http_tool_hosts="127.0.0.1")
    may_answer = asyncio.Event()

    async def held(request: Received, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        await answer(b"at last")(request, writer)

    workers(environ)
    async with start_api(environ).client(site.acme) as client, receiver(held) as server:
        call = {"method": "PUT", "url": f"http://127.0.0.1:{server.port}/"}
        run = await start(
            client, await define(client, step("call", "tool", {"tool": "http.request", "arguments": call}))
        )

        async def has_called() -> bool:
            return bool(server.requests)

        await eventually(has_called, what="the call")
        site.rows("UPDATE workflow_runs SET fence = 0 WHERE id = %s", run)
        may_answer.set()
        assert (await ended(client, run))["outputs"]["body"] == "at last"


async def test_an_engine_that_was_frozen_changes_nothing_of_a_run_that_another_one_leads(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ(egress_allow="127.0.0.1", http_tool_hosts="127.0.0.1")
    may_answer, answered = (asyncio.Event(), asyncio.Event()), asyncio.Event()

    def held(number: int, body: bytes) -> Answer:
        async def write(request: Received, writer: asyncio.StreamWriter) -> None:
            await may_answer[number].wait()
            await answer(body)(request, writer)
            await writer.drain()
            answered.set()

        return write

    stale = workers(environ)
    async with (
        start_api(environ).client(site.acme) as client,
        receiver(held(0, b"stale"), held(1, b"fresh")) as server,
    ):
        arguments = {"method": "PUT", "url": f"http://127.0.0.1:{server.port}/"}
        call = step("call", "tool", {"tool": "http.request", "arguments": arguments}, "told")
        run = await start(client, await define(client, call, transform("told", said="steps.call.output.body")))

        async def calls(count: int) -> None:
            async def have_come() -> bool:
                return len(server.requests) == count

            await eventually(have_come, seconds=_LEAD_SECONDS, what=f"{count} calls")

        await calls(1)
        stale.freeze()
        workers(environ)
        await calls(2)
        recorded = "SELECT s::text FROM workflow_steps s WHERE run_id = %s ORDER BY path", run
        before = site.rows(*recorded)
        may_answer[0].set()
        await answered.wait()
        stale.thaw()  # to the answer, before it can know that the run is another one's

        async def has_noticed() -> bool:
            return 'outcome="lost"' in stale.get("/metrics").text

        await eventually(has_noticed, seconds=_LEAD_SECONDS, what="the loss being noticed")
        assert site.rows(*recorded) == before
        may_answer[1].set()
        assert (await ended(client, run, seconds=_LEAD_SECONDS))["outputs"] == {"said": "fresh"}


async def test_a_fork_whose_engine_dies_while_it_takes_over_its_beginning_is_gone_on_with(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ()
    engine = workers(environ)
    async with start_api(environ).client(site.acme) as client:
        each = step("each", "loop", {"times": _ITERATIONS, "body": ["count"], "max_iterations": _ITERATIONS})
        workflow = await define(client, {**each, "next_steps": ["last"]}, transform("count", at="index"), LAST)
        run = await start(client, workflow)
        assert (await ended(client, run, seconds=_LEAD_SECONDS))["status"] == "completed"
        made = await client.call("POST", f"/workflows/runs/{run}/fork", {"from_step": "last"})
        fork = made.json()["id"]

        async def is_copying() -> bool:
            return bool(site.rows("SELECT path FROM workflow_steps WHERE run_id = %s LIMIT 1", fork))

        await eventually(is_copying, what="the first rows")
        engine.kill()
        assert site.rows("SELECT facts_to_copy IS NULL FROM workflow_runs WHERE id = %s", fork) == [(False,)]
        workers(environ)
        shown = await ended(client, fork, seconds=_LEAD_SECONDS)
        assert (shown["status"], shown["outputs"]) == ("completed", {"count": _ITERATIONS, "at": _ITERATIONS - 1})
        assert len(await events_of(client, fork)) == 2 * (_ITERATIONS + 2) + 2
