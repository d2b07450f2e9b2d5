"""The API as a process of the stack."""

import http.client
import ipaddress
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from copilot_devstack.errors import StackError
from copilot_devstack.home import Home
from copilot_devstack.ports import LOOPBACK, free_port, holder, is_free, next_free_port
from copilot_devstack.server import Server

DEFAULT_PORT = 8080
DEFAULT_RATE_LIMIT = "100000"


class ApiServer(Server):
    """`connections` gives the settings that only the stack knows (URLs, secrets); they win over `environ`'s.

    Everything else in `environ` is passed through: provider keys, and whatever else the API reads.
    """

    name = "api"
    title = "API"
    # Longer than DRAIN_SECONDS, in which running answers may end.
    stop_steps = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))
    parent_death_signal = signal.SIGTERM

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

    @property
    def base_url(self) -> str:
        return f"http://{self._address}:{self.port}"

    @property
    def rate_limit(self) -> str:
        return self._environ.get("RATE_LIMIT_REQUESTS") or DEFAULT_RATE_LIMIT

    @property
    def has_own_port(self) -> bool:
        """PORT was given, so no other one may be taken instead."""
        return bool(self._environ.get("PORT"))

    def _command(self, port: int) -> list[str]:
        return [sys.executable, "-m", "copilot_api"]

    def _folder(self) -> Path:
        return self._home.path

    def _environment(self, port: int) -> Mapping[str, str]:
        return {
            "PATH": os.defpath,
            "NODE_ENV": "development",
            **self._environ,
            **self._connections(),
            "RATE_LIMIT_REQUESTS": self.rate_limit,
            "HOST": self._host,
            "PORT": str(port),
            "PYTHONUNBUFFERED": "1",
        }

    def _choose_port(self, last: int | None) -> int:
        wanted = self._wanted_port()
        if wanted is None:
            return (
                last
                if last is not None and is_free(last, self._host)
                else next_free_port(DEFAULT_PORT, host=self._host)
            )
        if wanted == 0:
            return free_port()
        if not is_free(wanted, self._host):
            by = holder(wanted)
            free = next_free_port(wanted + 1, host=self._host)
            raise StackError(f"Port {wanted} is taken{f' by {by}' if by else ''}. Name another: PORT={free} copilot up")
        return wanted

    def _wanted_port(self) -> int | None:
        text = self._environ.get("PORT")
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or int(text) > 65_535:
            raise StackError("PORT must be a whole number from 0 to 65535.")
        return int(text)

    @property
    def _host(self) -> str:
        # Some shells put the machine's name into HOST; listening there would open the stack to the network unasked.
        try:
            return str(ipaddress.ip_address(self._environ.get("HOST", "")))
        except ValueError:
            return LOOPBACK

    @property
    def _address(self) -> str:
        host = ipaddress.ip_address(self._host)
        if host.is_unspecified:
            return LOOPBACK
        return f"[{host}]" if host.version == 6 else str(host)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(self._address.strip("[]"), self.port, timeout=2)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
