"""What a setting must give before a provider can be asked."""

from urllib.parse import urlsplit

from copilot_common.base.errors import SettingsError


def given(value: str | None, variable: str, purpose: str) -> str:
    """Raises SettingsError where it is missing."""
    if not value:
        raise SettingsError(f"{variable} is missing: {purpose}")
    return value


def checked_url(url: str, variable: str, example: str) -> str:
    """Raises SettingsError for what is no plain address."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # ValueError where it is none
    except ValueError:
        raise SettingsError(f"{variable} must be an address like {example}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise SettingsError(f"{variable} must be an address like {example}")
    return url
