"""What searches read: as copilot_app, behind row-level security, a small tenant beside a large one."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString
from uuid import UUID

import numpy as np
import psycopg
import pytest
from pgvector import Vector
from psycopg.types.json import Jsonb

from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_common.platform.sql import Queries
from copilot_domain.context.terms import count_terms
from copilot_domain.context.types import SearchMode
from integration.context.ground import ContextGround
from support.api import Site
from support.api_sql import Plan

search_sql = Queries("copilot_domain.context.search")
collections_sql = Queries("copilot_domain.context.collections")
segments_sql = Queries("copilot_domain.context.segments")
ingestion_sql = Queries("copilot_domain.context.ingestion")

SMALL, LARGE = 60, 3_000
# Item n has one chunk, the label of its remainder by 50, and a vector that turns with n; every other one is in a
# collection, that of its remainder. Each of eight segments has a
# posting list of each term from 1, thirty in a block.
FILL = """
    INSERT INTO context_collections (tenant_id, id, user_id, name_sealed)
        SELECT %(tenant)s, md5('g' || %(tenant)s || n)::uuid, %(user)s, '' FROM generate_series(0, 49) n;
    INSERT INTO context_items (tenant_id, id, user_id, name_sealed, type, status, chunk_count, live_attempt,
            metadata, collection_id)
        SELECT %(tenant)s, md5('i' || %(tenant)s || n)::uuid, %(user)s, '', 'text', 'ready', 1, 1,
            jsonb_build_object('n', n %% 50),
            CASE WHEN n %% 2 = 0 THEN md5('g' || %(tenant)s || n %% 50)::uuid END
        FROM generate_series(1, %(rows)s) n;
    INSERT INTO context_labels (tenant_id, label, item_id)
        SELECT %(tenant)s, n %% 50, md5('i' || %(tenant)s || n)::uuid FROM generate_series(1, %(rows)s) n;
    INSERT INTO context_chunks (tenant_id, id, item_id, attempt, number, start_offset, end_offset, token_count,
            text_hash, text_sealed)
        SELECT %(tenant)s, md5('c' || %(tenant)s || n)::uuid, md5('i' || %(tenant)s || n)::uuid, 1, 1, n, n + 1, 1,
            int4send(n), repeat('x', 900)::bytea
        FROM generate_series(1, %(rows)s) n;
    INSERT INTO context_embeddings (tenant_id, chunk_id, model, embedding)
        SELECT %(tenant)s, md5('c' || %(tenant)s || n)::uuid, 'm',
            array_cat(ARRAY[cos(n / 3000.0), sin(n / 3000.0)], array_fill(0::float8, ARRAY[254]))::vector
        FROM generate_series(1, %(rows)s) n;
    INSERT INTO context_segments (tenant_id, id, level, chunk_count, term_total, languages, layout)
        SELECT %(tenant)s, md5('s' || %(tenant)s || s)::uuid, 1, %(rows)s, 1, '{}', '' FROM generate_series(1, 8) s;
    INSERT INTO context_posting_blocks (tenant_id, segment_id, first_term, terms, postings)
        SELECT %(tenant)s, md5('s' || %(tenant)s || s)::uuid, min(t), array_agg(t), array_agg(repeat('abc', 10)::bytea)
        FROM generate_series(1, 8) s, generate_series(1, %(rows)s) t
        GROUP BY s, t / 30;
