"""The tie between the address that was checked and the address that is connected to."""

import socket
from ipaddress import IPv4Address, ip_address
from typing import Final

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from copilot_common.platform.egress.addresses import Address
from copilot_common.platform.egress.lookup import Lookup
from copilot_common.platform.egress.rules import Destination, EgressRules

# All of a name's addresses are checked; only the first few are tried, or a name with a thousand would be a port scan.
_MAX_TRIED: Final = 8


class Pin(AbstractResolver):
    """One connection's resolver and socket maker.

    aiohttp does not ask a resolver about hosts that look like addresses to it. That is why the last word is with
    `open_socket`, which sees the very address that is connected to.
    """

    def __init__(self, destination: Destination, rules: EgressRules, lookup: Lookup) -> None:
        self._destination = destination
        self._rules = rules
        self._lookup = lookup
        host = destination.host
        self._checked: set[Address] = set() if isinstance(host, str) else {host}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises EgressRefused, and OSError where the name has no address."""
        found = [ip_address(text) for text in await self._lookup(self._destination.lookup_name)]
        self._rules.check_resolved(self._destination, found)
        self._checked = set(found)
        return [_as_result(host, port, address) for address in found[:_MAX_TRIED]]

    def open_socket(self, info: AddrInfoType) -> socket.socket:
        """Raises PermissionError for an address that was not checked."""
        family, kind, protocol, _, address = info
        if ip_address(address[0]) not in self._checked:
            raise PermissionError("not an address that was checked")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Nothing is held."""


def _as_result(name: str, port: int, address: Address) -> ResolveResult:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=name, host=str(address), port=port, family=family, proto=0, flags=flags)
