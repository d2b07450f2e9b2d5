"""Triggers over HTTP: who may start a run by a URL, and how often."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from standardwebhooks import Webhook

from copilot_domain.workflows.triggers.service import REFUSAL
from support.api import PASSWORD, SharedApi, Site, StartApi
from support.clients import Client, refusal
from support.runs import define, ended, transform
from support.triggers import call_trigger
from support.workers import Workers

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "number"}}, "additionalProperties": False}
SHOWN = {"id", "workflow_id", "name", "url", "is_active", "user_id", "created_at"}
MAX_BYTES = 1024 * 1024


@pytest.fixture
async def acme(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with shared_api.acme as client:
        yield client


async def trigger(client: Client, **fields: object) -> dict[str, Any]:
    workflow = await define(client, transform("one", twice="inputs.n * 2.0"), **fields)
    answer = await client.call("POST", f"/workflows/{workflow}/triggers", {"name": "the shop"})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def runs_of(client: Client, workflow: str) -> list[Any]:
    return list((await client.get(f"/workflows/runs?workflow_id={workflow}"))["items"])


async def call(client: Client, made: dict[str, Any], body: str | bytes = '{"n": 1.5}', **how: Any) -> httpx.Response:
    return await call_trigger(client, made["url"], how.pop("secret", made["secret"]), body, **how)


async def test_a_signed_call_starts_a_run_whose_inputs_are_its_body(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    api = start_api(site.environ())
    workers(site.environ())
    async with api.client(site.acme) as client:
        made = await trigger(client)
        answer = await call(client, made)
        assert answer.status_code == 202, answer.text
        assert set(answer.json()) == {"run_id"}
        run = await ended(client, answer.json()["run_id"])
        assert (run["inputs"], run["outputs"], run["version"]) == ({"n": 1.5}, {"twice": 3.0}, 1)
        started = (await client.get(f"/audit?action=run.started&resource_id={run['id']}"))["items"][0]
        assert started["details"]["trigger_id"] == made["id"]


async def test_it_is_shown_with_its_url_and_its_secret_once(acme: Client) -> None:
    made = await trigger(acme)
    assert set(made) == SHOWN | {"secret"}
    assert made["secret"].startswith("whsec_")
    assert made["url"] == f"{acme.http.base_url}/api/v1/triggers/{made['id']}".replace("//api", "/api")
    path = f"/workflows/{made['workflow_id']}/triggers"
    (listed,) = (await acme.get(path))["items"]
    assert listed == {name: made[name] for name in SHOWN}
    assert listed["is_active"] is True
    assert (await acme.call("DELETE", f"{path}/{made['id']}")).status_code == 204
    assert (await acme.get(path))["items"] == []
    refusal(await acme.call("DELETE", f"{path}/{made['id']}"), 404, "NOT_FOUND")
    refusal(await call(acme, made), 401, "UNAUTHORIZED")


async def test_its_secret_is_not_shown_again_to_a_repeat(acme: Client) -> None:
    workflow = await define(acme, transform("one", x="1"))
    path, key = f"/workflows/{workflow}/triggers", uuid4().hex
    made = await acme.call("POST", path, {"name": "x"}, idempotency_key=key)
    repeat = await acme.call("POST", path, {"name": "x"}, idempotency_key=key)
    assert made.json()["secret"] not in repeat.text
    assert made.json()["id"] in str(refusal(repeat, 409, "CONFLICT"))
    assert len((await acme.get(path))["items"]) == 1


async def test_a_repeated_call_gets_the_run_it_has_started(acme: Client) -> None:
    made = await trigger(acme)
    answers = [await call(acme, made) for _ in range(2)]
    answers.append(await call(acme, made, '{"n": 99}'))
    assert {(each.status_code, each.json()["run_id"]) for each in answers} == {(202, answers[0].json()["run_id"])}
    another = await call(acme, made, call_id="msg_2")
    assert len(await runs_of(acme, made["workflow_id"])) == 2
    assert another.json()["run_id"] != answers[0].json()["run_id"]


async def test_the_same_call_many_times_at_once_starts_one_run(acme: Client) -> None:
    made = await trigger(acme)
    answers = await asyncio.gather(*(call(acme, made) for _ in range(12)))
    assert {each.status_code for each in answers} == {202}
    assert len({each.json()["run_id"] for each in answers}) == 1
    assert len(await runs_of(acme, made["workflow_id"])) == 1


async def test_two_triggers_know_nothing_of_each_others_ids(acme: Client) -> None:
    first, second = await trigger(acme), await trigger(acme)
    runs = {(await call(acme, each, call_id="same")).json()["run_id"] for each in (first, second)}
    assert len(runs) == 2


@pytest.mark.parametrize("ago", [-290, 290])
async def test_within_five_minutes_a_timestamp_is_taken(acme: Client, ago: float) -> None:
    assert (await call(acme, await trigger(acme), ago_seconds=ago)).status_code == 202


async def test_every_wrong_call_is_the_same_401(acme: Client) -> None:
    made, other = await trigger(acme), await trigger(acme)
    nobody = made | {"url": made["url"].replace(made["id"], str(uuid4()))}
    headers = {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    answers = {
        "too old": await call(acme, made, ago_seconds=320),
        "too new": await call(acme, made, ago_seconds=-320),
        "another's secret": await call(acme, made, secret=other["secret"]),
        "unknown": await call(acme, nobody),
        "not UTF-8": await call(acme, made, b'{"n": "\xff"}'),
        "a key is no signature": await acme.call("POST", f"/triggers/{made['id']}", {"n": 1}),
        "changed on the way": await tampered(acme, made),
    }
    for changed in (
        {"webhook-signature": ""}, {"webhook-signature": "v1"}, {"webhook-signature": "v1,%%%"},
        {"webhook-signature": "v2,AAAA"}, {"webhook-signature": "v1,A,A"}, {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "9" * 400}, {"webhook-timestamp": "soon"}, {"webhook-id": ""},
    ):  # fmt: skip
        sent = {"content-type": "application/json", **headers, **changed}
        answers[str(changed)] = await acme.http.post(httpx.URL(made["url"]).path, content=b"{}", headers=sent)
    for answer in answers.values():
        refusal(answer, 401, "UNAUTHORIZED")
        assert {**answer.json(), "request_id": ""} == {
            "code": "UNAUTHORIZED", "message": REFUSAL, "details": {}, "request_id": "",
        }  # fmt: skip
        assert "x-ratelimit-limit" not in answer.headers
    assert await runs_of(acme, made["workflow_id"]) == []


async def tampered(client: Client, made: dict[str, Any]) -> httpx.Response:
    now = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": "a",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(made["secret"]).sign("a", now, '{"n": 1}'),
    }
    return await client.http.post(httpx.URL(made["url"]).path, content=b'{"n": 2}', headers=headers)


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        ("[]", 422, {"body"}),
        ("null", 422, {"body"}),
        ('{"m": 1}', 422, {"inputs", "inputs.n"}),
        ('{"n": "one"}', 422, {"inputs.n"}),
        ('{"n": 1, "m": "a\\u0000b"}', 422, {"m"}),
        ('{"n": 1e999}', 422, {"n"}),
        ("", 422, {"body"}),
        ('{"n": ', 400, None),
        ("[" * 100_000, 400, None),
    ],
)
async def test_a_signed_body_that_is_no_inputs_names_what_is_wrong(
    acme: Client, body: str, status: int, fields: set[str] | None
) -> None:
    made = await trigger(acme, inputs_schema=SCHEMA)
    details = refusal(await call(acme, made, body), status, "VALIDATION_ERROR" if status == 422 else "BAD_REQUEST")
    assert fields is None or set(details["fields"]) == fields
    assert (await call(acme, made, '{"n": 1}')).status_code == 202  # the id is not used up by what was refused


@pytest.mark.parametrize("depth", [64, 900, 1_000])
async def test_deep_inputs_are_taken_or_refused(acme: Client, depth: int) -> None:
    made = await trigger(acme)
    answer = await call(acme, made, '{"n": ' + "[" * depth + "]" * depth + "}")
    assert answer.status_code in {202, 400, 422}, answer.text


async def test_a_body_over_a_megabyte_is_a_413_whoever_sends_it(acme: Client) -> None:
    made = await trigger(acme)
    large = json.dumps({"n": 1, "x": "x" * MAX_BYTES})
    for secret in (made["secret"], "whsec_AAAA"):
        refusal(await call(acme, made, large, secret=secret), 413, "PAYLOAD_TOO_LARGE")
    assert (await call(acme, made, json.dumps({"n": 1, "x": "x" * (MAX_BYTES - 100)}))).status_code == 202


async def test_calls_count_by_trigger_once_they_are_verified(site: Site, start_api: StartApi) -> None:
    api = start_api(site.environ(rate_limit_requests=6))
    async with api.client(site.acme) as client:
        first, second = await trigger(client), await trigger(client)
        for _ in range(12):
            refusal(await call(client, first, secret="whsec_AAAA"), 401, "UNAUTHORIZED")
        answers = [await call(client, first, call_id=str(number)) for number in range(7)]
        assert [each.status_code for each in answers] == [202] * 6 + [429]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert (await call(client, second)).status_code == 202


async def test_its_maker_must_still_be_a_member_who_may_start_runs(acme: Client, shared_api: SharedApi) -> None:
    workflow = await define(acme, transform("one", x="1"))
    name = f"maker-{uuid4().hex[:8]}"
    invite = await acme.call("POST", "/tenants/current/invites", {"email": f"{name}@acme.example", "role": "member"})
    person = {"username": name, "email": f"{name}@acme.example", "password": PASSWORD}
    joined = await acme.call("POST", "/auth/register", {**person, "invite_token": invite.json()["token"]})
    user = joined.json()["id"]
    async with shared_api.process.client() as maker:
        bearer = f"Bearer {await maker.log_in(name, PASSWORD)}"
        answer = await maker.call("POST", f"/workflows/{workflow}/triggers", {"name": "x"}, authorization=bearer)
    made = answer.json()
    assert (await call(acme, made)).status_code == 202

    async def is_active() -> bool:
        return bool((await acme.get(f"/workflows/{workflow}/triggers"))["items"][0]["is_active"])

    member = f"/tenants/current/members/{user}"
    for role, works in (("viewer", False), ("admin", True)):
        assert (await acme.call("PATCH", member, {"role": role})).status_code == 200
        assert (await call(acme, made, call_id=role)).status_code == (202 if works else 401)
        assert await is_active() == works
    assert (await acme.call("DELETE", member)).status_code == 204
    refusal(await call(acme, made, call_id="last"), 401, "UNAUTHORIZED")
    assert not await is_active()


async def test_it_dies_with_its_workflow(acme: Client) -> None:
    made = await trigger(acme)
    assert (await acme.call("DELETE", f"/workflows/{made['workflow_id']}")).status_code == 204
    refusal(await call(acme, made), 401, "UNAUTHORIZED")
    refusal(await acme.call("GET", f"/workflows/{made['workflow_id']}/triggers"), 404, "NOT_FOUND")


@pytest.mark.parametrize("trusted", [True, False])
async def test_its_url_is_https_where_a_trusted_proxy_says_so(site: Site, start_api: StartApi, trusted: bool) -> None:
    api = start_api(site.environ(trusted_proxies="127.0.0.1/32" if trusted else ""))
    async with api.client(site.acme) as client:
        workflow = await define(client, transform("one", x="1"))
        headers = {"x-forwarded-proto": "https", "host": "api.example.com"}
        made = await client.call("POST", f"/workflows/{workflow}/triggers", {"name": "x"}, **headers)
    scheme = "https" if trusted else "http"
    assert made.json()["url"] == f"{scheme}://api.example.com/api/v1/triggers/{made.json()['id']}"


async def test_calls_past_their_expiry_are_pruned(site: Site, start_api: StartApi, workers: Workers) -> None:
    api = start_api(site.environ())
    async with api.client(site.acme) as client:
        made = await trigger(client)
        for number in range(3):
            assert (await call(client, made, call_id=str(number))).status_code == 202
        site.rows("UPDATE workflow_trigger_calls SET expires_at = now() - interval '1 second' WHERE ctid = '(0,1)'")
        assert site.rows("SELECT dispatch.prune_trigger_calls(100)") == [(1,)]
        assert site.rows("SELECT count(*), min(expires_at) > now() FROM workflow_trigger_calls") == [(2, True)]
