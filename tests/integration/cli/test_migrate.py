"""`copilot migrate`."""

import psycopg

from copilot_common.platform import migrate
from support.stack import Database

from .conftest import Cli

VERSIONS = [migration.version for migration in migrate.available()]


def test_up_applies_everything_once(blank_cli: Cli) -> None:
    assert blank_cli.json("migrate", "up")["applied"] == VERSIONS
    assert blank_cli.json("migrate", "up")["applied"] == []
    assert "up to date" in blank_cli.run("migrate", "up").stdout


def test_status_tells_pending_from_applied_also_by_its_exit_code(blank_cli: Cli) -> None:
    blank_cli.run("migrate", "up")
    assert [one["state"] for one in blank_cli.json("migrate", "status")] == ["applied"] * len(VERSIONS)
    blank_cli.run("migrate", "down", "--to", "0", "--yes")
    pending = blank_cli.json(
        "migrate", "status", code=1, MIGRATION_DATABASE_URL=blank_cli.environ["ADMIN_DATABASE_URL"]
    )
    assert [one["state"] for one in pending] == ["pending"] * len(VERSIONS)


def test_down_says_what_is_lost_and_does_nothing_without_a_yes(cli: Cli, database: Database) -> None:
    result = cli.run("migrate", "down", "--to", "0", code=1, stdin="n\n")
    assert "001" in result.stderr
    assert "initial" in result.stderr
    assert "conversations" in result.stderr
    assert "Rolled back" not in result.stdout
    assert _tables(database) > 0


def test_down_with_yes_drops_the_tables(cli: Cli, database: Database) -> None:
    assert cli.json("migrate", "down", "--to", "0", "--yes")["rolled_back"] == VERSIONS[::-1]
    assert _tables(database) == 0


def test_a_database_that_cannot_be_reached_is_one_line(cli: Cli) -> None:
    unreachable = "postgresql://copilot_owner:hunter2@127.0.0.1:1/copilot"
    result = cli.run("migrate", "status", code=1, MIGRATION_DATABASE_URL=unreachable)
    assert "is it running" in result.stderr
    assert "hunter2" not in result.output


def _tables(database: Database) -> int:
    query = (
        "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'copilot_keys') AND tablename LIKE '%tenant%'"
    )
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
