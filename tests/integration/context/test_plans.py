"""What searches read: as copilot_app, behind row-level security, a small tenant beside a large one."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pgvector import Vector

from copilot_domain.context.repository import sql
from copilot_domain.context.terms import count_terms
from copilot_domain.context.types import SearchMode
from integration.context.ground import ContextGround
from support.api import Site
from support.api_sql import Plan

SMALL, LARGE, TERMS = 60, 3_000, 40
# A chunk n has the terms that divide it, and a vector that turns with n.
FILL = """
    INSERT INTO context_items (tenant_id, id, user_id, name_sealed, type, status, chunk_count, term_count)
        VALUES (%(tenant)s, %(user)s, %(user)s, '', 'text', 'ready', %(rows)s, 0);
    INSERT INTO context_chunks (tenant_id, id, item_id, number, start_offset, end_offset, token_count, text_sealed)
        SELECT %(tenant)s, md5('c' || %(tenant)s || n)::uuid, %(user)s, n, n, n + 1, 1, repeat('x', 900)::bytea
        FROM generate_series(1, %(rows)s) n;
    INSERT INTO context_postings (tenant_id, chunk_id, tf, length, term)
        SELECT %(tenant)s, md5('c' || %(tenant)s || n)::uuid, 1, 40, int8send(t)
        FROM generate_series(1, %(rows)s) n, generate_series(1, %(terms)s) t WHERE n %% t = 0;
    INSERT INTO context_embeddings (tenant_id, chunk_id, model, embedding)
        SELECT %(tenant)s, md5('c' || %(tenant)s || n)::uuid, 'm',
            array_cat(ARRAY[cos(n / 3000.0), sin(n / 3000.0)], array_fill(0::float8, ARRAY[254]))::vector
        FROM generate_series(1, %(rows)s) n;
    INSERT INTO context_statistics (tenant_id, chunk_count, term_count) VALUES (%(tenant)s, %(rows)s, 40 * %(rows)s);
"""


@pytest.fixture
def app(site: Site) -> Iterator[psycopg.Connection]:
    """In acme's small tenant; the other is fifty times as large, and both are in the index over all."""
    with psycopg.connect(site.database.admin_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as admin:
        for who, rows in ((site.other, LARGE), (site.acme, SMALL)):
            params = {"tenant": who.tenant_id, "user": who.user_id, "rows": rows, "terms": TERMS}
            admin.execute(FILL, params)
        admin.execute("REINDEX INDEX context_embeddings_embedding_idx")
        admin.execute("VACUUM ANALYZE")
    with psycopg.connect(site.database.app_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", [site.acme.tenant_id])
        yield connection


def asked(site: Site, **more: object) -> dict[str, object]:
    user = site.acme.user_id
    own = {"tenant_id": UUID(site.acme.tenant_id), "user_id": UUID(user), "identities": [f"user:{user}"]}
    return {**own, "item_ids": None, "type": None, "metadata": None, "limit": 200, **more}


def of_large(site: Site, app: psycopg.Connection) -> dict[str, object]:
    app.execute("SELECT set_config('app.tenant_id', %s, false)", [site.other.tenant_id])
    return {"tenant_id": UUID(site.other.tenant_id), "user_id": UUID(site.other.user_id)}


def term(number: int) -> bytes:
    return number.to_bytes(8)


@pytest.mark.parametrize("wanted", [[37], [31, 37], [40, 999]])
def test_a_text_search_touches_only_the_postings_of_its_terms(
    site: Site, app: psycopg.Connection, wanted: list[int]
) -> None:
    of = of_large(site, app)
    expected = sum(LARGE // number for number in wanted if number <= TERMS)
    plan = Plan(app, sql["search_text"], asked(site, terms=[term(number) for number in wanted], **of))
    postings = [node for node in plan.nodes if node.get("Relation Name") == "context_postings"]
    assert "context_postings" not in plan.scanned_tables
    assert {name for name in plan.indexes if name.startswith("context_postings")} == {"context_postings_by_term"}
    assert sum(rows_of(node) for node in postings) == expected


def rows_of(node: dict[str, Any]) -> int:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def nearest(connection: psycopg.Connection, params: dict[str, object]) -> list[Any]:
    rows = connection.execute(sql["search_vectors"], params).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("angle", [0.0, 0.0101, 0.5, 1.5])
def test_a_small_tenants_vector_search_is_exact_beside_a_large_one(
    site: Site, app: psycopg.Connection, angle: float
) -> None:
    vector = [math.cos(angle), math.sin(angle), *[0.0] * 254]
    params = asked(site, model="m", embedding=str(Vector(vector).to_text()), limit=10)
    ids: dict[int, UUID] = dict(app.execute("SELECT number, id FROM context_chunks").fetchall())
    exact = sorted(ids, key=lambda n: abs(n / 3000 - angle))[:10]
    # Whatever tempts the planner to the index over all tenants.
    app.execute(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; SET random_page_cost = 0.1"
    )
    found = nearest(app, params)
    assert set(found) == {ids[n] for n in exact}
    assert len(found) == 10
    plan = Plan(app, sql["search_vectors"], params)
    assert "context_embeddings_embedding_idx" not in plan.indexes


def test_the_guides_index_alone_would_miss_most_of_a_small_tenant(site: Site, app: psycopg.Connection) -> None:
    """Why the query is written as it is; where this fails, it may be written more simply."""
    app.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
    near = str(Vector([math.cos(0.9), math.sin(0.9), *[0.0] * 254]).to_text())
    query = "SELECT chunk_id FROM context_embeddings ORDER BY embedding <=> %s::vector LIMIT 10"
    assert len(app.execute(query, [near]).fetchall()) < 10


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
