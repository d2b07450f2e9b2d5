"""Queries that must stay fast while tables grow: as copilot_app, behind row-level security, on full tables."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from copilot_domain.conversations.repository import BEFORE_ALL, sql
from support.api import Site
from support.api_sql import Plan

ROWS = 4_000
BIG = UUID(int=1)  # a conversation with all its messages
FILL = """
    INSERT INTO conversations (tenant_id, id, user_id, metadata_sealed, visibility, updated_at)
        SELECT %(tenant)s, md5(%(tenant)s || n)::uuid, %(user)s, '',
            CASE n %% 2 WHEN 0 THEN 'tenant' ELSE 'private' END, now() - make_interval(mins => n)
        FROM generate_series(1, %(rows)s) n;
    INSERT INTO conversations (tenant_id, id, user_id, metadata_sealed, visibility, message_count)
        VALUES (%(tenant)s, %(big)s, %(user)s, '', 'tenant', %(rows)s);
    INSERT INTO messages (tenant_id, id, conversation_id, position, role, status, user_id, content_sealed)
        SELECT %(tenant)s, md5('m' || %(tenant)s || n)::uuid, %(big)s, n,
            CASE n %% 2 WHEN 0 THEN 'assistant' ELSE 'user' END, 'completed', %(user)s, repeat('x', 100)::bytea
        FROM generate_series(1, %(rows)s) n;
"""


@pytest.fixture
def app(site: Site) -> Iterator[psycopg.Connection]:
    """In acme's tenant, the same amount of another tenant's rows beside it."""
    with psycopg.connect(site.database.admin_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as admin:
        for who in (site.acme, site.other):
            admin.execute(FILL, {"tenant": who.tenant_id, "user": who.user_id, "rows": ROWS, "big": BIG})
        admin.execute("ANALYZE")
    with psycopg.connect(site.database.app_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", [site.acme.tenant_id])
        yield connection


def of(site: Site) -> dict[str, object]:
    return {"tenant_id": UUID(site.acme.tenant_id), "user_id": UUID(site.acme.user_id)}


@pytest.mark.parametrize("depth", [0, ROWS - 50])
@pytest.mark.parametrize("who", ["owner", "another member"])
def test_a_page_of_conversations_reads_about_a_page(site: Site, app: psycopg.Connection, depth: int, who: str) -> None:
    params = of(site) | ({} if who == "owner" else {"user_id": uuid4()})
    query = "SELECT updated_at, id FROM conversations ORDER BY 1 DESC, 2 DESC OFFSET %s LIMIT 1"
    found = app.execute(query, [depth]).fetchone()
    assert found
    moment, last_id = found if depth else BEFORE_ALL
    cursor = {"before": moment, "before_id": last_id, "offset": 0, "limit": 21}
    plan = Plan(app, sql["list_conversations"], params | cursor)
    assert plan.scanned_tables == set()
    assert plan.rows_read < 200


def test_counting_stops_at_its_limit(site: Site, app: psycopg.Connection) -> None:
    plan = Plan(app, sql["count_conversations"], of(site) | {"count_limit": 1_001})
    assert plan.rows_read <= 2 * 1_001


@pytest.mark.parametrize("after", [0, ROWS // 2, ROWS - 60])
def test_a_page_of_messages_reads_about_a_page(site: Site, app: psycopg.Connection, after: int) -> None:
    params = of(site) | {"conversation_id": BIG, "after_position": after, "offset": 0, "limit": 51}
    plan = Plan(app, sql["list_messages"], params)
    assert plan.indexes == {"messages_position_unique"}
    assert plan.rows_read <= 60


def test_the_start_of_a_turn_reads_only_the_newest_messages(site: Site, app: psycopg.Connection) -> None:
    """The function hides its plans: PostgreSQL's own counters of what a transaction touched do not."""
    sealed = dict.fromkeys(("content_sealed", "metadata_sealed", "documents_sealed", "empty_sealed"), b"")
    own = dict.fromkeys(("user_message_id", "answer_id", "process_id", "audit_id", "actor_id"), UUID(int=7))
    limits = {
        "max_messages": 100,
        "max_bytes": 1_000_000,
        "max_system_bytes": 100,
        "input_tokens": 1,
        "synchronous_commit": None,
    }
    model = {"model": "openai/sim", "is_model_given": True, "conversation_model": None}
    audit = {"actor_type": "user", "address": None, "details": "{}"}
    params = of(site) | {"conversation_id": BIG} | sealed | own | limits | model | audit | {"answer_id": UUID(int=8)}
    touched = "SELECT relname, seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE seq_scan + idx_scan > 0"
    with app.transaction(force_rollback=True):
        turn = app.execute(sql["begin_turn"], params).fetchone()
        rows = {name: (scans, fetched) for name, scans, fetched in app.execute(touched).fetchall()}
    assert turn is not None
    assert len(turn[4]) == 100
    assert rows.keys() == {"conversations", "messages"}
    assert [scans for scans, _ in rows.values()] == [0, 0]
    assert rows["messages"][1] <= 110


def test_one_message_is_one_row(site: Site, app: psycopg.Connection) -> None:
    found = app.execute("SELECT id FROM messages WHERE position = 77").fetchone()
    assert found
    plan = Plan(app, sql["get_message"], of(site) | {"conversation_id": BIG, "id": found[0]})
    assert plan.rows_read == 1


def test_the_sweep_looks_only_at_what_is_being_generated(site: Site, app: psycopg.Connection) -> None:
    """The function hides its plan: the statement inside it, as the role it runs as."""
    site.rows("UPDATE messages SET status = 'generating' WHERE position = 8 AND tenant_id = %s", site.acme.tenant_id)
    statement = """
        SELECT tenant_id, id FROM messages m
        WHERE status = 'generating' AND NOT EXISTS (SELECT FROM processes p WHERE p.id = m.process_id) LIMIT 20
    """
    with psycopg.connect(site.database.admin_url, autocommit=True) as admin:
        admin.execute("SET ROLE copilot_dispatch")
        plan = Plan(admin, statement, {})
    assert "messages" not in plan.scanned_tables
    assert plan.rows_read <= 2
