import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from copilot_devstack.processes import Process, birth_of, find, living_in, spawn
from support.stack import eventually

_SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = spawn(_SLEEP, log=tmp_path / "log", cwd=tmp_path, env={})
    yield process
    process.stop(((signal.SIGKILL, 10.0),))


def test_a_process_is_found_again_by_pid_and_birth(sleeper: Process) -> None:
    assert find(sleeper.pid, sleeper.birth) == sleeper


def test_a_recycled_pid_is_not_taken_for_the_process_that_had_it(sleeper: Process) -> None:
    assert find(sleeper.pid, "another birth") is None


def test_a_recycled_pid_is_never_signalled(sleeper: Process) -> None:
    stranger = Process(sleeper.pid, "another birth")
    stranger.send(signal.SIGKILL)
    assert not stranger.is_alive
    assert sleeper.is_alive


def test_the_birth_of_a_process_stays_the_same() -> None:
    assert birth_of(os.getpid()) == birth_of(os.getpid()) is not None


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    eventually(lambda: birth_of(child.pid) is None, what="the child's end")
    child.wait()


def test_stopping_turns_to_the_harder_signal_when_the_first_is_ignored(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        f"import signal, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN); pathlib.Path({str(ready)!r}).touch()"
    )
    command = [sys.executable, "-c", f"{code}; signal.pause()"]
    process = spawn(command, log=tmp_path / "log", cwd=tmp_path, env={})
    eventually(ready.exists)
    process.stop(((signal.SIGTERM, 0.2), (signal.SIGKILL, 10.0)))
    assert not process.is_alive


def test_what_a_process_prints_is_in_its_log(tmp_path: Path) -> None:
    process = spawn([sys.executable, "-c", "print('hello')"], log=tmp_path / "log", cwd=tmp_path, env={})
    assert process.wait(10)
    assert (tmp_path / "log").read_text() == "hello\n"


def test_processes_are_found_by_name_and_working_directory(sleeper: Process, tmp_path: Path) -> None:
    name = Path(f"/proc/{sleeper.pid}/comm").read_text().strip() if sys.platform == "linux" else "python"
    assert living_in(tmp_path, name) == [sleeper]
    assert living_in(tmp_path, "postgres") == []
    assert living_in(tmp_path.parent, name) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = """if True:
        import signal, sys, time
        from pathlib import Path
        from copilot_devstack.processes import spawn
        folder = Path(sys.argv[1])
        child = spawn(["sleep", "600"], log=folder / "log", cwd=folder, env={"PATH": "/bin:/usr/bin"},
                      on_parent_death=signal.SIGTERM)
        print(child.pid, child.birth, flush=True)
        time.sleep(600)
    """
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, birth = parent.stdout.readline().split()
    child = find(int(pid), birth)
    assert child is not None
    parent.kill()
    parent.communicate()
    assert child.wait(10)
