"""Runs that are stopped, begun again, and left by the process that led them."""

from time import monotonic
from typing import Any

from support.api import Site, StartApi
from support.clients import Client, eventually, refusal
from support.receiver import answer, hang, receiver
from support.runs import define, ended, in_status, run_of, start, step, steps_of, transform
from support.workers import Workers

NO_REDIS = "redis://127.0.0.1:1/0"
CANCELLED_WITHIN = 4.0  # the promise is 2 s


def http(step_id: str, port: int, next_step: str | None = None, **arguments: Any) -> Any:
    given = {"method": "GET", "url": f"http://127.0.0.1:{port}/{step_id}", **arguments}
    return step(step_id, "tool", {"tool": "http.request", "arguments": given}, next_step)


async def cancel(client: Client, run: str) -> Any:
    answer = await client.call("POST", f"/workflows/runs/{run}/cancel")
    assert answer.status_code == 200, answer.text
    return await ended(client, run, seconds=CANCELLED_WITHIN)


async def test_a_waiting_run_is_cancelled_at_once(client: Client) -> None:
    run = await start(client, await define(client, step("ask", "human_review", {"prompt": "?"})))
    await in_status(client, run, "waiting")
    assert (await cancel(client, run))["status"] == "cancelled"
    (asked,) = await steps_of(client, run)
    assert asked["status"] == "cancelled"
    refusal(await client.call("POST", f"/workflows/runs/{run}/cancel"), 409, "CONFLICT")


async def test_a_run_is_cancelled_in_the_middle_of_a_call(client: Client) -> None:
    async with receiver(hang) as server:
        workflow = await define(client, http("call", server.port, "then", method="POST"), transform("then", x="1"))
        run = await start(client, workflow)

        async def has_arrived() -> bool:
            return len(server.requests) == 1

        await eventually(has_arrived, what="the call")
        assert (await cancel(client, run))["status"] == "cancelled"
        assert [each["status"] for each in await steps_of(client, run)] == ["cancelled"]


async def test_cancelling_reaches_children(client: Client) -> None:
    child = await define(client, step("ask", "human_review", {"prompt": "?"}))
    run = await start(client, await define(client, step("call", "workflow", {"workflow_id": child})))
    await in_status(client, run, "waiting")
    listed = (await client.get(f"/workflows/runs?workflow_id={child}"))["items"]
    await in_status(client, listed[0]["id"], "waiting")
    await cancel(client, run)
    assert (await ended(client, listed[0]["id"]))["status"] == "cancelled"


async def test_without_redis_runs_go_on_and_are_cancelled(site: Site, start_api: StartApi, workers: Workers) -> None:
    environ = site.environ(redis_url=NO_REDIS)
    api = start_api(environ)
    workers(environ)
    async with api.client(site.acme) as client:
        assert (await run_of(client, transform("one", x="1")))["outputs"] == {"x": 1}
        run = await start(client, await define(client, step("ask", "human_review", {"prompt": "?"})))
        await in_status(client, run, "waiting")
        assert (await cancel(client, run))["status"] == "cancelled"


async def test_a_failed_run_begins_again_where_it_failed(client: Client) -> None:
    refused = answer(status="400 Bad Request")
    async with receiver(answer(b"one"), refused, answer(b"two")) as server:
        workflow = await define(
            client,
            http("first", server.port, "second"),
            http("second", server.port, "both"),
            transform("both", said="steps.first.output.body + steps.second.output.body"),
        )
        run = await start(client, workflow)
        assert (await ended(client, run))["error"]["step"] == "second"
        again = await client.call("POST", f"/workflows/runs/{run}/retry")
        assert again.status_code == 202, again.text
        shown = await ended(client, run)
        assert (shown["status"], shown["outputs"], shown["error"]) == ("completed", {"said": "onetwo"}, None)
        assert [request.path for request in server.requests] == ["/first", "/second", "/second"]
    steps = [(each["path"], each["attempt"], each["status"]) for each in await steps_of(client, run)]
    assert steps == [
        ("first", 1, "completed"), ("second", 1, "failed"), ("second", 2, "completed"), ("both", 1, "completed"),
    ]  # fmt: skip
    refusal(await client.call("POST", f"/workflows/runs/{run}/retry"), 409, "CONFLICT")


