"""Addresses that operators set."""

from urllib.parse import SplitResult, urlsplit


def split_http_url(url: str) -> SplitResult | None:
    """Its parts; None where it is no http(s) URL with a host."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # ValueError where it is none
    except ValueError:
        return None
    return parts if parts.scheme in {"http", "https"} and parts.hostname else None
