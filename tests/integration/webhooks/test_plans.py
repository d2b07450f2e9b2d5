"""Statements that must stay fast while deliveries grow: as copilot_app, behind row-level security, on full tables."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from copilot_common.platform.sql import Queries
from support.api import Site
from support.api_sql import Plan

sql = Queries("copilot_domain.webhooks")
LAST_ID = UUID(int=2**128 - 1)

FILL = """
    INSERT INTO webhooks (tenant_id, id, user_id, url_sealed, events, secret_sealed)
        SELECT %(tenant)s, md5(%(tenant)s || n)::uuid, %(user)s, '', '{message.created}', ''
        FROM generate_series(1, 20) n;
    INSERT INTO webhook_deliveries (tenant_id, id, webhook_id, event, body_sealed, job_id)
        SELECT tenant_id, md5(id::text || n)::uuid, id, 'message.created', '', md5(id::text || n)::uuid
        FROM webhooks, generate_series(1, 500) n WHERE tenant_id = %(tenant)s;
    INSERT INTO jobs (tenant_id, id, queue, kind, class, payload, status, user_id, max_failures, ended_at)
        SELECT tenant_id, job_id, 'workflow', 'webhook.deliver/1', 3, '', 'completed', %(user)s, 1, now()
        FROM webhook_deliveries WHERE tenant_id = %(tenant)s;
"""


@pytest.fixture
def filled(site: Site) -> Site:
    with psycopg.connect(site.database.admin_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as admin:
        for who in (site.acme, site.other):
            admin.execute(FILL, {"tenant": who.tenant_id, "user": who.user_id})
        admin.execute("UPDATE webhook_deliveries SET created_at = now() - interval '31 days' WHERE id::text LIKE 'ff%'")
        admin.execute("ANALYZE")
    return site


@pytest.fixture
def app(filled: Site) -> Iterator[psycopg.Connection]:
    with psycopg.connect(filled.database.app_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", [filled.acme.tenant_id])
        yield connection


@pytest.fixture
def of_a_webhook(filled: Site) -> dict[str, object]:
    (row,) = filled.rows("SELECT id FROM webhooks WHERE tenant_id = %s LIMIT 1", filled.acme.tenant_id)
    return {"tenant_id": UUID(filled.acme.tenant_id), "webhook_id": row[0]}


def test_a_page_of_deliveries_reads_that_page_and_its_jobs(
    app: psycopg.Connection, of_a_webhook: dict[str, object]
) -> None:
    plan = Plan(app, sql["list_deliveries"], of_a_webhook | {"before": LAST_ID, "offset": 0, "limit": 21})
    assert plan.indexes == {"webhook_deliveries_list", "jobs_pkey"}
    assert plan.rows_read <= 2 * 21


def test_publishing_reads_the_tenants_webhooks_only(app: psycopg.Connection, of_a_webhook: dict[str, object]) -> None:
    plan = Plan(app, sql["hold_subscribers"], of_a_webhook | {"event": "message.created"})
    assert plan.rows_read <= 20 * 2


def test_pruning_finds_the_old_ones_by_their_age(app: psycopg.Connection) -> None:
    counters = "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'webhook_deliveries'"
    with app.transaction(force_rollback=True):
        found = app.execute(b"SELECT dispatch.prune_deliveries(10)").fetchone()
        assert found
        assert 0 < found[0] <= 10
        assert app.execute(counters).fetchone() == (0,)
