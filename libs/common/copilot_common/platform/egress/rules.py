"""Which URLs a tenant may name. No network: this is also the check for the moment a URL is configured."""

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

import yarl

from copilot_common.base.errors import EgressRefused
from copilot_common.platform.egress.addresses import Address, why_not_public
from copilot_common.platform.egress.exemptions import Exemptions, is_name, is_numeric

# Where web servers are. Ports from 1024 up are not let through as a whole: databases, caches and brokers live there.
WEB_PORTS: Final = frozenset({80, 443, 8080, 8443})
_MAX_URL_CHARS: Final = 2_048
# Names that the public DNS does not have (RFC 6761, 6762, 8375; `internal` is ICANN's for private use). Without this
# rule, "refused" and "not found" would tell which of a cluster's names exist.
_PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal", ".home.arpa")


@dataclass(frozen=True, slots=True)
class Destination:
    """An admitted URL. `host` is its address, or its name without a trailing dot."""

    url: yarl.URL
    host: Address | str
    is_exempt: bool

    @property
    def lookup_name(self) -> str:
        """Absolute, so that no search domain is tried; an exempt name as the operator wrote it (it may be short)."""
        return str(self.host) if self.is_exempt else f"{self.host}."


@dataclass(frozen=True, slots=True)
class EgressRules:
    exemptions: Exemptions = field(default_factory=Exemptions)
    ports: frozenset[int] = WEB_PORTS

    def check_url(self, url: str) -> None:
        """Raises EgressRefused; its message serves as the sentence about a field. A name is not looked up."""
        self.admit(url)

    def admit(self, text: str) -> Destination:
        """The URL as it will be sent. Raises EgressRefused."""
        url = _parse(text)
        host = _parse_host(url.raw_host or "")
        is_exempt = self.exemptions.cover_name(host) if isinstance(host, str) else self.exemptions.cover_address(host)
        if not is_exempt:
            self._check_port(url.port)
            _check_host(host)
        # Host header and TLS get the name as it was checked, without its trailing dot.
        return Destination(url.with_host(host) if isinstance(host, str) else url, host, is_exempt)

    def check_resolved(self, destination: Destination, addresses: Collection[Address]) -> None:
        """Raises EgressRefused if one of the addresses that a name led to is not public; doesn't say which or why."""
        if destination.is_exempt:
            return
        if any(why_not_public(found) and not self.exemptions.cover_address(found) for found in addresses):
            raise EgressRefused("address", "The URL's host leads to an address that is not public.")

    def _check_port(self, port: int | None) -> None:
        if port not in self.ports:
            known = ", ".join(str(known) for known in sorted(self.ports))
            raise EgressRefused("port", f"The URL's port must be one of {known}.")


def _parse(text: str) -> yarl.URL:
    if len(text) > _MAX_URL_CHARS:
        raise EgressRefused("url", f"The URL may have {_MAX_URL_CHARS} characters.")
    # Parsers drop or keep these at their own will, and then disagree on where the host ends.
    if any(char.isspace() or not char.isprintable() or char == "\\" for char in text):
        raise EgressRefused("url", "The URL may not contain spaces, control characters or backslashes.")
    try:
        url = yarl.URL(text)
        _ = url.port
    except ValueError:
        raise EgressRefused("url", "The URL is malformed.") from None
    if url.scheme not in {"http", "https"}:
        raise EgressRefused("scheme", "The URL must begin with http:// or https://.")
    if url.raw_user is not None or url.raw_password is not None:
        raise EgressRefused("userinfo", "The URL may not contain a user name or password.")
    return url


def _parse_host(raw: str) -> Address | str:
    name = raw.lower().removesuffix(".")
    if ":" in raw or is_numeric(name):
        return _parse_address(raw)
    if not is_name(name):
        raise EgressRefused("host", "The URL's host is not a valid name.")
    return name


def _parse_address(raw: str) -> Address:
    try:
        address = ip_address(raw)
    except ValueError:
        address = None
    # Python also takes a zone, which names an interface of this machine.
    if address is None or "%" in raw:
        raise EgressRefused("host", "The URL's host must be a name or an address in its usual spelling.")
    return address


def _check_host(host: Address | str) -> None:
    if isinstance(host, str):
        if "." not in host or host.endswith(_PRIVATE_SUFFIXES):
            raise EgressRefused("host", "The URL's host must be a name of the public DNS.")
    elif kind := why_not_public(host):
        raise EgressRefused("address", f"The URL's host must be a public address; this one is {kind}.")
