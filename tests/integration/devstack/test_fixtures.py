"""The fixtures every other test stands on."""

import psycopg
import redis

from support.stack import Database


def test_a_test_gets_a_migrated_database_reached_as_a_role_without_rights_of_its_own(database: Database) -> None:
    with psycopg.connect(database.app_url) as connection:
        row = connection.execute("SELECT current_user, current_database()").fetchone()
        bypass = connection.execute(
            "SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'conversations'").fetchone()
    assert row == ("copilot_app", database.name)
    assert bypass == (False,)
    assert tables == (1,)


def test_databases_of_two_tests_are_apart_first(database: Database) -> None:
    _leave_a_mark(database)


def test_databases_of_two_tests_are_apart_second(database: Database) -> None:
    _leave_a_mark(database)


def test_redis_is_empty_first(redis_url: str) -> None:
    _fill(redis_url)


def test_redis_is_empty_second(redis_url: str) -> None:
    _fill(redis_url)


def test_a_blank_database_has_no_schema(blank_database: Database) -> None:
    with psycopg.connect(blank_database.admin_url) as connection:
        assert connection.execute("SELECT to_regclass('public.conversations')").fetchone() == (None,)


def _leave_a_mark(database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("CREATE TABLE public.mark ()")


def _fill(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        assert client.dbsize() == 0
        client.set("key", "value")
