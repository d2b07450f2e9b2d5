"""The API as a process of the stack."""

import ipaddress
import signal
from collections.abc import Mapping

from copilot_devstack.errors import StackError
from copilot_devstack.ports import LOOPBACK, free_port, holder, is_free, next_free_port
from copilot_devstack.service_server import ServiceServer

DEFAULT_PORT = 8080
DEFAULT_RATE_LIMIT = "100000"


class ApiServer(ServiceServer):
    name = "api"
    title = "API"
    module = "copilot_api"
    # Longer than DRAIN_SECONDS, in which running answers may end.
    stop_steps = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))
    parent_death_signal = signal.SIGTERM

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

    def _listening(self, port: int) -> Mapping[str, str]:
        return {"RATE_LIMIT_REQUESTS": self.rate_limit, "HOST": self._host, "PORT": str(port)}

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

    @property
    def _probed_host(self) -> str:
        return self._address.strip("[]")
