"""The folder a stack lives in: `.copilot/` of the clone, or what COPILOT_HOME names."""

import fcntl
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_CONTENTS = ("dev.json", "secrets.json", "logs", "run", "postgres", "redis", "programs", "data-folder", "lock")


@dataclass(frozen=True)
class Home:
    path: Path

    @property
    def dev_json(self) -> Path:
        return self.path / "dev.json"

    @property
    def secrets_json(self) -> Path:
        return self.path / "secrets.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def records(self) -> Path:
        return self.path / "run"

    def make(self) -> None:
        """Others may pass through (root's servers run as an unprivileged account) but see nothing."""
        if not self.path.exists():
            self.path.mkdir(parents=True)
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for folder in (self.logs, self.records):
            folder.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def locked(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """One `copilot` at a time changes this stack. `on_wait` is called when another one is at it."""
        while True:
            self.make()
            with (self.path / "lock").open("w") as file:
                _lock(file, on_wait)
                if _is_at(file, self.path / "lock"):  # else `reset` has deleted it while we waited
                    yield
                    return

    def delete(self) -> None:
        """Only what is ours: COPILOT_HOME may name a folder that holds other things."""
        for name in _CONTENTS:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()


def _lock(file: IO[str], on_wait: Callable[[], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        fcntl.flock(file, fcntl.LOCK_EX)


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def find_home(environ: Mapping[str, str], start: Path) -> Home:
    """COPILOT_HOME; else of the clone around `start`; else of the clone this Python is installed in; else `start`'s."""
    if environ.get("COPILOT_HOME"):
        return Home(Path(environ["COPILOT_HOME"]).expanduser().absolute())
    root = _workspace_around(start) or _workspace_around(Path(sys.prefix)) or start
    return Home(root.absolute() / ".copilot")


def _workspace_around(start: Path) -> Path | None:
    for folder in (start.absolute(), *start.absolute().parents):
        try:
            project = tomllib.loads((folder / "pyproject.toml").read_text())
        except (OSError, ValueError):
            continue
        if "workspace" in project.get("tool", {}).get("uv", {}):
            return folder
    return None
