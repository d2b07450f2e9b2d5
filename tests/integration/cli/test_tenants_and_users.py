"""`copilot bootstrap`, `tenant`, `user` and platform keys, against the database."""

import hashlib
from collections.abc import Sequence

import psycopg
import pytest
from argon2 import PasswordHasher

from support.stack import Database

from .conftest import Cli

FOUND = ("bootstrap", "--email", "ada@example.com", "--tenant", "acme", "--name", "Acme Ltd")


def fetch(database: Database, query: str, *params: object) -> Sequence[tuple[object, ...]]:
    with psycopg.connect(database.admin_url) as connection:
        return connection.execute(query, params).fetchall()


def test_bootstrap_shows_its_key_once_and_keeps_only_its_hash(cli: Cli, database: Database) -> None:
    made = cli.json(*FOUND, "--generate-password")
    assert made["created"] is True
    key_hash = hashlib.sha256(made["api_key"].encode()).digest()
    assert fetch(database, "SELECT key_hash FROM api_keys") == [(key_hash,)]
    again = cli.json(*FOUND, "--generate-password")
    assert (again["created"], again["api_key"], again["password"]) == (False, None, None)
    assert again["tenant_id"] == made["tenant_id"]


def test_bootstrap_takes_the_password_from_the_environment_and_does_not_show_it(cli: Cli, database: Database) -> None:
    result = cli.run(*FOUND, COPILOT_PASSWORD="correct-horse-battery")
    assert "correct-horse-battery" not in result.output
    assert "cpk_live_" in result.stdout
    ((stored,),) = fetch(database, "SELECT password_hash FROM users")
    assert PasswordHasher().verify(str(stored), "correct-horse-battery")


def test_without_a_terminal_or_a_password_bootstrap_says_how_to_give_one(cli: Cli) -> None:
    result = cli.run(*FOUND, code=1)
    assert "COPILOT_PASSWORD" in result.stderr
    assert "--generate-password" in result.stderr


def test_a_name_that_will_not_do_is_named(cli: Cli) -> None:
    result = cli.run("bootstrap", "--email", "nobody", "--generate-password", code=1)
    assert "must be an e-mail address" in result.stderr


def test_bootstrap_without_an_encryption_key_stops_before_anything_is_made(cli: Cli, database: Database) -> None:
    result = cli.run(*FOUND, "--generate-password", code=1, ENCRYPTION_KEY="")
    assert result.stderr.startswith("ENCRYPTION_KEY is missing")
    assert fetch(database, "SELECT FROM tenants") == []


def test_a_database_without_a_schema_leads_to_migrate(blank_cli: Cli) -> None:
    owner = blank_cli.environ["ADMIN_DATABASE_URL"]
    result = blank_cli.run("tenant", "list", code=1, MIGRATION_DATABASE_URL=owner)
    assert "copilot migrate up" in result.stderr


@pytest.fixture
def acme(cli: Cli) -> Cli:
    """One tenant, acme, owned by ada."""
    cli.run(*FOUND, "--generate-password")
    return cli


def test_a_second_tenant_has_its_own_owner_and_key(acme: Cli) -> None:
    made = acme.json("tenant", "create", "other", "--owner", "bob@example.com", "--generate-password")
    assert made["api_key"].startswith("cpk_live_")
    assert [tenant["slug"] for tenant in acme.json("tenant", "list")] == ["other", "acme"]
    assert [user["email"] for user in acme.json("user", "list", "--tenant", "other")] == ["bob@example.com"]


def test_a_taken_slug_is_refused_and_gives_no_key(acme: Cli) -> None:
    result = acme.run("tenant", "create", "acme", "--owner", "bob@example.com", "--generate-password", code=1)
    assert "The slug acme is taken." in result.stderr
    assert "cpk_" not in result.output


def test_a_tenant_is_shown_by_slug_and_by_id(acme: Cli) -> None:
    by_slug = acme.json("tenant", "show", "acme")
    assert by_slug == acme.json("tenant", "show", by_slug["id"])
    assert (by_slug["name"], by_slug["members"], by_slug["api_keys"]) == ("Acme Ltd", 1, 1)


def test_suspending_and_activating_change_the_status_and_leave_an_audit_row_each(acme: Cli, database: Database) -> None:
    assert acme.json("tenant", "suspend", "acme")["status"] == "suspended"
    assert "already" in acme.run("tenant", "suspend", "acme", code=1).stderr
    assert acme.json("tenant", "activate", "acme")["status"] == "active"
    rows = fetch(database, "SELECT details->>'status' FROM audit_log WHERE action = 'tenant.updated' ORDER BY id")
    assert rows == [("suspended",), ("active",)]


