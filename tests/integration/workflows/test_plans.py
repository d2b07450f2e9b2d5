"""Lists that must stay fast while workflows come and go: as copilot_app, behind row-level security, on full tables."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from copilot_common.platform.sql import Queries
from support.api import Site
from support.api_sql import Plan

sql = Queries("copilot_domain.workflows")
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
