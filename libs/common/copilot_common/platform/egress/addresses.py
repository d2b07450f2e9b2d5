"""Which IP addresses are public.

Tables of our own, from IANA's registries of special-purpose addresses: `ipaddress.is_global` has meant different things
in different patch releases of Python, and knows nothing of a cloud's own addresses.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_SPECIAL_V4: Final = {
    IPv4Network(block): kind
    for block, kind in {
        "0.0.0.0/8": "unspecified",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared by a carrier's customers",  # also Alibaba's metadata, 100.100.100.200
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "a cloud's own",  # Azure's host, reachable from every virtual machine
        "169.254.0.0/16": "link-local",  # also the metadata of AWS, Google, Azure: 169.254.169.254
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved",  # also Oracle's metadata, 192.0.0.192
        "192.0.2.0/24": "for documentation",
        "192.88.99.0/24": "reserved",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "for benchmarks",
        "198.51.100.0/24": "for documentation",
        "203.0.113.0/24": "for documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
}
_SPECIAL_V6: Final = {
    IPv6Network(block): kind
    for block, kind in {
        "::/128": "unspecified",
        "::1/128": "loopback",
        "fc00::/7": "private",  # also AWS's metadata, fd00:ec2::254
        "fe80::/10": "link-local",
        "ff00::/8": "multicast",
        "2001::/23": "reserved",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32": "for documentation",
        "2002::/16": "a tunnel",  # 6to4, which leads to any IPv4 address
        "3fff::/20": "for documentation",
    }.items()
}
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")


def effective_address(address: Address) -> Address:
    """Where packets end up: the IPv4 address inside an IPv4-mapped or NAT64 one (RFC 4291, RFC 6052)."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


def why_not_public(address: Address) -> str | None:
    """What kind of address this is ("loopback", …) if it is not a public one."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "link-local"
    address = effective_address(address)
    if isinstance(address, IPv4Address):
        return next((kind for block, kind in _SPECIAL_V4.items() if address in block), None)
    special = next((kind for block, kind in _SPECIAL_V6.items() if address in block), None)
    return special or (None if address in _GLOBAL_V6 else "reserved")
