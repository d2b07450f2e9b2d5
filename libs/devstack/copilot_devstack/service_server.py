"""One of the product's own processes, as a process of the stack."""

import http.client
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from copilot_devstack.home import Home
from copilot_devstack.ports import LOOPBACK
from copilot_devstack.server import Server


class ServiceServer(Server):
    """`connections` gives the settings that only the stack knows (URLs, secrets); they win over `environ`'s.

    Everything else in `environ` is passed through: provider keys, and whatever else the process reads.
    """

    module: str

    def __init__(
        self,
        home: Home,
        *,
        environ: Mapping[str, str],
        connections: Callable[[], Mapping[str, str]],
        ends_with_parent: bool = False,
    ) -> None:
        super().__init__(home, ends_with_parent=ends_with_parent)
        self._home = home
        self._environ = environ
        self._connections = connections

    def _command(self, port: int) -> list[str]:
        return [sys.executable, "-m", self.module]

    def _folder(self) -> Path:
        return self._home.path

    def _listening(self, port: int) -> Mapping[str, str]:
        """The settings that say where the process listens."""
        raise NotImplementedError

    def _environment(self, port: int) -> Mapping[str, str]:
        return {
            "PATH": os.defpath,
            "NODE_ENV": "development",
            **self._environ,
            **self._connections(),
            **self._listening(port),
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def _probed_host(self) -> str:
        return LOOPBACK

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(self._probed_host, self.port, timeout=2)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
