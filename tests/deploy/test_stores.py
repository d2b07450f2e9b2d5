"""PostgreSQL and Redis are given what they understand."""

import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

from copilot_devstack import TemporaryStores
from copilot_devstack.ports import free_port
from copilot_devstack.processes import wait_until
from copilot_devstack.redis import find_program
from support.charts import VALUE_SETS, containers, of_kind
from support.stack import BACKUP_PASSWORD, StackUrls, clone_template

_READY_SECONDS = 20.0


@pytest.mark.parametrize(
    ("value_set", "policy", "password"),
    [("default", "noeviction", None), ("guide", "allkeys-lru", None), ("existing-secret", "noeviction", "redis-17")],
)
def test_redis_keeps_what_it_has_unless_the_guide_wants_otherwise(
    value_set: str, policy: str, password: str | None, tmp_path: Path
) -> None:
    """The container's own command, with a port and a folder of the test's."""
    (container,) = of_kind(value_set, "Deployment")["redis"]["spec"]["template"]["spec"]["containers"]
    assert container["command"][0] == "redis-server"
    arguments: list[str] = [*container["command"][1:], *container.get("args", [])]
    command = [part.replace("$(REDISCLI_AUTH)", password or "") for part in arguments]
    port = free_port()
    process = subprocess.Popen(
        [find_program().path, *command, "--port", str(port), "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        with redis.Redis(port=port, password=password) as client:
            assert wait_until(lambda: _answers(client), _READY_SECONDS)
            given = {name: client.config_get(name)[name] for name in ("maxmemory-policy", "maxmemory", "appendonly")}
            assert given == {"maxmemory-policy": policy, "maxmemory": str(2**30), "appendonly": "yes"}
        if password:
            with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(tmp_path, ignore_errors=True)


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize("value_set", VALUE_SETS)
def test_postgresql_knows_its_parameters(value_set: str, stack: StackUrls) -> None:
    arguments: list[str] = []
    for name, container in containers(value_set):
        arguments += container.get("args", []) if name == "StatefulSet/postgres/postgres" else []
    with psycopg.connect(stack.admin_url) as connection:
        for pair in arguments[1::2]:
            parameter, _, value = pair.partition("=")
            found = connection.execute("SELECT unit FROM pg_settings WHERE name = %s", [parameter]).fetchone()
            assert found, pair
            if found[0] is not None:
                assert connection.execute("SELECT pg_size_bytes(%s) > 0", [value]).fetchone() == (True,), pair
    assert set(arguments[0::2]) <= {"-c"}


def test_the_archiver_may_stream_wal_and_nobody_else_may(private_stack: TemporaryStores) -> None:
    """PostgreSQL's own file lets nobody stream from another pod: `all` does not mean replication."""
    database, server = clone_template(private_stack.postgres.admin_url), private_stack.postgres
    rules = server.data_path / "charts_hba.conf"
    rules.write_text(of_kind("keda", "ConfigMap")["postgres-hba"]["data"]["pg_hba.conf"])
    rules.chmod(0o644)
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER SYSTEM SET hba_file = {}").format(str(rules)))
    server.restart()
    with psycopg.connect(database.owner_url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("copilot_owner",)
    with psycopg.connect(database.backup_url, replication="true", autocommit=True) as connection:
        assert connection.execute("IDENTIFY_SYSTEM").fetchone()
    for url in (database.owner_url, server.admin_url):
        with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
            psycopg.connect(url, replication="true")
    password = BACKUP_PASSWORD[:-1]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(database.backup_url.replace(BACKUP_PASSWORD, password), replication="true")
