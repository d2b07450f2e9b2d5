"""Bad input over real sockets: always a 4xx in the contract's shape that names the field; never a 5xx, never a hang."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.api import SharedApi
from support.clients import V1, Client, refusal
from support.runs import define, transform

NOWHERE = UUID("01890000-0000-7000-8000-000000000000")
MESSAGES = f"/conversations/{NOWHERE}/messages"
BODIES = [
    ("POST", "/conversations"),
    ("PATCH", f"/conversations/{NOWHERE}"),
    ("POST", MESSAGES),
    ("POST", f"{MESSAGES}/stream"),
    ("PUT", f"{MESSAGES}/{NOWHERE}/feedback"),
    ("POST", "/auth/login"),
    ("POST", "/auth/register"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/logout"),
    ("POST", "/auth/api-keys"),
    ("PATCH", "/tenants/current"),
    ("POST", "/tenants/current/invites"),
    ("PATCH", f"/tenants/current/members/{NOWHERE}"),
    ("POST", "/context"),
    ("PATCH", f"/context/{NOWHERE}"),
    ("POST", "/context/collections"),
    ("PATCH", f"/context/collections/{NOWHERE}"),
    ("POST", "/webhooks"),
    ("PATCH", f"/webhooks/{NOWHERE}"),
    ("POST", "/mcp-servers"),
    ("POST", "/workflows"),
    ("POST", "/workflows/validate"),
    ("PUT", f"/workflows/{NOWHERE}"),
    ("POST", f"/workflows/{NOWHERE}/schedules"),
    ("POST", f"/workflows/{NOWHERE}/triggers"),
    ("POST", "/workflows/runs"),
    ("POST", f"/workflows/runs/{NOWHERE}/reviews/{NOWHERE}"),
]
REFUSING = [each for each in BODIES if each != ("POST", "/workflows/validate")]
"""All but the one whose answer is what is wrong."""
NOT_JSON = {
    "half": b'{"title": ',
    "text": b"title=x",
    "two": b"{}{}",
    "not utf-8": b'{"title": "\xff\xfe"}',
    "utf-16": '{"title": "x"}'.encode("utf-16"),
    "a raw NUL": b'{"title": "a\x00b"}',
    "a lone surrogate": b'{"title": "\\ud800"}',
    "100 000 brackets": b"[" * 100_000,
    "100 000 nested objects": b'{"a":' * 100_000,
    "NaN": b'{"title": NaN}',
}


@pytest.fixture
async def client(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with shared_api.acme as made:
        yield made


async def send(client: Client, method: str, path: str, content: bytes, **headers: str) -> httpx.Response:
    return await client.http.request(
        method, V1 + path, content=content, headers={"content-type": "application/json"} | headers
    )


@pytest.mark.parametrize("content", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_what_is_no_json_is_a_400_on_every_route(client: Client, content: bytes) -> None:
    for method, path in BODIES:
        refusal(await send(client, method, path, content), 400, "BAD_REQUEST")


async def test_a_missing_body_is_named_on_every_route(client: Client) -> None:
    for method, path in REFUSING:
        if path != "/auth/logout":  # may be sent without one
            fields = refusal(await send(client, method, path, b""), 422, "VALIDATION_ERROR")["fields"]
            assert fields == {"body": "is required"}


@pytest.mark.parametrize("content", [b"[]", b'"text"', b"null", b"17", b"true"])
async def test_a_body_that_is_no_object_says_so_on_every_route(client: Client, content: bytes) -> None:
    for method, path in REFUSING:
        answer = await send(client, method, path, content)
        assert refusal(answer, 422, "VALIDATION_ERROR")["fields"] == {"body": "must be an object"}


async def test_an_unknown_field_is_named_on_every_route(client: Client) -> None:
    for method, path in REFUSING:
        fields = refusal(await client.call(method, path, {"surprise": 1}), 422, "VALIDATION_ERROR")["fields"]
        assert "surprise" in fields, path


CONVERSATION_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"title": 5}, "title"),
    ({"title": "x" * 301}, "title"),
    ({"title": "a\0b"}, "title"),
    ({"system_prompt": ["x"]}, "system_prompt"),
    ({"system_prompt": "x" * 1_000_001}, "system_prompt"),
    ({"metadata": "x"}, "metadata"),
    ({"metadata": {"a": "x" * 17_000}}, "metadata"),
    ({"metadata": {"a": {"b": ["x\0"]}}}, "metadata.a.b[0]"),
    ({"metadata": {"a\0": 1}}, "metadata"),
    ({"metadata": None}, "metadata"),
    ({"visibility": "everyone"}, "visibility"),
    ({"model": ""}, "model"),
    ({"model": "openai/../../etc"}, "model"),
    ({"model": "no-such-model"}, "model"),
    ({"context_ids": []}, "context_ids"),
    ({"tools": ["context.search"]}, "tools"),
]
MESSAGE_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "content"),
    ({"content": ""}, "content"),
    ({"content": None}, "content"),
    ({"content": "x" * 1_000_001}, "content"),
    ({"content": "a\0b"}, "content"),
    ({"content": "x", "role": "system"}, "role"),
    ({"content": "x", "stream": "yes"}, "stream"),
    ({"content": "x", "temperature": 2.5}, "temperature"),
    ({"content": "x", "temperature": "warm"}, "temperature"),
    ({"content": "x", "max_tokens": 0}, "max_tokens"),
    ({"content": "x", "max_tokens": 10**30}, "max_tokens"),
    ({"content": "x", "max_tokens": 1.5}, "max_tokens"),
    ({"content": "x", "documents": [{"name": "a", "text": 5}]}, "documents[0].text"),
    ({"content": "x", "documents": [{"name": "a"}]}, "documents[0].text"),
    ({"content": "x", "documents": [{"name": "", "text": "x"}]}, "documents[0].name"),
    ({"content": "x", "documents": [{"name": "a", "text": "x", "url": "x"}]}, "documents[0].url"),
    ({"content": "x", "documents": [{"name": "a", "text": "x" * 600_000}] * 2}, "documents"),
    ({"content": "x", "documents": {}}, "documents"),
    ({"content": "x", "background": "yes"}, "background"),
    ({"content": "x", "background": True, "stream": True}, "background"),
    ({"content": "x", "tools": []}, "tools"),
    ({"content": "x", "context": {}}, "context.search"),
    ({"content": "x", "context": {"search": 1}}, "context.search"),
    ({"content": "x", "context": {"search": True, "limit": 0}}, "context.limit"),
    ({"content": "x", "context": {"search": True, "collection_ids": []}}, "context.collection_ids"),
    ({"content": "x", "metadata": {"a": "x" * 17_000}}, "metadata"),
]


@pytest.mark.parametrize(("body", "field"), CONVERSATION_FAULTS)
async def test_a_conversations_wrong_field_is_named(client: Client, body: dict[str, Any], field: str) -> None:
    fields = refusal(await client.call("POST", "/conversations", body), 422, "VALIDATION_ERROR")["fields"]
    assert list(fields) == [field]


@pytest.mark.parametrize(("body", "field"), MESSAGE_FAULTS)
async def test_a_messages_wrong_field_is_named(client: Client, body: dict[str, Any], field: str) -> None:
    path = f"/conversations/{await client.conversation()}/messages"
    for route in (path, f"{path}/stream"):
        fields = refusal(await client.call("POST", route, body), 422, "VALIDATION_ERROR")["fields"]
        assert list(fields) == [field]


async def test_all_wrong_fields_are_named_at_once(client: Client) -> None:
    body = {"title": 5, "visibility": "x", "surprise": 1}
    fields = refusal(await client.call("POST", "/conversations", body), 422, "VALIDATION_ERROR")["fields"]
    assert set(fields) == set(body)


BIG_NUMBERS = ["9" * 400, "9" * 4_000, "-" + "9" * 30, "1e300", "0." + "3" * 400]


@pytest.mark.parametrize("number", BIG_NUMBERS, ids=[number[:4] for number in BIG_NUMBERS])
async def test_a_huge_number_in_metadata_is_kept_as_it_came(client: Client, number: str) -> None:
    content = b'{"metadata": {"n": %s}}' % number.encode()
    answer = await send(client, "POST", "/conversations", content)
    assert answer.status_code == 201, answer.text
    kept = await client.get(f"/conversations/{answer.json()['id']}")
    assert kept["metadata"] == json.loads(content)["metadata"]


@pytest.mark.parametrize("number", ["9" * 5_000, "1e999"])
async def test_a_number_beyond_what_can_be_kept_is_refused(client: Client, number: str) -> None:
    answer = await send(client, "POST", "/conversations", b'{"metadata": {"n": %s}}' % number.encode())
    assert refusal(answer, 422, "VALIDATION_ERROR")["fields"].keys() == {"metadata.n"}


@pytest.mark.parametrize("innermost", [b"1", b'"\\u0000"'])
@pytest.mark.parametrize("depth", [64, 900, 960, 980, 1_000])
async def test_deep_metadata_is_refused(client: Client, depth: int, innermost: bytes) -> None:
    content = b'{"metadata": {"a": ' + b"[" * depth + innermost + b"]" * depth + b"}}"
    answer = await send(client, "POST", "/conversations", content)
    assert answer.status_code in {400, 422}, answer.text
    refusal(answer, answer.status_code, answer.json()["code"])


LISTS = [
    "/conversations",
    "/auth/api-keys",
    "/tenants/current/members",
    "/tenants/current/invites",
    "/audit",
    "/context",
    "/workflows",
    "/workflows/runs",
    "/mcp-servers",
]


async def lists(client: Client) -> list[str]:
    """With those that belong to something."""
    workflow = await define(client, transform("a", x="1"))
    inner = [f"/workflows/{workflow}/schedules", f"/workflows/{workflow}/triggers"]
    return [*LISTS, *inner, f"/conversations/{await client.conversation()}/messages"]


QUERIES = [
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("limit=-1", "limit"),
    ("limit=x", "limit"),
    ("limit=1.5", "limit"),
    ("limit=" + "9" * 50, "limit"),
    ("limit=" + "9" * 5_000, "limit"),
    ("limit=%00", "limit"),
    ("offset=-1", "offset"),
    ("offset=10001", "offset"),
    ("offset=" + "9" * 50, "offset"),
    ("offset=x", "offset"),
    ("cursor=", "cursor"),
    ("cursor=x", "cursor"),
    ("cursor=%00", "cursor"),
    ("cursor=%ff%fe", "cursor"),
    ("cursor=%E2%82%AC", "cursor"),
    ("cursor=" + "A" * 600, "cursor"),
    ("cursor=gA", "cursor"),
]


@pytest.mark.parametrize(("query", "field"), QUERIES, ids=[query[:20] for query, _ in QUERIES])
async def test_a_wrong_page_is_named_on_every_list(client: Client, query: str, field: str) -> None:
    for path in await lists(client):
        fields = refusal(await client.call("GET", f"{path}?{query}"), 422, "VALIDATION_ERROR")["fields"]
        assert list(fields) == [field], path


def cursor(value: object) -> str:
    import base64

    import msgspec

    return base64.urlsafe_b64encode(msgspec.msgpack.encode(value)).decode().rstrip("=")


async def test_forged_cursors_are_refused_or_harmless(client: Client) -> None:
    forged: list[object] = [
        2**63,
        -(2**63),
        2**31,
        ["9999-12-31T23:59:59.999999-12:00", str(NOWHERE)],
        ["0001-01-01T00:00:00+12:00", str(NOWHERE)],
        ["2024-01-01T00:00:00", str(NOWHERE)],
        str(NOWHERE),
        {},
    ]
    paths = await lists(client)
    for value in forged:
        for path in paths:
            answer = await client.call("GET", f"{path}?cursor={cursor(value)}")
            if answer.status_code != 200:
                refusal(answer, 422, "VALIDATION_ERROR")


ODD_PATHS = [
    "/conversations/%00",
    "/conversations/%ff",
    "/conversations/not-a-uuid",
    f"/conversations/{NOWHERE}%00",
    f"/conversations/{NOWHERE}/messages/{'9' * 300}",
    "/conversations/" + "x" * 5_000,
    "/%00",
    "/../../etc/passwd",
    "/conversations//messages",
]


@pytest.mark.parametrize("path", ODD_PATHS, ids=[path[:40] for path in ODD_PATHS])
async def test_a_path_that_leads_nowhere_is_a_404(client: Client, path: str) -> None:
    refusal(
        await client.http.request("GET", httpx.URL(str(client.http.base_url), raw_path=(V1 + path).encode())),
        404,
        "NOT_FOUND",
    )


async def test_a_wrong_method_is_a_405(client: Client) -> None:
    for method, path in [("PUT", "/conversations"), ("DELETE", "/models"), ("POST", "/auth/me"), ("TRACE", "/models")]:
        refusal(await client.call(method, path), 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 20, "1 2", "\u00b2"])
async def test_a_wrong_last_event_id_is_named(client: Client, last: str) -> None:
    conversation = await client.conversation()
    path = f"{V1}/conversations/{conversation}/messages/{NOWHERE}/stream"
    answer = await client.http.get(path, headers=[(b"Last-Event-ID", last.encode("latin-1"))])
    assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == ["Last-Event-ID"]


OTHER_TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"]


@pytest.mark.parametrize("media_type", OTHER_TYPES)
async def test_a_body_that_says_it_is_no_json_is_a_415_on_every_route(client: Client, media_type: str) -> None:
    for method, path in BODIES:
        answer = await send(client, method, path, b"{}", **{"content-type": media_type})
        refusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", None])
async def test_json_by_any_spelling_or_without_a_type_is_taken(client: Client, media_type: str | None) -> None:
    headers = {"content-type": media_type} if media_type else {}
    answer = await client.http.post(f"{V1}/conversations", content=b"{}", headers=headers)
    assert answer.status_code == 201


async def test_a_body_over_the_limit_is_a_413(client: Client) -> None:
    content = json.dumps({"metadata": {"a": "x" * 10_000_000}}).encode()
    refusal(await send(client, "POST", "/conversations", content), 413, "PAYLOAD_TOO_LARGE")


async def test_a_chunked_body_over_the_limit_is_a_413(client: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(120):
            yield b" " * 100_000

    try:
        answer = await client.http.post(f"{V1}/conversations", content=chunks())
    except httpx.TransportError:
        pytest.fail("the connection broke instead of an answer")
    refusal(answer, 413, "PAYLOAD_TOO_LARGE")
    assert (await client.call("GET", "/models")).status_code == 200


async def test_a_body_that_never_comes_to_its_end_holds_up_nobody_else(shared_api: SharedApi, client: Client) -> None:
    host, _, port = shared_api.process.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /api/v1/conversations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nX-API-Key: "
        + shared_api.site.acme.api_key.encode()
        + b"\r\n\r\n{"
    )
    await writer.drain()
    assert (await client.call("GET", "/models")).status_code == 200
    writer.close()


async def test_two_idempotency_keys_or_one_in_another_alphabet_break_nothing(client: Client) -> None:
    path, body = f"{V1}/conversations", b"{}"
    for headers in (
        [(b"Idempotency-Key", b"a"), (b"Idempotency-Key", b"b")],
        [(b"Idempotency-Key", b"\xff\xfe")],
        [(b"Idempotency-Key", b"x" * 60_000)],
        [(b"X-Request-Id", b"\xff"), (b"traceparent", b"\xff\xff"), (b"X-Forwarded-For", b"\xff,,")],
    ):
        answer = await client.http.post(path, content=body, headers=[*headers, (b"content-type", b"application/json")])
        assert answer.status_code < 500
        assert "x-request-id" in answer.headers


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    *("title", "metadata", "model", "visibility", "content", "documents", "stream", "temperature", "rating", "comment"),
    *("scopes", "name", "password", "username_or_email", "tenant", "email", "role", "refresh_token", "type", "acl"),
]
bodies = json_values | st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(route=st.sampled_from(BODIES), body=bodies)
def test_no_json_body_whatever_brings_a_5xx(shared_api: SharedApi, route: tuple[str, str], body: object) -> None:
    method, path = route
    answer = httpx.request(
        method,
        shared_api.process.url + V1 + path,
        content=json.dumps(body).encode(),
        headers={"X-API-Key": shared_api.site.acme.api_key, "content-type": "application/json"},
        timeout=10,
        trust_env=False,
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()) == {"code", "message", "details", "request_id"}


async def test_more_tokens_than_a_model_gives_are_the_callers_fault(client: Client) -> None:
    conversation = (await client.call("POST", "/conversations", {})).json()["id"]
    asked = {"content": "Go on", "model": "gpt-4o-mini", "max_tokens": 500_000}
    answer = await client.call("POST", f"/conversations/{conversation}/messages", asked)
    assert "max_tokens" in refusal(answer, 422, "VALIDATION_ERROR")["fields"]


async def test_a_nul_in_the_query_is_named(client: Client) -> None:
    answer = await client.call("GET", "/audit?action=%00")
    assert "action" in refusal(answer, 422, "VALIDATION_ERROR")["fields"]
