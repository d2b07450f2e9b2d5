"""Every route of the authority table, with credentials that must not get through. The table itself drives these tests:
a route without a case fails."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from copilot_common.auth.authority import ROLE_SCOPES, ROUTES, Access
from copilot_domain.tenants.bootstrap import create_platform_key
from support.api import PASSWORD, SharedApi
from support.clients import V1, Client, refusal
from support.simulator import scripted

PRIVATE = sorted(route for route, access in ROUTES.items() if not access.public)
TENANT_ROUTES = [route for route in PRIVATE if ROUTES[route].scope != "platform"]
PLATFORM_ROUTES = [route for route in PRIVATE if ROUTES[route].scope == "platform"]


def workflow(name: str) -> dict[str, object]:
    """A definition."""
    step = {"id": "a", "name": name, "type": "transform", "config": {"set": {"x": f"'{name}'"}}}
    return {"name": name, "steps": [step], "entry_point": "a"}


FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="x.txt"\r\n\r\nx\r\n--x--\r\n'

# What each route that takes a body is sent: something valid, so that nothing but the credential stops it.
BODIES: dict[tuple[str, str], object] = {
    ("POST", f"{V1}/auth/api-keys"): {"name": "k", "scopes": ["read"]},
    ("POST", f"{V1}/tenants"): {"name": "New", "slug": "new-tenant"},
    ("PATCH", f"{V1}/tenants/{{tenant_id}}"): {"name": "Taken over"},
    ("PATCH", f"{V1}/tenants/current"): {"name": "Taken over"},
    ("PATCH", f"{V1}/tenants/current/members/{{user_id}}"): {"role": "viewer"},
    ("POST", f"{V1}/tenants/current/invites"): {"email": "x@y.example", "role": "member"},
    ("POST", f"{V1}/webhooks"): {"url": "https://hooks.example.com/", "events": ["message.created"]},
    ("POST", f"{V1}/mcp-servers"): {"name": "taken-over", "url": "https://mcp.example.com/"},
    ("PATCH", f"{V1}/webhooks/{{webhook_id}}"): {"url": "https://taken-over.example.com/"},
    ("POST", f"{V1}/conversations"): {"title": "x"},
    ("PATCH", f"{V1}/conversations/{{conversation_id}}"): {"title": "Taken over"},
    ("POST", f"{V1}/conversations/{{conversation_id}}/messages"): {"content": "x"},
    ("POST", f"{V1}/conversations/{{conversation_id}}/messages/stream"): {"content": "x"},
    ("PUT", f"{V1}/conversations/{{conversation_id}}/messages/{{message_id}}/feedback"): {"rating": 1},
    ("POST", f"{V1}/context"): {"name": "x", "type": "text", "content": "x"},
    ("PATCH", f"{V1}/context/{{item_id}}"): {"name": "Taken over"},
    ("POST", f"{V1}/context/search"): {"query": "x"},
    ("POST", f"{V1}/context/files"): FORM,
    ("POST", f"{V1}/context/reembed"): {"model": "minilm-384"},
    ("POST", f"{V1}/context/collections"): {"name": "x"},
    ("PATCH", f"{V1}/context/collections/{{collection_id}}"): {"name": "Taken over"},
    ("POST", f"{V1}/workflows"): workflow("x"),
    ("POST", f"{V1}/workflows/validate"): workflow("x"),
    ("PUT", f"{V1}/workflows/{{workflow_id}}"): workflow("Taken over"),
    ("POST", f"{V1}/workflows/{{workflow_id}}/schedules"): {"cron": "0 12 * * *", "timezone": "UTC"},
    ("POST", f"{V1}/workflows/{{workflow_id}}/triggers"): {"name": "x"},
    ("POST", f"{V1}/workflows/runs"): {"workflow_id": "00000000-0000-0000-0000-000000000001"},
    ("POST", f"{V1}/workflows/runs/{{run_id}}/reviews/{{review_id}}"): {"decision": "approve"},
    ("POST", f"{V1}/workflows/runs/{{run_id}}/fork"): {"from_step": "a"},
}
WITHOUT_BODY = {
    ("POST", f"{V1}/auth/logout"),
    ("POST", f"{V1}/conversations/{{conversation_id}}/messages/{{message_id}}/cancel"),
    ("POST", f"{V1}/context/{{item_id}}/reindex"),
    ("POST", f"{V1}/jobs/{{job_id}}/redrive"),
    ("POST", f"{V1}/workflows/runs/{{run_id}}/cancel"),
    ("POST", f"{V1}/workflows/runs/{{run_id}}/retry"),
    ("POST", f"{V1}/webhooks/{{webhook_id}}/deliveries/{{delivery_id}}/redeliver"),
}
# What `stage` makes.
MADE = {
    "conversation_id", "message_id", "key_id", "invite_id", "user_id", "tenant_id", "webhook_id", "delivery_id",
    "item_id", "job_id", "workflow_id", "run_id", "review_id", "schedule_id", "trigger_id",
    "server_id", "collection_id",
}  # fmt: skip
MARK = "the-phrase-of-acme-that-nobody-else-may-read"


@dataclass
class Stage:
    """Things of acme's, by the names that paths give them; credentials that must not reach them."""

    api: SharedApi
    anonymous: Client
    ids: dict[str, str]
    platform_key: str

    async def send(self, route: tuple[str, str], **headers: str) -> httpx.Response:
        method, template = route
        path, body = template.format(**self.ids), BODIES.get(route)
        if isinstance(body, bytes):
            given = {"content-type": "multipart/form-data; boundary=x"}
            given |= {name.replace("_", "-"): value for name, value in headers.items()}
            return await self.anonymous.http.request(method, path, content=body, headers=given)
        return await self.anonymous.call(method, path.removeprefix(V1), body, **headers)


