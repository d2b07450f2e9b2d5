"""/context over HTTP."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from support.api import PASSWORD, SharedApi, shared_api, start_api
from support.clients import Client, refusal

__all__ = ["shared_api", "start_api"]

NOTE = {"name": "note", "type": "text", "content": "Invoices are due within thirty days."}


@pytest.fixture
async def client(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with shared_api.acme as made:
        yield made


async def add(client: Client, **fields: object) -> str:
    answer = await client.call("POST", "/context", {**NOTE, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_new_item_is_pending_and_shows_what_was_sent(client: Client, shared_api: SharedApi) -> None:
    fields = {"type": "document", "metadata": {"team": "a"}, "acl": [{"role": "admin"}]}
    answer = await client.call("POST", "/context", {**NOTE, **fields})
    assert answer.status_code == 201
    item = answer.json()
    assert item == {
        **{name: item[name] for name in ("id", "created_at", "updated_at")},
        "name": "note",
        "type": "document",
        "status": "pending",
        "user_id": shared_api.site.acme.user_id,
        "url": None,
        "media_type": None,
        "size_bytes": len(NOTE["content"]),
        "refresh_seconds": None,
        "fetched_at": None,
        "next_fetch_at": None,
        "token_count": 0,
        "chunk_count": 0,
        "error": None,
        "metadata": {"team": "a"},
        "acl": [{"role": "admin"}],
        "collection_id": None,
        "expires_at": None,
    }
    assert await client.get(f"/context/{item['id']}") == item


async def test_the_content_comes_back_as_text(client: Client) -> None:
    text = "A check ✓, a zero width\u200bspace.\r\n"
    item = await add(client, content=text)
    answer = await client.call("GET", f"/context/{item}/content")
    assert (answer.status_code, answer.content.decode()) == (200, text)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_change_leaves_what_it_does_not_name(client: Client) -> None:
    item = await add(client, metadata={"a": 1})
    changed = (await client.call("PATCH", f"/context/{item}", {"name": "other"})).json()
    assert (changed["name"], changed["metadata"]) == ("other", {"a": 1})
    changed = (await client.call("PATCH", f"/context/{item}", {"metadata": {}, "content": "new"})).json()
    assert (changed["name"], changed["metadata"], changed["status"]) == ("other", {}, "pending")
    assert (await client.call("GET", f"/context/{item}/content")).text == "new"


async def test_a_deleted_item_is_gone(client: Client) -> None:
    item = await add(client)
    assert (await client.call("DELETE", f"/context/{item}")).status_code == 204
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", ""), ("POST", "/reindex")):
        refusal(await client.call(method, f"/context/{item}{path}"), 404, "NOT_FOUND")


async def test_a_reindex_is_accepted(client: Client) -> None:
    item = await add(client)
    answer = await client.call("POST", f"/context/{item}/reindex")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")


async def test_a_repeated_post_makes_one_item(client: Client) -> None:
    mark = str(uuid4())
    body = {**NOTE, "metadata": {"once": mark}}
    first, second = [await client.call("POST", "/context", body, idempotency_key=mark) for _ in range(2)]
    assert (first.status_code, first.json()) == (second.status_code, second.json())


async def test_a_list_is_the_newest_first_and_filtered(client: Client) -> None:
    mark = str(uuid4())
    items = [await add(client, type=kind, metadata={"mark": mark}) for kind in ("text", "code", "text")]
    found = f'/context?metadata={{"mark":"{mark}"}}'
    assert [item["id"] for item in (await client.get(found))["items"]] == items[::-1]
    assert [item["id"] for item in (await client.get(f"{found}&type=code"))["items"]] == [items[1]]
    assert (await client.get(f"{found}&status=ready"))["total"] == 0
    page = await client.get(f"{found}&limit=2")
    rest = await client.get(f"{found}&limit=2&cursor={page['next_cursor']}")
    assert [item["id"] for item in page["items"] + rest["items"]] == items[::-1]
    assert page["total"] == 3


FAULTS: list[tuple[dict[str, object], str]] = [
    ({"name": ""}, "name"),
    ({"name": "x" * 301}, "name"),
    ({"type": "file"}, "type"),
    ({"type": "url"}, "url"),
    ({"type": "url", "url": "https://example.com"}, "content"),
    ({"type": "video"}, "type"),
    ({"url": "https://example.com"}, "url"),
    ({"refresh_seconds": 3600}, "refresh_seconds"),
    ({"refresh_seconds": 299}, "refresh_seconds"),
    ({"refresh_seconds": 31_536_001}, "refresh_seconds"),
    ({"content": ""}, "content"),
    ({"content": "x" * 1_000_001}, "content"),
    ({"content": "a\0b"}, "content"),
    ({"metadata": {"a": "x" * 17_000}}, "metadata"),
    ({"acl": [{}]}, "acl[0]"),
    ({"acl": [{"role": "member", "user_id": str(uuid4())}]}, "acl[0]"),
    ({"acl": [{"role": "king"}]}, "acl[0].role"),
    ({"acl": [{"role": "member"}] * 101}, "acl"),
]


@pytest.mark.parametrize(("fields", "field"), FAULTS)
async def test_a_wrong_field_is_named(client: Client, fields: dict[str, object], field: str) -> None:
    answer = await client.call("POST", "/context", {**NOTE, **fields})
    assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == [field]


async def test_a_missing_content_is_named(client: Client) -> None:
    answer = await client.call("POST", "/context", {"name": "x", "type": "text"})
    assert refusal(answer, 422, "VALIDATION_ERROR")["fields"] == {"content": "is required"}


async def test_a_url_is_stored_to_be_fetched(client: Client, shared_api: SharedApi) -> None:
    body = {"name": "page", "type": "url", "url": "https://example.com/a?b=c"}
    answer = await client.call("POST", "/context", body)
    item = answer.json()
    assert (answer.status_code, item["status"], item["url"]) == (201, "pending", body["url"])
    ((sealed,),) = shared_api.site.rows("SELECT url_sealed FROM context_items WHERE id = %s", item["id"])
    assert b"example" not in sealed
    for wanted in ("", "?format=original"):
        refusal(await client.call("GET", f"/context/{item['id']}/content{wanted}"), 409, "CONFLICT")


FORBIDDEN_URLS = [
    "http://127.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",
    "http://localhost/",
    "http://2130706433/",
    "https://example.com:22/",
    "https://user:password@example.com/",
    "file:///etc/passwd",
    "example.com",
    "https://example.com/a b",
    "https://example.com/" + "x" * 10_000,
]


@pytest.mark.parametrize("url", FORBIDDEN_URLS, ids=[url[:40] for url in FORBIDDEN_URLS])
async def test_a_url_that_would_not_be_fetched_is_refused_at_once(client: Client, url: str) -> None:
    answer = await client.call("POST", "/context", {"name": "page", "type": "url", "url": url})
    assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == ["url"]


async def test_a_page_may_be_fetched_again_by_a_schedule(client: Client) -> None:
    body = {"name": "page", "type": "url", "url": "https://example.com/", "refresh_seconds": 3_600}
    item = (await client.call("POST", "/context", body)).json()
    assert (item["refresh_seconds"], item["fetched_at"]) == (3_600, None)
    assert item["next_fetch_at"] > item["created_at"]
    path = f"/context/{item['id']}"
    assert (await client.call("PATCH", path, {"name": "other"})).json()["refresh_seconds"] == 3_600
    for wrong in (299, 31_536_001, "daily", 1.5):
        answer = await client.call("PATCH", path, {"refresh_seconds": wrong})
        assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == ["refresh_seconds"]
    ended = (await client.call("PATCH", path, {"refresh_seconds": None})).json()
    assert (ended["refresh_seconds"], ended["next_fetch_at"]) == (None, None)
    note = await add(client)
    answer = await client.call("PATCH", f"/context/{note}", {"refresh_seconds": 3_600})
    assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == ["refresh_seconds"]
    assert (await client.call("PATCH", f"/context/{note}", {"refresh_seconds": None})).status_code == 200


def limit_items(shared_api: SharedApi, items: int | None) -> None:
    query = "UPDATE tenants SET context_max_items = %s WHERE id = %s RETURNING id"
    shared_api.site.rows(query, items, shared_api.site.acme.tenant_id)


async def test_what_is_over_the_quota_is_a_409_that_says_which(client: Client, shared_api: SharedApi) -> None:
    await add(client)
    used = (await client.get("/context/usage"))["items"]
    limit_items(shared_api, used)
    try:
        answer = await client.call("POST", "/context", NOTE)
        details = refusal(answer, 409, "QUOTA_EXCEEDED")
    finally:
        limit_items(shared_api, None)
    assert details == {"quota": "items", "limit": used, "used": used}
    assert (await client.get("/context/usage"))["items"] == used
    await add(client)


async def test_reranking_that_is_not_configured_is_refused_by_name(client: Client) -> None:
    answer = await client.call("POST", "/context/search", {"query": "invoices", "rerank": True})
    assert refusal(answer, 422, "VALIDATION_ERROR")["fields"] == {"rerank": "is not configured here"}


FILTERS = [
    ("type=x", "type"),
    ("status=x", "status"),
    ("metadata=x", "metadata"),
    ("metadata=[]", "metadata"),
    ('metadata={"a":"\\u0000"}', "metadata"),
    ("metadata=%00", "metadata"),
    ("limit=0", "limit"),
    ("cursor=gA", "cursor"),
]


@pytest.mark.parametrize(("query", "field"), FILTERS)
async def test_a_wrong_filter_is_named(client: Client, query: str, field: str) -> None:
    answer = await client.call("GET", f"/context?{query}")
    assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == [field]


async def member(shared_api: SharedApi, role: str) -> Client:
    name = f"m{uuid4().hex[:10]}"
    async with shared_api.acme as owner:
        invite = await owner.call("POST", "/tenants/current/invites", {"email": f"{name}@x.example", "role": role})
        body = {"username": name, "email": f"{name}@x.example", "password": PASSWORD}
        assert (
            await owner.call("POST", "/auth/register", {**body, "invite_token": invite.json()["token"]})
        ).status_code == 201
        token = await owner.log_in(name, PASSWORD)
    return shared_api.process.client(None, Authorization=f"Bearer {token}")


async def test_members_see_what_is_theirs_to_see_and_change_what_is_their_own(shared_api: SharedApi) -> None:
    ann, bob = await member(shared_api, "member"), await member(shared_api, "member")
    async with ann, bob, shared_api.acme as owner:
        mark = {"mark": str(uuid4())}
        own = [{"user_id": (await ann.get("/auth/me"))["id"]}]
        shared, private, hers = [await add(ann, metadata=mark, acl=acl) for acl in ([], [{"role": "admin"}], own)]
        listed = f'/context?metadata={{"mark":"{mark["mark"]}"}}'
        seen = [{item["id"] for item in (await who.get(listed))["items"]} for who in (ann, bob, owner)]
        assert seen == [{shared, private, hers}, {shared}, {shared, private}]
        for path in ("", "/content"):
            refusal(await bob.call("GET", f"/context/{private}{path}"), 404, "NOT_FOUND")
        for method, path, body in (("PATCH", "", {"name": "x"}), ("DELETE", "", None), ("POST", "/reindex", None)):
            refusal(await bob.call(method, f"/context/{shared}{path}", body), 403, "FORBIDDEN")
            refusal(await owner.call(method, f"/context/{hers}{path}", body), 404, "NOT_FOUND")
        assert (await owner.call("PATCH", f"/context/{shared}", {"name": "x"})).status_code == 200


def test_the_api_does_not_load_what_ingests_and_searches() -> None:
    """Each would cost every API process tens of megabytes."""
    import subprocess
    import sys

    code = "import sys, copilot_api.composition; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert not {"wordllama", "numpy", "semantic_text_splitter", "Stemmer", "pgvector", "tokenizers"} & set(loaded)


async def test_a_reembedding_is_accepted_shown_and_ended(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        before = await client.get("/context/index")
        assert before["model"] == "wordllama-256"
        answer = await client.call("POST", "/context/reembed", {"model": "compatible/own@8"})
        begun = answer.json()
        assert (answer.status_code, begun["model"], begun["next_model"]) == (202, "wordllama-256", "compatible/own@8")
        assert (await client.get("/context/index"))["next_model"] == "compatible/own@8"
        other = await client.call("POST", "/context/reembed", {"model": "minilm-384"})
        assert refusal(other, 409, "CONFLICT") == {"next_model": "compatible/own@8"}
        ended = await client.call("POST", "/context/reembed", {"model": "wordllama-256"})
        assert (ended.status_code, ended.json()["next_model"]) == (202, None)
        refusal(await client.call("POST", "/context/reembed", {"model": "wordllama-256"}), 409, "CONFLICT")


@pytest.mark.parametrize("model", ["", "nonsense", "compatible/own", "openai/text-embedding-3-small@9999", "x" * 221])
async def test_a_model_that_cannot_be_is_named(client: Client, model: str) -> None:
    answer = await client.call("POST", "/context/reembed", {"model": model})
    assert "model" in refusal(answer, 422, "VALIDATION_ERROR")["fields"]
