"""The routes of /webhooks, over the application as it is wired together."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from copilot_api.composition import build_app, build_services
from copilot_api.services import Services
from copilot_common.platform.settings import load_settings
from copilot_domain.webhooks import EVENTS, MAX_WEBHOOKS, publish
from integration.queue.ground import acting
from support.api import ENCRYPTION_KEY, JWT_SECRET, make_tenant
from support.clients import Credentials
from support.stack import Database

URL = "https://hooks.example.com/in?token=t"
NEW = {"url": URL, "events": ["message.created"]}
FIELDS = {"id", "url", "events", "description", "is_active", "user_id", "created_at", "updated_at"}


@dataclass
class Api:
    """The application without a socket, asked as acme's owner."""

    http: httpx.AsyncClient
    services: Services
    acme: Credentials
    other: Credentials

    async def call(
        self, method: str, path: str = "", body: object = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given["x-api-key"] = key or self.acme.api_key
        return await self.http.request(method, f"/api/v1{path}", json=body, headers=given)

    async def make(self, **fields: object) -> dict[str, Any]:
        answer = await self.call("POST", "/webhooks", {**NEW, **fields})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def deliver(self) -> None:
        async with self.services.tenants_db.transaction(acting(self.acme)) as tx:
            await publish(tx, self.services.ledger, "message.created", {"status": "completed"})


@pytest.fixture
async def api(database: Database, redis_url: str) -> AsyncIterator[Api]:
    services = build_services(
        load_settings(
            {
                "DATABASE_URL": database.app_url,
                "REDIS_URL": redis_url,
                "JWT_SECRET": JWT_SECRET,
                "ENCRYPTION_KEY": ENCRYPTION_KEY,
                "EGRESS_ALLOW": "hooks.internal",
            }
        )
    )
    await services.database.open()
    await services.lease.start()
    acme, other = await make_tenant(database, "acme"), await make_tenant(database, "other")
    transport = httpx.ASGITransport(app=build_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield Api(http, services, acme, other)
    await services.lease.stop()
    await services.models.aclose()
    await services.line.aclose()
    await services.redis.aclose()
    await services.database.close()


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    return dict(body["details"])


async def test_a_secret_is_shown_once(api: Api) -> None:
    made = await api.make(description="ours")
    assert made.keys() == FIELDS | {"secret"}
    assert made["secret"].startswith("whsec_")
    shown = (await api.call("GET", f"/webhooks/{made['id']}")).json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    listed = (await api.call("GET", "/webhooks")).json()
    assert (listed["items"], listed["total"]) == ([shown], 1)
    changed = await api.call("PATCH", f"/webhooks/{made['id']}", {"description": None})
    assert changed.json().keys() == FIELDS


async def test_a_repeated_creation_is_409_with_the_id_and_makes_no_second_one(api: Api) -> None:
    first = await api.call("POST", "/webhooks", NEW, idempotency_key="k")
    repeat = await api.call("POST", "/webhooks", NEW, idempotency_key="k")
    assert refused(repeat, 409, "CONFLICT") == {"id": first.json()["id"]}
    assert (await api.call("GET", "/webhooks")).json()["total"] == 1


async def test_what_is_sent_is_changed_and_the_rest_stays(api: Api) -> None:
    made = await api.make(description="ours")
    path = f"/webhooks/{made['id']}"
    changed = (await api.call("PATCH", path, {"events": list(EVENTS), "is_active": False})).json()
    assert (changed["events"], changed["is_active"]) == (list(EVENTS), False)
    assert (changed["url"], changed["description"]) == (URL, "ours")
    assert (await api.call("GET", path)).json() == changed
    fields = refused(await api.call("PATCH", path, {}), 422, "VALIDATION_ERROR")["fields"]
    assert fields == {"body": "must name something to change"}


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/",
        "http://127.0.0.1/",
        "http://redis:6379/",
        "https://hooks.example.com:6379/",
        "https://u:p@hooks.example.com/",
        "file:///etc/passwd",
        "hooks",
    ],
)
async def test_a_url_that_may_not_be_called_is_refused_when_it_is_named(api: Api, url: str) -> None:
    path = f"/webhooks/{(await api.make())['id']}"
    for answer in (
        await api.call("POST", "/webhooks", {**NEW, "url": url}),
        await api.call("PATCH", path, {"url": url}),
    ):
        assert refused(answer, 422, "VALIDATION_ERROR")["fields"].keys() == {"url"}
    assert (await api.call("GET", path)).json()["url"] == URL


