"""One request as it goes out, and what a redirect makes of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import yarl

from copilot_common.base.errors import EgressFailed, EgressRefused
from copilot_common.platform.egress.rules import Destination, EgressRules

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# They frame the message or steer what stands between; Host would name another server behind the checked address.
_OURS: Final = frozenset(
    ["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"]
)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# What another origin may know. A list of what it may not would miss the next X-Api-Key.
_HARMLESS: Final = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "user-agent"})


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    to: Destination
    headers: dict[str, str]
    content: bytes


def prepare_call(method: str, to: Destination, headers: Mapping[str, str], content: bytes) -> Call:
    """Raises EgressRefused for a method or header that is not the caller's to choose."""
    if method not in _METHODS:
        raise EgressRefused("method", f"The method must be one of {', '.join(sorted(_METHODS))}.")
    for name, value in headers.items():
        check_header(name, value)
    return Call(method, to, dict(headers), content)


def check_header(name: str, value: str) -> None:
    """Raises EgressRefused; its message serves as the sentence about a field."""
    if _HEADER_NAME.fullmatch(name) is None or any(not char.isprintable() and char != "\t" for char in value):
        raise EgressRefused("header", "A header's name or value has characters that it may not have.")
    if name.lower() in _OURS or name.lower().startswith("proxy-"):
        raise EgressRefused("header", f"The header {name} may not be set.")


def redirect_call(call: Call, status: int, location: str | None, rules: EgressRules) -> Call | None:
    """The call that this answer asks for, or None if it asks for none. Raises EgressRefused."""
    if status not in _REDIRECTS or not location:
        return None
    to = rules.admit(_join(call.to.url, location))
    if call.to.url.scheme == "https" and to.url.scheme == "http":
        raise EgressRefused("scheme", "A redirect from https to http is not followed.")
    headers = call.headers
    if to.url.origin() != call.to.url.origin():
        headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
    if status in {307, 308} or call.method in {"GET", "HEAD"}:
        return Call(call.method, to, headers, call.content)
    # As browsers do it (Fetch, 4.4): the body stays behind, and what described it.
    headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
    return Call("GET", to, headers, b"")


def _join(base: yarl.URL, location: str) -> str:
    try:
        return str(base.join(yarl.URL(location)))
    except ValueError:
        raise EgressFailed("protocol", "The server redirects to a malformed URL.") from None
