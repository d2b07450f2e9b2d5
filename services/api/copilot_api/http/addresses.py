"""The client's address and scheme. A forwarding header counts only from a proxy that TRUSTED_PROXIES names."""

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


def forwarded_scheme(peer: str | None, scheme: str, forwarded: str | None, trusted: Networks) -> str:
    """`http` or `https`, as the client has it: a proxy may have taken the TLS away."""
    is_believed = peer is not None and _is_trusted(peer, trusted) and forwarded in {"http", "https"}
    return forwarded if forwarded and is_believed else scheme


def _is_trusted(address: str, trusted: Networks) -> bool:
    canonical = _canonical(address)
    return canonical is not None and any(ip_address(canonical) in network for network in trusted)


def _canonical(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
