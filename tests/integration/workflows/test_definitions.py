"""The routes of /workflows, over the application as it is wired together."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from copilot_api.composition import build_app, build_services
from copilot_api.services import Services
from copilot_common.base.errors import NotFound
from copilot_common.platform.settings import load_settings
from copilot_domain.workflows.repository import WorkflowRepository
from integration.queue.ground import acting
from support.api import ENCRYPTION_KEY, JWT_SECRET, make_tenant
from support.clients import Credentials
from support.stack import Database

DEFINITION: dict[str, Any] = {
    "name": "Greet",
    "description": "Says hello.",
    "steps": [
        {
            "id": "hello", "name": "Hello", "type": "llm", "config": {"prompt": "Greet {{ inputs.name }}"},
            "next_steps": ["keep"],
        },
        {"id": "keep", "name": "Keep", "type": "transform", "config": {"set": {"text": "steps.hello.output.text"}}},
    ],
    "entry_point": "hello",
    "inputs_schema": {"type": "object", "properties": {"name": {"type": "string"}}},
    "metadata": {"team": "front desk"},
}  # fmt: skip
SUMMARY = {"id", "name", "description", "version", "user_id", "created_at", "updated_at"}
DETAILS = {"steps", "entry_point", "inputs_schema", "concurrency", "priority", "max_duration_ms", "metadata"}
EXAMPLE = (Path(__file__).parents[3] / "docs/workflows.md").read_text().partition("```yaml\n")[2].partition("```")[0]


@dataclass
class Api:
    """The application without a socket, asked as acme's owner."""

    http: httpx.AsyncClient
    services: Services
    database: Database
    acme: Credentials
    other: Credentials

    async def call(
        self, method: str, path: str = "", body: object = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given["x-api-key"] = key or self.acme.api_key
        return await self.http.request(method, f"/api/v1/workflows{path}", json=body, headers=given)

    async def send(self, content: str | bytes, media_type: str | None, path: str = "") -> httpx.Response:
        headers = {"x-api-key": self.acme.api_key} | ({"content-type": media_type} if media_type else {})
        return await self.http.request("POST", f"/api/v1/workflows{path}", content=content, headers=headers)

    async def make(self, **fields: object) -> dict[str, Any]:
        answer = await self.call("POST", "", {**DEFINITION, **fields})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def audit(self) -> list[tuple[str, dict[str, Any]]]:
        answer = await self.http.get("/api/v1/audit?resource_type=workflow", headers={"x-api-key": self.acme.api_key})
        return [(entry["action"], entry["details"]) for entry in answer.json()["items"]]


@pytest.fixture
async def api(database: Database, redis_url: str) -> AsyncIterator[Api]:
    services = build_services(
        load_settings(
            {
                "DATABASE_URL": database.app_url,
                "REDIS_URL": redis_url,
                "JWT_SECRET": JWT_SECRET,
                "ENCRYPTION_KEY": ENCRYPTION_KEY,
            }
        )
    )
    await services.database.open()
    await services.lease.start()
    await services.expressions.start()
    acme, other = await make_tenant(database, "acme"), await make_tenant(database, "other")
    transport = httpx.ASGITransport(app=build_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as http:
        yield Api(http, services, database, acme, other)
    await services.expressions.stop()
    await services.lease.stop()
    await services.models.aclose()
    await services.line.aclose()
    await services.redis.aclose()
    await services.database.close()


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    return dict(body["details"])


async def test_a_definition_is_shown_as_it_was_made(api: Api) -> None:
    made = await api.make()
    assert made.keys() == SUMMARY | DETAILS
    assert (made["version"], made["user_id"], made["priority"]) == (1, api.acme.user_id, 3)
    for name in ("name", "description", "entry_point", "inputs_schema", "metadata"):
        assert made[name] == DEFINITION[name]
    assert [step["config"] for step in made["steps"]] == [step["config"] for step in DEFINITION["steps"]]
    assert (await api.call("GET", f"/{made['id']}")).json() == made
    assert await api.audit() == [("workflow.created", {"steps": 2})]


@pytest.mark.parametrize("media_type", ["application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"])
async def test_the_documentations_example_is_taken_as_yaml(api: Api, media_type: str) -> None:
    answer = await api.send(EXAMPLE, media_type)
    assert answer.status_code == 201, answer.text
    assert [step["id"] for step in answer.json()["steps"]][:3] == ["look_up", "fetch_orders", "find_rules"]


async def test_a_body_that_says_nothing_of_itself_is_json_and_others_are_415(api: Api) -> None:
    text = json.dumps(DEFINITION)
    assert (await api.send(text, None)).status_code == 201
    refused(await api.send(text, "text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE")
    yaml_elsewhere = await api.http.post(
        "/api/v1/conversations",
        content="title: x",
        headers={"x-api-key": api.acme.api_key, "content-type": "application/yaml"},
    )
    refused(yaml_elsewhere, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        ("{", "application/json"),
        ("[" * 100_000, "application/json"),
        ("a: &a [*a]", "text/yaml"),
        ("a: [", "text/yaml"),
    ],
)
async def test_what_cannot_be_read_is_a_400_also_for_validate(api: Api, text: str, media_type: str) -> None:
    for path in ("", "/validate"):
        refused(await api.send(text, media_type, path), 400, "BAD_REQUEST")


async def test_a_definition_of_more_than_a_megabyte_is_413(api: Api) -> None:
    answer = await api.call("POST", "", {**DEFINITION, "description": "x" * 1_000_000})
    assert refused(answer, 413, "PAYLOAD_TOO_LARGE") == {"max_bytes": 1_000_000}


async def test_all_faults_are_named_at_once_those_of_expressions_too(api: Api) -> None:
    wrong = {**DEFINITION, "priority": 9, "surprise": 1, "entry_point": "nowhere"}
    fields = refused(await api.call("POST", "", wrong), 422, "VALIDATION_ERROR")["fields"]
    assert fields.keys() == {"priority", "surprise", "entry_point"}
    steps = [{"id": "a", "name": "a", "type": "transform", "config": {"set": {"x": "1 +", "y": "2", "z": "nobody.x"}}}]
    answer = await api.call("POST", "", {"name": "x", "steps": steps, "entry_point": "a"})
    fields = refused(answer, 422, "VALIDATION_ERROR")["fields"]
    assert fields.keys() == {"steps[0].config.set.x", "steps[0].config.set.z"}
    assert (await api.call("GET")).json()["total"] == 0


async def test_validate_tells_the_same_and_stores_nothing(api: Api) -> None:
    assert (await api.call("POST", "/validate", DEFINITION)).json() == {"valid": True, "errors": []}
    answer = await api.call("POST", "/validate", {**DEFINITION, "priority": 9})
    assert answer.status_code == 200
    assert answer.json() == {"valid": False, "errors": [{"path": "priority", "message": "must be from 1 to 5"}]}
    odd = await api.send('{"name": "a\\u0000b"}', "application/json", "/validate")
    assert odd.json()["errors"] == [{"path": "name", "message": "must not contain NUL characters"}]
    assert (await api.call("GET")).json()["total"] == 0


async def test_a_put_makes_a_new_version_and_leaves_the_old_one_as_it_was(api: Api) -> None:
    made = await api.make()
    path = f"/{made['id']}"
    changed = await api.call("PUT", path, {**DEFINITION, "name": "Greet better", "description": None})
    assert changed.status_code == 200, changed.text
    now = changed.json()
    assert (now["version"], now["name"], now["description"]) == (2, "Greet better", None)
    assert (await api.call("GET", path)).json() == now
    first = (await api.call("GET", f"{path}?version=1")).json()
    assert (first["version"], first["name"], first["description"]) == (1, "Greet", "Says hello.")
    listed = (await api.call("GET")).json()["items"][0]
    assert listed == {name: value for name, value in now.items() if name in SUMMARY}
    versions = (await api.call("GET", f"{path}/versions")).json()
    assert ([each["version"] for each in versions["items"]], versions["total"]) == ([2, 1], 2)
    assert (await api.audit())[0] == ("workflow.updated", {"version": 2})


async def test_what_is_shown_can_be_sent_back(api: Api) -> None:
    made = (await api.send(EXAMPLE, "application/yaml")).json()
    again = {name: value for name, value in made.items() if name in DETAILS | {"name", "description"}}
    changed = await api.call("PUT", f"/{made['id']}", again)
    assert changed.status_code == 200, changed.text
    assert {name: changed.json()[name] for name in again} == again


async def test_a_put_that_names_a_version_makes_that_one_or_nothing(api: Api) -> None:
    path = f"/{(await api.make(version=1))['id']}"
    for version in (1, 3):
        answer = await api.call("PUT", path, {**DEFINITION, "version": version})
        assert refused(answer, 409, "CONFLICT") == {"current_version": 1}
    assert (await api.call("PUT", path, {**DEFINITION, "version": 2})).json()["version"] == 2
    refused(await api.call("POST", "", {**DEFINITION, "version": 2}), 422, "VALIDATION_ERROR")


async def test_a_version_that_is_not_there_is_404_and_one_that_cannot_be_is_named(api: Api) -> None:
    path = f"/{(await api.make())['id']}"
    refused(await api.call("GET", f"{path}?version=2"), 404, "NOT_FOUND")
    for wrong in ("0", "-1", "2147483648", "x"):
        assert refused(await api.call("GET", f"{path}?version={wrong}"), 422, "VALIDATION_ERROR")["fields"].keys() == {
            "version"
        }


async def test_lists_go_on_where_the_page_ended(api: Api) -> None:
    made = [(await api.make(name=f"n{number}"))["id"] for number in range(3)]
    for _ in range(2):
        await api.call("PUT", f"/{made[0]}", DEFINITION)
    for path, field, expected in (("", "id", made[::-1]), (f"/{made[0]}/versions", "version", [3, 2, 1])):
        first = (await api.call("GET", f"{path}?limit=2")).json()
        second = (await api.call("GET", f"{path}?limit=2&cursor={first['next_cursor']}")).json()
        assert [each[field] for each in first["items"] + second["items"]] == expected
        assert (first["has_more"], second["has_more"], first["total"]) == (True, False, 3)
        refused(await api.call("GET", f"{path}?cursor=x"), 422, "VALIDATION_ERROR")


async def test_a_deleted_workflow_is_404_everywhere_but_runs_keep_their_version(api: Api) -> None:
    made = await api.make()
    path = f"/{made['id']}"
    assert (await api.call("DELETE", path)).status_code == 204
    for method, where, body in (
        ("GET", path, None), ("GET", f"{path}/versions", None), ("GET", f"{path}?version=1", None),
        ("PUT", path, DEFINITION), ("DELETE", path, None),
    ):  # fmt: skip
        refused(await api.call(method, where, body), 404, "NOT_FOUND")
    assert (await api.call("GET")).json() == {
        "items": [], "total": 0, "limit": 20, "offset": 0, "has_more": False, "next_cursor": None,
    }  # fmt: skip
    async with api.services.tenants_db.transaction(acting(api.acme)) as tx:
        kept = await WorkflowRepository().definition(tx, UUID(made["id"]), 1)
        assert kept.name == "Greet"
        with pytest.raises(NotFound):
            await api.services.workflows.pin(tx, UUID(made["id"]))


async def test_a_new_run_is_of_the_current_version_or_of_the_one_it_names(api: Api) -> None:
    made = await api.make()
    await api.call("PUT", f"/{made['id']}", {**DEFINITION, "name": "Second"})
    async with api.services.tenants_db.transaction(acting(api.acme)) as tx:
        current = await api.services.workflows.pin(tx, UUID(made["id"]))
        first = await api.services.workflows.pin(tx, UUID(made["id"]), 1)
        assert [(each.version, each.definition.name) for each in (current, first)] == [(2, "Second"), (1, "Greet")]
        with pytest.raises(NotFound):
            await api.services.workflows.pin(tx, UUID(made["id"]), 3)


async def test_a_repeated_creation_makes_one_workflow(api: Api) -> None:
    first = await api.call("POST", "", DEFINITION, idempotency_key="k")
    repeat = await api.call("POST", "", DEFINITION, idempotency_key="k")
    assert (repeat.status_code, repeat.json()) == (201, first.json())
    other = await api.call("POST", "", {**DEFINITION, "name": "x"}, idempotency_key="k")
    refused(other, 409, "IDEMPOTENCY_MISMATCH")
    assert (await api.call("GET")).json()["total"] == 1


async def test_another_tenant_sees_none_of_it(api: Api) -> None:
    made = await api.make()
    for method, where, body in (
        ("GET", f"/{made['id']}", None), ("PUT", f"/{made['id']}", DEFINITION), ("DELETE", f"/{made['id']}", None),
        ("GET", f"/{made['id']}/versions", None), ("GET", f"/{uuid4()}", None),
    ):  # fmt: skip
        refused(await api.call(method, where, body, key=api.other.api_key), 404, "NOT_FOUND")
    assert (await api.call("GET", key=api.other.api_key)).json()["items"] == []


async def test_nothing_of_a_definition_is_readable_in_the_database(api: Api) -> None:
    await api.make(name="zebra-quagga", description="zebra-quagga")
    with psycopg.connect(api.database.admin_url) as admin:
        for table in ("workflows", "workflow_versions"):
            rows = admin.execute(f"SELECT * FROM {table}".encode()).fetchall()
            values = [value for row in rows for value in row]
            assert values
            assert not any(b"zebra" in (value if isinstance(value, bytes) else str(value).encode()) for value in values)


async def test_openapi_shows_both_ways_to_write_a_definition(api: Api) -> None:
    paths = (await api.http.get("/schema/openapi.json")).json()["paths"]
    for path, method in (("/workflows", "post"), ("/workflows/validate", "post"), ("/workflows/{workflow_id}", "put")):
        content = paths[f"/api/v1{path}"][method]["requestBody"]["content"]
        assert content.keys() == {"application/json", "application/yaml"}
