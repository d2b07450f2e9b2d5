"""What REDIS_URL says. A fault's text never has a part of the URL: it may hold a password.

    redis://[[user]:password@]host[:6379][/0]
    redis+sentinel://[[user]:password@]host[:26379],…/name-of-the-master[/0]
    redis+cluster://[[user]:password@]host[:6379],…

`rediss` for TLS. Options in the query bear redis-py's names. User and password are the servers'; a Sentinel's own are
the options `sentinel_username` and `sentinel_password`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

Address = tuple[str, int]
RedisKind = Literal["single", "sentinel", "cluster"]

_KINDS: dict[str, RedisKind] = {"": "single", "sentinel": "sentinel", "cluster": "cluster"}
_PORTS: dict[RedisKind, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_VERIFY = ("none", "optional", "required")
_SHAPE = "must be redis://host:6379, redis+sentinel://host:26379,…/master or redis+cluster://host:6379,…"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """`hosts` are the server, the Sentinels, or some nodes of the Cluster. `login` and `tls` are keywords of redis-py's
    connections; `tls` is empty where there is none. `service` is the name by which the Sentinels know the master."""

    kind: RedisKind
    hosts: tuple[Address, ...]
    database: int = 0
    service: str = ""
    login: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sentinel_login: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tls: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def places(self) -> str:
        """For people: where it is, without a secret."""
        return ", ".join(f"{host}:{port}" for host, port in self.hosts)


def parse_redis_url(url: str) -> RedisUrl:
    """Raises ValueError with a text that goes on from the variable's name. Looks for the files that TLS is to use."""
    scheme, _, rest = url.partition("://")
    transport, _, suffix = scheme.lower().partition("+")
    kind = _KINDS.get(suffix)
    if transport not in ("redis", "rediss") or kind is None or scheme.endswith("+"):
        raise ValueError(_SHAPE)
    # By hand as far as the hosts go: urlsplit knows one.
    rest, _, query = rest.partition("#")[0].partition("?")
    authority, _, path = rest.partition("/")
    user, _, hosts = authority.rpartition("@")
    options = _options(query)
    service, database = _path(kind, path, options)
    login = _login(user, options)
    return RedisUrl(
        kind=kind,
        hosts=_hosts(hosts, kind),
        database=database,
        service=service,
        login=login,
        sentinel_login=_sentinel_login(options, kind),
        tls=_tls(options, transport == "rediss"),
    )


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = {"db", "username", "password", "sentinel_username", "sentinel_password", "ssl_cert_reqs"}
    if not options.keys() <= known | {*_FILES, "ssl_check_hostname"}:
        raise ValueError(f"has an option that is not known; known are {', '.join(sorted(known | {*_FILES}))} and "
                         "ssl_check_hostname")  # fmt: skip
    return options


def _hosts(text: str, kind: RedisKind) -> tuple[Address, ...]:
    hosts = tuple(_address(part, _PORTS[kind]) for part in text.split(","))
    if kind == "single" and len(hosts) > 1:
        raise ValueError("names several hosts: write redis+cluster:// or redis+sentinel://, if that is what they are")
    return hosts


def _address(text: str, port: int) -> Address:
    try:
        parts = urlsplit(f"//{text}")
        if not parts.hostname or parts.path or parts.username is not None:
            raise ValueError
        return unquote(parts.hostname), parts.port or port
    except ValueError:  # urlsplit's own would quote the port
        raise ValueError(_SHAPE) from None


def _path(kind: RedisKind, path: str, options: Mapping[str, str]) -> tuple[str, int]:
    """The master's name, and the number of the database."""
    parts = path.strip("/").split("/")
    service = unquote(parts.pop(0)) if kind == "sentinel" and parts else ""
    if kind == "sentinel" and not service:
        raise ValueError("lacks the name of the master: redis+sentinel://host:26379,…/mymaster")
    text = options.get("db") or "".join(parts) or "0"
    if len(parts) > 1 or not (text.isascii() and text.isdigit()):
        raise ValueError("must end with the number of a database, or with none")
    if kind == "cluster" and int(text):
        raise ValueError("names a database other than 0: a Redis Cluster has no other")
    return service, int(text)


def _login(user: str, options: Mapping[str, str]) -> dict[str, str]:
    name, _, password = user.partition(":")
    given = {
        "username": unquote(name) or options.get("username"),
        "password": unquote(password) or options.get("password"),
    }
    return {key: value for key, value in given.items() if value}


def _sentinel_login(options: Mapping[str, str], kind: RedisKind) -> dict[str, str]:
    start = "sentinel_"
    login = {name.removeprefix(start): value for name, value in options.items() if name.startswith(start) and value}
    if login and kind != "sentinel":
        raise ValueError("has options of Sentinels, but is no redis+sentinel://")
    return login


def _tls(options: Mapping[str, str], is_wanted: bool) -> dict[str, object]:
    given: dict[str, object] = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if not is_wanted:
        if given:
            raise ValueError("has options of TLS, but does not begin with rediss")
        return {}
    verify = given.setdefault("ssl_cert_reqs", "required")
    if verify not in _VERIFY:
        raise ValueError(f"has an ssl_cert_reqs that is none of {', '.join(_VERIFY)}")
    # redis-py 5 leaves the name unchecked, so that any certificate of the CA would do.
    checks = _BOOLEANS.get(str(given.get("ssl_check_hostname", verify == "required")).lower())
    if checks is None:
        raise ValueError("has an ssl_check_hostname that is neither true nor false")
    if checks and verify == "none":
        raise ValueError("has ssl_check_hostname=true, which ssl_cert_reqs=none contradicts")
    for name in _FILES:
        if name in given and not Path(str(given[name])).is_file():
            raise ValueError(f"names a file that does not exist, as {name}")
    return {**given, "ssl_check_hostname": checks}
