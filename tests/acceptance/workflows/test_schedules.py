"""Schedules over HTTP, with an engine that fires them."""

from typing import Any
from uuid import uuid4

import pytest

from support.api import SharedApi, Site
from support.clients import Client, eventually, refusal
from support.runs import define, ended, transform

SHOWN = {
    "id", "workflow_id", "user_id", "cron", "timezone", "inputs", "misfire", "is_active", "inactive_reason", "next_at",
    "last_at", "last_run_id", "last_error", "created_at",
}  # fmt: skip
NEW: dict[str, Any] = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "inputs": {"n": 2}, "misfire": "run_once"}


async def test_what_was_sent_is_shown_until_it_is_deleted(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        path = f"/workflows/{await define(client, transform('one', x='1'))}/schedules"
        answer = await client.call("POST", path, NEW)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert set(made) == SHOWN
        assert {name: made[name] for name in NEW} == NEW
        assert (made["is_active"], made["last_at"], made["last_run_id"]) == (True, None, None)
        assert made["next_at"].endswith("Z")
        small = (await client.call("POST", path, {"cron": "0 0 * * *"})).json()
        assert (small["timezone"], small["inputs"], small["misfire"]) == ("UTC", {}, "skip")
        assert (await client.get(path))["items"] == [small, made]
        first = await client.get(f"{path}?limit=1")
        assert (first["total"], first["items"], first["has_more"]) == (2, [small], True)
        assert (await client.get(f"{path}?cursor={first['next_cursor']}"))["items"] == [made]
        for status in (204, 404):
            assert (await client.call("DELETE", f"{path}/{made['id']}")).status_code == status
        assert (await client.get(path))["items"] == [small]


async def test_a_repeat_makes_no_second_one(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        path, key = f"/workflows/{await define(client, transform('one', x='1'))}/schedules", uuid4().hex
        answers = [await client.call("POST", path, NEW, idempotency_key=key) for _ in range(2)]
        assert [each.status_code for each in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
        assert len((await client.get(path))["items"]) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": 5}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "* * */20 * 1L"}, "cron"),
        ({"timezone": "Europe/Bielefeld"}, "timezone"),
        ({"timezone": None}, "timezone"),
        ({"misfire": "twice"}, "misfire"),
        ({"inputs": []}, "inputs"),
        ({"inputs": {"n": "two"}}, "inputs.n"),
        ({"inputs": {"n": 1, "x": "x" * 1024 * 1024}}, "inputs"),
    ],
)
async def test_a_wrong_field_is_named(shared_api: SharedApi, change: dict[str, Any], field: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    async with shared_api.acme as client:
        path = f"/workflows/{await define(client, transform('one', x='1'), inputs_schema=schema)}/schedules"
        answer = await client.call("POST", path, NEW | change)
        assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == [field]
        assert (await client.get(path))["items"] == []


async def test_a_schedule_of_another_workflow_is_not_found_under_this_one(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        one, other = [await define(client, transform("one", x="1")) for _ in range(2)]
        made = (await client.call("POST", f"/workflows/{one}/schedules", NEW)).json()
        refusal(await client.call("DELETE", f"/workflows/{other}/schedules/{made['id']}"), 404, "NOT_FOUND")


async def test_an_engine_fires_it(client: Client, site: Site) -> None:
    workflow = await define(client, transform("one", twice="inputs.n * 2"))
    path = f"/workflows/{workflow}/schedules"
    made = (await client.call("POST", path, NEW)).json()
    site.rows("UPDATE workflow_schedules SET next_at = now() + interval '1 second'")

    async def has_fired() -> Any:
        return (await client.get(path))["items"][0]["last_run_id"]

    run = await ended(client, await eventually(has_fired, seconds=25, what="the run"))
    assert (run["inputs"], run["outputs"], run["workflow_id"]) == ({"n": 2}, {"twice": 4}, workflow)
    (shown,) = (await client.get(path))["items"]
    assert shown["next_at"] > made["created_at"]
    assert len((await client.get("/workflows/runs"))["items"]) == 1
