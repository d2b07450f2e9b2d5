"""Steps that call out: models, HTTP, other workflows, people."""

import asyncio
from typing import Any

from support.clients import Client, eventually, refusal
from support.receiver import answer, receiver
from support.runs import define, ended, in_status, run_of, start, step, steps_of, transform
from support.simulator import scripted


def http(step_id: str, port: int, next_step: str | None = None, **arguments: Any) -> Any:
    given = {"method": "GET", "url": f"http://127.0.0.1:{port}/", **arguments}
    return step(step_id, "tool", {"tool": "http.request", "arguments": given}, next_step)


async def test_a_model_answers_a_template_and_is_billed(client: Client) -> None:
    model = f"openai/{scripted('tokens=3')[0]}"
    run = await run_of(
        client,
        step("ask", "llm", {"prompt": "Tell {{ inputs.who }}.", "model": model}),
        inputs={"who": "Ada"},
    )
    assert run["outputs"]["text"] == "word0 word1 word2 "
    (asked,) = await steps_of(client, run["id"])
    assert asked["usage"]["output_tokens"] == 3
    (billed,) = (await client.get("/usage"))["items"]
    assert (billed["requests"], billed["output_tokens"]) == (1, 3)


async def test_an_http_call_carries_a_key_and_gives_json(client: Client) -> None:
    body = b'{"total": 3}'
    async with receiver(answer(body, headers=("Content-Type: application/json",))) as server:
        run = await run_of(
            client,
            http("call", server.port, "use", method="POST", body={"name": "{{ inputs.name }}", "n": "=inputs.n"}),
            transform("use", total="steps.call.output.body.total + 1"),
            inputs={"name": "x", "n": 7},
        )
    assert run["outputs"] == {"total": 4}
    (request,) = server.requests
    assert (request.method, request.body) == ("POST", b'{"name":"x","n":7}')
    assert request.headers["idempotency-key"]


async def test_a_failing_server_is_asked_again_under_the_same_workflow(client: Client) -> None:
    refused = answer(status="503 Service Unavailable")
    async with receiver(refused, refused, answer(b"fine")) as server:
        call = http("call", server.port)
        run = await run_of(client, {**call, "retry": {"max_attempts": 3, "backoff_ms": 10}})
    assert run["outputs"]["body"] == "fine"
    shown = [(each["attempt"], each["status"]) for each in await steps_of(client, run["id"])]
    assert shown == [(1, "failed"), (2, "failed"), (3, "completed")]


async def test_a_host_that_is_not_allowed_is_not_called(client: Client) -> None:
    arguments = {"method": "GET", "url": "http://[::1]/"}
    run = await run_of(client, step("call", "tool", {"tool": "http.request", "arguments": arguments}))
    assert run["error"]["code"] == "HOST_NOT_ALLOWED"


async def test_what_a_failed_step_leaves_to_on_error_is_seen_by_what_follows(client: Client) -> None:
    run = await run_of(
        client,
        {**transform("bad", "after", x="inputs.nothing"), "on_error": {"next": "saved"}},
        transform("after", x="1"),
        transform("saved", code="steps.bad.error.code"),
    )
    assert (run["status"], run["outputs"]) == ("completed", {"code": "EXPRESSION_FAILED"})


async def test_a_review_waits_for_a_person_and_the_first_answer_counts(client: Client) -> None:
    workflow = await define(
        client,
        step("ask", "human_review", {"prompt": "Pay {{ inputs.sum }}?", "data": {"sum": "=inputs.sum"}}, "told"),
        transform("told", decision="steps.ask.output.decision", comment="steps.ask.output.comment"),
    )
    run = await start(client, workflow, sum=5)
    await in_status(client, run, "waiting")
    review = (await client.get(f"/workflows/runs/{run}/reviews"))["items"][0]
    assert (review["prompt"], review["data"], review["step"]) == ("Pay 5?", {"sum": 5}, "ask")
    path = f"/workflows/runs/{run}/reviews/{review['id']}"
    first = {"decision": "approve", "comment": "Yes."}
    answers = await asyncio.gather(
        client.call("POST", path, first), client.call("POST", path, first), client.call("POST", path, first)
    )
    assert [each.status_code for each in answers] == [200] * 3
    shown = await ended(client, run)
    assert shown["outputs"] == {"decision": "approve", "comment": "Yes."}
    late = await client.call("POST", path, {"decision": "reject"})
    assert late.status_code == 200
    assert (await client.get(f"/workflows/runs/{run}"))["outputs"]["decision"] == "approve"


async def test_a_review_that_nobody_answers_goes_as_it_says(client: Client) -> None:
    config = {"prompt": "?", "timeout_ms": 200, "on_timeout": "reject"}
    run = await run_of(client, step("ask", "human_review", config))
    assert run["outputs"] == {"decision": "reject", "comment": None, "data": None}
    run = await run_of(client, step("ask", "human_review", {"prompt": "?", "timeout_ms": 200}))
    assert run["error"]["code"] == "REVIEW_TIMEOUT"


async def test_an_answer_that_nobody_waits_for_any_more_is_refused(client: Client) -> None:
    first = {"prompt": "?", "timeout_ms": 200, "on_timeout": "approve"}
    steps = step("first", "human_review", first, "second"), step("second", "human_review", {"prompt": "And now?"})
    run = await start(client, await define(client, *steps))

    async def reviews() -> list[Any]:
        found = (await client.get(f"/workflows/runs/{run}/reviews"))["items"]
        return list(found) if len(found) == 2 else []

    late, _ = await eventually(reviews, what="the second review")
    path = f"/workflows/runs/{run}/reviews/{late['id']}"
    refusal(await client.call("POST", path, {"decision": "reject"}), 409, "CONFLICT")


async def test_a_run_waits_parked_and_goes_on_at_its_time(client: Client) -> None:
    workflow = await define(client, step("rest", "wait", {"seconds": "=inputs.s"}, "on"), transform("on", x="1"))
    run = await start(client, workflow, s=3)
    await in_status(client, run, "waiting")
    assert (await ended(client, run))["outputs"] == {"x": 1}


async def test_a_child_runs_outputs_are_the_steps(client: Client) -> None:
    child = await define(client, transform("double", n="inputs.n * 2"))
    run = await run_of(
        client,
        step("call", "workflow", {"workflow_id": child, "inputs": {"n": "=inputs.n"}}, "use"),
        transform("use", n="steps.call.output.n + 1"),
        inputs={"n": 4},
    )
    assert run["outputs"] == {"n": 9}


async def test_a_child_that_fails_fails_its_step(client: Client) -> None:
    child = await define(client, transform("bad", n="inputs.none"))
    run = await run_of(client, step("call", "workflow", {"workflow_id": child}))
    assert (run["error"]["step"], run["error"]["code"]) == ("call", "CHILD_FAILED")


async def test_runs_that_start_themselves_end_at_a_depth(client: Client) -> None:
    workflow = await define(client, transform("first", x="1"))
    again = [step("again", "workflow", {"workflow_id": workflow})]
    body = {"name": "test", "steps": again, "entry_point": "again"}
    assert (await client.call("PUT", f"/workflows/{workflow}", body)).status_code == 200
    run = await ended(client, await start(client, workflow), seconds=30)
    assert (run["status"], run["error"]["code"]) == ("failed", "CHILD_FAILED")
