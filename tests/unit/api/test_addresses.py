"""Whose address a request has: nobody's word counts but a trusted proxy's."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_api.http.addresses import Networks, client_address

PROXIES: Networks = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
CASES = [
    ("203.0.113.7", None, "203.0.113.7"),
    ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # not through a proxy of ours: a lie
    ("10.0.0.1", None, "10.0.0.1"),
    ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # what the client itself had sent does not count
    ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
    ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ("10.0.0.1", "garbage", "10.0.0.1"),
    ("10.0.0.1", "", "10.0.0.1"),
    ("10.0.0.1", "198.51.100.1, garbage", "198.51.100.1"),
    ("fd00::1", "2001:db8::5", "2001:db8::5"),
    ("fd00::1", "2001:DB8:0::5", "2001:db8::5"),
    (None, "198.51.100.1", None),
]


@pytest.mark.parametrize(("peer", "forwarded", "expected"), CASES)
def test_the_address_is_the_first_that_is_no_proxy_of_ours(
    peer: str | None, forwarded: str | None, expected: str | None
) -> None:
    assert client_address(peer, forwarded, PROXIES) == expected


@given(forwarded=st.text(max_size=60) | st.none())
def test_without_trusted_proxies_the_header_counts_for_nothing(forwarded: str | None) -> None:
    assert client_address("203.0.113.7", forwarded, ()) == "203.0.113.7"


@given(forwarded=st.text(max_size=60))
def test_no_header_breaks_it(forwarded: str) -> None:
    client_address("10.0.0.1", forwarded, PROXIES)
