"""Lists that must stay fast while workflows come and go: as copilot_app, behind row-level security, on full tables."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from copilot_common.platform.sql import Queries
from support.api import Site
from support.api_sql import Plan

sql = Queries("copilot_domain.workflows")
run_sql = Queries("copilot_domain.workflows.runs")
LAST_ID = UUID(int=2**128 - 1)

# Of each tenant 2 000 workflows, nine of ten of them deleted, and one with 2 000 versions.
FILL = """
    INSERT INTO workflows (tenant_id, id, user_id, name_sealed, current_version, deleted_at)
        SELECT %(tenant)s, md5(%(tenant)s || n)::uuid, %(user)s, '', 1, CASE WHEN n %% 10 = 0 THEN NULL ELSE now() END
        FROM generate_series(1, 2000) n;
    INSERT INTO workflow_versions (tenant_id, workflow_id, version, definition_sealed, user_id)
        SELECT %(tenant)s, md5(%(tenant)s || 10)::uuid, n, '', %(user)s FROM generate_series(1, 2000) n;
"""


@pytest.fixture
def app(site: Site) -> Iterator[psycopg.Connection]:
    with psycopg.connect(site.database.admin_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as admin:
        for who in (site.acme, site.other):
            admin.execute(FILL, {"tenant": who.tenant_id, "user": who.user_id})
        admin.execute("ANALYZE")
    with psycopg.connect(site.database.app_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", [site.acme.tenant_id])
        yield connection


def test_a_page_of_workflows_reads_a_page(site: Site, app: psycopg.Connection) -> None:
    params = {"tenant_id": UUID(site.acme.tenant_id), "before": LAST_ID, "offset": 0, "limit": 21}
    plan = Plan(app, sql["list_workflows"], params)
    assert plan.indexes == {"workflows_list"}
    assert plan.rows_read <= 25


def test_a_page_of_versions_reads_a_page(site: Site, app: psycopg.Connection) -> None:
    row = app.execute("SELECT workflow_id FROM workflow_versions LIMIT 1").fetchone()
    assert row
    params = {"tenant_id": UUID(site.acme.tenant_id), "id": row[0], "before": 2**31 - 1, "offset": 0, "limit": 21}
    plan = Plan(app, sql["list_versions"], params)
    assert plan.scanned_tables == set()
    assert plan.rows_read <= 25


# A run of 20 000 steps, one after the other, beside another one; every hundredth step asked somebody.
FILL_RUNS = """
    INSERT INTO workflows (tenant_id, id, user_id, name_sealed, current_version)
        SELECT %(tenant)s, md5('w')::uuid, %(user)s, '', 1;
    INSERT INTO workflow_versions (tenant_id, workflow_id, version, definition_sealed, user_id)
        SELECT %(tenant)s, md5('w')::uuid, 1, '', %(user)s;
    INSERT INTO workflow_runs (tenant_id, id, workflow_id, version, job_id, user_id, inputs_sealed, event_count)
        SELECT %(tenant)s, md5('r' || n)::uuid, md5('w')::uuid, 1, gen_random_uuid(), %(user)s, '', 40001
        FROM generate_series(1, 500) n;
    INSERT INTO workflow_steps (
        tenant_id, run_id, path, attempt, step_id, type, status, started_event, ended_event, started_at)
        SELECT %(tenant)s, md5('r' || r)::uuid, 's' || n, 1, 's', 'transform', 'completed', 2 * n, 2 * n + 1, now()
        FROM generate_series(1, 20000) n, generate_series(1, 2) r;
    INSERT INTO workflow_reviews (tenant_id, id, run_id, path, attempt, event, prompt_sealed)
        SELECT %(tenant)s, gen_random_uuid(), md5('r' || r)::uuid, 's', 1, n * 200, ''
        FROM generate_series(1, 200) n, generate_series(1, 2) r;
"""


def test_a_page_of_events_reads_a_page(site: Site) -> None:
    with psycopg.connect(site.database.admin_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as admin:
        admin.execute(FILL_RUNS, {"tenant": site.acme.tenant_id, "user": site.acme.user_id})
        admin.execute("ANALYZE")
        row = admin.execute("SELECT md5('r1')::uuid").fetchone()
        assert row
    with psycopg.connect(site.database.app_url, autocommit=True) as app:
        app.execute("SELECT set_config('app.tenant_id', %s, false)", [site.acme.tenant_id])
        key = {"tenant_id": UUID(site.acme.tenant_id), "run_id": row[0], "id": row[0]}
        page = key | {"after": 20_000, "until": 20_500, "limit": 20}
        steps = Plan(app, run_sql["events_of_steps"], page)
        assert steps.indexes == {"workflow_steps_begun", "workflow_steps_ended"}
        assert steps.rows_read <= 510
        reviews = Plan(app, run_sql["events_of_reviews"], page)
        assert reviews.indexes == {"workflow_reviews_of_run"}
        assert reviews.rows_read <= 20
        assert Plan(app, run_sql["progress"], key).rows_read == 1
