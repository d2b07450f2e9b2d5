"""What docs/upgrading.md has one do before 015, so that it holds its locks for less long."""

import re
from pathlib import Path
from uuid import uuid4

import psycopg

from copilot_common.platform import migrate
from copilot_common.platform.schema import SCHEMA_VERSION
from support.api import make_tenant
from support.stack import Database

_GUIDE = Path(__file__).parents[3] / "docs/upgrading.md"
_TEXTS = """
INSERT INTO blobs (tenant_id, id, size_bytes, piece_count, manifest_sealed) VALUES (%(tenant)s, %(id)s, 41, 1, '');
INSERT INTO context_items (tenant_id, id, user_id, name_sealed, type, content_id)
    VALUES (%(tenant)s, %(id)s, %(user)s, '', 'text', %(id)s);
"""


async def test_sizes_that_are_written_before_leave_nothing_to_write_and_the_same_sums(database: Database) -> None:
    tenant = await make_tenant(database, "acme")
    urls = migrate.DatabaseUrls(migration=database.owner_url)
    await migrate.down(urls, to_version=14)
    (statement,) = re.findall(r"```sql\n(.*?)```", _GUIDE.read_text(), re.DOTALL)
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        for _ in range(3):
            params = {"tenant": tenant.tenant_id, "user": tenant.user_id, "id": uuid4()}
            psycopg.ClientCursor(connection).execute(_TEXTS, params)
        assert [connection.execute(statement).rowcount for _ in range(2)] == [3, 0]
        assert await migrate.up(urls) == list(range(15, SCHEMA_VERSION + 1))
        assert connection.execute("SELECT items, bytes FROM context_usage").fetchall() == [(3, 3 * 41)]
