"""A new run that begins in the middle of another one."""

from typing import Any

from support.api import Site, StartApi
from support.clients import Client, refusal
from support.receiver import Receiver, answer, receiver
from support.runs import define, ended, events_of, in_status, start, step, steps_of, transform
from support.workers import Workers


def http(step_id: str, server: Receiver, next_step: str | None = None) -> Any:
    arguments = {"method": "PUT", "url": f"http://127.0.0.1:{server.port}/{step_id}"}
    return step(step_id, "tool", {"tool": "http.request", "arguments": arguments}, next_step)


async def forked(client: Client, run: str, place: str) -> str:
    made = await client.call("POST", f"/workflows/runs/{run}/fork", {"from_step": place})
    assert made.status_code == 202, made.text
    assert made.json()["status"] == "pending"
    return str(made.json()["id"])


async def test_a_fork_has_what_was_done_before_its_step_and_does_the_rest(client: Client) -> None:
    async with receiver(*[answer(b"%d" % number) for number in range(5)]) as server:
        last = transform("both", texts="[steps.a.output.body, steps.b.output.body, inputs.word]")
        workflow = await define(client, http("a", server, "b"), http("b", server, "both"), last)
        run = await start(client, workflow, word="w")
        assert (await ended(client, run))["outputs"] == {"texts": ["0", "1", "w"]}
        fork = await forked(client, run, "b")
        shown = await ended(client, fork)
        assert (shown["status"], shown["outputs"]) == ("completed", {"texts": ["0", "2", "w"]})
        assert [request.path for request in server.requests] == ["/a", "/b", "/b"]
    told = [(event.type, event.data.get("path")) for event in await events_of(client, fork)]
    assert told == [
        ("run_started", None), ("step_started", "a"), ("step_completed", "a"), ("step_started", "b"),
        ("step_completed", "b"), ("step_started", "both"), ("step_completed", "both"), ("run_completed", None),
    ]  # fmt: skip
    first, second = await steps_of(client, run), await steps_of(client, fork)
    assert first[0] == second[0]
    assert first[1]["started_at"] < second[1]["started_at"]


async def test_a_fork_begins_in_an_iteration_or_where_a_step_began_for_the_first_time(client: Client) -> None:
    async with receiver(*[answer(b"%d" % number) for number in range(12)]) as server:
        each = step("each", "loop", {"times": 3, "body": ["call"]})
        run = await start(client, await define(client, each, http("call", server)))
        await ended(client, run)
        for place, texts in (("each[2].call", ["0", "1", "3"]), ("call", ["4", "5", "6"]), ("each", ["7", "8", "9"])):
            shown = await ended(client, await forked(client, run, place))
            assert [item["body"] for item in shown["outputs"]["items"]] == texts


async def test_a_fork_of_a_branch_keeps_what_the_others_had_done_by_then(client: Client) -> None:
    async with receiver(*[answer(b"%d" % number) for number in range(4)]) as server:
        both = step("both", "parallel", {"branches": [["a"], ["ask", "b"]], "join": "all"})
        ask = step("ask", "human_review", {"prompt": "?"})
        run = await start(client, await define(client, both, http("a", server), ask, http("b", server)))
        await in_status(client, run, "waiting")
        (review,) = (await client.get(f"/workflows/runs/{run}/reviews"))["items"]
        await client.call("POST", f"/workflows/runs/{run}/reviews/{review['id']}", {"decision": "approve"})
        await ended(client, run)
        fork = await forked(client, run, "b")
        assert [part["body"] for part in (await ended(client, fork))["outputs"]["branches"]] == ["0", "2"]
        assert (await client.get(f"/workflows/runs/{fork}/reviews"))["items"] == []
        again = await forked(client, fork, "ask")
        await in_status(client, again, "waiting")
        assert {each["path"]: each["status"] for each in await steps_of(client, again)} == {
            "both": "running", "both[0].a": "completed", "both[1].ask": "waiting",
        }  # fmt: skip


async def test_large_outputs_failures_and_retries_are_part_of_what_a_fork_has(client: Client) -> None:
    large = b"x" * 200_000
    async with receiver(answer(large), answer(b"", status="500 No"), answer(b"fine"), answer(b"again")) as server:
        last = transform("sizes", sizes="[size(steps.a.output.body), size(steps.b.output.body)]")
        workflow = await define(client, http("a", server, "b"), http("b", server, "sizes"), last)
        run = await start(client, workflow)
        assert (await ended(client, run))["status"] == "failed"
        assert (await client.call("POST", f"/workflows/runs/{run}/retry")).status_code == 202
        assert (await in_status(client, run, "completed"))["outputs"] == {"sizes": [len(large), 4]}
        fork = await forked(client, run, "sizes")
        assert (await ended(client, fork))["outputs"] == {"sizes": [len(large), 4]}
        assert [each["status"] for each in await steps_of(client, fork)] == [
            "completed",
            "failed",
            "completed",
            "completed",
        ]
        assert (await ended(client, await forked(client, fork, "b")))["outputs"] == {"sizes": [len(large), 5]}
        assert len(server.requests) == 4
        await events_of(client, fork)


async def test_a_run_is_forked_while_it_goes_on(client: Client) -> None:
    workflow = await define(client, transform("a", "ask", x="1"), step("ask", "human_review", {"prompt": "?"}))
    run = await start(client, workflow)
    await in_status(client, run, "waiting")
    fork = await forked(client, run, "ask")
    await in_status(client, fork, "waiting")
    assert (await client.call("POST", f"/workflows/runs/{fork}/cancel")).status_code == 200
    assert (await ended(client, fork))["status"] == "cancelled"


async def test_what_cannot_be_forked_is_refused(client: Client) -> None:
    which = step("which", "condition", {"branches": [{"when": "true", "next": "a"}], "else": "b"})
    run = await start(client, await define(client, which, transform("a", x="1"), transform("b", x="1")))
    await ended(client, run)
    path = f"/workflows/runs/{run}/fork"
    refusal(await client.call("POST", path, {"from_step": "nowhere"}), 422, "VALIDATION_ERROR")
    refusal(await client.call("POST", path, {"from_step": "b"}), 409, "CONFLICT")
    refusal(await client.call("POST", path, {}), 422, "VALIDATION_ERROR")


async def test_a_fork_that_is_cancelled_before_it_has_its_beginning_tells_of_nothing_else(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ()
    engine = workers(environ)
    async with start_api(environ).client(site.acme) as client:
        run = await start(client, await define(client, transform("a", "b", x="1"), transform("b", x="1")))
        await ended(client, run)
        engine.kill()
        fork = await forked(client, run, "b")
        refusal(await client.call("POST", f"/workflows/runs/{fork}/fork", {"from_step": "a"}), 409, "CONFLICT")
        assert (await client.call("POST", f"/workflows/runs/{fork}/cancel")).status_code == 200
        workers(environ)
        assert (await ended(client, fork))["status"] == "cancelled"
        assert [event.type for event in await events_of(client, fork)] == ["run_started", "run_cancelled"]
