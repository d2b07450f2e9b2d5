import json
import stat
from pathlib import Path

import pytest

from copilot_common.platform.settings import load_settings
from copilot_devstack.errors import StackError
from copilot_devstack.files import last_lines, write_private
from copilot_devstack.home import Home
from copilot_devstack.state import DevState, load_dev_state, load_secrets, save_dev_state


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / ".copilot")
    made.make()
    return made


def _state() -> DevState:
    return DevState(
        base_url="http://127.0.0.1:8080",
        api_key="cpk_live_x",
        admin_email="admin@example.com",
        admin_password="secret",
        database_url="postgresql://app",
        redis_url="redis://",
        pids={"postgres": 1, "redis": 2, "api": 3},
        ports={"postgres": 4, "redis": 5, "api": 8080},
        migration_database_url="postgresql://owner",
        admin_database_url="postgresql://admin",
    )


def test_dev_json_has_the_names_of_the_wire_contract_and_is_private(home: Home) -> None:
    save_dev_state(home, _state())
    names = {"base_url", "api_key", "admin_email", "admin_password", "database_url", "redis_url", "pids", "ports"}
    assert names <= json.loads(home.dev_json.read_text()).keys()
    assert stat.S_IMODE(home.dev_json.stat().st_mode) == 0o600
    assert load_dev_state(home) == _state()


def test_there_is_no_state_while_the_stack_is_down(home: Home) -> None:
    assert load_dev_state(home) is None


def test_secrets_are_made_once_and_are_private(home: Home) -> None:
    assert load_secrets(home) == load_secrets(home)
    assert stat.S_IMODE(home.secrets_json.stat().st_mode) == 0o600


def test_two_stacks_have_different_secrets(tmp_path: Path) -> None:
    one, other = load_secrets(Home(tmp_path / "one")), load_secrets(Home(tmp_path / "other"))
    assert one.encryption_key != other.encryption_key
    assert one.postgres_password != other.postgres_password


def test_the_generated_secrets_are_strong_enough_for_the_api(home: Home) -> None:
    made = load_secrets(home)
    settings = load_settings(
        {
            "DATABASE_URL": "postgres://",
            "REDIS_URL": "redis://127.0.0.1:6379",
            "JWT_SECRET": made.jwt_secret,
            "ENCRYPTION_KEY": made.encryption_key,
        }
    )
    assert settings.encryption_key_bytes == bytes.fromhex(made.encryption_key)


def test_lost_secrets_are_not_replaced_while_data_exists(home: Home) -> None:
    load_secrets(home)
    home.secrets_json.unlink()
    (home.path / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(StackError, match="copilot reset"):
        load_secrets(home)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home.path / "file"
    write_private(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert [left.name for left in home.path.glob(".file*")] == []


def test_last_lines_reads_only_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert last_lines(log, 2) == ["line 99998", "line 99999"]
    assert last_lines(tmp_path / "missing", 2) == []
