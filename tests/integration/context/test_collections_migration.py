"""Schema 14 rolled back: nothing is shown that a collection or an expiry hid."""

from copilot_common.platform import migrate
from copilot_domain.context import AclEntry, ItemChanges
from integration.context.ground import ContextGround
from integration.context.test_collections import collect
from integration.context.test_expiring import TEXT, lapse, soon


async def test_a_rollback_narrows_what_was_hidden_and_drops_what_has_expired(context: ContextGround) -> None:
    urls = migrate.DatabaseUrls(migration=context.site.database.owner_url, app=context.site.database.app_url)
    admins = (AclEntry(role="admin"),)
    closed, open_one = await collect(context, *admins), await collect(context)
    hidden = await context.add(TEXT, collection_id=closed.id)
    shown = await context.add(TEXT, collection_id=open_one.id, expires_at=soon())
    own = await context.add(TEXT, acl=admins)
    expired = await context.add(TEXT, expires_at=soon())
    lapse(context, expired)
    assert 14 in await migrate.down(urls, to_version=13)
    acl = dict(context.site.rows("SELECT id, acl FROM context_items"))
    assert acl == {hidden.id: [f"user:{context.acme.user_id}"], shown.id: [], own.id: ["role:admin"]}
    assert context.site.rows("SELECT dead_count FROM context_indexes") == [(1,)]
    assert (context.count("blobs"), context.orphans()) == (3, 0)
    assert 14 in await migrate.up(urls)
    assert {hit.item_id for hit in await context.search("invoices")} <= set(acl)


async def test_a_text_that_waits_for_its_turn_has_it_with_the_rollback(context: ContextGround) -> None:
    """Builds before know no such text: they would ingest the old one again and say that it is ready."""
    urls = migrate.DatabaseUrls(migration=context.site.database.owner_url, app=context.site.database.app_url)
    item = await context.add(TEXT)
    async with context.db.transaction(context.acme) as tx:
        await context.service.update(tx, item.id, ItemChanges(content="Another text."))
    waiting = context.site.rows("SELECT source_id FROM context_items")
    assert 14 in await migrate.down(urls, to_version=13)
    assert context.site.rows("SELECT content_id FROM context_items WHERE source_id IS NULL") == waiting
    assert context.orphans() == 0
    assert 14 in await migrate.up(urls)
