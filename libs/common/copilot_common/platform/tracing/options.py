"""The forms in which OpenTelemetry's environment variables come."""

import re
from urllib.parse import unquote

from copilot_common.platform.urls import split_http_url

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110's, of headers' names
_NO_SPACE = re.compile(r"[\x21-\x7e]+")
_SIGNAL_PATH = "/v1/traces"


def parse_pairs(text: str) -> dict[str, str]:
    """`name=value,name=value`, values percent-encoded where they have to be. Raises ValueError."""
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        name, value = name.strip(), unquote(value.strip(), errors="strict")
        if not equals or not _TOKEN.fullmatch(name) or not value.isprintable():
            raise ValueError("name=value expected")
        pairs[name] = value
    return pairs


def parse_headers(text: str) -> dict[str, str]:
    """Likewise; values are in ASCII. Raises ValueError."""
    headers = parse_pairs(text)
    if not all(value.isascii() for value in headers.values()):
        raise ValueError("ASCII expected")
    return headers


def is_collector(url: str) -> bool:
    """Whether it can be one's address. What it would need of secrets goes into headers."""
    parts = split_http_url(url)
    if parts is None or not _NO_SPACE.fullmatch(url):
        return False
    return not (parts.query or parts.fragment or parts.username or parts.password)


def traces_url(base: str) -> str:
    """Where OTEL_EXPORTER_OTLP_ENDPOINT has traces go."""
    return base.rstrip("/") + _SIGNAL_PATH