async def test_an_exempt_host_is_accepted(api: Api) -> None:
    assert (await api.make(url="http://hooks.internal:9000/"))["url"] == "http://hooks.internal:9000/"


@pytest.mark.parametrize(
    ("field", "value"),
    [("events", []), ("events", ["message.deleted"]), ("description", "x" * 10_001), ("url", 5), ("secret", "mine")],
)
async def test_a_wrong_field_is_named(api: Api, field: str, value: object) -> None:
    answer = await api.call("POST", "/webhooks", {**NEW, field: value})
    (path,) = refused(answer, 422, "VALIDATION_ERROR")["fields"]
    assert path.startswith(field)


async def test_an_event_named_twice_counts_once(api: Api) -> None:
    assert (await api.make(events=["context.ready", "context.ready"]))["events"] == ["context.ready"]


async def test_a_tenant_has_a_bounded_number_of_them(api: Api) -> None:
    for _ in range(MAX_WEBHOOKS):
        await api.make()
    assert refused(await api.call("POST", "/webhooks", NEW), 409, "CONFLICT") == {"limit": MAX_WEBHOOKS}
    first = (await api.call("GET", "/webhooks?limit=7")).json()
    then = (await api.call("GET", f"/webhooks?limit=100&cursor={first['next_cursor']}")).json()
    assert (len(first["items"]), len(then["items"]), then["has_more"]) == (7, MAX_WEBHOOKS - 7, False)


async def test_deliveries_are_listed_newest_first_and_sent_again_on_demand(api: Api) -> None:
    path = f"/webhooks/{(await api.make())['id']}/deliveries"
    for _ in range(3):
        await api.deliver()
    listed = (await api.call("GET", f"{path}?limit=2")).json()
    assert (listed["total"], listed["has_more"], len(listed["items"])) == (3, True, 2)
    rest = (await api.call("GET", f"{path}?cursor={listed['next_cursor']}")).json()["items"]
    ids = [item["id"] for item in listed["items"] + rest]
    assert ids == sorted(ids, reverse=True)
    assert listed["items"][0].keys() == {
        "id", "webhook_id", "event", "status", "attempts", "last_status", "last_error_code", "created_at",
        "delivered_at",
    }  # fmt: skip
    again = await api.call("POST", f"{path}/{ids[0]}/redeliver", idempotency_key="k")
    assert (again.status_code, again.json()) == (202, listed["items"][0])
    repeat = await api.call("POST", f"{path}/{ids[0]}/redeliver", idempotency_key="k")
    assert (repeat.status_code, repeat.json()) == (202, again.json())


async def test_a_delivery_is_found_under_its_own_webhook_only(api: Api) -> None:
    first = await api.make()
    await api.deliver()
    delivery = (await api.call("GET", f"/webhooks/{first['id']}/deliveries")).json()["items"][0]
    second = await api.make()
    refused(await api.call("POST", f"/webhooks/{second['id']}/deliveries/{delivery['id']}/redeliver"), 404, "NOT_FOUND")


async def test_a_deleted_webhook_is_gone_with_its_deliveries(api: Api) -> None:
    path = f"/webhooks/{(await api.make())['id']}"
    await api.deliver()
    assert (await api.call("DELETE", path)).status_code == 204
    for method, gone in (("GET", path), ("DELETE", path), ("GET", f"{path}/deliveries")):
        refused(await api.call(method, gone), 404, "NOT_FOUND")


async def test_another_tenant_sees_none_of_it(api: Api) -> None:
    path = f"/webhooks/{(await api.make())['id']}"
    for method in ("GET", "DELETE"):
        refused(await api.call(method, path, key=api.other.api_key), 404, "NOT_FOUND")
    assert (await api.call("GET", "/webhooks", key=api.other.api_key)).json()["items"] == []


async def test_every_change_is_audited_without_what_it_says(api: Api) -> None:
    made = await api.make(description="ours")
    path = f"/webhooks/{made['id']}"
    await api.deliver()
    delivery = (await api.call("GET", f"{path}/deliveries")).json()["items"][0]["id"]
    await api.call("POST", f"{path}/deliveries/{delivery}/redeliver")
    await api.call("PATCH", path, {"description": "theirs"})
    await api.call("DELETE", path)
    audited = (await api.call("GET", "/audit?resource_type=webhook")).json()["items"]
    assert [row["action"] for row in reversed(audited)] == [
        "webhook.created", "webhook.redelivered", "webhook.updated", "webhook.deleted",
    ]  # fmt: skip
    assert {row["resource_id"] for row in audited} == {made["id"]}
    assert "hooks.example" not in str(audited)
    assert "ours" not in str(audited)
