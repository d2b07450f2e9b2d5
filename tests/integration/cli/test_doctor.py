"""`copilot doctor`."""

import psycopg
import pytest

from copilot_common.platform import migrate
from support.stack import Database

from .conftest import ENCRYPTION_KEY, JWT_SECRET, Cli


@pytest.fixture(autouse=True)
def _with_tenant(request: pytest.FixtureRequest) -> None:
    if "cli" in request.fixturenames:
        cli: Cli = request.getfixturevalue("cli")
        cli.run("bootstrap", "--email", "ada@example.com", "--generate-password")


def check(cli: Cli, name: str, *, code: int = 0, **environ: str) -> tuple[str, str]:
    """Status and the whole text of one check."""
    report = cli.json("doctor", code=code, **environ)
    found = [one for one in report["checks"] if one["name"] == name]
    assert found, report
    return found[0]["status"], " ".join(one["finding"] + " " + one["advice"] for one in found)


def test_a_good_installation_that_is_not_started_is_well_but_for_the_missing_provider(cli: Cli) -> None:
    report = cli.json("doctor")
    assert report["ok"] is True
    assert {one["name"] for one in report["checks"] if one["status"] != "ok"} - {"sandbox"} == {"providers", "services"}
    assert len(report["checks"]) == 14


def test_what_the_sandbox_stands_on_is_shown_and_its_lack_is_warned_of(cli: Cli) -> None:
    status, text = check(cli, "sandbox")
    assert "seccomp" in text
    assert "Landlock" in text
    assert status == ("warn" if "no seccomp" in text or "no Landlock" in text else "ok")


def test_a_service_without_a_living_process_is_named_with_what_it_takes_along(cli: Cli, database: Database) -> None:
    lease = "INSERT INTO processes (id, service, lease_expires_at) VALUES (gen_random_uuid(), %s, now() + %s::interval)"
    with psycopg.connect(database.admin_url) as connection:
        for service, left in (("api-server", "1 hour"), ("workflow-engine", "-1 second")):
            connection.execute(lease, (service, left))
    status, text = check(cli, "services")
    assert (status, "api-server" in text) == ("warn", False)
    assert "workflow-engine (background answers stay pending), context-service" in text
    with psycopg.connect(database.admin_url) as connection:
        for service in ("workflow-engine", "context-service"):
            connection.execute(lease, (service, "1 hour"))
    assert check(cli, "services")[0] == "ok"


def test_no_value_of_a_setting_is_ever_shown(cli: Cli) -> None:
    for result in (cli.run("doctor"), cli.run("doctor", code=1, JWT_SECRET="short", DATABASE_URL="hunter2")):
        for secret in (ENCRYPTION_KEY, JWT_SECRET, "password-of-tests", "hunter2", "short"):
            assert secret not in result.output


def test_every_faulty_setting_is_named_not_only_the_first(cli: Cli) -> None:
    status, text = check(cli, "settings", code=1, JWT_SECRET="", PORT="many", ENCRYPTION_KEY="short")
    assert status == "fail"
    for name in ("JWT_SECRET is missing", "PORT must be a whole number", "ENCRYPTION_KEY must be 32 bytes"):
        assert name in text


def test_a_role_that_could_bypass_the_wall_fails(cli: Cli, database: Database) -> None:
    status, text = check(cli, "role", code=1, DATABASE_URL=database.owner_url)
    assert status == "fail"
    assert "copilot_app" in text


def test_a_table_without_forced_row_level_security_fails_by_name(cli: Cli, database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("ALTER TABLE messages NO FORCE ROW LEVEL SECURITY")
    status, text = check(cli, "row-level security", code=1)
    assert status == "fail"
    assert "messages" in text


def test_a_tenant_table_without_a_policy_fails_by_name(cli: Cli, database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("CREATE TABLE forgotten (tenant_id uuid)")
    assert "forgotten" in check(cli, "row-level security", code=1)[1]


def test_another_encryption_key_than_the_databases_fails(cli: Cli) -> None:
    status, text = check(cli, "data keys", code=1, ENCRYPTION_KEY="fedcba9876543210" * 4)
    assert status == "fail"
    assert "ENCRYPTION_KEY" in text


def test_a_missing_schema_leads_to_migrate(blank_cli: Cli, stack: object) -> None:
    admin = blank_cli.environ["ADMIN_DATABASE_URL"]
    status, text = check(blank_cli, "schema", code=1, DATABASE_URL=admin, MIGRATION_DATABASE_URL=admin)
    assert status == "fail"
    assert "copilot migrate up" in text


def test_a_changed_migration_fails(cli: Cli, database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("UPDATE schema_migrations SET checksum = 'another'")
    status, text = check(cli, "migrations", code=1)
    assert (status, migrate.available()[0].name in text) == ("fail", True)


def test_redis_that_is_away_fails_and_says_what_goes_on_without_it(cli: Cli) -> None:
    status, text = check(cli, "redis", code=1, REDIS_URL="redis://127.0.0.1:1/0")
    assert status == "fail"
    assert "Chat goes on" in text


def test_a_database_that_is_away_fails_and_the_rest_is_still_looked_at(cli: Cli) -> None:
    url = "postgresql://copilot_app:hunter2@127.0.0.1:1/x"
    assert check(cli, "database", code=1, DATABASE_URL=url, MIGRATION_DATABASE_URL="")[0] == "fail"
    assert check(cli, "redis", code=1, DATABASE_URL=url, MIGRATION_DATABASE_URL="")[0] == "ok"


def test_configured_providers_are_named_and_a_default_without_its_key_is_warned_of(cli: Cli) -> None:
    key = "sk-hunter2"
    assert check(cli, "providers", OPENAI_API_KEY=key) == ("ok", "openai ")
    status, text = check(cli, "default model", OPENAI_API_KEY=key)
    assert status == "warn"
    assert "ANTHROPIC_API_KEY" in text
    assert check(cli, "default model", DEFAULT_MODEL="gpt-4o-mini", OPENAI_API_KEY=key)[0] == "ok"


def test_without_any_setting_it_names_all_four_that_are_needed(cli: Cli) -> None:
    bare = Cli({"COPILOT_HOME": cli.environ["COPILOT_HOME"]})
    text = check(bare, "settings", code=1)[1]
    for name in ("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "ENCRYPTION_KEY"):
        assert f"{name} is missing" in text