async def test_a_killed_engines_run_goes_on_and_repeats_only_what_it_may(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ(egress_allow="127.0.0.1", http_tool_hosts="127.0.0.1")
    api = start_api(environ)
    first = workers(environ)
    async with api.client(site.acme) as client, receiver(answer(b"done"), hang, hang, answer(b"again")) as server:
        once = {**http("once", server.port, method="POST"), "on_error": "continue"}
        branches = {"branches": [["once"], ["again"]]}
        workflow = await define(
            client,
            http("before", server.port, "both"),
            step("both", "parallel", branches, "after"),
            once,
            http("again", server.port, mode="idempotent"),
            transform("after", code="steps.before.output.body", n="inputs.n"),
        )
        run = await start(client, workflow, n=1)

        async def both_hang() -> bool:
            return len(server.requests) == 3

        await eventually(both_hang, what="both calls")
        first.kill()
        began = monotonic()
        workers(environ)
        shown = await ended(client, run, seconds=30)
        assert (shown["status"], shown["outputs"]) == ("completed", {"code": "done", "n": 1})
        assert monotonic() - began < 15
        paths = sorted(request.path for request in server.requests)
        assert paths == ["/again", "/again", "/before", "/once"]
        keys = {request.headers["idempotency-key"] for request in server.requests if request.path == "/again"}
        assert len(keys) == 1
        (lost,) = [each for each in await steps_of(client, run) if each["id"] == "once"]
        assert (lost["status"], lost["error"]["code"]) == ("failed", "OUTCOME_UNKNOWN")


async def test_a_run_takes_no_longer_than_it_may(client: Client) -> None:
    run = await run_of(client, step("ask", "human_review", {"prompt": "?"}), max_duration_ms=500)
    assert (run["status"], run["error"]["code"]) == ("failed", "RUN_TIMEOUT")


async def test_a_run_that_took_too_long_has_its_whole_time_again_when_it_is_retried(client: Client) -> None:
    run = await run_of(client, step("ask", "human_review", {"prompt": "?"}), max_duration_ms=3_000)
    assert run["error"]["code"] == "RUN_TIMEOUT"
    assert (await client.call("POST", f"/workflows/runs/{run['id']}/retry")).status_code == 202

    async def open_review() -> Any:
        reviews = (await client.get(f"/workflows/runs/{run['id']}/reviews"))["items"]
        return reviews[1] if len(reviews) == 2 else None

    review = await eventually(open_review, what="the question being asked again")
    path = f"/workflows/runs/{run['id']}/reviews/{review['id']}"
    assert (await client.call("POST", path, {"decision": "approve"})).status_code == 200
    assert (await ended(client, run["id"]))["status"] == "completed"


async def test_a_large_output_is_kept_and_a_larger_one_is_refused(client: Client) -> None:
    body = b"x" * 3_900_000
    async with receiver(answer(body)) as server:
        run = await run_of(
            client, http("call", server.port, "size"), transform("size", n="size(steps.call.output.body)")
        )
        assert run["outputs"] == {"n": len(body)}
        (called, _) = await steps_of(client, run["id"])
        assert len(called["output"]["body"]) == len(body)


async def test_inputs_that_the_schema_does_not_allow_are_refused_with_their_path(client: Client) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    workflow = await define(client, transform("one", x="inputs.n"), inputs_schema=schema)
    body = {"workflow_id": workflow, "inputs": {"n": "x"}}
    details = refusal(await client.call("POST", "/workflows/runs", body), 422, "VALIDATION_ERROR")
    assert list(details["fields"]) == ["inputs.n"]


async def test_runs_of_others_are_not_there(client: Client, site: Site) -> None:
    run = await start(client, await define(client, transform("one", x="1")))
    async with Client(str(client.http.base_url), site.other) as other:
        for method, path in (
            ("GET", ""),
            ("GET", "/steps"),
            ("GET", "/reviews"),
            ("POST", "/cancel"),
            ("POST", "/retry"),
        ):
            answer = await other.call(method, f"/workflows/runs/{run}{path}")
            refusal(answer, 404, "NOT_FOUND")
