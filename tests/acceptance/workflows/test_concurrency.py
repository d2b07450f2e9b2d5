"""Only so many runs of a workflow at once: the others wait for their turn, make room, or are refused."""

from typing import Any

from support.api import Site, StartApi
from support.clients import Client, eventually, refusal
from support.runs import define, ended, in_status, run_of, start, step, steps_of, transform
from support.workers import Workers

ASK = step("ask", "human_review", {"prompt": "?"})


async def limited(client: Client, *steps: Any, **rule: Any) -> str:
    return await define(client, *(steps or (ASK,)), concurrency={"limit": 1, **rule})


async def approve(client: Client, run: str) -> None:
    (review,) = (await client.get(f"/workflows/runs/{run}/reviews"))["items"]
    path = f"/workflows/runs/{run}/reviews/{review['id']}"
    assert (await client.call("POST", path, {"decision": "approve"})).status_code == 200


async def parked(site: Site, *runs: str) -> None:
    """Their jobs wait, and the runs have not begun."""

    async def are_parked() -> bool:
        query = """
            SELECT r.id FROM workflow_runs r JOIN jobs j ON j.id = r.job_id
            WHERE r.id = ANY (%s::uuid[]) AND r.status = 'pending' AND j.status = 'scheduled'
        """
        return len(site.rows(query, list(runs))) == len(runs)

    await eventually(are_parked, what="the runs waiting for their turn")


async def test_runs_beyond_the_limit_wait_for_their_turn_oldest_first(site: Site, client: Client) -> None:
    workflow = await limited(client)
    first = await start(client, workflow)
    await in_status(client, first, "waiting")
    others = [await start(client, workflow) for _ in range(3)]
    await parked(site, *others)
    for run, *later in ([first, *others], others, others[1:]):
        await in_status(client, run, "waiting")
        await parked(site, *later)
        await approve(client, run)
        assert (await ended(client, run))["status"] == "completed"


async def test_runs_with_the_same_key_wait_for_one_another_and_no_others(site: Site, client: Client) -> None:
    workflow = await limited(client, key="{{ inputs.customer }}")
    await in_status(client, await start(client, workflow, customer="a"), "waiting")
    second = await start(client, workflow, customer="a")
    await in_status(client, await start(client, workflow, customer="b"), "waiting")
    await parked(site, second)


async def test_a_run_that_finds_no_room_is_refused_and_may_be_retried_when_there_is(client: Client) -> None:
    workflow = await limited(client, on_limit="reject")
    first = await start(client, workflow)
    await in_status(client, first, "waiting")
    second = await start(client, workflow)
    shown = await ended(client, second)
    assert (shown["status"], shown["error"]["code"]) == ("failed", "CONCURRENCY_LIMIT")
    assert await steps_of(client, second) == []
    await approve(client, first)
    await ended(client, first)
    assert (await client.call("POST", f"/workflows/runs/{second}/retry")).status_code == 202
    await in_status(client, second, "waiting")


async def test_the_oldest_runs_make_room_for_the_newest(client: Client) -> None:
    workflow = await limited(client, on_limit="cancel_oldest")
    runs = [await start(client, workflow)]
    await in_status(client, runs[0], "waiting")
    runs += [await start(client, workflow) for _ in range(3)]
    await in_status(client, runs[-1], "waiting")
    assert [(await ended(client, run))["status"] for run in runs[:-1]] == ["cancelled"] * 3


async def test_a_run_that_waits_for_its_turn_can_be_cancelled_and_the_next_one_comes_sooner(
    site: Site, client: Client
) -> None:
    workflow = await limited(client)
    first = await start(client, workflow)
    await in_status(client, first, "waiting")
    second = await start(client, workflow)
    await parked(site, second)
    third = await start(client, workflow)
    await parked(site, third)
    assert (await client.call("POST", f"/workflows/runs/{second}/cancel")).status_code == 200
    assert (await ended(client, second))["status"] == "cancelled"
    await approve(client, first)
    await in_status(client, third, "waiting")


