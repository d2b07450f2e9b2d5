import subprocess
import sys
from pathlib import Path

import pytest

from copilot_devstack.home import Home, find_home

_WORKSPACE = '[tool.uv.workspace]\nmembers = ["libs/*"]\n'


def test_the_home_is_in_the_clone_around_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(_WORKSPACE)
    inner = tmp_path / "libs" / "common"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text('[project]\nname = "common"\n')
    assert find_home({}, inner).path == tmp_path / ".copilot"


def test_copilot_home_takes_its_place(tmp_path: Path) -> None:
    assert find_home({"COPILOT_HOME": str(tmp_path / "elsewhere")}, tmp_path).path == tmp_path / "elsewhere"


def test_outside_a_clone_the_one_of_this_python_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = tmp_path / "clone"
    (clone / ".venv").mkdir(parents=True)
    (clone / "pyproject.toml").write_text(_WORKSPACE)
    monkeypatch.setattr(sys, "prefix", str(clone / ".venv"))
    assert find_home({}, tmp_path / "work").path == clone / ".copilot"


def test_without_any_clone_the_home_is_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/usr")
    assert find_home({}, tmp_path).path == tmp_path / ".copilot"


def test_deleting_leaves_what_is_not_ours(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    home.dev_json.write_text("{}")
    (tmp_path / "thesis.txt").write_text("mine")
    home.delete()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_only_one_command_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    other = (
        "import sys, pathlib; from copilot_devstack.home import Home\n"
        "with Home(pathlib.Path(sys.argv[1])).locked(lambda: print('waits', flush=True)): print('holds', flush=True)"
    )
    with home.locked(lambda: pytest.fail("nobody else holds it")):
        waiter = subprocess.Popen([sys.executable, "-c", other, str(home.path)], stdout=subprocess.PIPE, text=True)
        assert waiter.stdout is not None
        assert waiter.stdout.readline() == "waits\n"
    assert waiter.communicate(timeout=10)[0] == "holds\n"


def test_a_lock_deleted_while_someone_waited_is_made_anew(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.locked(lambda: None):
        home.delete()
    with home.locked(lambda: pytest.fail("nobody holds it")):
        assert (home.path / "lock").exists()
