"""The command line as a whole."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from copilot_cli import main

COMMANDS = {
    "ask",
    "chat",
    "conversations",
    "context",
    "jobs",
    "models",
    "usage",
    "key",
    "doctor",
    "migrate",
    "bootstrap",
    "backup",
    "restore",
    "archive",
    "tenant",
    "user",
}

HEAVY = {
    "httpx",
    "psycopg",
    "redis",
    "argon2",
    "cryptography",
    "prometheus_client",
    "copilot_domain",
    "anthropic",
    "openai",
}


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main.build_app(), arguments, env=environ)


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No API and no database to be found."""
    for name in ("COPILOT_URL", "COPILOT_API_KEY", "DATABASE_URL", "MIGRATION_DATABASE_URL", "ADMIN_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COPILOT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")


def test_every_command_of_the_product_is_there_without_any_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "entry_points", lambda **group: [])
    found = {word for line in run("--help").output.splitlines() for word in line.split()[1:2]}
    assert found >= COMMANDS
    assert "reset" not in found


def test_an_extension_adds_its_commands() -> None:
    assert "reset" in run("--help").output


def test_help_loads_no_driver_and_no_sdk() -> None:
    code = f"import sys; from copilot_cli.main import build_app; build_app(); print(*{HEAVY!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "command",
    [
        ["models"],
        ["ask", "hello"],
        ["chat"],
        ["usage"],
        ["key", "list"],
        ["conversations", "list"],
        ["jobs", "list"],
        ["context", "list"],
        ["context", "search", "x"],
        ["context", "add", __file__],
        ["context", "index"],
        ["context", "reembed", "--model", "x"],
    ],
    ids=" ".join,
)
def test_without_an_api_one_line_says_what_to_set(command: list[str]) -> None:
    result = run(*command)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "COPILOT_URL is missing: the API's address (and COPILOT_API_KEY), or start one: copilot up"
    ]


@pytest.mark.parametrize(
    "command",
    [
        ["tenant", "list"],
        ["tenant", "delete", "x"],
        ["user", "list"],
        ["migrate", "up"],
        ["migrate", "status"],
        ["bootstrap", "--email", "a@b.c"],
        ["key", "list-platform"],
    ],
    ids=" ".join,
)
def test_without_a_database_one_line_says_what_to_set(command: list[str]) -> None:
    result = run(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith("MIGRATION_DATABASE_URL is missing: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        ["nonsense"],
        ["ask"],
        ["ask", " "],
        ["ask", "x", "--file", "/does/not/exist"],
        ["conversations", "show", "no-uuid"],
        ["usage", "--from", "yesterday"],
        ["usage", "--group-by", "colour"],
        ["key", "revoke", "x"],
        ["jobs", "list", "--status", "odd"],
        ["jobs", "redrive", "no-uuid"],
        ["context", "add"],
        ["context", "add", "/does/not/exist"],
        ["context", "add", __file__, __file__, "--name", "one"],
        ["context", "add", __file__, "--metadata", "no-value"],
        ["context", "add", __file__, "--type", "file"],
        ["context", "add", "https://example.com/", "--type", "text"],
        ["context", "add", "/tmp"],
        ["context", "search", " "],
        ["context", "search", "x", "--limit", "51"],
        ["context", "rm", "no-uuid"],
        ["context", "reembed"],
        ["user", "create", "a@b.c", "--tenant", "t", "--role", "king"],
        ["migrate", "down"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(command: list[str]) -> None:
    result = run(*command)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


def test_debug_lets_the_exception_through() -> None:
    result = run("--debug", "models")
    assert type(result.exception).__name__ == "SettingsError"


def test_an_unexpected_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("copilot_cli.places.Places.remote", explode)
    result = run("models")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Unexpected ZeroDivisionError.")


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe")
    result = run("ask", "q", "--file", str(tmp_path / "x.bin"))
    assert result.exit_code == 1
    assert "x.bin: is not UTF-8 text" in result.stderr
