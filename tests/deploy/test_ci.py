"""What .ci/run does to install packages: as root, through sudo, or not at all; the tests run in any case."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.charts import ROOT

_POLICY = "/usr/sbin/policy-rc.d"
_SUDO = {
    "asks nothing": '[ "$1" = -n ] && shift && echo "sudo $1" >>"$NOTES" && exec "$@"',
    "asks for a password": "exit 1",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the script, whose policy is a file of the folder, and the only programs that it finds."""
    (tmp_path / ".ci").mkdir()
    script = (ROOT / ".ci/run").read_text()
    assert script.count(_POLICY) == 1
    (tmp_path / ".ci/run").write_text(script.replace(_POLICY, str(tmp_path / "policy-rc.d")))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "sh", "env", "dirname", "tee", "chmod", "rm", "true"):
        (programs / name).symlink_to(str(shutil.which(name)))
    write(programs / "make", 'echo "make $* ${COPILOT_OPS-}" >>"$NOTES"; [ ! -e "$POLICY" ]')
    write(programs / "apt-get", '"$POLICY"; echo "apt-get $1, services: $?" >>"$NOTES"')
    return tmp_path


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def ci(clone: Path, *, user: int, sudo: str | None = None) -> "tuple[list[str], subprocess.CompletedProcess[str]]":
    """What was started, in that order."""
    programs = clone / "programs"
    write(programs / "id", f"echo {user}")
    if sudo is not None:
        write(programs / "sudo", _SUDO[sudo])
    notes = clone / "notes"
    environ = {"PATH": str(programs), "NOTES": str(notes), "POLICY": str(clone / "policy-rc.d")}
    done = subprocess.run(
        [programs / "bash", clone / ".ci/run"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert not (clone / "policy-rc.d").exists()
    return notes.read_text().splitlines(), done


CHECKED = ["make check test "]
INSTALLED = ["apt-get update, services: 101", "apt-get install, services: 101"]
TESTED = ["make test-ops required"]


def test_root_installs_without_a_service_that_starts(clone: Path) -> None:
    noted, done = ci(clone, user=0)
    assert done.returncode == 0, done.stderr
    assert noted == CHECKED + INSTALLED + TESTED


def test_who_is_not_root_does_all_of_it_through_sudo(clone: Path) -> None:
    noted, done = ci(clone, user=1001, sudo="asks nothing")
    assert done.returncode == 0, done.stderr
    assert [line for line in noted if not line.startswith("sudo ")] == CHECKED + INSTALLED + TESTED
    assert {"sudo tee", "sudo chmod", "sudo rm"} <= set(noted)
    assert noted.index("sudo chmod") < noted.index(INSTALLED[0])


@pytest.mark.parametrize("sudo", ["asks for a password", None])
def test_where_nobody_may_install_the_tests_want_the_programs_all_the_same(clone: Path, sudo: str | None) -> None:
    noted, done = ci(clone, user=1001, sudo=sudo)
    assert done.returncode == 0, done.stderr
    assert noted == CHECKED + TESTED


def test_an_installation_that_fails_is_told_and_the_tests_say_what_is_missing(clone: Path) -> None:
    write(clone / "programs/apt-get", 'echo "apt-get $1" >>"$NOTES"; exit 100')
    noted, done = ci(clone, user=0)
    assert noted == [*CHECKED, "apt-get update", *TESTED]
    assert "could not install: prometheus" in done.stderr


def test_nothing_is_installed_where_services_could_not_be_kept_from_starting(clone: Path) -> None:
    (clone / "programs/tee").unlink()  # it is a link
    write(clone / "programs/tee", "exit 1")
    noted, done = ci(clone, user=0)
    assert noted == CHECKED + TESTED
    assert "could not install" in done.stderr


def test_what_fails_in_the_tests_fails_the_run(clone: Path) -> None:
    write(clone / "programs/make", '[ "$1" != test-ops ]')
    write(clone / "programs/apt-get", "exit 100")
    (clone / "notes").touch()
    _, done = ci(clone, user=0)
    assert done.returncode != 0
