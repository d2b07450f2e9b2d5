"""A PostgreSQL and a Redis that are thrown away, for tests and benchmarks."""

import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from copilot_devstack.accounts import data_folder, server_account
from copilot_devstack.home import Home
from copilot_devstack.postgres import EmbeddedPostgres
from copilot_devstack.redis import EmbeddedRedis


class TemporaryStores:
    """Nothing of it outlives the process that starts it: no server, no file, even after a kill -9.

    Start it from the main thread: on Linux the servers end with the thread that has started them.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="copilot-stores-"))
        if server_account() is not None:
            self._folder.chmod(0o711)  # root's servers run as another account
        self.home = Home(self._folder)
        self.home.make()
        self._guardian = _start_guardian([self._folder, data_folder(self._folder, server_account())])
        password = secrets.token_urlsafe(16)
        self.postgres = EmbeddedPostgres(self.home, password=lambda: password, durable=False, ends_with_parent=True)
        self.redis = EmbeddedRedis(self.home, durable=False, ends_with_parent=True)

    def start(self) -> None:
        self.postgres.launch()
        self.redis.launch()
        self.redis.wait_ready()
        self.postgres.wait_ready()

    def close(self) -> None:
        """Ends both and deletes their data."""
        self.postgres.stop()
        self.redis.stop()
        self._guardian.communicate()

    def __enter__(self) -> "TemporaryStores":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _start_guardian(folders: list[Path]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-I", "-m", "copilot_devstack.guardian", *map(str, dict.fromkeys(folders))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True)
