"""The routes of auth, tenants, usage and audit, over the application as it is wired together."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from copilot_api.composition import build_app, build_services
from copilot_common.auth.authority import ROUTES
from copilot_common.platform.settings import load_settings
from copilot_domain.tenants.bootstrap import create_platform_key
from integration.tenants.world import ENCRYPTION_KEY, JWT_SECRET, PASSWORD, World

MINE = ("/api/v1/auth", "/api/v1/tenants", "/api/v1/usage", "/api/v1/audit")


@dataclass
class Api:
    """The application without a socket. `token` of the owner, `key` of the platform."""

    http: httpx.AsyncClient
    world: World
    token: str
    platform_key: str

    async def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str
    ) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if not {"x-api-key", "anonymous"} & given.keys():
            given["authorization"] = f"Bearer {token or self.token}"
        return await self.http.request(method, f"/api/v1{path}", json=body, headers=given)

    async def as_platform(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        return await self.call(method, path, body, x_api_key=self.platform_key, **headers)

    async def log_in(self, name: str) -> str:
        answer = await self.call(
            "POST", "/auth/login", {"username_or_email": name, "password": PASSWORD}, anonymous="1"
        )
        return str(answer.json()["access_token"])


@pytest.fixture
async def api(world: World, redis_url: str) -> AsyncIterator[Api]:
    services = build_services(
        load_settings(
            {
                "DATABASE_URL": world.urls.app_url,
                "REDIS_URL": redis_url,
                "JWT_SECRET": JWT_SECRET,
                "ENCRYPTION_KEY": ENCRYPTION_KEY.hex(),
                "REGISTRATION": "invite",
            }
        )
    )
    await services.database.open()
    await services.lease.start()
    _, platform_key = await create_platform_key(world.urls.owner_url, "operator")
    transport = httpx.ASGITransport(app=build_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        made = Api(http, world, "", platform_key)
        made.token = await made.log_in("ann")
        yield made
    await services.lease.stop()
    await services.models.aclose()
    await services.redis.aclose()
    await services.database.close()


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert set(body) == {"code", "message", "details", "request_id"}
    return dict(body["details"])


async def test_a_session_from_log_in_to_log_out(api: Api) -> None:
    answer = await api.call(
        "POST", "/auth/login", {"username_or_email": "ann", "password": PASSWORD, "tenant": "acme"}, anonymous="1"
    )
    session = answer.json()
    assert answer.status_code == 200
    assert {name: session[name] for name in ("token_type", "expires_in", "refresh_expires_in")} == {
        "token_type": "Bearer",
        "expires_in": 900,
        "refresh_expires_in": 30 * 86_400,
    }
    me = await api.call("GET", "/auth/me", token=session["access_token"])
    assert me.json() == session["user"]
    assert set(me.json()) == {
        "id", "username", "email", "roles", "tenant_id", "is_active", "email_verified", "created_at", "last_login_at",
    }  # fmt: skip
    body = {"refresh_token": session["refresh_token"]}
    refreshed = await api.call("POST", "/auth/refresh", body, anonymous="1")
    assert (refreshed.status_code, "user" in refreshed.json()) == (200, False)
    ended = await api.call("POST", "/auth/logout", token=refreshed.json()["access_token"])
    assert (ended.status_code, ended.content) == (204, b"")
    body = {"refresh_token": refreshed.json()["refresh_token"]}
    refused(await api.call("POST", "/auth/refresh", body, anonymous="1"), 401, "UNAUTHORIZED")


async def test_wrong_log_ins_are_401_and_too_many_429_with_retry_after(api: Api) -> None:
    wrong = {"username_or_email": "bob", "password": "wrong password, but long"}
    for _ in range(10):
        refused(await api.call("POST", "/auth/login", wrong, anonymous="1"), 401, "UNAUTHORIZED")
    locked = await api.call("POST", "/auth/login", wrong, anonymous="1")
    details = refused(locked, 429, "RATE_LIMITED")
    assert int(locked.headers["retry-after"]) == details["retry_after"]


async def test_a_log_out_takes_a_body_or_none_but_no_other_one(api: Api) -> None:
    refused(await api.call("POST", "/auth/logout", {"token": "x"}), 422, "VALIDATION_ERROR")
    refused(await api.call("POST", "/auth/logout", {"refresh_token": "x"}), 401, "UNAUTHORIZED")
    no_session = await api.call("POST", "/auth/logout", x_api_key=api.world.acme.api_key or "")
    refused(no_session, 422, "VALIDATION_ERROR")


async def test_an_api_key_is_shown_once_works_and_ends_when_revoked(api: Api) -> None:
    made = await api.call("POST", "/auth/api-keys", {"name": "ci", "scopes": ["read"], "expires_in_days": 7})
    assert made.status_code == 201
    key = made.json()
    listed = (await api.call("GET", "/auth/api-keys")).json()
    assert next(item for item in listed["items"] if item["id"] == key["id"]) == {
        name: value for name, value in key.items() if name != "key"
    }
    assert (await api.call("GET", "/auth/me", x_api_key=key["key"])).status_code == 200
    refused(
        await api.call("POST", "/auth/api-keys", {"name": "x", "scopes": ["read"]}, x_api_key=key["key"]),
        403,
        "FORBIDDEN",
    )
    assert (await api.call("DELETE", f"/auth/api-keys/{key['id']}")).status_code == 204
    refused(await api.call("GET", "/auth/me", x_api_key=key["key"]), 401, "UNAUTHORIZED")


async def test_an_invited_person_registers_over_the_api(api: Api) -> None:
    invite = await api.call("POST", "/tenants/current/invites", {"email": "Bob@acme.example", "role": "member"})
    assert invite.status_code == 201
    body = {
        "username": "bob",
        "email": "bob@acme.example",
        "password": PASSWORD,
        "invite_token": invite.json()["token"],
    }
    registered = await api.call("POST", "/auth/register", body, anonymous="1")
    assert (registered.status_code, registered.json()["roles"]) == (201, ["member"])
    refused(await api.call("POST", "/auth/register", body, anonymous="1"), 409, "CONFLICT")
    listed = (await api.call("GET", "/tenants/current/invites")).json()["items"]
    assert listed[0]["accepted_at"] is not None
    assert "token" not in listed[0]
    token = await api.log_in("bob")
    refused(await api.call("GET", "/tenants/current/members", token=token), 403, "FORBIDDEN")
    changed = await api.call("PATCH", f"/tenants/current/members/{registered.json()['id']}", {"role": "admin"})
    assert changed.json()["role"] == "admin"
    assert (await api.call("GET", "/tenants/current/members", token=token)).json()["total"] == 2
    assert (await api.call("DELETE", f"/tenants/current/members/{registered.json()['id']}")).status_code == 204
    refused(await api.call("GET", "/auth/me", token=token), 401, "UNAUTHORIZED")


async def test_a_repeated_invite_is_409_with_the_id_and_makes_no_second_one(api: Api) -> None:
    body = {"email": "bob@acme.example", "role": "member"}
    first = await api.call("POST", "/tenants/current/invites", body, idempotency_key="k")
    repeat = await api.call("POST", "/tenants/current/invites", body, idempotency_key="k")
    assert refused(repeat, 409, "CONFLICT") == {"id": first.json()["id"]}
    assert (await api.call("GET", "/tenants/current/invites")).json()["total"] == 1


async def test_the_platform_makes_changes_and_deletes_tenants(api: Api) -> None:
    body = {"name": "Globex", "slug": "globex"}
    made = await api.as_platform("POST", "/tenants", body, idempotency_key="k")
    assert made.status_code == 201
    assert (await api.as_platform("POST", "/tenants", body, idempotency_key="k")).json() == made.json()
    refused(await api.as_platform("POST", "/tenants", body), 409, "CONFLICT")
    path = f"/tenants/{made.json()['id']}"
    assert (await api.as_platform("PATCH", path, {"status": "suspended"})).json()["status"] == "suspended"
    assert (await api.as_platform("GET", path)).json()["name"] == "Globex"
    assert (await api.as_platform("GET", "/tenants")).json()["total"] == 2
    assert (await api.as_platform("DELETE", path)).status_code == 204
    refused(await api.as_platform("GET", path), 404, "NOT_FOUND")


async def test_the_platform_sets_a_quota_that_the_tenant_only_sees(api: Api) -> None:
    path = f"/tenants/{api.world.tenant_id}"
    none = {"max_items": None, "max_bytes": None, "max_chunks": None}
    assert (await api.as_platform("GET", path)).json()["context_quota"] == none
    for given, shown in (
        ({"max_items": 5, "max_bytes": 2**40}, {**none, "max_items": 5, "max_bytes": 2**40}),
        ({"max_items": None}, {**none, "max_bytes": 2**40}),
        ({}, {**none, "max_bytes": 2**40}),
    ):
        answer = await api.as_platform("PATCH", path, {"context_quota": given})
        assert (answer.status_code, answer.json()["context_quota"]) == (200, shown)
    assert (await api.call("GET", "/tenants/current")).json()["context_quota"] == {**none, "max_bytes": 2**40}
    used = (await api.call("GET", "/context/usage")).json()
    assert used == {
        "items": 0,
        "bytes": 0,
        "chunks": 0,
        "limits": {"max_items": 100_000, "max_bytes": 2**40, "max_chunks": 2_000_000},
    }
    raised = await api.call("PATCH", "/tenants/current", {"name": "Acme", "context_quota": {"max_items": 9}})
    assert raised.status_code == 422
    assert (await api.call("PATCH", path, {"context_quota": {"max_items": 9}})).status_code == 403


async def test_the_owner_reads_and_renames_the_tenant(api: Api) -> None:
    assert (await api.call("PATCH", "/tenants/current", {"name": "Acme Inc"})).json()["name"] == "Acme Inc"
    assert (await api.call("GET", "/tenants/current")).json()["slug"] == "acme"


async def test_usage_and_audit_answer_in_the_contracts_shape(api: Api) -> None:
    for query in ("", "?from=2026-01-01&to=2026-01-31&group_by=model", "?group_by=api_key"):
        assert (await api.call("GET", f"/usage{query}")).json() == {"items": []}
    found = (await api.call("GET", f"/audit?action=session.started&user={api.world.acme.user_id}")).json()
    assert found["total"] == 1
    assert set(found["items"][0]) == {
        "id", "at", "actor", "action", "resource_type", "resource_id", "address", "details",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/auth/login", {"username_or_email": "ann"}, "password"),
        ("POST", "/auth/login", {"username_or_email": 1, "password": "x"}, "username_or_email"),
        ("POST", "/auth/login", {"username_or_email": "ann", "password": "x", "more": 1}, "more"),
        ("POST", "/auth/login", {"username_or_email": "a\0", "password": "x"}, "username_or_email"),
        ("POST", "/auth/refresh", {"refresh_token": None}, "refresh_token"),
        ("POST", "/auth/register", {"username": "b", "email": "b@c", "password": PASSWORD}, "invite_token"),
        ("POST", "/auth/api-keys", {"name": "", "scopes": ["read"]}, "name"),
        ("POST", "/auth/api-keys", {"name": "x", "scopes": []}, "scopes"),
        ("POST", "/auth/api-keys", {"name": "x", "scopes": ["root"]}, "scopes[0]"),
        ("POST", "/auth/api-keys", {"name": "x", "scopes": ["read"], "expires_in_days": 2**70}, "expires_in_days"),
        ("PATCH", "/tenants/current", {"name": "x" * 301}, "name"),
        ("POST", "/tenants/current/invites", {"email": "nobody", "role": "member"}, "email"),
        ("POST", "/tenants/current/invites", {"email": "a@b.example", "role": "king"}, "role"),
        ("GET", "/tenants/current/members?limit=0", None, "limit"),
        ("GET", "/tenants/current/members?limit=x", None, "limit"),
        ("GET", "/tenants/current/members?offset=10001", None, "offset"),
        ("GET", "/tenants/current/invites?cursor=nonsense", None, "cursor"),
        ("GET", "/auth/api-keys?cursor=%00", None, "cursor"),
        ("GET", "/audit?cursor=nonsense", None, "cursor"),
        ("GET", "/audit?from=yesterday", None, "from"),
        ("GET", "/audit?actor=me", None, "actor"),
        ("GET", "/usage?from=yesterday", None, "from"),
        ("GET", "/usage?from=2020-01-01&to=2026-01-01", None, "from"),
        ("GET", "/usage?group_by=mood", None, "group_by"),
    ],
)
async def test_bad_input_is_422_and_names_the_field(api: Api, method: str, path: str, body: object, field: str) -> None:
    details = refused(await api.call(method, path, body), 422, "VALIDATION_ERROR")
    assert field in dict(details["fields"])  # type: ignore[call-overload]


async def test_text_that_postgresql_cannot_hold_is_the_callers_fault(api: Api) -> None:
    for query in ("action=%00", "resource_type=%00", "address=%00"):
        refused(await api.call("GET", f"/audit?{query}"), 422, "VALIDATION_ERROR")
    refused(await api.call("POST", "/tenants/current/invites", {}, idempotency_key="x" * 256), 422, "VALIDATION_ERROR")


async def test_another_tenants_ids_are_not_found(api: Api) -> None:
    other = await api.world.other_tenant()
    stranger = {"x_api_key": other.api_key or ""}
    key = (await api.call("POST", "/auth/api-keys", {"name": "x", "scopes": ["read"]})).json()["id"]
    body = {"email": "bob@acme.example", "role": "member"}
    invite = (await api.call("POST", "/tenants/current/invites", body)).json()["id"]
    for method, path, given in (
        ("DELETE", f"/auth/api-keys/{key}", None),
        ("DELETE", f"/tenants/current/invites/{invite}", None),
        ("DELETE", f"/tenants/current/members/{api.world.acme.user_id}", None),
        ("PATCH", f"/tenants/current/members/{api.world.acme.user_id}", {"role": "viewer"}),
    ):
        refused(await api.call(method, path, given, **stranger), 404, "NOT_FOUND")
        unknown = path.rpartition("/")[0] + f"/{uuid4()}"
        refused(await api.call(method, unknown, given, **stranger), 404, "NOT_FOUND")


async def test_no_route_of_ours_answers_without_its_scope(api: Api) -> None:
    """Each route with no credential, with a key without any right to it, and the platform's with a tenant's."""
    made = await api.call("POST", "/auth/api-keys", {"name": "x", "scopes": ["context"]})
    narrow = made.json()["key"]
    for (method, route), access in ROUTES.items():
        if not route.startswith(MINE) or access.public:
            continue
        path = route.removeprefix("/api/v1").format(
            key_id=uuid4(), tenant_id=uuid4(), user_id=uuid4(), invite_id=uuid4()
        )
        refused(await api.call(method, path, anonymous="1"), 401, "UNAUTHORIZED")
        if access.scope is not None:
            refused(await api.call(method, path, x_api_key=narrow), 403, "FORBIDDEN")
        if access.scope == "platform":
            refused(await api.call(method, path), 403, "FORBIDDEN")
        else:
            refused(await api.as_platform(method, path), 403, "FORBIDDEN")
