"""What the operator lets tenants reach although it is not public: EGRESS_ALLOW."""

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from copilot_common.platform.egress.addresses import Address, Network, effective_address

# Underscores are not of the DNS's host names, but of many a real one.
_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_NAME_CHARS: Final = 253
# Resolvers take a host whose last label is a number for an IPv4 address, however it is spelled (WHATWG URL, 3.5).
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Exemptions:
    """Exempt is a name whatever it leads to, and an address in a network whatever name led there; on any port."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def cover_name(self, name: str) -> bool:
        return name in self.names

    def cover_address(self, address: Address) -> bool:
        return any(address in network or effective_address(address) in network for network in self.networks)


def parse_exemptions(text: str) -> Exemptions:
    """Names, addresses and CIDR blocks, comma-separated. Raises ValueError."""
    entries = [entry.strip().lower().removesuffix(".") for entry in text.split(",")]
    names = frozenset(entry for entry in entries if is_name(entry))
    networks = tuple(ip_network(entry, strict=False) for entry in entries if entry and entry not in names)
    return Exemptions(names, networks)


def is_name(host: str) -> bool:
    """A lower-case ASCII name without a trailing dot that no resolver takes for an address."""
    return len(host) <= _MAX_NAME_CHARS and _NAME.fullmatch(host) is not None and not is_numeric(host)


def is_numeric(host: str) -> bool:
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None
