"""`copilot up` and its companions as a person uses them; a stand-in serves as the API."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from copilot_devstack.accounts import noted_data_folder
from support.stack import eventually

_CLI = "import typer; from copilot_devstack.commands import register; app = typer.Typer(); register(app); app()"


class Clone:
    """A folder with a stack in it, and the command line to handle it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / ".copilot"
        package = folder / "stand_in" / "copilot_api"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        shutil.copy(Path(__file__).with_name("stand_in_api.py"), package / "__main__.py")
        self.environ = {
            "PATH": os.environ["PATH"],
            "COPILOT_HOME": str(self.home),
            "PYTHONPATH": str(package.parent),
            "COLUMNS": "200",
        }

    def start(self, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", _CLI, *arguments],
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, **environ: str) -> str:
        done = self.start(*arguments, **environ)
        output, _ = done.communicate(timeout=60)
        assert done.returncode == code, output
        return output

    def state(self) -> Any:
        return json.loads((self.home / "dev.json").read_text())

    def data_folder(self) -> Path:
        return noted_data_folder(self.home) or self.home

    def processes(self) -> list[psutil.Process]:
        """Everything that lives in its folders, or was given its home."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            folder = process.cwd()
            return process.status() != psutil.STATUS_ZOMBIE and folder.startswith((str(self.home), self._outside()))
        except psutil.Error:
            return False

    def _outside(self) -> str:
        return str(self.data_folder())


@pytest.fixture
def new_clone(tmp_path: Path) -> Iterator[Callable[[], Clone]]:
    made: list[Clone] = []

    def make() -> Clone:
        made.append(Clone(tmp_path / f"clone{len(made)}"))
        return made[-1]

    yield make
    for clone in made:
        clone.run("reset", "--yes")


@pytest.fixture
def clone(new_clone: Callable[[], Clone]) -> Clone:
    return new_clone()


def _read_until(process: "subprocess.Popen[str]", pattern: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if re.search(pattern, line):
            return seen
    raise AssertionError(f"ended without {pattern!r}:\n{seen}")


def test_up_shows_its_steps_and_ends_with_what_to_paste(clone: Clone) -> None:
    output = clone.run("up", "--detach")
    state = clone.state()
    for part in ("PostgreSQL 16", "Redis", "Schema", "API"):
        assert re.search(rf"✓ {part}.* \d+\.\d s", output)
    assert "Ready in " in output
    for text in (state["base_url"], state["api_key"], "100000 requests", "/api/v1/conversations", "/messages"):
        assert text in output
    assert (
        state["pids"].keys()
        == state["ports"].keys()
        == {"postgres", "redis", "api", "workflow_engine", "context_service"}
    )
    assert all(psutil.pid_exists(pid) for pid in state["pids"].values())


def test_the_state_leads_to_the_application_role_and_the_first_tenant(clone: Clone) -> None:
    clone.run("up", "--detach")
    state = clone.state()
    with psycopg.connect(state["database_url"]) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("copilot_app",)
    with psycopg.connect(state["migration_database_url"]) as connection:
        assert connection.execute("SELECT email FROM users").fetchall() == [(state["admin_email"],)]
    assert state["api_key"].startswith("cpk_live_")


def test_up_again_starts_nothing_and_only_what_is_missing_after_a_kill(clone: Clone) -> None:
    clone.run("up", "--detach")
    first = clone.state()
    assert "running already" in clone.run("up", "--detach")
    assert clone.state() == first
    for name in ("api", "postgres", "redis", "workflow_engine", "context_service"):
        before = clone.state()
        os.kill(before["pids"][name], signal.SIGKILL)
        eventually(lambda: '"pid":null' in clone.run("status", "--json", code=1), what="the end of it")
        clone.run("up", "--detach")
        after = clone.state()
        changed = {key for key in after["pids"] if after["pids"][key] != before["pids"][key]}
        assert (changed, after["api_key"], after["ports"]) == ({name}, first["api_key"], first["ports"])


def test_two_ups_at_once_start_one_stack(clone: Clone) -> None:
    both = [clone.start("up", "--detach") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert len([output for output in outputs if "running already" in output]) == 1
    assert len([p for p in clone.processes() if p.name() == "redis-server"]) == 1


def test_down_leaves_no_process_but_the_data(clone: Clone) -> None:
    clone.run("up", "--detach")
    key = clone.state()["api_key"]
    assert len(clone.processes()) > 3
    clone.run("down")
    assert clone.processes() == []
    assert not (clone.home / "dev.json").exists()
    assert "Nothing was running" in clone.run("down")
    clone.run("up", "--detach")
    assert clone.state()["api_key"] == key


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_the_foreground_it_shows_the_log_and_a_signal_ends_all_of_it(clone: Clone, end: signal.Signals) -> None:
    foreground = clone.start("up")
    _read_until(foreground, r"^serving")
    foreground.send_signal(end)
    output, _ = foreground.communicate(timeout=30)
    assert foreground.returncode == 0, output
    assert clone.processes() == []
    assert not (clone.home / "dev.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_in_the_foreground_even_kill_9_ends_all_of_it(clone: Clone) -> None:
    foreground = clone.start("up")
    _read_until(foreground, r"^serving")
    foreground.kill()
    foreground.communicate()
    # PostgreSQL may go first: a worker that was just claiming then gives it 10 s to come back before it ends.
    eventually(lambda: clone.processes() == [], seconds=30.0, what="the end of all processes")


def test_in_the_foreground_a_part_that_died_is_named_and_the_rest_ends_with_down(clone: Clone) -> None:
    foreground = clone.start("up")
    _read_until(foreground, r"^serving")
    os.kill(clone.state()["pids"]["redis"], signal.SIGKILL)
    _read_until(foreground, r"Redis has ended; .*copilot up --detach")
    clone.run("down")
    foreground.communicate(timeout=30)
    assert foreground.returncode == 0


def test_an_interrupted_start_leaves_nothing(clone: Clone) -> None:
    starting = clone.start("up", "--detach")
    eventually(lambda: clone.home.exists() and clone.processes() != [], what="the first process")
    starting.send_signal(signal.SIGINT)
    starting.communicate(timeout=30)
    assert starting.returncode == 130
    assert clone.processes() == []
    clone.run("up", "--detach")


def test_a_second_clone_runs_beside_the_first(new_clone: Callable[[], Clone]) -> None:
    one, other = new_clone(), new_clone()
    one.run("up", "--detach")
    output = other.run("up", "--detach")
    ports = [clone.state()["ports"] for clone in (one, other)]
    assert not set(ports[0].values()) & set(ports[1].values())
    assert "8080 was taken" in output
    one.run("down")
    assert other.run("status")


def test_a_port_asked_for_that_is_taken_is_a_clear_error_and_leaves_nothing_running(clone: Clone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        output = clone.run("up", "--detach", code=1, PORT=str(port))
    assert f"Port {port} is taken" in output
    assert "Traceback" not in output
    assert clone.processes() == []


def test_two_clones_started_at_once_do_not_take_each_others_api_for_their_own(new_clone: Callable[[], Clone]) -> None:
    clones = [new_clone() for _ in range(3)]
    starting = [clone.start("up", "--detach") for clone in clones]
    outputs = [process.communicate(timeout=60)[0] for process in starting]
    assert [process.returncode for process in starting] == [0, 0, 0], outputs
    assert len({clone.state()["ports"]["api"] for clone in clones}) == 3


def test_an_api_that_cannot_start_shows_why_and_leaves_nothing_running(clone: Clone) -> None:
    output = clone.run("up", "--detach", code=1, FAIL="no luck")
    assert "cannot start: no luck" in output
    assert clone.processes() == []


def test_the_api_gets_the_stacks_database_and_the_environments_providers(clone: Clone) -> None:
    providers = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_API_KEY": "k"}
    clone.environ |= providers | {"DATABASE_URL": "postgresql://production"}
    clone.run("up", "--detach")
    with urllib.request.urlopen(clone.state()["base_url"]) as answer:
        seen = json.load(answer)
    assert providers.items() <= seen.items()
    assert seen["DATABASE_URL"] == clone.state()["database_url"]
    assert (seen["NODE_ENV"], seen["RATE_LIMIT_REQUESTS"], seen["HOST"]) == ("development", "100000", "127.0.0.1")


def test_the_api_is_told_when_a_store_has_moved_to_another_port(clone: Clone) -> None:
    clone.run("up", "--detach")
    before = clone.state()
    os.kill(before["pids"]["redis"], signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(before["pids"]["redis"]))
    with socket.create_server(("127.0.0.1", before["ports"]["redis"])):
        clone.run("up", "--detach")
    after = clone.state()
    assert after["ports"]["redis"] != before["ports"]["redis"]
    with urllib.request.urlopen(after["base_url"]) as answer:
        assert json.load(answer)["REDIS_URL"] == after["redis_url"]


def test_status_says_what_runs_and_creates_nothing(clone: Clone) -> None:
    assert "down" in clone.run("status", code=1)
    assert not clone.home.exists()
    clone.run("up", "--detach")
    rows = json.loads(clone.run("status", "--json"))
    assert {row["name"]: row["pid"] for row in rows} == clone.state()["pids"]


def test_logs_show_one_service_or_all_of_them_labelled(clone: Clone) -> None:
    clone.run("up", "--detach")
    assert clone.run("logs", "api").startswith("serving\n")
    everything = clone.run("logs", "--lines", "3")
    assert "api      | serving" in everything
    assert "postgres | " in everything
    assert "There are: postgres, redis, api" in clone.run("logs", "nonsense", code=1)


def test_reset_asks_first_and_then_deletes_everything(clone: Clone) -> None:
    clone.run("up", "--detach")
    outside = clone.data_folder()
    assert "Delete" in clone.run("reset", code=1)
    assert clone.state()
    clone.run("reset", "--yes")
    assert not clone.home.exists()
    assert not outside.exists()
    assert clone.processes() == []
