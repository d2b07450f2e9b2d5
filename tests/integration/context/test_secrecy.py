"""Nothing of what was written can be read in the database, but for what ADR 2 names."""

import re
from uuid import UUID

import psycopg
from psycopg import sql

from copilot_common.encryption import KeyRing
from copilot_domain.context.segments.merging import MERGE_FRESH, Merger
from copilot_domain.context.terms import TermHasher
from integration.context.ground import ContextGround
from support.api import ENCRYPTION_KEY

CANARY = "zebraquagga"
TEXT = f"# {CANARY} heading\n\nThe {CANARY} text is long enough.\n\n## Below\n\nAnd more {CANARY} here."


def dump(context: ContextGround) -> dict[str, str]:
    """Every row of every table with what was written in it, as the superuser sees it."""
    with psycopg.connect(context.site.database.admin_url) as admin:
        query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^(context_|blob|audit_)'"
        names = [row[0] for row in admin.execute(query).fetchall()]
        return {
            name: str(admin.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))).fetchall())
            for name in names
        }


def readable(dumped: str, phrase: str) -> bool:
    return phrase in dumped or phrase.encode().hex() in dumped


async def test_no_column_shows_a_word_of_what_was_written(context: ContextGround) -> None:
    await context.add(TEXT, name=f"{CANARY} name", type="document")
    assert (await context.search(CANARY))[0].heading == [f"{CANARY} heading"]
    dumped = dump(context)
    assert {"context_items", "context_chunks", "context_posting_blocks", "blob_pieces"} <= dumped.keys()
    for table, rows in dumped.items():
        for word in (CANARY, "zebra", "heading", "enough", "Below"):
            assert not readable(rows, word), f"{word} in {table}"


async def test_metadata_is_what_can_be_read(context: ContextGround) -> None:
    """So this test can fail."""
    await context.add("text", metadata={"key": CANARY})
    assert readable(dump(context)["context_items"], CANARY)


async def test_the_same_word_is_another_term_to_another_tenant(context: ContextGround) -> None:
    for principal in (context.acme, context.other):
        for _ in range(MERGE_FRESH):
            await context.add(CANARY, by=principal)
        await Merger(context.db).merge_all(principal)
    found = context.site.rows("SELECT tenant_id, unnest(terms) FROM context_posting_blocks")
    assert len({term for _, term in found}) == 2
    keyring = KeyRing(bytes.fromhex(ENCRYPTION_KEY))
    for principal in (context.acme, context.other):
        async with context.db.transaction(principal) as tx:
            hasher = TermHasher(await keyring.load(tx.connection, principal.tenant_id))
        assert (UUID(str(principal.tenant_id)), hasher(CANARY)) in found
    hashes = context.site.rows("SELECT content_hash FROM context_items")
    assert len({bytes(row[0]) for row in hashes}) == 2


async def test_an_audit_row_names_fields_and_no_values(context: ContextGround) -> None:
    item = await context.add("text")
    await context.change(item.id, name=CANARY, metadata={"m": CANARY})
    await context.delete(item.id)
    rows = context.site.rows("SELECT action, details::text FROM audit_log WHERE resource_id = %s ORDER BY id", item.id)
    assert [action for action, _ in rows] == ["context.created", "context.updated", "context.deleted"]
    assert not re.search(CANARY, str(rows))
