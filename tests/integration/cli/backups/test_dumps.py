"""`copilot backup` and `copilot restore database`, with PostgreSQL's own programs."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from copilot_common.platform.schema import SCHEMA_VERSION
from integration.cli.backups.conftest import operator_environ
from integration.cli.backups.ground import Product, all_rows
from integration.cli.conftest import Cli, Environ
from support.stack import BACKUP_PASSWORD, Database, eventually

ROLES = """
SELECT r.rolname, r.rolcanlogin, r.rolbypassrls, r.rolsuper, r.rolcreaterole,
    ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid ORDER BY 1)
FROM pg_roles r WHERE r.rolname LIKE 'copilot\\_%' ORDER BY 1
"""

MAY_CREATE = "SELECT has_database_privilege(current_database(), 'CREATE')"


@pytest.fixture
def elsewhere(blank_database: Database, new_cli: Callable[[Environ], Cli]) -> Cli:
    """An operator of an empty database."""
    return new_cli(operator_environ(blank_database))


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_a_dump_is_noted_as_good_once_it_was_read_back(operator: Cli, product: Product, place: Path) -> None:
    made = operator.json("backup", "--to", str(place))["backup"]
    assert made["schema_version"] == SCHEMA_VERSION
    assert made["database"] == product.database.name
    assert names(place) == [made["name"], made["name"] + ".json"]
    assert (place / made["name"]).stat().st_mode & 0o077 == 0
    assert operator.json("restore", "list", "--from", str(place)) == [made]


def test_what_was_lost_comes_back_row_for_row_and_can_be_read(
    operator: Cli, product: Product, elsewhere: Cli, blank_database: Database, place: Path
) -> None:
    before = all_rows(product.database.admin_url)
    operator.run("backup", "--to", str(place))
    titles, blobs = dict(product.titles), dict(product.blobs)
    product.write("after the backup")

    done = elsewhere.run("restore", "database", "--from", str(place))
    assert "in the range of this build" in done.stdout
    assert "open with this ENCRYPTION_KEY" in done.stdout
    restored = all_rows(blank_database.admin_url)
    assert restored == before
    assert restored["public.conversations"]
    Product(blank_database, product.principals, titles, blobs).check()


def test_a_restored_database_has_its_roles_rights_and_walls(
    operator: Cli, product: Product, elsewhere: Cli, blank_database: Database, place: Path
) -> None:
    operator.run("backup", "--to", str(place))
    elsewhere.run("restore", "database", "--from", str(place))
    with psycopg.connect(product.database.admin_url) as old, psycopg.connect(blank_database.admin_url) as new:
        for query in (
            ROLES,
            "SELECT relname, relowner::regrole::text, relacl::text, relrowsecurity, relforcerowsecurity FROM pg_class"
            " WHERE relnamespace IN ('public'::regnamespace, 'copilot_keys'::regnamespace) ORDER BY 1",
            "SELECT tablename, policyname, roles::text, qual, with_check FROM pg_policies ORDER BY 1, 2",
            "SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace"
            " WHERE nspname !~ '^pg_' ORDER BY 1",
            "SELECT proname, proowner::regrole::text, proacl::text FROM pg_proc"
            " WHERE pronamespace = 'dispatch'::regnamespace ORDER BY 1, 3",
        ):
            found = new.execute(query.encode()).fetchall()
            assert found == old.execute(query.encode()).fetchall()
            assert found
    assert elsewhere.json("migrate", "status")[-1]["state"] == "applied"


def test_another_key_is_said_to_be_the_wrong_one(operator: Cli, elsewhere: Cli, place: Path) -> None:
    operator.run("backup", "--to", str(place))
    done = elsewhere.run("restore", "database", "--from", str(place), code=1, ENCRYPTION_KEY="fedcba9876543210" * 4)
    assert "Bring back the ENCRYPTION_KEY this database was filled under" in done.stdout


def test_a_database_with_something_in_it_is_replaced_only_by_its_name(
    operator: Cli, product: Product, place: Path
) -> None:
    before = all_rows(product.database.admin_url)
    operator.run("backup", "--to", str(place))
    product.write("after the backup")
    after = all_rows(product.database.admin_url)

    for wrong in ([], ["--overwrite", "copilot_other"]):
        refused = operator.run("restore", "database", "--from", str(place), *wrong, code=1)
        assert f"--overwrite {product.database.name}" in refused.stderr
    assert all_rows(product.database.admin_url) == after

    operator.run("restore", "database", "--from", str(place), "--overwrite", product.database.name)
    assert all_rows(product.database.admin_url) == before
    with psycopg.connect(product.database.owner_url) as connection:  # who makes the next schema
        assert connection.execute(MAY_CREATE).fetchone() == (True,)


def test_a_damaged_dump_is_refused_before_anything_is_changed(operator: Cli, product: Product, place: Path) -> None:
    name = operator.json("backup", "--to", str(place))["backup"]["name"]
    content = bytearray((place / name).read_bytes())
    content[-20] ^= 1
    (place / name).write_bytes(content)
    before = all_rows(product.database.admin_url)
    refused = operator.run("restore", "database", "--from", str(place), "--overwrite", product.database.name, code=1)
    assert "damaged" in refused.stderr or "pg_restore has failed" in refused.stderr
    assert all_rows(product.database.admin_url) == before

    (place / name).write_bytes(content[:-1])  # shorter than its manifest says: none at all
    assert operator.json("restore", "list", "--from", str(place)) == []


def test_two_at_once_are_one(operator: Cli, product: Product, place: Path) -> None:
    with psycopg.connect(product.database.backup_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [0x6261636B7570_01])
        refused = operator.run("backup", "--to", str(place), code=1)
    assert "Another logical backup of this database is under way" in refused.stderr
    assert names(place) == []
    operator.run("backup", "--to", str(place))


@pytest.mark.parametrize(
    ("role", "reason"), [("app_url", "must name copilot_backup"), ("nowhere", "refused the connection")]
)
def test_who_may_not_read_everything_makes_no_backup(
    role: str, reason: str, operator: Cli, product: Product, place: Path
) -> None:
    url = getattr(product.database, role, "postgresql://copilot_backup:hunter2@127.0.0.1:1/copilot")
    refused = operator.run("backup", "--to", str(place), code=1, BACKUP_DATABASE_URL=url)
    assert reason in refused.stderr
    assert "hunter2" not in refused.output
    assert names(place) == []


def test_the_owner_may_dump_where_there_is_no_role_for_backups(operator: Cli, place: Path) -> None:
    operator.run("backup", "--to", str(place), BACKUP_DATABASE_URL="")
    assert len(names(place)) == 2


@pytest.mark.parametrize(
    ("version", "reason"), [(None, "is not installed"), ("15.9 (Debian)", "is older (15) than the server")]
)
def test_a_pg_dump_that_does_not_fit_is_named(
    version: str | None, reason: str, operator: Cli, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    if version:
        (folder / "pg_dump").write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
        (folder / "pg_dump").chmod(0o755)
    monkeypatch.setattr("copilot_cli.backups.programs.DEBIAN", tmp_path / "none")
    refused = operator.run("backup", "--to", str(place), code=1, PATH=str(folder))
    assert f"pg_dump {reason}" in refused.stderr
    assert "install postgresql-client-16" in refused.stderr
    assert names(place) == []


def test_a_pg_dump_that_fails_halfway_leaves_nothing(
    operator: Cli, programs: Path, place: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    script = (
        f"#!/bin/sh\n{programs}/pg_dump \"$@\" | head -c 5000\necho 'pg_dump: error: the disk is on fire' >&2\nexit 1\n"
    )
    (folder / "pg_dump").write_text(script)
    (folder / "pg_dump").chmod(0o755)
    path = f"{folder}:{programs}:{os.defpath}"
    script_help = '[ "$1" = --version ] && exec ' + f"{programs}/pg_dump --version\n"
    (folder / "pg_dump").write_text(script.replace("#!/bin/sh\n", f"#!/bin/sh\n{script_help}"))
    refused = operator.run("backup", "--to", str(place), code=1, PATH=path)
    assert "pg_dump has failed: the disk is on fire" in refused.stderr
    assert names(place) == []


def test_no_password_is_on_a_command_line(operator: Cli, programs: Path, place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pg_dump").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/seen\nexec {programs}/pg_dump "$@"\n')
    (folder / "pg_dump").chmod(0o755)
    operator.run("backup", "--to", str(place), PATH=f"{folder}:{programs}:{os.defpath}")
    seen = (tmp_path / "seen").read_text()
    assert "copilot_backup" in seen
    assert BACKUP_PASSWORD not in seen


def test_sigterm_ends_it_and_leaves_nothing(operator: Cli, programs: Path, place: Path, tmp_path: Path) -> None:
    """As Kubernetes does when the time of a CronJob is up."""
    folder, reached = tmp_path / "bin", tmp_path / "reached"
    folder.mkdir()
    (folder / "pg_dump").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {programs}/pg_dump --version\n'
        f"head -c 3000000 /dev/zero\ntouch {reached}\nexec sleep 600\n"
    )
    (folder / "pg_dump").chmod(0o755)
    environ = {**operator.environ, "PATH": f"{folder}:{programs}:{os.defpath}"}
    command = [str(Path(sys.executable).parent / "copilot"), "backup", "--to", str(place)]
    with subprocess.Popen(command, env=environ, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        eventually(reached.exists, seconds=30, what="the middle of the dump")
        process.terminate()
        assert process.wait(30) == 143
    assert names(place) == []


def test_a_bucket_takes_backups_too(
    operator: Cli, elsewhere: Cli, product: Product, blank_database: Database, in_bucket: Environ
) -> None:
    here, there = Cli(operator.environ | in_bucket), Cli(elsewhere.environ | in_bucket)
    to = f"s3://tests-blobs/{uuid.uuid4().hex}/nightly"
    made = here.json("backup", "--to", to, "--keep-days", "1")["backup"]
    assert here.json("restore", "list", "--from", to) == [made]
    there.run("restore", "database", "--from", to)
    assert all_rows(blank_database.admin_url) == all_rows(product.database.admin_url)

    refused = here.run("backup", "--to", to, code=1, S3_SECRET_ACCESS_KEY="a-wrong-key")
    assert "check the bucket's name, S3_ENDPOINT, S3_REGION and the keys" in refused.stderr
    assert "127.0.0.1" not in refused.output


def test_a_place_that_is_not_there_is_named(operator: Cli, tmp_path: Path) -> None:
    refused = operator.run("backup", "--to", str(tmp_path / "unmounted"), code=1)
    assert "is no directory" in refused.stderr
