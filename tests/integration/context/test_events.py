"""An item's events over HTTP and from the follower itself."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from copilot_api.composition import _TENANT_ITEM_STREAMS
from copilot_common.base.errors import NotFound
from copilot_common.tenancy import Principal
from copilot_domain.context.following import ItemFollower
from copilot_domain.context.repository import sql
from copilot_domain.conversations.generation.events import EventBatch, StreamTooLong
from integration.context.ground import ContextGround, person
from support.api import SharedApi, Site, shared_api, site
from support.api_sql import Plan
from support.clients import V1, Client, Stream, eventually, refusal

__all__ = ["shared_api", "site"]

PATH = f"{V1}/context"


@pytest.fixture
async def client(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with shared_api.acme as made:
        yield made


async def add(client: Client) -> str:
    made = await client.call("POST", "/context", {"name": "x", "type": "text", "content": "x"})
    return str(made.json()["id"])


def set_state(shared_api: SharedApi, item_id: str, status: str, done: int = 0, total: int = 0, code: str = "") -> None:
    """As an ingestion would; none runs here."""
    shared_api.site.rows(
        "UPDATE context_items SET status = %s, progress_done = %s, progress_total = %s, error_code = nullif(%s, ''),"
        " error = nullif(%s, '') WHERE id = %s",
        *(status, done, total, code, code and "Why it failed.", item_id),
    )


def status(of: str) -> dict[str, Any]:
    return {"type": "status", "status": of}


def progress(done: int, total: int) -> dict[str, Any]:
    return {"type": "progress", "done": done, "total": total}


async def test_a_crowd_that_comes_at_once_is_bounded_and_its_places_are_given_back(
    client: Client, shared_api: SharedApi
) -> None:
    item = await add(client)
    at_once = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=client.http.base_url, headers=client.http.headers, limits=at_once, timeout=30
    ) as crowd:

        async def opened() -> httpx.Response:
            request = crowd.build_request("GET", f"{PATH}/{item}/events")
            return await crowd.send(request, stream=True)

        answers = await asyncio.gather(*(opened() for _ in range(_TENANT_ITEM_STREAMS + 10)))
        assert Counter(answer.status_code for answer in answers) == {200: _TENANT_ITEM_STREAMS, 503: 10}
        for answer in answers:
            await answer.aclose()

        async def is_free() -> bool:
            answer = await opened()
            await answer.aclose()
            return answer.status_code == 200

        await eventually(is_free, seconds=20, what="a place")
        unknown = await crowd.get(f"{PATH}/{uuid4()}/events")
        assert unknown.status_code == 404
    set_state(shared_api, item, "ready")


async def test_a_reader_is_told_each_change_until_the_item_is_ready(client: Client, shared_api: SharedApi) -> None:
    item = await add(client)
    async with client.http.stream("GET", f"{PATH}/{item}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        assert (await stream.read(1))[0].data == status("pending")
        set_state(shared_api, item, "processing")
        await stream.read(2)
        set_state(shared_api, item, "processing", 256, 300)
        await stream.read(3)
        set_state(shared_api, item, "ready", 300, 300)
        events = await stream.rest()
    assert stream.is_done
    assert [event.number for event in events] == [1, 2, 3, 4, 5]
    assert [event.data for event in events] == [
        status("pending"), status("processing"), progress(256, 300), progress(300, 300), status("ready")
    ]  # fmt: skip


async def test_an_item_that_has_settled_is_told_at_once(client: Client, shared_api: SharedApi) -> None:
    item = await add(client)
    set_state(shared_api, item, "failed", 3, 9, "EXTRACTION_FAILED")
    async with client.http.stream("GET", f"{PATH}/{item}/events", headers={"Last-Event-ID": "7"}) as response:
        events = await Stream(response).rest()
    error = {"code": "EXTRACTION_FAILED", "message": "Why it failed."}
    assert [(event.number, event.data) for event in events] == [(8, status("failed") | {"error": error})]


async def test_the_last_word_on_a_deleted_item_is_that_it_is_deleted(client: Client) -> None:
    item = await add(client)
    async with client.http.stream("GET", f"{PATH}/{item}/events") as response:
        stream = Stream(response)
        await stream.read(1)
        assert (await client.call("DELETE", f"/context/{item}")).status_code == 204
        assert (await stream.rest())[-1].data == status("deleted")
    assert stream.is_done


async def test_a_number_that_is_none_is_refused(client: Client) -> None:
    answer = await client.call("GET", f"/context/{await add(client)}/events", last_event_id="x")
    assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == ["Last-Event-ID"]


async def test_openapi_shows_the_form_and_the_stream(client: Client) -> None:
    paths = (await client.http.get("/schema/openapi.json")).json()["paths"]
    form = paths["/api/v1/context/files"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {
        "metadata",
        "acl",
        "file_metadata",
        "collection_id",
        "expires_at",
        "bulk",
        "file",
    }
    assert form["properties"]["file"]["items"] == {"type": "string", "format": "binary"}
    assert "201" in paths["/api/v1/context/files"]["post"]["responses"]
    events = paths["/api/v1/context/{item_id}/events"]["get"]["responses"]["200"]["content"]
    assert "text/event-stream" in events
    content = paths["/api/v1/context/{item_id}/content"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"text/plain", "application/octet-stream"}


def test_a_look_reads_the_item_by_its_key(site: Site) -> None:
    fill = (
        "INSERT INTO context_items (tenant_id, id, user_id, name_sealed, type, acl)"
        " SELECT %s, gen_random_uuid(), %s, '', 'text', '{role:owner}' FROM generate_series(1, 2000)"
    )
    site.rows(fill, site.acme.tenant_id, site.acme.user_id)
    ((item_id,),) = site.rows("SELECT id FROM context_items LIMIT 1")
    site.rows("ANALYZE context_items")
    with psycopg.connect(site.database.app_url, autocommit=True) as app:
        app.execute("SELECT set_config('app.tenant_id', %s, false)", [site.acme.tenant_id])
        acme = {"tenant_id": UUID(site.acme.tenant_id), "user_id": UUID(site.acme.user_id)}
        plan = Plan(app, sql["item_state"], {**acme, "id": item_id, "identities": ["role:owner"]})
    assert "context_items_pkey" in plan.indexes
    assert plan.rows_read <= 3


async def follow(
    context: ContextGround, principal: Principal, item_id: UUID, **limits: float
) -> AsyncIterator[EventBatch]:
    follower = ItemFollower(context.db, **{"look_seconds": 0.01, "longest_seconds": 20.0, **limits})
    return await follower.open(principal, item_id, after=0)


def told(batch: EventBatch) -> list[Any]:
    return [json.loads(payload) for _, payload in batch]


async def test_who_is_shut_out_on_the_way_hears_what_everybody_hears_of_a_deleted_item(context: ContextGround) -> None:
    item = await context.add("x", ingest=False)
    member = person(context.acme.tenant_id, "member")
    context.site.rows("INSERT INTO users (id, email, username, password_hash) VALUES (%s, 'a@b.c', 'a', '')",
                      member.acting_user)  # fmt: skip
    context.site.rows("INSERT INTO memberships VALUES (%s, %s, 'member')", member.tenant_id, member.acting_user)
    for shut_out in (
        "UPDATE context_items SET acl = '{role:admin}'",
        "UPDATE context_items SET acl = '{}'; DELETE FROM memberships WHERE role = 'member'",
    ):
        batches = await follow(context, member, item.id)
        assert told(await anext(batches)) == [status("pending")]
        context.site.rows(shut_out)
        assert [told(batch) async for batch in batches] == [[status("deleted")]]
        context.site.rows("UPDATE context_items SET acl = '{}'")
    for other in (member, context.other):
        with pytest.raises(NotFound):
            await follow(context, other, item.id)


async def test_a_stream_is_cut_after_its_time(context: ContextGround) -> None:
    item = await context.add("x", ingest=False)
    batches = await follow(context, context.acme, item.id, longest_seconds=0.0)
    assert told(await anext(batches)) == [status("pending")]
    with pytest.raises(StreamTooLong):
        await anext(batches)


async def test_an_ingestion_tells_how_far_it_is(context: ContextGround) -> None:
    item = await context.add("x", ingest=False)
    batches = await follow(context, context.acme, item.id)
    assert told(await anext(batches)) == [status("pending")]
    assert await context.ingest(item.id) == "ready"
    events = [event async for batch in batches for event in told(batch)]
    assert events[-2:] == [progress(1, 1), status("ready")]
