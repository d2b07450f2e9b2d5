import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from copilot_devstack.api_server import DEFAULT_PORT, ApiServer
from copilot_devstack.errors import StackError
from copilot_devstack.home import Home
from copilot_devstack.ports import is_free, listens, next_free_port

_CONNECTIONS = {"DATABASE_URL": "postgresql://stack", "JWT_SECRET": "stack", "REDIS_URL": "r", "ENCRYPTION_KEY": "e"}


def _server(tmp_path: Path, **environ: str) -> ApiServer:
    return ApiServer(Home(tmp_path), environ=environ, connections=lambda: _CONNECTIONS)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_provider_variables_and_other_settings_are_passed_through(tmp_path: Path) -> None:
    given = {
        "ANTHROPIC_API_KEY": "a",
        "OPENAI_BASE_URL": "http://localhost:1",
        "DEFAULT_MODEL": "m",
        "LOG_LEVEL": "debug",
    }
    environment = _server(tmp_path, **given)._environment(8080)
    assert given.items() <= environment.items()


def test_the_stacks_own_database_wins_over_the_environments(tmp_path: Path) -> None:
    environment = _server(tmp_path, DATABASE_URL="postgresql://production", JWT_SECRET="real")._environment(8080)
    assert _CONNECTIONS.items() <= environment.items()


def test_the_rate_limit_is_high_unless_given(tmp_path: Path) -> None:
    assert _server(tmp_path)._environment(8080)["RATE_LIMIT_REQUESTS"] == "100000"
    assert _server(tmp_path, RATE_LIMIT_REQUESTS="7")._environment(8080)["RATE_LIMIT_REQUESTS"] == "7"


@pytest.mark.parametrize(("host", "expected"), [("", "127.0.0.1"), ("my-laptop", "127.0.0.1"), ("0.0.0.0", "0.0.0.0")])
def test_it_listens_beyond_the_loopback_only_when_an_address_says_so(tmp_path: Path, host: str, expected: str) -> None:
    assert _server(tmp_path, HOST=host)._environment(8080)["HOST"] == expected


def test_a_taken_port_that_was_asked_for_is_an_error_that_names_it_and_a_free_one(tmp_path: Path, taken: int) -> None:
    with pytest.raises(StackError, match=f"Port {taken} is taken.*PORT=[0-9]+ copilot up") as caught:
        _server(tmp_path, PORT=str(taken))._choose_port(None)
    assert f"pid {os.getpid()}" in caught.value.message


def test_without_port_a_taken_one_is_replaced_by_the_next_free(tmp_path: Path, taken: int) -> None:
    assert _server(tmp_path)._choose_port(taken) >= DEFAULT_PORT
    assert next_free_port(taken) > taken


def test_without_port_the_last_one_is_used_again(tmp_path: Path) -> None:
    last = next_free_port(21_000)
    assert _server(tmp_path)._choose_port(last) == last


@pytest.mark.parametrize("text", ["http", "-1", "65536", "8080.0", "٨"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(StackError, match="PORT must be"):
        _server(tmp_path, PORT=text)._choose_port(None)


def test_a_port_someone_listens_on_is_not_free(taken: int) -> None:
    assert not is_free(taken)


def test_a_port_is_served_by_the_process_that_listens_and_by_no_other(taken: int) -> None:
    assert listens(os.getpid(), taken)
    assert not listens(os.getppid(), taken)
    assert not listens(os.getpid(), taken + 1)
