"""REDIS_URL: one server, Sentinels or a Cluster; what it cannot be is said without showing it."""

from pathlib import Path
from typing import Any

import pytest

from copilot_common.platform.redis_url import parse_redis_url

_VERIFIED = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


def test_one_server() -> None:
    place = parse_redis_url("redis://me:p%40ss@cache.internal:6380/3")
    assert (place.kind, place.hosts, place.database) == ("single", (("cache.internal", 6380),), 3)
    assert (place.login, place.tls) == ({"username": "me", "password": "p@ss"}, {})


@pytest.mark.parametrize(
    ("url", "hosts", "database"),
    [
        ("redis://cache", (("cache", 6379),), 0),
        ("redis://cache/", (("cache", 6379),), 0),
        ("redis://cache?db=5", (("cache", 6379),), 5),
        ("redis://[::1]:7000/1", (("::1", 7000),), 1),
        ("redis+cluster://a,b:7001,[fd00::2]:7002", (("a", 6379), ("b", 7001), ("fd00::2", 7002)), 0),
        ("redis+cluster://a:7000/0", (("a", 7000),), 0),
        ("redis+sentinel://a,b:5000/mymaster", (("a", 26379), ("b", 5000)), 0),
        ("redis+sentinel://a/mymaster/2", (("a", 26379),), 2),
    ],
)
def test_hosts_ports_and_database(url: str, hosts: Any, database: int) -> None:
    place = parse_redis_url(url)
    assert (place.hosts, place.database) == (hosts, database)


def test_sentinels_have_a_login_of_their_own() -> None:
    place = parse_redis_url("redis+sentinel://:p@s1,s2/my%20master?sentinel_username=watcher&sentinel_password=q")
    assert (place.kind, place.service, place.login) == ("sentinel", "my master", {"password": "p"})
    assert place.sentinel_login == {"username": "watcher", "password": "q"}


def test_tls_verifies_chain_and_name_unless_told_otherwise(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    assert parse_redis_url("rediss://cache").tls == _VERIFIED
    found = parse_redis_url(f"rediss+cluster://cache?ssl_ca_certs={authority}&ssl_check_hostname=no").tls
    assert found == _VERIFIED | {"ssl_ca_certs": str(authority), "ssl_check_hostname": False}
    assert parse_redis_url("rediss://cache?ssl_cert_reqs=none").tls == {
        "ssl_cert_reqs": "none",
        "ssl_check_hostname": False,
    }


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "must be"),
        ("cache-17:6379", "must be"),
        ("http://cache-17", "must be"),
        ("redis+://cache-17", "must be"),
        ("redis+ring://cache-17", "must be"),
        ("redis://", "must be"),
        ("redis://cache-17:port", "must be"),
        ("redis://cache-17:99999", "must be"),
        ("redis+cluster://cache-17,", "must be"),
        ("redis://cache-17,other", "several hosts"),
        ("redis://cache-17/one", "number of a database"),
        ("redis://cache-17/1/2", "number of a database"),
        ("redis+cluster://cache-17/1", "database other than 0"),
        ("redis+cluster://cache-17?db=1", "database other than 0"),
        ("redis+sentinel://cache-17", "name of the master"),
        ("redis+sentinel://cache-17/mymaster/x", "number of a database"),
        ("redis://cache-17?max_connections=1", "not known"),
        ("redis://cache-17?ssl_cert_reqs=none", "does not begin with rediss"),
        ("redis://cache-17?sentinel_password=secret-17", "no redis\\+sentinel"),
        ("rediss://cache-17?ssl_cert_reqs=perhaps-17", "ssl_cert_reqs"),
        ("rediss://cache-17?ssl_check_hostname=perhaps-17", "ssl_check_hostname"),
        ("rediss://cache-17?ssl_cert_reqs=none&ssl_check_hostname=true", "contradicts"),
        ("rediss://cache-17?ssl_ca_certs=/nowhere/ca-17.pem", "as ssl_ca_certs"),
    ],
)
def test_what_it_cannot_be_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        parse_redis_url(url)
    assert "17" not in str(refused.value)


def test_no_secret_is_in_its_repr() -> None:
    place = parse_redis_url("redis+sentinel://:secret-17@s1/mymaster?sentinel_password=other-17")
    assert "17" not in repr(place)
    assert place.places == "s1:26379"
