"""Secrets that orchestrators hand out as files: which are read, and what is refused without showing any of it."""

import os
from pathlib import Path

import pytest

from copilot_cli.passwords import choose_password
from copilot_cli.places import Places
from copilot_common.base.errors import SettingsError
from copilot_common.platform.secret_files import OF_OPERATORS, OF_SERVICES, read_secret_files
from copilot_common.platform.settings import load_settings

SECRET = "Zk3vT9pQw8rYbN5mXc7LhD2sFgJ6aEuR"
GIVEN = {
    "DATABASE_URL": "postgresql://copilot_app@db/copilot",
    "REDIS_URL": "redis://redis:6379",
    "JWT_SECRET": SECRET,
    "ENCRYPTION_KEY": bytes(range(1, 33)).hex(),
}


def write(folder: Path, content: bytes | str, name: str = "secret") -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as refused:
        read_secret_files(environ)
    assert refused.value.details["variable"] == "JWT_SECRET_FILE"
    assert refused.value.message.startswith("JWT_SECRET_FILE ")
    assert "\n" not in refused.value.message
    return refused.value.message


def test_a_service_starts_with_nothing_but_files(tmp_path: Path) -> None:
    files = {f"{name}_FILE": write(tmp_path, f"{value}\n", name) for name, value in GIVEN.items()}
    settings, plain = load_settings(files), load_settings(GIVEN)
    assert settings == plain
    assert settings.jwt_secret == SECRET


@pytest.mark.parametrize("name", sorted(OF_SERVICES | OF_OPERATORS))
def test_every_secret_may_be_in_a_file(name: str, tmp_path: Path) -> None:
    assert read_secret_files({f"{name}_FILE": write(tmp_path, SECRET)}) == {name: SECRET}


def test_what_is_not_secret_may_not(tmp_path: Path) -> None:
    environ = {"PORT_FILE": write(tmp_path, "1"), "MODELS_FILE": "models.toml", "SSL_CERT_FILE": "/etc/ssl/ca"}
    assert read_secret_files(environ) == environ


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_line_ends_after_a_secret_are_not_part_of_it_but_spaces_are(end: str, tmp_path: Path) -> None:
    assert read_secret_files({"JWT_SECRET_FILE": write(tmp_path, f" {SECRET} {end}")}) == {"JWT_SECRET": f" {SECRET} "}


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    path = write(tmp_path, SECRET)
    assert read_secret_files({"JWT_SECRET": "", "JWT_SECRET_FILE": path}) == {"JWT_SECRET": SECRET}
    assert read_secret_files({"JWT_SECRET": SECRET, "JWT_SECRET_FILE": ""}) == {"JWT_SECRET": SECRET}


def test_both_at_once_are_refused(tmp_path: Path) -> None:
    environ = {"JWT_SECRET": SECRET, "JWT_SECRET_FILE": write(tmp_path, SECRET)}
    assert refusal(environ) == "JWT_SECRET_FILE and JWT_SECRET are both set: keep one of them"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "an empty file"),
        (b"\n", "an empty file"),
        (b"x" * 16_385, "more than 16384 bytes"),
        (b"\xff\xfe" + b"x" * 32, "not text"),
        (b"x" * 32 + b"\0", "not text"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    message = refusal({"JWT_SECRET_FILE": write(tmp_path, content)})
    assert problem in message
    assert "xxxx" not in message


def test_a_file_of_16_kib_is_read(tmp_path: Path) -> None:
    assert len(read_secret_files({"JWT_SECRET_FILE": write(tmp_path, b"x" * 16_384)})["JWT_SECRET"]) == 16_384


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "the secret itself", "a NUL", "too long"])
def test_a_path_that_leads_to_no_file_is_refused_and_not_shown(kind: str, tmp_path: Path) -> None:
    paths = {
        "missing": "/nowhere/secret-17",
        "folder": str(tmp_path),
        "pipe": str(tmp_path / "pipe"),  # nobody writes to it: to open it would wait for ever
        "the secret itself": SECRET,
        "a NUL": "a\0b",
        "too long": "x" * 5000,
    }
    os.mkfifo(paths["pipe"])
    message = refusal({"JWT_SECRET_FILE": paths[kind]})
    assert paths[kind] not in message


def test_a_file_that_may_not_be_read_is_refused_with_the_users_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions don't bind root, as whom tests may run."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)
    assert f"this user ({os.geteuid()}) can't read" in refusal({"JWT_SECRET_FILE": write_before(tmp_path)})


def write_before(folder: Path) -> str:
    """Without `open`, which is out of order then."""
    path = folder / "secret"
    path.touch()
    return str(path)


def test_the_command_line_reads_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OF_SERVICES | OF_OPERATORS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COPILOT_HOME", str(tmp_path))
    for name in ("MIGRATION_DATABASE_URL", "ADMIN_DATABASE_URL", "COPILOT_PASSWORD"):
        monkeypatch.setenv(f"{name}_FILE", write(tmp_path, f"the-{name}\n", name))
    urls = Places.here().database_urls()
    assert (urls.migration, urls.admin) == ("the-MIGRATION_DATABASE_URL", "the-ADMIN_DATABASE_URL")
    assert choose_password(generate=False, whose="ada").text == "the-COPILOT_PASSWORD"
