"""Where a command finds its API and its database."""

import json
import os
from pathlib import Path

import pytest

from copilot_cli.places import Places, encryption_key
from copilot_common.base.errors import SettingsError

DEV = {
    "base_url": "http://127.0.0.1:8080",
    "api_key": "dev-key",
    "database_url": "dev-app",
    "redis_url": "dev-redis",
    "migration_database_url": "dev-owner",
    "admin_database_url": "dev-admin",
    "pids": {},
}
SECRETS = {"jwt_secret": "dev-jwt", "encryption_key": "0123456789abcdef" * 4, "app_password": "p"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose development stack runs."""
    home = tmp_path / ".copilot"
    home.mkdir()
    (home / "dev.json").write_text(json.dumps(DEV))
    (home / "secrets.json").write_text(json.dumps(SECRETS))
    return tmp_path


def test_the_environment_wins_over_the_development_stack(checkout: Path) -> None:
    remote = Places({"COPILOT_URL": "https://api.test/", "COPILOT_API_KEY": "k"}, checkout).remote()
    assert (remote.base_url, remote.api_key) == ("https://api.test", "k")


def test_the_development_stack_is_found_from_below_the_checkout(checkout: Path) -> None:
    below = checkout / "libs" / "x"
    below.mkdir(parents=True)
    assert Places({}, below).remote().api_key == "dev-key"


def test_another_key_can_be_tried_on_the_development_stack(checkout: Path) -> None:
    assert Places({"COPILOT_API_KEY": "mine"}, checkout).remote().api_key == "mine"


def test_the_development_key_is_not_sent_to_another_server(checkout: Path) -> None:
    with pytest.raises(SettingsError, match="COPILOT_API_KEY is missing"):
        Places({"COPILOT_URL": "https://stranger.test"}, checkout).remote()


def test_the_development_database_is_not_mixed_with_one_that_was_named(checkout: Path) -> None:
    places = Places({"DATABASE_URL": "named"}, checkout)
    assert places.settings() == {"DATABASE_URL": "named"}
    with pytest.raises(SettingsError, match="MIGRATION_DATABASE_URL is missing"):
        places.owner_url()


def test_database_commands_get_the_development_stacks_urls_and_secrets(checkout: Path) -> None:
    places = Places({}, checkout)
    urls = places.database_urls()
    assert (urls.migration, urls.app, urls.admin) == ("dev-owner", "dev-app", "dev-admin")
    assert encryption_key(places) == bytes.fromhex(SECRETS["encryption_key"])


def test_somebody_elses_file_is_not_followed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(SettingsError, match="copilot up"):
        Places({"COPILOT_HOME": str(checkout / ".copilot")}, checkout).remote()


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"COPILOT_URL": "ftp://x", "COPILOT_API_KEY": "k"}, "COPILOT_URL"),
        ({"COPILOT_URL": "http://x", "COPILOT_API_KEY": "ü-secret"}, "COPILOT_API_KEY"),
        ({"COPILOT_URL": "http://x", "COPILOT_API_KEY": "a\nsecret"}, "COPILOT_API_KEY"),
    ],
)
def test_nonsense_is_named_and_not_shown(environ: dict[str, str], named: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=named) as raised:
        Places(environ, tmp_path).remote()
    assert "secret" not in raised.value.message


def test_the_guides_example_key_is_refused(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "x", "ENCRYPTION_KEY": "your-32-byte-encryption-key-here"}
    with pytest.raises(SettingsError, match="ENCRYPTION_KEY is the deployment guide's example"):
        encryption_key(Places(environ, tmp_path))
