"""What a turn reads where PostgreSQL knows little of the tables: a young deployment's are small when they are counted,
and hold a hundred times as much before that happens again."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from support.api import Site

TOUCHED = "SELECT sum(seq_tup_read + idx_tup_fetch)::int FROM pg_stat_xact_user_tables WHERE relname = ANY (%s)"
# So many questions and answers of each conversation, in turns; later ones have higher ids.
FILL = """
    INSERT INTO conversations (tenant_id, id, user_id, visibility, message_count, title_sealed, metadata_sealed)
        SELECT %(tenant)s, md5('c' || n)::uuid, %(user)s, 'private', %(turns)s * 2, '', ''
        FROM generate_series(%(first)s, %(last)s) n;
    INSERT INTO messages (tenant_id, id, conversation_id, position, role, status, user_id, content_sealed)
        SELECT %(tenant)s, lpad(to_hex(%(first)s * 100000 + p * 1000 + n), 32, '0')::uuid, md5('c' || n)::uuid, p,
            CASE WHEN p %% 2 = 1 THEN 'user' ELSE 'assistant' END, 'completed', %(user)s, repeat('x', 300)::bytea
        FROM generate_series(1, %(turns)s * 2) p, generate_series(%(first)s, %(last)s) n
        ORDER BY p, n;
"""
BEGIN = """
    SELECT answer_position FROM turn.begin(
        %(tenant)s, %(user)s, md5('c5')::uuid, true, NULL, 1000000, 50, 1000000,
        gen_random_uuid(), '', NULL, NULL, %(answer)s, '', 'm', 1, %(process)s,
        gen_random_uuid(), 'user', %(user)s, '', '{}')
"""
FINISH = """
    SELECT turn.finish(
        %(tenant)s, %(user)s, md5('c5')::uuid, %(position)s, %(answer)s, %(process)s, 1,
        'completed', '', NULL, NULL, 'stop', NULL, false,
        gen_random_uuid(), NULL, 'p', 'm', 1, 1, 0, 0, 0, true, 1, 1, false)
"""


@pytest.fixture
def young(site: Site) -> Iterator[psycopg.Connection]:
    """Counted while it had one conversation; three hundred came since. As the app, with plans for any values."""
    with psycopg.connect(site.database.admin_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as admin:
        who = {"tenant": site.acme.tenant_id, "user": site.acme.user_id}
        admin.execute(FILL, who | {"first": 1, "last": 1, "turns": 30})
        admin.execute("ANALYZE messages, conversations")
        admin.execute(FILL, who | {"first": 2, "last": 310, "turns": 5})
    with psycopg.connect(site.database.app_url, autocommit=True) as app:
        app.execute("SET plan_cache_mode = force_generic_plan")
        yield app


def test_a_turn_reads_its_conversation_alone(site: Site, young: psycopg.Connection) -> None:
    values: dict[str, object] = {
        "tenant": site.acme.tenant_id,
        "user": site.acme.user_id,
        "answer": UUID(int=1),
        "process": UUID(int=2),
    }
    with young.transaction():
        begun = young.execute(BEGIN, values).fetchone()
        assert begun is not None
        assert begun[0] == 12
        assert touched(young) <= 30
    with young.transaction():
        assert young.execute(FINISH, values | {"position": 12}).fetchone() == (True,)
        assert touched(young) <= 30


def touched(connection: psycopg.Connection) -> int:
    row = connection.execute(TOUCHED, [["messages", "conversations"]]).fetchone()
    assert row is not None
    return int(row[0])
