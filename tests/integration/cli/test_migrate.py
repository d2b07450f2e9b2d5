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


def test_down_tells_of_each_step_what_it_undoes(cli: Cli) -> None:
    """What its file says."""
    result = cli.run("migrate", "down", "--to", "13", code=1, stdin="n\n")
    assert "014_collections: collections, and items that have expired" in result.stderr
    assert "015_quotas: the tenants' own quotas" in result.stderr


def test_a_build_of_before_has_nothing_to_apply_to_a_schema_it_can_live_with(cli: Cli, database: Database) -> None:
    """As when `helm upgrade` goes back to it."""
    record_newer(database, oldest_build=VERSIONS[-1])
    assert cli.json("migrate", "up")["applied"] == []
    record_newer(database, oldest_build=VERSIONS[-1] + 1)
    assert "newer than this build's" in cli.run("migrate", "up", code=1).stderr


def test_a_build_of_before_adds_nothing_below_a_newer_schema(cli: Cli, database: Database) -> None:
    cli.run("migrate", "down", "--to", str(VERSIONS[-2]), "--yes")
    record_newer(database, oldest_build=1)
    assert "newer than this build's" in cli.run("migrate", "up", code=1).stderr


def test_nothing_is_rolled_back_from_under_a_newer_builds_migration(cli: Cli, database: Database) -> None:
    record_newer(database, oldest_build=1)
    refused = cli.run("migrate", "down", "--to", "0", "--yes", code=1)
    assert f"Migration {VERSIONS[-1] + 1:03} is a newer build's" in refused.stderr
    assert _tables(database) > 0
    assert cli.json("migrate", "down", "--to", str(VERSIONS[-1] + 1), "--yes")["rolled_back"] == []


def record_newer(database: Database, *, oldest_build: int) -> None:
    """As the next build's migration would."""
    version = VERSIONS[-1] + 1
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = %s", [version])
        connection.execute(
            "INSERT INTO schema_migrations (version, name, oldest_build) VALUES (%s, 'newer', %s)",
            [version, oldest_build],
        )


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
