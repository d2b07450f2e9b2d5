"""Items that expire: unseen from that moment on, and soon deleted with all that is made of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from copilot_common.base.errors import NotFound, Unavailable
from copilot_common.platform.companions import LookOut
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.context import ContextRepository, ContextService, Item, ItemFilter
from copilot_domain.context.expiring import ItemExpirer
from copilot_domain.context.following import ItemFollower
from copilot_domain.context.types import SearchMode
from copilot_domain.pagination import PageRequest
from integration.context.ground import ContextGround
from integration.context.test_collections import collect, joined, remove
from integration.context.test_files import file, send
from integration.context.test_routes import NOTE, add
from support.api import SharedApi, shared_api
from support.clients import Client, eventually, refusal

__all__ = ["shared_api"]

TEXT = "Invoices are due within thirty days."
MODES: list[SearchMode] = ["hybrid", "vector", "text"]


def soon(**more: float) -> datetime:
    return datetime.now(UTC) + timedelta(**(more or {"hours": 1}))


def lapse(context: ContextGround, *items: Item) -> None:
    """Their time has come."""
    ids = [item.id for item in items]
    context.site.rows("UPDATE context_items SET expires_at = now() - interval '1 second' WHERE id = ANY (%s)", ids)


def expirer(context: ContextGround, *, batch: int = 100) -> ItemExpirer:
    return ItemExpirer(context.db, context.service, batch=batch)


async def test_from_its_moment_on_nobody_sees_or_finds_it(context: ContextGround) -> None:
    item = await context.add(TEXT, metadata={"team": "a"}, expires_at=soon())
    for mode in MODES:
        assert len(await context.search("invoices", mode)) == 1
    stream = await ItemFollower(context.db, look_seconds=0.01).open(context.acme, item.id, after=0)
    assert [batch async for batch in stream] != []
    lapse(context, item)
    for mode in MODES:
        for chosen in ({}, {"item_ids": (item.id,)}, {"metadata": {"team": "a"}}, {"type": "text"}):
            assert await context.search("invoices", mode, **chosen) == []
    async with context.db.transaction(context.acme) as tx:
        listed = await context.service.list(tx, ItemFilter(), PageRequest(10))
        assert (listed.items, listed.total) == ([], 0)
        for attempt in (context.service.get, context.service.content, context.service.delete, context.service.reindex):
            with pytest.raises(NotFound):
                await attempt(tx, item.id)
    with pytest.raises(NotFound):
        await context.change(item.id, expires_at=None)  # too late
    with pytest.raises(NotFound):
        await ItemFollower(context.db).open(context.acme, item.id, after=0)


async def test_who_follows_it_is_told_that_it_is_gone(context: ContextGround) -> None:
    item = await context.add(TEXT, ingest=False, expires_at=soon())
    stream = await ItemFollower(context.db, look_seconds=0.01).open(context.acme, item.id, after=0)
    assert [body for _, body in await anext(stream)] == [b'{"type":"status","status":"pending"}']
    lapse(context, item)
    assert [body for batch in [one async for one in stream] for _, body in batch] == [
        b'{"type":"status","status":"deleted"}'
    ]


async def test_what_has_expired_is_deleted_with_all_that_is_made_of_it(context: ContextGround) -> None:
    """Of whatever tenant; what has not expired, or never will, stays."""
    gone = [
        await context.add(TEXT, expires_at=soon()),
        await context.add("Another one.", by=context.other, expires_at=soon()),
        await context.ingested(await context.add_file(b"A file about invoices.", "a.txt")),
        await context.add("Never ingested.", ingest=False, expires_at=soon()),
    ]
    kept = [await context.add("kept a while", expires_at=soon()), await context.add("kept")]
    blobs, chunks = context.count("blobs"), context.count("context_chunks")
    lapse(context, *gone)
    assert await expirer(context, batch=2).expire_all() == len(gone)
    assert {id for (id,) in context.site.rows("SELECT id FROM context_items")} == {item.id for item in kept}
    assert context.count("blobs") == blobs - 5
    assert context.orphans() == 0
    assert context.count("context_chunks") == chunks - sum(item.chunk_count for item in gone) == 2
    assert context.count("context_embeddings") == 2
    dead = dict(context.site.rows("SELECT tenant_id, dead_count::integer FROM context_indexes"))
    assert dead == {context.acme.tenant_id: 2, context.other.tenant_id: 1}
    merges = context.site.rows("SELECT tenant_id, user_id FROM jobs WHERE kind LIKE 'context.merge/%%'")
    assert set(merges) == {(who.tenant_id, who.user_id) for who in (context.acme, context.other)}
    rows = "SELECT resource_id, actor_type, user_id FROM audit_log WHERE action = 'context.expired'"
    assert set(context.site.rows(rows)) == {(item.id, "system", item.user_id) for item in gone}
    assert await expirer(context).expire_all() == 0


async def test_it_is_deleted_also_when_its_creator_has_left(context: ContextGround) -> None:
    """For an owner then, as what is left to do must be done by somebody who is there."""
    leaver = joined(context)
    item = await context.add(TEXT, by=leaver, expires_at=soon())
    context.site.rows("DELETE FROM memberships WHERE user_id = %s", leaver.user_id)
    context.site.rows("UPDATE tenants SET status = 'suspended' WHERE id = %s", context.other.tenant_id)
    other = await context.add(TEXT, by=context.other, expires_at=soon())
    lapse(context, item, other)
    assert await expirer(context).expire_all() == 2
    assert set(context.site.rows("SELECT resource_id, user_id FROM audit_log WHERE action = 'context.expired'")) == {
        (item.id, context.acme.user_id),
        (other.id, context.other.user_id),
    }


async def test_an_emptied_collection_can_be_deleted(context: ContextGround) -> None:
    collection = await collect(context)
    item = await context.add(TEXT, collection_id=collection.id, expires_at=soon())
    lapse(context, item)
    await expirer(context).expire_all()
    await remove(context, collection)


class Failing(ContextService):
    """One of its items can never be deleted."""

    def __init__(self, context: ContextGround, item_id: UUID) -> None:
        super().__init__(ContextRepository(), context.blobs, Ledger(lambda _: None))
        self._item_id = item_id

    async def expire(self, tx: Transaction, item_id: UUID) -> bool:
        if item_id == self._item_id:
            raise Unavailable("It takes too long.")
        return await super().expire(tx, item_id)


async def test_an_item_that_cannot_be_deleted_keeps_no_other(context: ContextGround) -> None:
    items = [await context.add(f"{number}", ingest=False, expires_at=soon()) for number in range(3)]
    lapse(context, *items)
    stuck = min(items, key=lambda item: item.id)  # the first in the order
    assert await ItemExpirer(context.db, Failing(context, stuck.id), batch=1).expire_all() == 2
    assert context.site.rows("SELECT id FROM context_items") == [(stuck.id,)]


async def test_two_who_delete_the_same_do_it_once(context: ContextGround) -> None:
    items = [await context.add(f"{number}", ingest=False, expires_at=soon()) for number in range(6)]
    lapse(context, *items)
    counts = await asyncio.gather(*(expirer(context).expire_all() for _ in range(2)))
    assert sum(counts) == 6
    ((count,),) = context.site.rows("SELECT count(*) FROM audit_log WHERE action = 'context.expired'")
    assert count == 6


async def test_what_somebody_holds_is_passed_over(context: ContextGround) -> None:
    held, free = [await context.add("x", ingest=False, expires_at=soon()) for _ in range(2)]
    lapse(context, held, free)
    with psycopg.connect(context.site.database.admin_url) as holder:
        holder.execute("SELECT FROM context_items WHERE id = %s FOR UPDATE", [held.id])
        assert await expirer(context).expire_all() == 1
    assert await expirer(context).expire_all() == 1


async def test_what_was_prolonged_meanwhile_stays(context: ContextGround) -> None:
    item = await context.add(TEXT, ingest=False, expires_at=soon())
    async with context.db.transaction(Principal.system(context.acme.tenant_id, context.acme.acting_user)) as tx:
        assert not await context.service.expire(tx, item.id)
    assert (await context.change(item.id, expires_at=None)).expires_at is None
    assert (await context.change(item.id, name="other")).expires_at is None


async def test_the_service_looks_by_itself(context: ContextGround) -> None:
    item = await context.add(TEXT, ingest=False, expires_at=soon())
    lapse(context, item)
    looked = asyncio.Event()

    class Watched(ItemExpirer):
        async def expire_all(self) -> int:
            count = await super().expire_all()
            looked.set()
            return count

    loop = LookOut("expired items", Watched(context.db, context.service).expire_all, every=60)
    await loop.start()
    await asyncio.wait_for(looked.wait(), 10)
    await loop.stop()
    assert context.count("context_items") == 0


async def test_a_look_reads_what_has_expired_and_no_more(context: ContextGround) -> None:
    """Also with thousands that have not, as copilot_app."""
    for expires, count in (("now() + interval '1 hour'", 3_000), ("NULL", 3_000), ("now() - interval '1 hour'", 2)):
        context.site.rows(
            "INSERT INTO context_items (tenant_id, id, user_id, name_sealed, type, expires_at)"
            f" SELECT %s, gen_random_uuid(), %s, '', 'text', {expires} FROM generate_series(1, {count})",
            context.acme.tenant_id,
            context.acme.user_id,
        )
    context.site.rows("ANALYZE context_items")
    counters = "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'context_items'"
    look = "SELECT FROM dispatch.expired_items('-infinity', %s, %s, 100)"
    nobody = UUID(int=0)
    with psycopg.connect(context.site.database.app_url, autocommit=True) as app, app.transaction(force_rollback=True):
        assert len(app.execute(look.encode(), [nobody, nobody]).fetchall()) == 2
        assert app.execute(counters.encode()).fetchone() == (0, 2)


# Over HTTP.


@pytest.fixture
async def client(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with shared_api.acme as made:
        yield made


async def test_an_item_says_when_it_expires_whatever_its_zone(client: Client) -> None:
    item = await add(client, expires_at="2100-01-02T03:04:05+02:00")
    assert (await client.get(f"/context/{item}"))["expires_at"] == "2100-01-02T01:04:05Z"
    changed = await client.call("PATCH", f"/context/{item}", {"name": "other"})
    assert changed.json()["expires_at"] == "2100-01-02T01:04:05Z"
    changed = await client.call("PATCH", f"/context/{item}", {"expires_at": "9999-12-31T23:59:59Z"})
    assert changed.json()["expires_at"] == "9999-12-31T23:59:59Z"
    assert (await client.call("PATCH", f"/context/{item}", {"expires_at": None})).json()["expires_at"] is None


WRONG = [
    "2020-01-01T00:00:00Z",
    "2100-01-01T00:00:00",
    "2100-01-01",
    "tomorrow",
    "",
    "9999-12-31T23:59:59-12:00",
    "0001-01-01T00:00:00+12:00",
    "infinity",
]


@pytest.mark.parametrize("moment", [*WRONG, 4_102_444_800])
async def test_a_moment_that_cannot_be_is_refused(client: Client, moment: object) -> None:
    item = await add(client)
    for method, path, body in (
        ("POST", "", {**NOTE, "expires_at": moment}),
        ("PATCH", f"/{item}", {"expires_at": moment}),
    ):
        answer = await client.call(method, f"/context{path}", body)
        assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == ["expires_at"]
    answer = await send(client, file("a.txt"), expires_at=str(moment))
    assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == ["expires_at"]


async def test_all_files_of_a_form_get_its_collection_and_its_expiry(client: Client) -> None:
    collection = (await client.call("POST", "/context/collections", {"name": "files"})).json()["id"]
    fields = {"collection_id": collection, "expires_at": "2100-01-01T00:00:00Z"}
    made = (await send(client, file("a.txt"), file("b.txt"), metadata={"a": 1}, **fields)).json()
    assert [{name: item[name] for name in fields} for item in made] == [fields, fields]
    for wrong in ("x", "", str(uuid4())):
        answer = await send(client, file("a.txt"), collection_id=wrong)
        assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == ["collection_id"]


async def test_a_repeat_after_its_expiry_is_answered_as_the_first_one_was(client: Client) -> None:
    key, body = str(uuid4()), {**NOTE, "expires_at": soon(seconds=2).isoformat()}
    first = await client.call("POST", "/context", body, idempotency_key=key)
    assert first.status_code == 201

    async def is_gone() -> bool:
        return (await client.call("GET", f"/context/{first.json()['id']}")).status_code == 404

    await eventually(is_gone)
    second = await client.call("POST", "/context", body, idempotency_key=key)
    assert (second.status_code, second.json()) == (201, first.json())
