"""Which addresses are public: every special range at its edges, and IPv4 in its IPv6 disguises."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.platform.egress.addresses import effective_address, why_not_public

V4_RANGES = [
    ("0.0.0.0", "0.255.255.255", "unspecified"),
    ("10.0.0.0", "10.255.255.255", "private"),
    ("100.64.0.0", "100.127.255.255", "shared by a carrier's customers"),
    ("127.0.0.0", "127.255.255.255", "loopback"),
    ("168.63.129.16", "168.63.129.16", "a cloud's own"),
    ("169.254.0.0", "169.254.255.255", "link-local"),
    ("172.16.0.0", "172.31.255.255", "private"),
    ("192.0.0.0", "192.0.0.255", "reserved"),
    ("192.0.2.0", "192.0.2.255", "for documentation"),
    ("192.88.99.0", "192.88.99.255", "reserved"),
    ("192.168.0.0", "192.168.255.255", "private"),
    ("198.18.0.0", "198.19.255.255", "for benchmarks"),
    ("198.51.100.0", "198.51.100.255", "for documentation"),
    ("203.0.113.0", "203.0.113.255", "for documentation"),
    ("224.0.0.0", "239.255.255.255", "multicast"),
    ("240.0.0.0", "255.255.255.255", "reserved"),
]
V6_RANGES = [
    ("::", "::", "unspecified"),
    ("::1", "::1", "loopback"),
    ("::2", "::fffe:ffff:ffff", "reserved"),  # IPv4-compatible and what follows
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "reserved"),  # NAT64 of a network's own choice
    ("100::", "100::ffff:ffff:ffff:ffff", "reserved"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "for documentation"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "a tunnel"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "for documentation"),
    ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
]
METADATA = ["169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fe80::a9fe:a9fe"]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "100.128.0.0", "172.32.0.0", "2606:4700::1111", "2a00:1450::1"]

v4_addresses = st.ip_addresses(v=4)


@pytest.mark.parametrize(("first", "last", "kind"), V4_RANGES + V6_RANGES)
def test_a_special_range_is_special_from_its_first_to_its_last_address(first: str, last: str, kind: str) -> None:
    assert {why_not_public(ip_address(first)), why_not_public(ip_address(last))} == {kind}


@pytest.mark.parametrize(("first", "last", "_kind"), V4_RANGES)
def test_what_lies_beside_a_range_is_judged_by_itself(first: str, last: str, _kind: str) -> None:
    edges = {IPv4Address(int(IPv4Address(first)) - 1)} if first != "0.0.0.0" else set()
    edges |= {IPv4Address(int(IPv4Address(last)) + 1)} if last != "255.255.255.255" else set()
    touching = {IPv4Address(low) for low, _, _ in V4_RANGES} | {IPv4Address(high) for _, high, _ in V4_RANGES}
    assert all(why_not_public(edge) is None for edge in edges - touching)


@pytest.mark.parametrize("address", METADATA)
def test_no_clouds_metadata_service_is_public(address: str) -> None:
    assert why_not_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert why_not_public(ip_address(address)) is None


@given(v4_addresses)
def test_ipv4_within_ipv6_is_what_the_ipv4_address_is(address: IPv4Address) -> None:
    mapped, nat64 = IPv6Address(f"::ffff:{address}"), IPv6Address(f"64:ff9b::{address}")
    assert effective_address(mapped) == effective_address(nat64) == address
    assert why_not_public(mapped) == why_not_public(nat64) == why_not_public(address)


@given(v4_addresses)
def test_tunnels_and_compatible_spellings_are_never_public(address: IPv4Address) -> None:
    six_to_four = IPv6Address((0x2002 << 112) | (int(address) << 80))
    teredo = IPv6Address((0x20010000 << 96) | (int(address) ^ 0xFFFFFFFF))
    assert all(why_not_public(found) for found in (six_to_four, teredo, IPv6Address(int(address))))


@given(v4_addresses)
def test_what_python_calls_loopback_private_or_multicast_is_not_public(address: IPv4Address) -> None:
    if address.is_loopback or address.is_private or address.is_multicast or address.is_link_local:
        assert why_not_public(address)


@given(st.ip_addresses(v=6))
def test_an_address_with_a_zone_is_not_public(address: IPv6Address) -> None:
    assert why_not_public(IPv6Address(f"{address}%eth0")) == "link-local"