def test_delete_says_what_goes_and_does_nothing_without_a_yes(acme: Cli) -> None:
    result = acme.run("tenant", "delete", "acme", code=1, stdin="n\n")
    assert "members 1, API keys 1" in result.stderr
    assert acme.json("tenant", "list")


def test_delete_takes_everything_but_the_audit_log(acme: Cli, database: Database) -> None:
    acme.run("tenant", "delete", "acme", "--yes")
    assert acme.json("tenant", "list") == []
    assert fetch(database, "SELECT FROM memberships") == fetch(database, "SELECT FROM api_keys") == []
    assert fetch(database, "SELECT count(*) FROM audit_log WHERE action = 'tenant.deleted'") == [(1,)]


def test_a_user_joins_with_a_role_and_an_account_that_is_there_is_kept(acme: Cli, database: Database) -> None:
    made = acme.json("user", "create", "eve@example.com", "--tenant", "acme", "--role", "viewer", "--generate-password")
    assert made["account"] == "new"
    assert len(made["password"]) >= 20
    before = fetch(database, "SELECT password_hash FROM users WHERE email = 'eve@example.com'")
    acme.run("tenant", "create", "other", "--owner", "ada@example.com")
    second = acme.json("user", "create", "eve@example.com", "--tenant", "other")
    assert (second["account"], second["role"], "password" in second) == ("was there", "member", False)
    assert fetch(database, "SELECT password_hash FROM users WHERE email = 'eve@example.com'") == before
    roles = [(row["tenant"], row["role"]) for row in acme.json("user", "list") if row["email"] == "eve@example.com"]
    assert roles == [("acme", "viewer"), ("other", "member")]


def test_a_member_does_not_join_twice(acme: Cli) -> None:
    result = acme.run("user", "create", "ada@example.com", "--tenant", "acme", code=1)
    assert "is a member of acme already" in result.stderr


def test_a_weak_password_leaves_no_half_made_user(acme: Cli, database: Database) -> None:
    result = acme.run("user", "create", "eve@example.com", "--tenant", "acme", code=1, COPILOT_PASSWORD="short")
    assert "at least 12 characters" in result.stderr
    assert fetch(database, "SELECT count(*) FROM users") == [(1,)]


def _open_session(database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("""
            INSERT INTO refresh_tokens (tenant_id, id, family_id, user_id, expires_at)
            SELECT tenant_id, gen_random_uuid(), gen_random_uuid(), user_id, now() + interval '1 day' FROM memberships
        """)


OPEN_SESSIONS = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL"


def test_a_new_password_counts_and_ends_every_session(acme: Cli, database: Database) -> None:
    _open_session(database)
    acme.run("user", "set-password", "Ada@Example.com", COPILOT_PASSWORD="correct-horse-battery")
    ((stored,),) = fetch(database, "SELECT password_hash FROM users")
    assert PasswordHasher().verify(str(stored), "correct-horse-battery")
    assert fetch(database, OPEN_SESSIONS) == [(0,)]


def test_a_deactivated_user_is_locked_out_until_activated(acme: Cli, database: Database) -> None:
    _open_session(database)
    good_keys = "SELECT count(*) FROM api_keys k, dispatch.find_api_key(k.key_hash)"
    assert fetch(database, good_keys) == [(1,)]
    assert acme.json("user", "deactivate", "admin")["is_active"] is False
    assert fetch(database, good_keys) == fetch(database, OPEN_SESSIONS) == [(0,)]
    assert acme.json("user", "activate", "ada@example.com")["is_active"] is True
    assert fetch(database, good_keys) == [(1,)]


@pytest.mark.parametrize("command", ["set-password", "deactivate", "activate"])
def test_a_user_who_is_not_there_is_named(acme: Cli, command: str) -> None:
    result = acme.run("user", command, "nobody", code=1, COPILOT_PASSWORD="correct-horse-battery")
    assert "No such user: nobody." in result.stderr


def test_a_platform_key_is_shown_once_listed_without_it_and_revoked(cli: Cli) -> None:
    made = cli.json("key", "create-platform", "ops")
    listed = cli.json("key", "list-platform")
    assert [(key["id"], key["name"], key["revoked_at"]) for key in listed] == [(made["id"], "ops", None)]
    assert made["key"] not in cli.run("key", "list-platform").output
    assert cli.json("key", "revoke-platform", made["id"]) == {"revoked": made["id"]}
    assert cli.json("key", "list-platform")[0]["revoked_at"] is not None
    assert "No such platform key" in cli.run("key", "revoke-platform", made["id"], code=1).stderr
