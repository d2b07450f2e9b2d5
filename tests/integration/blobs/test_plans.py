"""Statements that must stay fast while tables grow: as copilot_app, behind row-level security, on full tables."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from copilot_common.platform.sql import Queries
from support.api import Site
from support.api_sql import Plan

sql = Queries("copilot_common.blobs")

FILL = """
    INSERT INTO blobs (tenant_id, id, size_bytes, piece_count, manifest_sealed)
        SELECT %(tenant)s, md5(%(tenant)s || n)::uuid, 1, 20, '' FROM generate_series(1, 1000) n;
    INSERT INTO blobs (tenant_id, id, created_at)
        SELECT %(tenant)s, md5('u' || %(tenant)s || n)::uuid, now() - interval '2 days' FROM generate_series(1, 3) n;
    INSERT INTO blob_pieces (tenant_id, blob_id, number, content_sealed)
        SELECT tenant_id, id, n, repeat('x', 100)::bytea FROM blobs, generate_series(0, 19) n
        WHERE tenant_id = %(tenant)s;
    INSERT INTO blob_removals (tenant_id, blob_id, object_count, due_at)
        SELECT %(tenant)s, md5('r' || %(tenant)s || n)::uuid, 1, now() + n * interval '1 minute'
        FROM generate_series(-4, 1000) n;
"""


@pytest.fixture
def filled(site: Site) -> Site:
    with psycopg.connect(site.database.admin_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as admin:
        for who in (site.acme, site.other):
            admin.execute(FILL, {"tenant": who.tenant_id})
        admin.execute("ANALYZE")
    return site


@pytest.fixture
def app(filled: Site) -> Iterator[psycopg.Connection]:
    with psycopg.connect(filled.database.app_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", [filled.acme.tenant_id])
        yield connection


@pytest.fixture
def of_a_blob(filled: Site) -> dict[str, object]:
    """Looked up elsewhere: PostgreSQL's counters are the session's."""
    query = "SELECT id FROM blobs WHERE piece_count = 20 AND tenant_id = %s LIMIT 1"
    found = filled.rows(query, filled.acme.tenant_id)
    return {"tenant_id": UUID(filled.acme.tenant_id), "blob_id": found[0][0]}


def touched(app: psycopg.Connection) -> dict[str, tuple[int, int, int]]:
    """By table: scans from end to end, rows found through an index, rows deleted. Within the transaction."""
    query = "SELECT relname, seq_scan, idx_tup_fetch, n_tup_del FROM pg_stat_xact_user_tables"
    rows = app.execute(query + " WHERE seq_scan + idx_scan > 0").fetchall()
    return {name: (scans, fetched, deleted) for name, scans, fetched, deleted in rows}


def test_one_piece_is_one_row(app: psycopg.Connection, of_a_blob: dict[str, object]) -> None:
    plan = Plan(app, sql["find_piece"], of_a_blob | {"number": 7})
    assert plan.indexes == {"blob_pieces_pkey"}
    assert plan.rows_read == 1
    assert Plan(app, sql["find_manifest"], of_a_blob).rows_read == 1


def test_reading_a_piece_touches_one_row_of_one_table(app: psycopg.Connection, of_a_blob: dict[str, object]) -> None:
    with app.transaction(force_rollback=True):
        app.execute(sql["find_piece"], of_a_blob | {"number": 7})
        assert touched(app) == {"blob_pieces": (0, 1, 0)}


def test_writing_a_piece_looks_up_its_blob_and_no_other_piece(app: psycopg.Connection, filled: Site) -> None:
    params = {"tenant_id": UUID(filled.acme.tenant_id), "blob_id": uuid4()}
    with app.transaction(force_rollback=True):
        app.execute(sql["insert_blob"], params)
        app.execute(sql["insert_piece"], params | {"number": 0, "content_sealed": b"x"})
        rows = touched(app)
    assert rows.keys() - {"tenants"} == {"blobs"}
    assert rows["blobs"][0] == 0
    assert rows["blobs"][1] <= 3  # the look-up, its lock, the foreign key


def test_announcing_an_object_touches_its_blob_and_no_other(app: psycopg.Connection, filled: Site) -> None:
    params = {"tenant_id": UUID(filled.acme.tenant_id), "blob_id": uuid4()}
    with app.transaction(force_rollback=True):
        assert app.execute(sql["insert_blob_in_objects"], params).rowcount == 1
        assert app.execute(sql["announce_object"], params | {"number": 0}).rowcount == 1
        rows = touched(app)
    assert rows["blobs"][0] == rows["blob_removals"][0] == 0
    assert (rows["blobs"][1], rows["blob_removals"][1]) == (1, 0)


def test_claiming_removals_looks_only_at_what_is_due(app: psycopg.Connection) -> None:
    with app.transaction(force_rollback=True):
        assert app.execute(sql["claim_removals"], {"limit": 50}).rowcount == 10
        rows = touched(app)
    assert rows["blob_removals"][0] == 0
    assert rows["blob_removals"][1] <= 30  # found, locked, updated


def test_deleting_a_blob_touches_its_own_pieces_only(app: psycopg.Connection, of_a_blob: dict[str, object]) -> None:
    with app.transaction(force_rollback=True):
        app.execute(sql["delete_blob"], of_a_blob)
        rows = touched(app)
    assert rows == {"blobs": (0, 1, 1), "blob_pieces": (0, 20, 20)}


def test_pruning_looks_only_at_what_is_unfinished(app: psycopg.Connection) -> None:
    with app.transaction(force_rollback=True):
        assert app.execute(sql["prune_blobs"], {"limit": 1_000}).fetchone() == (126,)
        rows = touched(app)
    assert rows["blobs"][0] == rows["blob_pieces"][0] == 0
    assert (rows["blobs"][2], rows["blob_pieces"][2]) == (6, 120)
