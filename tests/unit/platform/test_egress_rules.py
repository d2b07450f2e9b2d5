"""Which URLs may be configured: schemes, ports, userinfo, names, and every way to spell an address."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.errors import EgressRefused
from copilot_common.platform.egress.exemptions import parse_exemptions
from copilot_common.platform.egress.rules import EgressRules

RULES = EgressRules()


def refusal(url: str, rules: EgressRules = RULES) -> str:
    """The rule that refuses it."""
    with pytest.raises(EgressRefused) as refused:
        rules.check_url(url)
    return refused.value.rule


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/in?x=1#part",
        "http://example.com:8080",
        "https://EXAMPLE.com.:8443/",
        "https://bücher.de/",
        "https://my_host.example.com/",
        "http://1.1.1.1/",
        "http://[2606:4700::1111]:443/",
        "http://[::ffff:1.1.1.1]/",
        "https://1password.com/",
        "https://0xdeadbeef.com/",
        "https://example.com/@name:x",
    ],
)
def test_public_names_and_addresses_are_admitted(url: str) -> None:
    RULES.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.1.2.3/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://[::127.0.0.1]/",
        "http://①②⑦.⓪.⓪.①/",
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
    ],
)
def test_addresses_that_are_not_public_are_refused(url: str) -> None:
    assert refusal(url) == "address"


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0X7F.0.0.1/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.01/",
        "http://127.0.0.1./",
        "http://1.1.1.1./",
        "http://1.1.1.256/",
        "http://127.0.0.0x1/",
        "http://0x/",
        "http://[fe80::1%25eth0]/",
        "http://[2606:4700::1111%25eth0]/",
        "http://[::1%eth0]/",
        "http://%31%32%37.0.0.1/",
        "http://example..com/",
        "http://.example.com/",
        "http://example.com../",
        "http://-example.com/",
        f"http://{'a' * 64}.com/",
        f"http://{'a.' * 127}com/",
        "http://*.example.com/",
    ],
)
def test_odd_spellings_of_hosts_are_refused(url: str) -> None:
    assert refusal(url) == "host"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "redis",
        "postgres.",
        "metadata.google.internal",
        "printer.local",
        "api.svc.cluster.local.",
        "router.home.arpa",
    ],
)
def test_names_that_the_public_dns_does_not_have_are_refused(host: str) -> None:
    assert refusal(f"http://{host}/") == "host"


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/", "example.com", ""]
)
def test_only_http_and_https_are_admitted(url: str) -> None:
    assert refusal(url) == "scheme"


@pytest.mark.parametrize(
    "url", ["http://u@example.com/", "http://u:p@example.com/", "http://:p@example.com/", "http://1.1.1.1@10.0.0.1/"]
)
def test_userinfo_is_refused(url: str) -> None:
    assert refusal(url) == "userinfo"


@pytest.mark.parametrize(
    "url",
    [
        "http://exam ple.com/",
        "http://example.com/\r\nX: y",
        "http://example.com/\x00",
        "\thttp://example.com/",
        "http://example.com\\@10.0.0.1/",
        "http://exa\u00admple.com/",
        "http://example.com:99999/",
        "http://example.com:x/",
        "http://[::1",
        "http://" + "a" * 2_048,
    ],
)
def test_what_parsers_disagree_on_is_refused(url: str) -> None:
    assert refusal(url) == "url"


@pytest.mark.parametrize("url", ["http:///x", "http:x", "http://"])
def test_a_url_without_a_host_is_refused(url: str) -> None:
    assert refusal(url) == "host"


@pytest.mark.parametrize("port", [0, 1, 22, 25, 81, 5432, 6379, 9200, 65535])
def test_ports_where_other_servers_are_stay_closed(port: int) -> None:
    assert refusal(f"http://example.com:{port}/") == "port"


def test_ports_can_be_chosen() -> None:
    rules = EgressRules(ports=frozenset({9443}))
    rules.check_url("https://example.com:9443/")
    assert refusal("https://example.com/", rules) == "port"


def test_an_exempt_name_is_that_name_only_on_any_port() -> None:
    rules = EgressRules(parse_exemptions("hooks.internal, REDIS"))
    for url in ("http://hooks.internal/", "http://Hooks.Internal.:9999/", "http://redis:6379/"):
        rules.check_url(url)
    for url in ("http://a.hooks.internal/", "http://internal/", "http://xhooks.internal/"):
        assert refusal(url, rules) == "host"


def test_an_exempt_network_is_exempt_in_each_of_its_spellings_and_no_further() -> None:
    rules = EgressRules(parse_exemptions("127.0.0.0/8,fd00::/8,10.0.0.7"))
    for host in ("127.0.0.1", "[::ffff:127.9.9.9]", "[fd00::1]", "10.0.0.7"):
        rules.check_url(f"http://{host}:9999/")
    for host in ("10.0.0.8", "[fc00::1]", "[::1]"):
        assert refusal(f"http://{host}/", rules) == "address"


@pytest.mark.parametrize(
    "text", ["10.0.0.0/99", "http://hooks", "*.internal", "hooks:80", "10.0.0", "2130706433/8", "a b", "[::1]", "bü.de"]
)
def test_an_exemption_that_is_neither_name_nor_network_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_exemptions(f"good.internal,{text}")


def test_a_names_addresses_must_all_be_public_and_the_refusal_does_not_tell_which_is_not() -> None:
    destination = RULES.admit("https://example.com/")
    RULES.check_resolved(destination, [ip_address("1.1.1.1"), ip_address("2606:4700::1")])
    with pytest.raises(EgressRefused) as refused:
        RULES.check_resolved(destination, [ip_address("1.1.1.1"), ip_address("10.9.8.7")])
    assert "10.9.8.7" not in f"{refused.value.message}{refused.value.details}"
    assert "private" not in refused.value.message


def test_a_name_is_looked_up_absolute_and_an_exempt_one_as_written() -> None:
    rules = EgressRules(parse_exemptions("redis"))
    assert rules.admit("http://example.com/").lookup_name == "example.com."
    assert rules.admit("http://example.com./").lookup_name == "example.com."
    assert rules.admit("http://redis/").lookup_name == "redis"


def test_what_is_sent_has_the_name_that_was_checked_and_the_rest_as_written() -> None:
    assert str(RULES.admit("https://EXAMPLE.com.:8443/A%2F?b=%26").url) == "https://example.com:8443/A%2F?b=%26"


@given(st.ip_addresses(v=4), st.sampled_from(["{:d}", "0x{:x}", "0{:o}"]))
def test_no_address_passes_as_one_number(address: IPv4Address, spelling: str) -> None:
    assert refusal(f"http://{spelling.format(int(address))}/") == "host"


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://", "http://[", "http://1", "http://x@"]))
def test_whatever_is_admitted_is_canonical(text: str, start: str) -> None:
    """What is sent has the host that was checked: a name of plain labels or an address in its usual spelling."""
    try:
        admitted = RULES.admit(start + text)
    except EgressRefused:
        return
    sent = yarl.URL(str(admitted.url))
    assert sent.raw_user is None
    assert sent.raw_host == (str(admitted.host) if not isinstance(admitted.host, IPv6Address) else sent.raw_host)
    if not isinstance(admitted.host, str):
        assert sent.raw_host is not None
        assert ip_address(sent.raw_host) == admitted.host