async def test_a_child_run_waits_no_longer_than_those_that_came_after_it(site: Site, client: Client) -> None:
    workflow = await limited(client)
    first = await start(client, workflow)
    await in_status(client, first, "waiting")
    await start(client, await define(client, step("call", "workflow", {"workflow_id": workflow})))

    async def child() -> Any:
        found = (await client.get(f"/workflows/runs?workflow_id={workflow}"))["items"]
        return next((each["id"] for each in found if each["id"] != first), None)

    second = await eventually(child, what="the child run")
    await parked(site, second)
    third = await start(client, workflow)
    await parked(site, third)
    await approve(client, first)
    await in_status(client, second, "waiting")
    await parked(site, third)


async def test_a_run_that_is_begun_again_asks_for_its_slot_again(site: Site, client: Client) -> None:
    """Also where its process died before it could leave the queue."""
    which = step("which", "condition", {"branches": [{"when": "inputs.bad", "next": "bad"}], "else": "ask"})
    workflow = await limited(client, which, transform("bad", x="inputs.nothing"), ASK)
    failed = await start(client, workflow, bad=True)
    assert (await ended(client, failed))["status"] == "failed"
    running = await start(client, workflow, bad=False)
    await in_status(client, running, "waiting")
    left_behind = """
        INSERT INTO workflow_run_slots
        SELECT tenant_id, %s::uuid, workflow_id, key_hash, slot_limit, true, created_at - interval '1 hour'
        FROM workflow_run_slots
    """
    site.rows(left_behind, failed)
    assert (await client.call("POST", f"/workflows/runs/{failed}/retry")).status_code == 202
    await parked(site, failed)


async def test_as_many_are_woken_as_may_go_on_whatever_version_they_are_of(site: Site, client: Client) -> None:
    workflow = await limited(client)
    first = await start(client, workflow)
    await in_status(client, first, "waiting")
    body = {"name": "test", "steps": [ASK], "entry_point": "ask", "concurrency": {"limit": 2}}
    assert (await client.call("PUT", f"/workflows/{workflow}", body)).status_code == 200
    second = await start(client, workflow)
    await in_status(client, second, "waiting")
    others = [await start(client, workflow) for _ in range(2)]
    await parked(site, *others)
    await approve(client, second)
    await approve(client, first)
    for run in others:
        await in_status(client, run, "waiting")


async def test_a_key_may_not_name_steps(client: Client) -> None:
    concurrency = {"limit": 1, "key": "{{ steps.ask.output }}"}
    body = {"name": "test", "steps": [ASK], "entry_point": "ask", "concurrency": concurrency}
    refused = refusal(await client.call("POST", "/workflows", body), 422, "VALIDATION_ERROR")
    assert list(refused["fields"]) == ["concurrency.key"]


async def test_a_run_does_not_wait_for_the_one_that_started_it(client: Client) -> None:
    leaf = step("leaf", "transform", {"set": {"depth": "inputs.depth"}})
    workflow = await limited(client, leaf)
    again = step("again", "workflow", {"workflow_id": workflow, "inputs": {"depth": "=inputs.depth + 1"}})
    ask = step("which", "condition", {"branches": [{"when": "inputs.depth < 3", "next": "again"}], "else": "leaf"})
    body = {"name": "deep", "steps": [ask, again, leaf], "entry_point": "which", "concurrency": {"limit": 1}}
    assert (await client.call("PUT", f"/workflows/{workflow}", body)).status_code == 200
    assert (await ended(client, await start(client, workflow, depth=0)))["status"] == "completed"


async def test_a_key_that_cannot_be_made_fails_the_run(client: Client) -> None:
    shown = await run_of(client, transform("a", x="1"), concurrency={"limit": 1, "key": "=inputs.nothing.here"})
    assert (shown["status"], shown["error"]["code"]) == ("failed", "EXPRESSION_FAILED")


async def test_a_slot_whose_run_is_lost_is_given_to_the_next(site: Site, start_api: StartApi, workers: Workers) -> None:
    environ = site.environ()
    engine = workers(environ)
    async with start_api(environ).client(site.acme) as client:
        workflow = await limited(client)
        first = await start(client, workflow)
        await in_status(client, first, "waiting")
        second = await start(client, workflow)
        await parked(site, second)
        engine.kill()
        dead = "UPDATE jobs SET status = 'dead', ended_at = now(), error_code = 'WORKER_LOST' WHERE id = %s"
        site.rows(dead, *site.rows("SELECT job_id FROM workflow_runs WHERE id = %s", first)[0])
        workers(environ)
        await in_status(client, second, "waiting", seconds=40.0)
        assert (await ended(client, first))["error"]["code"] == "WORKER_LOST"