@pytest.fixture
async def stage(shared_api: SharedApi) -> AsyncIterator[Stage]:
    async with shared_api.acme as acme, shared_api.process.client() as anonymous:
        conversation = await acme.conversation(title=MARK, system_prompt=MARK, metadata={"m": MARK})
        answer = await acme.ask(conversation, MARK, model=f"openai/{scripted('tokens=2')[0]}")
        key = await acme.call("POST", "/auth/api-keys", {"name": MARK, "scopes": ["read"]})
        invite = await acme.call("POST", "/tenants/current/invites", {"email": f"{MARK}@a.example", "role": "viewer"})
        item = await acme.call(
            "POST", "/context", {"name": MARK, "type": "text", "content": MARK, "metadata": {"m": MARK}}
        )
        collection = await acme.call("POST", "/context/collections", {"name": MARK})
        webhook = await acme.call(
            "POST", "/webhooks", {"url": f"https://{MARK}.example.com/", "events": ["message.created"]}
        )
        made_workflow = await acme.call("POST", "/workflows", workflow(MARK))
        workflow_id = made_workflow.json()["id"]
        run = await acme.call("POST", "/workflows/runs", {"workflow_id": workflow_id, "inputs": {"m": MARK}})
        schedule = await acme.call(
            "POST", f"/workflows/{workflow_id}/schedules", {"cron": "0 12 * * *", "inputs": {"m": MARK}}
        )
        trigger = await acme.call("POST", f"/workflows/{workflow_id}/triggers", {"name": MARK})
        server = await acme.call(
            "POST", "/mcp-servers", {"name": MARK, "url": f"https://{MARK}.example.com/", "headers": {"X-Key": MARK}}
        )
        ids = {
            "server_id": server.json()["id"],
            "schedule_id": schedule.json()["id"],
            "trigger_id": trigger.json()["id"],
            "run_id": run.json()["id"],
            "review_id": make_review(shared_api, run.json()["id"]),
            "workflow_id": made_workflow.json()["id"],
            "webhook_id": webhook.json()["id"],
            "delivery_id": make_delivery(shared_api, webhook.json()["id"]),
            "conversation_id": conversation,
            "message_id": answer.json()["id"],
            "key_id": key.json()["id"],
            "invite_id": invite.json()["id"],
            "item_id": item.json()["id"],
            "collection_id": collection.json()["id"],
            "job_id": str((await acme.get("/jobs"))["items"][0]["id"]),
            "user_id": shared_api.site.acme.user_id,
            "tenant_id": shared_api.site.acme.tenant_id,
        }
        platform_key = (await create_platform_key(shared_api.site.database.owner_url, "tests"))[1]
        yield Stage(shared_api, anonymous, ids, platform_key)
        assert (await acme.call("DELETE", f"/webhooks/{ids['webhook_id']}")).status_code == 204  # a tenant has few
        assert (await acme.call("DELETE", f"/mcp-servers/{ids['server_id']}")).status_code == 204


def make_delivery(api: SharedApi, webhook_id: str) -> str:
    """No route makes one."""
    made = api.site.rows(
        "INSERT INTO webhook_deliveries (tenant_id, id, webhook_id, event, body_sealed, job_id)"
        " VALUES (%s, gen_random_uuid(), %s, 'message.created', '', gen_random_uuid()) RETURNING id::text",
        api.site.acme.tenant_id,
        webhook_id,
    )
    return str(made[0][0])


