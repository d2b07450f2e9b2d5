"""The Jobs' own commands, with the variables that their pods have, on a real PostgreSQL."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

from copilot_common.platform import migrate
from copilot_common.platform.schema import OLDEST_SCHEMA, SCHEMA_VERSION
from copilot_devstack.processes import wait_until
from support.api import ENCRYPTION_KEY, JWT_SECRET, StartApi, start_api
from support.charts import pods
from support.programs import postgres_programs
from support.stack import Database

__all__ = ["start_api"]

_PASSWORD = "the-password-of-ada-17"
_READY_SECONDS = 30.0


def run(name: str, value_set: str, database: Database, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command of that pod; its secrets are those of our database, its claim is `folder`."""
    secrets = {
        "ADMIN_DATABASE_URL": database.admin_url,
        "MIGRATION_DATABASE_URL": database.owner_url,
        "DATABASE_URL": database.app_url,
        "BACKUP_DATABASE_URL": database.backup_url,
        "ENCRYPTION_KEY": ENCRYPTION_KEY,
        "COPILOT_PASSWORD": _PASSWORD,
    }
    (container,) = pods(value_set)[name][1]["containers"]
    named = {variable["name"]: secrets.get(variable["name"], "") for variable in container["env"]}
    path = f"{Path(sys.executable).parent}:{postgres_programs()}:{os.defpath}"
    command = [*container["command"], *container.get("args", [])]
    command = [str(folder) if part == "/backups" else part for part in command]
    return subprocess.run(
        command, env={"PATH": path, **named}, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def outdated(database: Database) -> Database:
    """As the version before the oldest that this build works on has left it."""
    urls = migrate.DatabaseUrls(migration=database.owner_url, admin=database.admin_url)
    asyncio.run(migrate.down(urls, to_version=OLDEST_SCHEMA - 1))
    return database


def test_the_jobs_make_the_schema_the_roles_and_the_first_tenant(blank_database: Database, tmp_path: Path) -> None:
    migrated = run("Job/copilot-migrate", "default", blank_database, tmp_path)
    assert migrated.returncode == 0, migrated.stderr
    tested = run("Pod/copilot-platform-test", "default", blank_database, tmp_path)
    assert tested.returncode == 0, tested.stderr
    with psycopg.connect(blank_database.app_url) as connection:  # as the services log in
        assert connection.execute("SELECT max(version) FROM schema_migrations").fetchone() == (SCHEMA_VERSION,)


def test_bootstrap_makes_the_tenant_once_and_leaves_no_key_in_a_log(database: Database, tmp_path: Path) -> None:
    for _ in range(2):  # an installation, an upgrade
        done = run("Job/copilot-bootstrap", "external-data", database, tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert "cpk_" not in done.stderr
    with psycopg.connect(database.owner_url) as connection:
        tenants = connection.execute("SELECT slug, name FROM tenants").fetchall()
        users = connection.execute("SELECT email FROM users").fetchall()
    assert tenants == [("main", "Example & Co.")]
    assert users == [("ada@example.com",)]


def test_the_test_of_the_platform_fails_where_a_migration_is_missing(outdated: Database, tmp_path: Path) -> None:
    assert run("Pod/copilot-platform-test", "default", outdated, tmp_path).returncode == 1


@pytest.fixture
def probed(outdated: Database, redis_url: str, start_api: StartApi) -> str:
    """An API that was started before its migration."""
    environ = {"DATABASE_URL": outdated.app_url, "REDIS_URL": redis_url, "HOST": "127.0.0.1"}
    api = start_api(environ | {"JWT_SECRET": JWT_SECRET, "ENCRYPTION_KEY": ENCRYPTION_KEY}, ready=False)
    return api.url


def status(url: str) -> int | None:
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.HTTPError:
        return None


def record_migration(database: Database, *, oldest_build: int) -> None:
    """As a newer version's migration would."""
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = %s", [SCHEMA_VERSION + 1])
        connection.execute(
            "INSERT INTO schema_migrations (version, name, oldest_build) VALUES (%s, 'newer', %s)",
            [SCHEMA_VERSION + 1, oldest_build],
        )


def test_a_new_pod_is_not_ready_before_the_migration_and_an_old_one_stays_ready_after_it(
    outdated: Database, probed: str, tmp_path: Path
) -> None:
    assert wait_until(lambda: status(f"{probed}/health/live") == 200, _READY_SECONDS)
    early = httpx.get(f"{probed}/health/ready")
    assert early.status_code == 503
    assert "the database schema is too old" in early.json()["reason"]

    assert run("Job/copilot-migrate", "default", outdated, tmp_path).returncode == 0
    assert wait_until(lambda: status(f"{probed}/health/ready") == 200, _READY_SECONDS)

    record_migration(outdated, oldest_build=SCHEMA_VERSION)
    assert status(f"{probed}/health/ready") == 200
    record_migration(outdated, oldest_build=SCHEMA_VERSION + 1)  # one that it can't live with
    assert status(f"{probed}/health/ready") == 503
    assert status(f"{probed}/health/live") == 200


def test_the_backup_dumps_what_is_there_as_a_role_that_changes_nothing(database: Database, tmp_path: Path) -> None:
    done = run("CronJob/pg-backup", "default", database, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"schema {SCHEMA_VERSION}, read back and whole" in done.stdout
    assert len(list(tmp_path.glob("copilot-*.dump"))) == 1
    with psycopg.connect(database.backup_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM tenants")
