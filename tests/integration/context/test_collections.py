"""Collections: who sees what is in them, by searches and by each route."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import ForeignKeyViolation

from copilot_common.base.errors import Conflict, Forbidden, InvalidInput, NotFound
from copilot_common.tenancy import Principal
from copilot_domain.context import (
    AclEntry,
    Collection,
    CollectionChanges,
    CollectionService,
    Item,
    ItemFilter,
    NewCollection,
)
from copilot_domain.context.collections import service as collection_service
from copilot_domain.context.following import ItemFollower
from copilot_domain.context.types import SearchMode
from copilot_domain.pagination import PageRequest
from integration.context.ground import ContextGround, person
from integration.context.test_routes import add, member
from support.api import SharedApi, shared_api
from support.clients import Client, refusal

__all__ = ["shared_api"]

TEXT = "Invoices are due within thirty days."
MODES: list[SearchMode] = ["hybrid", "vector", "text"]
ADMINS = (AclEntry(role="admin"),)
service = CollectionService()


async def collect(
    context: ContextGround, *acl: AclEntry, by: Principal | None = None, name: str = "letters"
) -> Collection:
    async with context.db.transaction(by or context.acme) as tx:
        return await service.create(tx, NewCollection(name=name, acl=acl))


async def change(context: ContextGround, collection: Collection, *, by: Principal | None = None, **fields: Any) -> None:
    async with context.db.transaction(by or context.acme) as tx:
        await service.update(tx, collection.id, CollectionChanges(**fields))


async def remove(context: ContextGround, collection: Collection, *, by: Principal | None = None) -> None:
    async with context.db.transaction(by or context.acme) as tx:
        await service.delete(tx, collection.id)


def joined(context: ContextGround, role: Any = "member") -> Principal:
    """A member with a user of their own, who can make things."""
    name = uuid4().hex
    ((user_id,),) = context.site.rows(
        "INSERT INTO users (id, email, username, password_hash) VALUES (gen_random_uuid(), %s, %s, 'x') RETURNING id",
        f"{name}@acme.example",
        name,
    )
    context.site.rows(
        "INSERT INTO memberships (tenant_id, user_id, role) VALUES (%s, %s, %s)", context.acme.tenant_id, user_id, role
    )
    return person(context.acme.tenant_id, role, user_id)


async def sees(context: ContextGround, principal: Principal, item: Item) -> bool:
    """By each way there is; they agree."""
    found = [bool(await context.search("invoices", mode, by=principal)) for mode in MODES]
    filters: list[dict[str, Any]] = [{"item_ids": (item.id,)}, {"metadata": {"team": "a"}}, {"type": "text"}]
    found += [bool(await context.search("invoices", by=principal, **chosen)) for chosen in filters]
    async with context.db.transaction(principal) as tx:
        listed = await context.service.list(tx, ItemFilter(), PageRequest(10))
    found += [listed.items == [item], listed.total == 1]
    for ask in (_get, _content, _events):
        try:
            found.append(await ask(context, principal, item))
        except NotFound:
            found.append(False)
    assert len(set(found)) == 1, found
    return found[0]


async def _get(context: ContextGround, principal: Principal, item: Item) -> bool:
    return await context.get(item.id, by=principal) == item


async def _content(context: ContextGround, principal: Principal, item: Item) -> bool:
    async with context.db.transaction(principal) as tx:
        return (await context.service.content(tx, item.id)).name == item.name


async def _events(context: ContextGround, principal: Principal, item: Item) -> bool:
    batches = await ItemFollower(context.db).open(principal, item.id, after=0)
    return [batch async for batch in batches] != []


@pytest.fixture
async def item(context: ContextGround) -> Item:
    return await context.add(TEXT, metadata={"team": "a"})


async def test_others_see_an_item_where_both_lists_let_them(context: ContextGround) -> None:
    """Nobody but the item's creator otherwise, also not the collection's; an empty list lets everybody."""
    maker, admin, other = joined(context), joined(context, "admin"), joined(context)
    of_maker = (AclEntry(user_id=maker.acting_user),)
    for of_item, of_collection, expected in (
        ((), (), {"maker", "admin", "other"}),
        ((), ADMINS, {"maker", "admin"}),
        (ADMINS, (), {"admin"}),
        (of_maker, ADMINS, {"maker"}),
        (ADMINS, of_maker, set()),
    ):
        collection = await collect(context, *of_collection, by=maker)
        made = await context.add(TEXT, metadata={"team": "a"}, acl=of_item)
        context.site.rows("UPDATE context_items SET collection_id = %s WHERE id = %s", collection.id, made.id)
        made = await context.get(made.id)  # its creator sees it, whatever the lists say
        for name, principal in {"maker": maker, "admin": admin, "other": other}.items():
            assert await sees(context, principal, made) == (name in expected), (name, of_item, of_collection)
        assert await sees(context, context.acme, made)
        assert await context.search("invoices", by=context.other) == []
        await context.delete(made.id)


async def test_a_change_of_the_list_holds_at_once_and_writes_no_item(context: ContextGround) -> None:
    friend = joined(context)
    collection = await collect(context)
    item = await context.add(TEXT, metadata={"team": "a"}, collection_id=collection.id)
    rows = context.site.rows("SELECT xmin::text FROM context_items")
    for acl, expected in (((), True), (ADMINS, False), ((AclEntry(user_id=friend.acting_user),), True)):
        await change(context, collection, acl=acl)
        assert await sees(context, friend, item) == expected
    assert context.site.rows("SELECT xmin::text FROM context_items") == rows


async def test_an_item_moves_into_a_collection_and_out_again(context: ContextGround, item: Item) -> None:
    friend = joined(context)
    closed, open_one = await collect(context, *ADMINS), await collect(context)
    for where, expected in ((closed.id, False), (open_one.id, True), (closed.id, False), (None, True)):
        changed = await context.change(item.id, collection_id=where)
        assert changed.collection_id == where
        assert await sees(context, friend, changed) == expected
    assert (await context.change(item.id, name="other", collection_id=closed.id)).collection_id == closed.id
    assert (await context.change(item.id, name="another")).collection_id == closed.id
    ((detail,),) = context.site.rows("SELECT details FROM audit_log WHERE details->>'fields' = 'name, collection_id'")
    assert detail


async def test_what_may_not_be_seen_is_in_nobodys_way(context: ContextGround) -> None:
    """A search finds as many as there are, however many hidden ones are nearer."""
    friend = joined(context)
    closed = await collect(context, *ADMINS)
    for number in range(30):
        await context.add(f"invoices invoices {number}", collection_id=closed.id)
    seen = [await context.add(f"About invoices and {word} in a longer text.") for word in ("ships", "taxes", "lamps")]
    for mode in MODES:
        assert {hit.item_id for hit in await context.search("invoices", mode, by=friend)} == {one.id for one in seen}


@pytest.mark.parametrize("mode", MODES)
async def test_a_filter_by_collections_finds_what_is_in_them(context: ContextGround, mode: SearchMode) -> None:
    first, second, closed = await collect(context), await collect(context), await collect(context, *ADMINS)
    in_first = await context.add("invoices, first", collection_id=first.id)
    in_second = await context.add("invoices, second", type="code", collection_id=second.id, metadata={"a": 1})
    hidden = await context.add("invoices, hidden", collection_id=closed.id)
    await context.add("invoices, nowhere")
    friend = joined(context)
    for who, chosen, expected in (
        (friend, {"collection_ids": (first.id,)}, {in_first.id}),
        (friend, {"collection_ids": (first.id, second.id)}, {in_first.id, in_second.id}),
        (friend, {"collection_ids": (first.id, second.id), "type": "code"}, {in_second.id}),
        (friend, {"collection_ids": (first.id, second.id), "metadata": {"a": 1}}, {in_second.id}),
        (friend, {"collection_ids": (first.id,), "item_ids": (in_second.id,)}, set()),
        (friend, {"collection_ids": (closed.id, uuid4())}, set()),
        (context.acme, {"collection_ids": (closed.id,)}, {hidden.id}),
        (friend, {"collection_ids": ()}, set()),
        (context.other, {"collection_ids": (first.id,)}, set()),
    ):
        assert {hit.item_id for hit in await context.search("invoices", mode, by=who, **chosen)} == expected, chosen


async def test_who_does_not_see_a_collection_puts_nothing_into_it(context: ContextGround) -> None:
    friend = joined(context)
    closed = await collect(context, *ADMINS)
    mine = await context.add(TEXT, by=friend)
    for where in (closed.id, uuid4()):
        for attempt in (context.add(TEXT, by=friend, collection_id=where), _move(context, mine, friend, where)):
            with pytest.raises(InvalidInput) as refused:
                await attempt
            assert list(refused.value.fields) == ["collection_id"]
    with pytest.raises(InvalidInput):
        await context.add(TEXT, by=context.other, collection_id=closed.id)
    await change(context, closed, acl=())
    assert (await context.change(mine.id, by=friend, collection_id=closed.id)).collection_id == closed.id
    await change(context, closed, acl=ADMINS)
    kept = await context.change(mine.id, by=friend, name="still mine", collection_id=closed.id)  # where it is already
    assert (kept.name, kept.collection_id) == ("still mine", closed.id)


async def _move(context: ContextGround, item: Item, by: Principal, where: UUID) -> Item:
    return await context.change(item.id, by=by, collection_id=where)


async def test_only_its_creator_and_admins_who_see_it_change_a_collection(context: ContextGround) -> None:
    maker, friend = joined(context), joined(context)
    admin = Principal(
        kind="user",
        tenant_id=context.acme.tenant_id,
        credential_id=uuid4(),
        user_id=joined(context, "admin").acting_user,
        role="admin",
        scopes=frozenset({"context", "admin"}),
    )
    collection = await collect(context, by=maker)
    for attempt in (change(context, collection, by=friend, name="x"), remove(context, collection, by=friend)):
        with pytest.raises(Forbidden):
            await attempt
    await change(context, collection, by=admin, name="by an admin")
    await change(context, collection, by=maker, acl=(AclEntry(user_id=friend.acting_user),))
    for principal in (admin, context.other):
        with pytest.raises(NotFound):
            await change(context, collection, by=principal, name="x")
        with pytest.raises(NotFound):
            await remove(context, collection, by=principal)
    async with context.db.transaction(friend) as tx:
        assert (await service.get(tx, collection.id)).name == "by an admin"
    await remove(context, collection, by=maker)
    assert context.count("context_collections") == 0


async def test_a_list_of_collections_is_the_newest_first_of_those_one_sees(context: ContextGround) -> None:
    friend = joined(context)
    made = [await collect(context, name=str(number)) for number in range(3)]
    await collect(context, *ADMINS)
    mine = await collect(context, *ADMINS, by=friend)
    async with context.db.transaction(friend) as tx:
        first = await service.list(tx, PageRequest(3))
        rest = await service.list(tx, PageRequest(3, cursor=first.next_cursor))
    assert [one.id for one in [*first.items, *rest.items]] == [mine.id, *(one.id for one in made[::-1])]
    assert first.total == 4
    async with context.db.transaction(context.other) as tx:
        assert (await service.list(tx, PageRequest(3))).items == []


async def test_a_collection_with_items_stays_whoever_sees_them(context: ContextGround) -> None:
    friend = joined(context)
    collection = await collect(context)
    items = [
        await context.add(TEXT, by=friend, acl=(AclEntry(role="owner"),), collection_id=collection.id, ingest=False)
    ]
    items.append(await context.add(TEXT, collection_id=collection.id, ingest=False))
    with pytest.raises(Conflict) as refused:
        await remove(context, collection)
    assert refused.value.details == {"items": 2}
    for item, by in zip(items, (friend, context.acme), strict=True):
        async with context.db.transaction(by) as tx:
            await context.service.delete(tx, item.id)
    await remove(context, collection)
    with pytest.raises(NotFound):
        await remove(context, collection)


async def test_a_collection_is_not_deleted_under_an_item_that_is_being_put_into_it(context: ContextGround) -> None:
    collection = await collect(context)
    with psycopg.connect(context.site.database.admin_url) as adding:
        adding.execute("SELECT FROM context_collections FOR KEY SHARE")
        with psycopg.connect(context.site.database.admin_url, autocommit=True) as deleting:
            deleting.execute("SET lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                deleting.execute("SELECT FROM context_collections FOR UPDATE")
    await context.add(TEXT, collection_id=collection.id, ingest=False)
    with pytest.raises(ForeignKeyViolation):  # the last guard
        context.site.rows("DELETE FROM context_collections")


async def test_a_tenant_with_collections_can_be_deleted(context: ContextGround) -> None:
    collection = await collect(context)
    await context.add(TEXT, collection_id=collection.id)
    context.site.rows("DELETE FROM context_items WHERE tenant_id <> %s", context.acme.tenant_id)
    with psycopg.connect(context.site.database.admin_url) as admin:
        admin.execute("DELETE FROM tenants WHERE id = %s", [context.acme.tenant_id])
        assert admin.execute("SELECT FROM context_collections").fetchall() == []
        admin.rollback()


async def test_a_tenant_has_so_many_collections_and_no_more(
    context: ContextGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection_service, "MAX_COLLECTIONS", 2)
    made = [await collect(context, *ADMINS) for _ in range(2)]
    with pytest.raises(Conflict) as refused:
        await collect(context, by=joined(context))
    assert refused.value.details == {"limit": 2}
    await remove(context, made[0])
    await collect(context)
    await collect(context, by=context.other)


async def test_names_are_sealed_and_changes_are_on_record(context: ContextGround) -> None:
    collection = await collect(context, name="the secret letters")
    await change(context, collection, name="the other letters", acl=ADMINS)
    await remove(context, collection)
    rows = context.site.rows(
        "SELECT action, details::text FROM audit_log WHERE resource_id = %s ORDER BY id", collection.id
    )
    assert rows == [
        ("collection.created", "{}"),
        ("collection.updated", '{"fields": "name, acl"}'),
        ("collection.deleted", "{}"),
    ]
    again = await collect(context, name="the secret letters")
    ((sealed,),) = context.site.rows("SELECT name_sealed FROM context_collections WHERE id = %s", again.id)
    assert b"secret" not in sealed


# Over HTTP.


@pytest.fixture
async def client(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with shared_api.acme as made:
        yield made


async def made(client: Client, **fields: object) -> dict[str, Any]:
    answer = await client.call("POST", "/context/collections", {"name": "letters", **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_collection_is_made_shown_changed_and_deleted(client: Client, shared_api: SharedApi) -> None:
    collection = await made(client, acl=[{"role": "admin"}])
    assert collection == {
        **{name: collection[name] for name in ("id", "created_at", "updated_at")},
        "name": "letters",
        "user_id": shared_api.site.acme.user_id,
        "acl": [{"role": "admin"}],
    }
    path = f"/context/collections/{collection['id']}"
    assert await client.get(path) == collection
    assert (await client.get("/context/collections?limit=1"))["items"] == [collection]
    changed = (await client.call("PATCH", path, {"name": "other"})).json()
    assert (changed["name"], changed["acl"]) == ("other", [{"role": "admin"}])
    assert (await client.call("PATCH", path, {"acl": []})).json()["acl"] == []
    item = await add(client, collection_id=collection["id"])
    assert refusal(await client.call("DELETE", path), 409, "CONFLICT") == {"items": 1}
    assert (await client.call("DELETE", f"/context/{item}")).status_code == 204
    assert (await client.call("DELETE", path)).status_code == 204
    refusal(await client.call("GET", path), 404, "NOT_FOUND")


async def test_a_repeated_post_makes_one_collection(client: Client) -> None:
    body, key = {"name": "once"}, str(uuid4())
    first, second = [await client.call("POST", "/context/collections", body, idempotency_key=key) for _ in range(2)]
    assert (first.status_code, first.json()) == (second.status_code, second.json())


async def test_items_say_their_collection_and_are_listed_by_it(client: Client) -> None:
    one, other = await made(client), await made(client)
    items = [await add(client, collection_id=one["id"]) for _ in range(2)]
    assert (await client.get(f"/context/{items[0]}"))["collection_id"] == one["id"]
    listed = await client.get(f"/context?collection_id={one['id']}")
    assert ([item["id"] for item in listed["items"]], listed["total"]) == (items[::-1], 2)
    moved = await client.call("PATCH", f"/context/{items[0]}", {"collection_id": other["id"]})
    assert moved.json()["collection_id"] == other["id"]
    assert (await client.get(f"/context?collection_id={one['id']}"))["total"] == 1
    assert (await client.call("PATCH", f"/context/{items[0]}", {"collection_id": None})).json()["collection_id"] is None
    assert (await client.get(f"/context?collection_id={uuid4()}"))["items"] == []


async def test_another_member_sees_by_both_lists(client: Client, shared_api: SharedApi) -> None:
    collection = await made(client, acl=[{"role": "admin"}])
    path = f"/context/collections/{collection['id']}"
    item = await add(client, collection_id=collection["id"])
    async with await member(shared_api, "member") as person:
        for seen in (False, True):
            for where in (path, f"/context/{item}", f"/context/{item}/content"):
                assert (await person.call("GET", where)).status_code == (200 if seen else 404), where
            assert (await person.get(f"/context?collection_id={collection['id']}"))["total"] == int(seen)
            if not seen:
                body = {"name": "x", "type": "text", "content": "x", "collection_id": collection["id"]}
                refused = await person.call("POST", "/context", body)
                assert list(refusal(refused, 422, "VALIDATION_ERROR")["fields"]) == ["collection_id"]
                assert (await client.call("PATCH", path, {"acl": []})).status_code == 200
        refusal(await person.call("PATCH", path, {"name": "x"}), 403, "FORBIDDEN")
        refusal(await person.call("DELETE", path), 403, "FORBIDDEN")


FAULTS: Sequence[tuple[dict[str, object], str]] = [
    ({"name": ""}, "name"),
    ({"name": "x" * 301}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"name": None}, "name"),
    ({"acl": [{}]}, "acl[0]"),
    ({"acl": [{"role": "king"}]}, "acl[0].role"),
    ({"acl": [{"role": "member"}] * 101}, "acl"),
]


@pytest.mark.parametrize(("fields", "field"), FAULTS)
async def test_a_wrong_field_is_named(client: Client, fields: dict[str, object], field: str) -> None:
    path = f"/context/collections/{(await made(client))['id']}"
    for method, where, body in (("POST", "/context/collections", {"name": "x"} | fields), ("PATCH", path, fields)):
        answer = await client.call(method, where, body)
        assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == [field]


async def test_a_wrong_filter_is_named(client: Client) -> None:
    answer = await client.call("GET", "/context?collection_id=x")
    assert list(refusal(answer, 422, "VALIDATION_ERROR")["fields"]) == ["collection_id"]
    for ids in (["x"], [str(uuid4())] * 101):
        body = {"query": "x", "filter": {"collection_ids": ids}}
        answer = await client.call("POST", "/context/search", body)
        (field,) = refusal(answer, 422, "VALIDATION_ERROR")["fields"]
        assert field.startswith("filter.collection_ids")