"""


@pytest.fixture
def app(site: Site) -> Iterator[psycopg.Connection]:
    """In the large tenant, beside a small one."""
    fill(site, "REINDEX INDEX context_embeddings_embedding_idx", "VACUUM ANALYZE")
    with psycopg.connect(site.database.app_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", [site.other.tenant_id])
        yield connection


def fill(site: Site, *then: LiteralString) -> None:
    with psycopg.connect(site.database.admin_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as admin:
        for who, rows in ((site.other, LARGE), (site.acme, SMALL)):
            admin.execute(FILL, {"tenant": who.tenant_id, "user": who.user_id, "rows": rows})
        for statement in then:
            admin.execute(statement)


def asked(site: Site, **more: object) -> dict[str, object]:
    user = site.other.user_id
    return {
        "tenant_id": UUID(site.other.tenant_id),
        "user_id": UUID(user),
        "identities": [f"user:{user}"],
        **more,
    }


def uuids(app: psycopg.Connection, kind: str, numbers: Sequence[int], site: Site) -> list[UUID]:
    query = "SELECT md5(%s || %s || n)::uuid FROM unnest(%s::integer[]) n"
    return [row[0] for row in app.execute(query, [kind, site.other.tenant_id, list(numbers)]).fetchall()]


def test_checking_candidates_reads_no_others(site: Site, app: psycopg.Connection) -> None:
    numbers = range(100, 2_500, 10)
    chunk_ids = uuids(app, "c", numbers, site)
    params = asked(
        site,
        chunk_ids=chunk_ids,
        item_ids=uuids(app, "i", numbers, site),
        attempts=[1] * len(numbers),
        model="m",
    )
    plan = Plan(app, search_sql["check_candidates"], params)
    assert "context_embeddings" not in plan.scanned_tables
    assert rows_of_table(plan, "context_embeddings") == len(numbers)
    assert "context_embeddings_embedding_idx" not in plan.indexes
    fewer = Plan(app, search_sql["check_candidates"], params | {"chunk_ids": chunk_ids[::2]})
    assert rows_of_table(fewer, "context_items") == len(numbers)
    assert rows_of_table(fewer, "context_embeddings") == len(numbers) // 2


def test_a_table_without_statistics_tempts_nobody_to_read_all_of_it(site: Site) -> None:
    """As after a large import: the planner then takes a tenant for a few rows."""
    fill(site)
    numbers = range(100, 2_500, 10)
    with psycopg.connect(site.database.app_url, autocommit=True) as app:
        app.execute("SELECT set_config('app.tenant_id', %s, false)", [site.other.tenant_id])
        chunk_ids, item_ids = (uuids(app, kind, numbers, site) for kind in "ci")
        count = len(numbers)
        params = asked(
            site,
            chunk_ids=chunk_ids,
            item_ids=item_ids,
            attempts=[1] * count,
            model="m",
        )
        checked = Plan(app, search_sql["check_candidates"], params)
        shown = Plan(app, search_sql["show_chunks"], asked(site, ids=chunk_ids[:20]))
    for plan, count in ((checked, len(numbers)), (shown, 20)):
        assert rows_of_table(plan, "context_items") == count
        assert rows_of_table(plan, "context_chunks") in {0, count}


def test_which_collections_may_be_seen_is_found_out_once(site: Site, app: psycopg.Connection) -> None:
    """Not for each candidate anew, also where the asker has made none of them."""
    numbers = range(100, 2_500, 10)
    stranger = {"user_id": UUID(int=1), "identities": ["role:viewer"]}
    params = asked(site, item_ids=uuids(app, "i", numbers, site))
    plan = Plan(app, search_sql["check_rights"], params | stranger)
    (scan,) = (node for node in plan.nodes if node.get("Relation Name") == "context_collections")
    assert (scan["Actual Loops"], scan["Actual Rows"]) == (1, 50)
    assert rows_of_table(plan, "context_items") == len(numbers)


def test_access_lists_are_asked_of_the_candidates_alone(site: Site, app: psycopg.Connection) -> None:
    """By the statement that leaves out what the asker may not see: a third is everybody's, a third a role's."""
    lists = "UPDATE context_items SET acl = CASE metadata['n']::integer %% 3 WHEN 1 THEN '{role:viewer}'::text[] "
    with psycopg.connect(site.database.admin_url, autocommit=True) as admin:
        admin.execute(lists + "WHEN 2 THEN '{user:another}' ELSE '{}' END WHERE tenant_id = %s", [site.other.tenant_id])
        admin.execute("VACUUM ANALYZE context_items")
    numbers = range(100, 2_500, 10)
    params = asked(site, item_ids=uuids(app, "i", numbers, site)) | {"user_id": UUID(int=1)}
    for identities, shares in ((["role:viewer"], {0, 1}), ([], {0})):
        asker = params | {"identities": identities}
        plan = Plan(app, search_sql["check_rights"], asker)
        assert "context_items" not in plan.scanned_tables
        assert rows_of_table(plan, "context_items") == len(numbers)
        seen = {row[0] for row in app.execute(search_sql["check_rights"], asker).fetchall()}
        assert seen == {place for place, number in enumerate(numbers) if number % 50 % 3 in shares}


def test_exact_scores_are_of_every_vector_and_not_of_what_the_guides_index_shows(
    site: Site, app: psycopg.Connection
) -> None:
    vector = "[" + ",".join(["1"] + ["0"] * 255) + "]"
    plan = Plan(app, search_sql["score_exactly"], asked(site, vector=vector, model="m", limit=10))
    assert "context_embeddings_embedding_idx" not in plan.indexes
    assert rows_of_table(plan, "context_embeddings") >= LARGE
    app.execute("SELECT set_config('app.tenant_id', %s, false)", [site.acme.tenant_id])
    small = {**asked(site, vector=vector, model="m", limit=10), "tenant_id": UUID(site.acme.tenant_id)}
    assert rows_of_table(Plan(app, search_sql["score_exactly"], small), "context_embeddings") == SMALL


def test_a_metadata_filter_reads_only_what_has_its_label(site: Site, app: psycopg.Connection) -> None:
    """Row-level security lets no index serve `@>`; equal labels it does."""
    params = asked(site, item_ids=None, collection_ids=None, type=None, metadata=Jsonb({"n": 7}), labels=[7])
    plan = Plan(app, search_sql["find_labelled"], params)
    assert not {"context_labels", "context_items"} & plan.scanned_tables
    assert rows_of_table(plan, "context_labels") == LARGE // 50
    assert rows_of_table(plan, "context_items") <= LARGE // 50


def test_a_filter_by_items_reads_only_those(site: Site, app: psycopg.Connection) -> None:
    params = asked(site, item_ids=uuids(app, "i", [3, 5], site), collection_ids=None, type=None, metadata=None)
    plan = Plan(app, search_sql["find_allowed"], params)
    assert rows_of_table(plan, "context_items") == 2


def test_a_filter_by_collections_reads_only_what_is_in_them(site: Site, app: psycopg.Connection) -> None:
    wanted = uuids(app, "g", [4, 6], site)
    params = asked(site, item_ids=None, collection_ids=wanted, type=None, metadata=None)
    plan = Plan(app, search_sql["find_allowed"], params)
    assert "context_items" not in plan.scanned_tables
    assert rows_of_table(plan, "context_items") == 2 * LARGE // 50


def test_whether_a_collection_is_empty_is_read_from_its_items_alone(site: Site, app: psycopg.Connection) -> None:
    params = asked(site, id=uuids(app, "g", [4], site)[0], count_limit=1_001)
    plan = Plan(app, collections_sql["count_items_of"], params)
    assert plan.indexes == {"context_items_of_collection"}
    assert plan.rows_read == LARGE // 50


@pytest.mark.parametrize("wanted", [[37], [31, 37], [40, 9_999]])
def test_a_text_search_touches_only_the_postings_of_its_terms(
    site: Site, app: psycopg.Connection, wanted: list[int]
) -> None:
    plan = Plan(app, segments_sql["find_postings"], asked(site, ids=uuids(app, "s", range(1, 9), site), terms=wanted))
    assert "context_posting_blocks" not in plan.scanned_tables
    assert rows_of_table(plan, "context_posting_blocks") == 8 * len(wanted)  # a block for each, also where it lacks it


def test_equal_chunks_are_found_by_their_hash(site: Site, app: psycopg.Connection) -> None:
    hashes = [number.to_bytes(4) for number in (5, 70_000, 900)]
    plan = Plan(app, ingestion_sql["find_vectors"], asked(site, hashes=hashes, model="m"))
    assert "context_chunks" not in plan.scanned_tables
    assert rows_of_table(plan, "context_chunks") <= len(hashes)


def rows_of_table(plan: Plan, table: str) -> int:
    return sum(rows_of(node) for node in plan.nodes if node.get("Relation Name") == table)


def rows_of(node: dict[str, Any]) -> int:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def test_the_guides_index_alone_would_miss_most_of_a_small_tenant(site: Site, app: psycopg.Connection) -> None:
    """Why no search goes by it."""
    app.execute("SELECT set_config('app.tenant_id', %s, false)", [site.acme.tenant_id])
    app.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
    near = str(Vector([math.cos(0.9), math.sin(0.9), *[0.0] * 254]).to_text())
    query = "SELECT chunk_id FROM context_embeddings ORDER BY embedding <=> %s::vector LIMIT 10"
    assert len(app.execute(query, [near]).fetchall()) < 10


async def test_a_search_starts_no_processes_that_share_its_work(context: ContextGround) -> None:
    async with context.db.transaction(context.acme, is_snapshot=True) as tx:
        assert await tx.fetch_value("SELECT current_setting('max_parallel_workers_per_gather')") == "0"


async def test_a_small_tenants_nearest_are_the_exact_ones_beside_a_large_one(context: ContextGround) -> None:
    for number in range(25):
        await context.add(f"A note about {'ships' if number % 2 else 'taxes'} and day {number} of the year.")
        await context.add(f"Ships sail on day {number}, taxes are due.", by=context.other)
    hits = await context.search("ships of day 7", "vector")
    query = (await WordLlamaEmbedder().embed(["ships of day 7"], purpose="query")).vectors[0]
    tenant = context.acme.tenant_id
    rows = context.site.rows("SELECT chunk_id, embedding::text FROM context_embeddings WHERE tenant_id = %s", tenant)
    cosines = {chunk_id: float(np.array(json.loads(text)) @ query) for chunk_id, text in rows}
    exact = sorted(cosines, key=lambda chunk_id: -cosines[chunk_id])[:10]
    assert [hit.chunk_id for hit in hits] == exact


def bm25(texts: list[str], query: str) -> list[float]:
    """The textbook's formula over all texts (Robertson and Zaragoza 2009, with Lucene's idf)."""
    counts = [count_terms(text) for text in texts]
    average = sum(count.total() for count in counts) / len(counts)

    def weigh(count: Counter[str], word: str) -> float:
        found_in = sum(word in other for other in counts)
        idf = math.log(1 + (len(texts) - found_in + 0.5) / (found_in + 0.5))
        times = count[word]
        return idf * times * (1.2 + 1) / (times + 1.2 * (1 - 0.75 + 0.75 * count.total() / average))

    return [sum(weigh(count, word) for word in count_terms(query)) for count in counts]


TEXTS = [
    "The walrus rests on the ice.",
    "Ice, ice and more ice: the walrus swims, the walrus dives under the ice.",
    "A heron stands in the reeds.",
    "Reeds and ice are what the heron and the walrus have in common, says a long text about reeds.",
    "Nothing of this kind.",
]


@pytest.mark.parametrize(
    "query", ["walrus", "ice walrus", "heron in reeds", "common kinds of herons", "reeds reeds ice"]
)
async def test_bm25_scores_are_those_of_the_formula(context: ContextGround, query: str) -> None:
    mode: SearchMode = "text"
    for text in TEXTS:
        await context.add(text)
    await context.add("walrus and ice of another tenant", by=context.other)
    scores = {hit.text: hit.score for hit in await context.search(query, mode)}
    expected = {text: score for text, score in zip(TEXTS, bm25(TEXTS, query), strict=True) if score > 0}
    assert scores == pytest.approx(expected)
    assert list(scores) == sorted(scores, key=lambda text: -scores[text])
