"""The client's address. A forwarding header counts only from a proxy that TRUSTED_PROXIES names."""

from ipaddress import IPv4Network, IPv6Network, ip_address

Networks = tuple[IPv4Network | IPv6Network, ...]


def client_address(peer: str | None, forwarded_for: str | None, trusted: Networks) -> str | None:
    """Walk X-Forwarded-For from the right, past every trusted proxy; the first other address is the client's."""
    address = peer
    for hop in reversed((forwarded_for or "").split(",")):
        if address is None or not _is_trusted(address, trusted):
            return address
        address = _canonical(hop.strip()) or address
    return address


def _is_trusted(address: str, trusted: Networks) -> bool:
    canonical = _canonical(address)
    return canonical is not None and any(ip_address(canonical) in network for network in trusted)


def _canonical(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
