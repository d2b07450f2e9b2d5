"""What a start goes by, though this process has known the workflow before: what is there now."""

from typing import Any

from support.clients import Client, refusal
from support.runs import define, ended, start, transform


async def test_a_run_is_of_the_version_that_is_current_when_it_starts(client: Client) -> None:
    workflow = await define(client, transform("a", version="1"), inputs_schema={"required": ["n"]})
    assert (await ended(client, await start(client, workflow, n=1)))["outputs"] == {"version": 1}
    again = await start(client, workflow, n=1)
    await change(client, workflow, transform("a", version="2"), inputs_schema={"required": ["m"]})
    shown = await ended(client, await start(client, workflow, m=1))
    assert (shown["version"], shown["outputs"]) == (2, {"version": 2})
    refused = await client.call("POST", "/workflows/runs", {"workflow_id": workflow, "inputs": {"n": 1}})
    assert list(refusal(refused, 422, "VALIDATION_ERROR")["fields"]) == ["inputs.m"]
    assert (await ended(client, again))["version"] == 1
    pinned = {"workflow_id": workflow, "inputs": {"n": 1}, "version": 1}
    answer = await client.call("POST", "/workflows/runs", pinned)
    assert (await ended(client, answer.json()["id"]))["outputs"] == {"version": 1}


async def test_a_workflow_that_was_deleted_is_started_no_more(client: Client) -> None:
    workflow = await define(client, transform("a", x="1"))
    for _ in range(2):
        await ended(client, await start(client, workflow))
    assert (await client.call("DELETE", f"/workflows/{workflow}")).status_code == 204
    for more in ({}, {"version": 1}):
        body = {"workflow_id": workflow, "inputs": {}, **more}
        refusal(await client.call("POST", "/workflows/runs", body), 404, "NOT_FOUND")
        once = await client.call("POST", "/workflows/runs", body, idempotency_key=str(more))
        refusal(once, 404, "NOT_FOUND")


async def test_every_start_is_in_the_audit_log(client: Client) -> None:
    workflow = await define(client, transform("a", x="1"))
    runs = [await start(client, workflow) for _ in range(3)]
    found = (await client.get("/audit?action=run.started"))["items"]
    assert [each["resource_id"] for each in found] == runs[::-1]
    assert {each["details"]["workflow_id"] for each in found} == {workflow}


async def change(client: Client, workflow: str, *steps: Any, **more: Any) -> None:
    body = {"name": "test", "steps": list(steps), "entry_point": steps[0]["id"], **more}
    assert (await client.call("PUT", f"/workflows/{workflow}", body)).status_code == 200