def make_review(api: SharedApi, run_id: str) -> str:
    """No route makes one, and here no engine runs."""
    made = api.site.rows(
        "INSERT INTO workflow_reviews (tenant_id, id, run_id, path, attempt, event, prompt_sealed)"
        " VALUES (%s, gen_random_uuid(), %s, 'ask', 1, 1, '') RETURNING id::text",
        api.site.acme.tenant_id,
        run_id,
    )
    return str(made[0][0])


def test_every_route_has_a_case() -> None:
    for route in PRIVATE:
        method, path = route
        needs_body = method in {"POST", "PUT", "PATCH"}
        assert needs_body == (route in BODIES or route in WITHOUT_BODY), f"{route}: give it a body here"
        assert set(re.findall(r"\{(\w+)\}", path)) <= MADE, f"{route}: make such a thing in `stage`"


async def test_without_a_credential_every_route_is_a_401(stage: Stage) -> None:
    for route in PRIVATE:
        answer = await stage.send(route)
        refusal(answer, 401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"


BAD_CREDENTIALS = {
    "a key nobody has": {"x_api_key": "cpk_live_" + "A" * 43},
    "a platform key nobody has": {"x_api_key": "cpk_platform_" + "A" * 43},
    "an empty key": {"x_api_key": ""},
    "another scheme": {"authorization": "Basic YTpi"},
    "no token": {"authorization": "Bearer"},
    "a bare word": {"authorization": "Bearer x"},
    "an SQL quote": {"x_api_key": "' OR 1=1 --"},
}


@pytest.mark.parametrize("headers", BAD_CREDENTIALS.values(), ids=BAD_CREDENTIALS.keys())
async def test_a_bad_credential_is_a_401_on_every_route(stage: Stage, headers: dict[str, str]) -> None:
    for route in PRIVATE:
        refusal(await stage.send(route, **headers), 401, "UNAUTHORIZED")


async def test_two_credentials_at_once_are_a_401(stage: Stage) -> None:
    key = stage.api.site.acme.api_key
    answer = await stage.send(("GET", f"{V1}/models"), x_api_key=key, authorization=f"Bearer {key}")
    refusal(answer, 401, "UNAUTHORIZED")


async def test_a_key_is_taken_in_either_header(stage: Stage) -> None:
    key = stage.api.site.acme.api_key
    for headers in ({"x_api_key": key}, {"authorization": f"Bearer {key}"}, {"authorization": f"bearer {key}"}):
        assert (await stage.send(("GET", f"{V1}/models"), **headers)).status_code == 200


async def test_another_tenants_credentials_find_none_of_its_things(stage: Stage) -> None:
    """Each route with ids in its path is 404; no answer of any route shows a word of acme's."""
    credentials = stage.api.site.other
    async with stage.api.process.client() as anonymous:
        token = await anonymous.log_in(credentials.username, PASSWORD)
    for headers in ({"x_api_key": credentials.api_key}, {"authorization": f"Bearer {token}"}):
        for route in TENANT_ROUTES:
            if route == ("POST", f"{V1}/auth/logout"):
                continue
            answer = await stage.send(route, **headers)
            assert MARK not in answer.text, route
            if "{" in route[1]:
                refusal(answer, 404, "NOT_FOUND")
                assert not set(stage.ids.values()) & set(re.findall(r"[0-9a-f-]{36}", answer.text)), route
    async with stage.api.acme as acme:
        kept = await acme.get(f"/conversations/{stage.ids['conversation_id']}")
        assert (kept["title"], kept["message_count"]) == (MARK, 2)
        item = await acme.get(f"/context/{stage.ids['item_id']}")
        assert (item["name"], item["metadata"]) == (MARK, {"m": MARK})
        assert (await acme.get(f"/context/collections/{stage.ids['collection_id']}"))["name"] == MARK
        assert MARK in (await acme.get(f"/webhooks/{stage.ids['webhook_id']}"))["url"]
        kept_workflow = await acme.get(f"/workflows/{stage.ids['workflow_id']}")
        assert (kept_workflow["name"], kept_workflow["version"]) == (MARK, 1)
        assert (await acme.get(f"/workflows/runs/{stage.ids['run_id']}"))["status"] == "pending"
        for kept_starts in ("schedules", "triggers"):
            listed = (await acme.get(f"/workflows/{stage.ids['workflow_id']}/{kept_starts}"))["items"]
            assert [each["id"] for each in listed] == [stage.ids[f"{kept_starts[:-1]}_id"]]
        assert [each["name"] for each in (await acme.get("/mcp-servers"))["items"]] == [MARK]
        members = await acme.get("/tenants/current/members")
        assert next(one for one in members["items"] if one["user_id"] == stage.ids["user_id"])["role"] == "owner"


async def test_a_tenants_credentials_get_into_no_platform_route(stage: Stage) -> None:
    for route in PLATFORM_ROUTES:
        answer = await stage.send(route, x_api_key=stage.api.site.acme.api_key)
        assert refusal(answer, 403, "FORBIDDEN") == {"scope": "platform"}


async def test_a_platform_key_gets_into_no_tenants_route(stage: Stage) -> None:
    for route in TENANT_ROUTES:
        refusal(await stage.send(route, x_api_key=stage.platform_key), 403, "FORBIDDEN")
    assert (await stage.send(("GET", f"{V1}/tenants"), x_api_key=stage.platform_key)).status_code == 200


@pytest.mark.parametrize("held", ["read", "write", "chat", "workflows", "context"])
async def test_a_key_reaches_only_what_its_scope_opens(stage: Stage, held: str) -> None:
    async with stage.api.acme as acme:
        made = await acme.call("POST", "/auth/api-keys", {"name": "narrow", "scopes": [held]})
    key = made.json()["key"]
    for route in TENANT_ROUTES:
        needed = ROUTES[route].scope
        if needed not in {None, held}:
            assert refusal(await stage.send(route, x_api_key=key), 403, "FORBIDDEN") == {"scope": needed}, route


@dataclass
class Person:
    user_id: str
    token: str


async def join(stage: Stage, name: str, role: str) -> Person:
    """A new member of acme's."""
    async with stage.api.acme as acme:
        invite = await acme.call("POST", "/tenants/current/invites", {"email": f"{name}@acme.example", "role": role})
        body = {"username": name, "email": f"{name}@acme.example", "password": PASSWORD}
        made = await acme.call("POST", "/auth/register", {**body, "invite_token": invite.json()["token"]})
        assert made.status_code == 201, made.text
        return Person(made.json()["id"], await acme.log_in(name, PASSWORD))


async def test_roles_reach_only_what_they_give(stage: Stage) -> None:
    for role, scopes in ROLE_SCOPES.items():
        person = await join(stage, f"the-{role}", role)
        for route in TENANT_ROUTES:
            if not allowed(ROUTES[route], role, scopes):
                answer = await stage.send(route, authorization=f"Bearer {person.token}")
                refusal(answer, 403, "FORBIDDEN")
        await remove(stage, person)


def allowed(access: Access, role: str, scopes: frozenset[str]) -> bool:
    return (access.scope is None or access.scope in scopes) and (not access.owner_only or role == "owner")


async def remove(stage: Stage, person: Person) -> None:
    async with stage.api.acme as acme:
        assert (await acme.call("DELETE", f"/tenants/current/members/{person.user_id}")).status_code == 204


async def test_a_removed_members_token_and_keys_end_at_once(stage: Stage) -> None:
    person = await join(stage, "leaver", "admin")
    bearer = {"authorization": f"Bearer {person.token}"}
    async with stage.api.process.client() as client:
        made = await client.call("POST", "/auth/api-keys", {"name": "k", "scopes": ["read"]}, **bearer)
    key = {"x_api_key": made.json()["key"]}
    for headers in (bearer, key):
        assert (await stage.send(("GET", f"{V1}/models"), **headers)).status_code == 200
    await remove(stage, person)
    for headers in (bearer, key):
        for route in TENANT_ROUTES:
            refusal(await stage.send(route, **headers), 401, "UNAUTHORIZED")


async def test_a_revoked_and_an_expired_key_are_refused_everywhere(stage: Stage) -> None:
    async with stage.api.acme as acme:
        revoked, expired = [
            (
                await acme.call(
                    "POST", "/auth/api-keys", {"name": "k", "scopes": ["read", "chat"], "expires_in_days": 1}
                )
            ).json()
            for _ in range(2)
        ]
        assert (await acme.call("DELETE", f"/auth/api-keys/{revoked['id']}")).status_code == 204
    with psycopg.connect(stage.api.site.database.admin_url) as admin:
        admin.execute("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = %s", [expired["id"]])
    for key in (revoked["key"], expired["key"]):
        for route in TENANT_ROUTES:
            refusal(await stage.send(route, x_api_key=key), 401, "UNAUTHORIZED")


async def test_a_suspended_tenants_credentials_are_refused_until_it_is_active_again(stage: Stage) -> None:
    tenant = ("PATCH", f"/tenants/{stage.api.site.other.tenant_id}")
    key = stage.api.site.other.api_key
    async with stage.api.process.client(None, **{"X-API-Key": stage.platform_key}) as platform:
        assert (await platform.call(*tenant, {"status": "suspended"})).status_code == 200
        try:
            refusal(await stage.send(("GET", f"{V1}/conversations"), x_api_key=key), 401, "UNAUTHORIZED")
        finally:
            await platform.call(*tenant, {"status": "active"})
    assert (await stage.send(("GET", f"{V1}/conversations"), x_api_key=key)).status_code == 200
